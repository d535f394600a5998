//! What the coordinator decides: a pure state machine.
//!
//! Events go in, changes and effects come out. Changes are what is remembered: the state comes
//! from them alone. Effects are what the driver does once the changes are durable.
//!
//! Invariant: no clock, no randomness, no I/O; the same events give the same steps. The core
//! cannot fail: a wrong or late event is answered by an effect or dropped.

pub mod actor;
pub mod agent;
pub mod attempt;
pub mod audit;
pub mod change;
pub mod core;
pub mod deadline;
pub mod event;
pub mod gate;
pub mod group;
pub mod job;
pub mod lock;
mod queue;
mod rollout;
pub mod run;
pub mod schedule;
pub mod secret;
mod state;
pub mod subscriber;
pub mod token;
pub mod trigger;
pub mod upgrade;
