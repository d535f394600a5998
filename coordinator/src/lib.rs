//! The coordinator's edges: agents' gRPC, HTTP API and pages, git, store, CA.
//!
//! In the order of a job's way through it: [`api`] takes the trigger, [`driver`] has the core
//! decide and commits, [`resolve`] makes plans of what [`git`] brings, [`session`] carries orders to agents and reports
//! back, [`intake`] takes their logs, [`store`] and [`logs`] keep it all.

pub mod app;
pub mod config;
pub mod token;
pub mod api;
pub mod driver;
pub mod resolve;
pub mod git;
pub mod ca;
pub mod tls;
pub mod session;
pub mod intake;
pub mod store;
pub mod logs;
