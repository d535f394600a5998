//! `garrison subscriptions`.

use clap::Subcommand;
use coordinator::api::types::Subscription;

use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// What to do with subscriptions.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Lists which events start which pipelines.
    List,
}

/// Carries out an action.
pub fn run(client: &Client, action: &Action, format: Format) -> Result<Exit, Failure> {
    match action {
        Action::List => {
            let subscriptions: Vec<Subscription> = client.get("/api/v1/subscriptions")?;
            output::print(format, &subscriptions, |subscriptions| {
                if subscriptions.is_empty() {
                    return "no events start a pipeline\n".to_owned();
                }
                let headings = ["TOPIC", "PARTITIONS", "PIPELINE", "REPOSITORY", "MAX AGE", "WHEN"];
                output::table(&headings, subscriptions.iter().map(row))
            })?;
        }
    }
    Ok(Exit::Success)
}

fn row(subscription: &Subscription) -> Vec<String> {
    let wants = &subscription.wants;
    let partitions = match wants.partitions.is_empty() {
        true => "any".to_owned(),
        false => wants.partitions.join(", "),
    };
    vec![
        wants.topic.clone(),
        partitions,
        subscription.pipeline.to_string(),
        subscription.repository.to_string(),
        format!("{} s", wants.max_age_s),
        wants.when.clone().unwrap_or_default(),
    ]
}
