//! The library of pipelines at work: the control plane's with the files of metal-stack's guide as they stand there,
//! a real Ansible, real roles from git and real certificates; images of management servers; and what drifted.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod certificates;
mod desk;
mod drift;
mod images;
mod release;
mod web;
