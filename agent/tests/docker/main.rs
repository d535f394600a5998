//! Jobs in containers of a real Docker engine: the one that listens where `DOCKER_HOST` says or on
//! the usual socket, else a private `dockerd` that ends with the tests.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod ansible;
mod engine;
#[path = "../runner/host.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod host;
mod jobs;
mod limits;
mod services;
mod survival;
