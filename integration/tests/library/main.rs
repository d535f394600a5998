//! The library of pipelines at work: the control plane's with the files of metal-stack's guide as they stand there, in
//! the deployment image, with real roles from git and real certificates; and images of management servers.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod certificates;
mod desk;
mod images;
mod release;
mod web;
