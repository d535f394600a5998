//! The pipeline language, and the vocabulary that coordinator and agents share.
//!
//! Text goes in, a [`plan::Plan`] or diagnostics come out. Invariant: no I/O, no clock, no async;
//! the same input gives the same plan, byte for byte, wherever it is compiled.
//!
//! A pipeline goes through [`load`], which says which files it needs, and [`compile`], which reads
//! them into a YAML tree ([`yaml`]), the tree into a pipeline, checks it, and expands it into the
//! plan. Mistakes are [`diagnostic`]s, all of them at once.

pub mod compile;
pub mod diagnostic;
pub mod event;
pub mod files;
pub mod gate;
pub mod glob;
pub mod id;
pub mod include;
pub mod input;
pub mod inventory;
pub mod label;
pub mod left_out;
pub mod limits;
pub mod load;
pub mod lock;
pub mod matrix;
pub mod name;
pub mod order;
pub mod outcome;
pub mod output;
pub mod placeholder;
pub mod plan;
pub mod probe;
pub mod quantity;
pub mod recap;
pub mod role;
pub mod schedule;
pub mod schema;
pub mod secret;
pub mod source;
pub mod title;
pub mod trigger;
pub mod yaml;

mod ast;
mod call;
mod check;
mod condition;
mod devices;
mod expand;
mod extend;
mod fields;
mod foreign;
mod graph;
mod image;
mod keys;
mod parse;
mod scope;
mod shell;
mod suggest;
mod template;
mod tree;
mod user;
mod zone;
