//! `garrison inventory`: to Ansible and from Ansible. What is wrong with an inventory file itself,
//! `garrison lint --inventory` tells.

mod ansible;
mod export;
mod findings;
mod import;
mod known_hosts;
mod lines;

use clap::Subcommand;

use crate::exit::{Exit, Failure};

/// What to do with inventories.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Prints an inventory as one of Ansible: a file, or what a dynamic inventory says.
    Export(export::Options),
    /// Makes an inventory of one of Ansible: INI or YAML, with group_vars/ and host_vars/ beside it.
    Import(import::Options),
}

/// Carries out an action.
pub fn run(action: &Action) -> Result<Exit, Failure> {
    match action {
        Action::Export(options) => export::run(options),
        Action::Import(options) => import::run(options),
    }
}
