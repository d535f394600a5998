//! The library of pipelines at work: the control plane's with the files of metal-stack's guide as they stand there, in
//! the deployment image, with real roles from git and real certificates; and what management servers are installed from,
//! and hold.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod certificates;
mod desk;
mod images;
mod installer;
mod release;
mod web;
