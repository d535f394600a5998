//! The agent: link to the coordinator, runner, executors.
//!
//! In the order of a job's way through it: [`link`] hears the order, [`host`] has the core decide,
//! [`attempt`] is its directory, [`content`] brings its source and [`secrets`] its secrets, [`keeper`] has a
//! [`runner`] started for as long as its [`lease`] lasts, an [`executor`] does the work,
//! [`mask`] and [`spool`] keep its output, [`upload`] sends that on. [`upgrade`] brings the agent
//! itself to another program. [`doctor`] tests what all of it needs.

pub mod app;
pub mod config;
pub mod identity;
pub mod link;
pub mod host;
pub mod policy;
pub mod attempt;
pub mod lease;
pub mod keeper;
pub mod content;
pub mod cache;
pub mod secrets;
pub mod runner;
pub mod executor;
pub mod output;
pub mod mask;
pub mod spool;
pub mod upload;
pub mod processes;
pub mod upgrade;
pub mod inherited;
pub mod clock;
pub mod doctor;

mod insist;
