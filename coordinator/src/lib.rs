//! The coordinator's edges: agents' gRPC, HTTP API and pages, git, store, CA.
//!
//! In the order of a job's way through it: [`api`] takes the trigger ([`forge`] reads webhooks, and
//! [`listener`] events of NATS that start pipelines) and [`pages`] show people what becomes of it, [`driver`]
//! has the core decide and commits, [`resolve`] makes plans of what [`git`] brings and [`source`] bundles of
//! it, [`session`] carries orders to agents and reports back, [`transfer`] content, [`intake`] takes their
//! logs; [`secrets`] are opened for them; [`store`], [`logs`] and [`content`] keep it all. By a [`feed`] of
//! the journal [`telling`] has [`events`] go to NATS and to webhooks, and [`statuses`] to forges, by
//! [`outgoing`] requests; [`signing`] is of webhooks in both directions; [`metrics`] are counted on the way.

pub mod app;
pub mod config;
pub mod secret;
pub mod secrets;
pub mod signing;
pub mod token;
pub mod api;
pub mod forge;
pub mod pages;
pub mod driver;
pub mod resolve;
pub mod git;
pub mod source;
pub mod content;
pub mod programs;
pub mod ca;
pub mod tls;
pub mod session;
pub mod transfer;
pub mod intake;
pub mod store;
pub mod listener;
pub mod logs;
pub mod feed;
pub mod events;
pub mod outgoing;
pub mod statuses;
pub mod telling;
pub mod metrics;
