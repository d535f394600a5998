//! The secrets of one attempt: asked of the coordinator before it starts, handed to its runner
//! through a pipe, and by that to the job.
//!
//! Invariant: a value is in memory and on file systems in memory; never on a disk, in process
//! arguments, in a log or in a `Debug`.

pub mod tmpfs;

use pipelines::order::Order;
use pipelines::plan::Delivery;
use pipelines::secret::{SecretName, Value};
use proto::v1::SecretsRequest;
use serde::{Deserialize, Serialize};

use crate::insist::{Client, Failed, Link, failed, insist};

/// A secret for a job. Its `Debug` shows nothing of the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Its name, and that of the variable.
    pub name: SecretName,
    /// In what form the script gets it.
    #[serde(rename = "as")]
    pub delivery: Delivery,
    /// What it is.
    pub value: Value,
}

/// Why an attempt cannot have its secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The coordinator refuses them.
    #[error("the coordinator gives no secrets: {0}")]
    Refused(String),
    /// It gave less than the order declares.
    #[error("secret {0}, which the job declares, was not given; nothing was started")]
    Missing(SecretName),
}

/// The values of all secrets that an order declares, in its own order; waits for the link.
pub(crate) async fn obtain(link: &Link, order: &Order) -> Result<Vec<Given>, Error> {
    if order.job.secrets.is_empty() {
        return Ok(Vec::new());
    }
    let doing = format!("get the secrets of attempt {}", order.attempt);
    insist(link, doing, |client| ask(client, order)).await
}

async fn ask(mut client: Client, order: &Order) -> Result<Vec<Given>, Failed<Error>> {
    let request = SecretsRequest { attempt: order.attempt.to_string() };
    let answer = client.secrets(request).await;
    let answer = answer.map_err(|status| {
        failed(&status, |reason| match status.code() {
            tonic::Code::Unimplemented => {
                Error::Refused("it knows of none: upgrade the coordinator".to_owned())
            }
            _ => Error::Refused(reason.to_owned()),
        })
    })?;
    let mut secrets = answer.into_inner().secrets;
    let given = order.job.secrets.iter().map(|declared| {
        let missing = || Failed::Finally(Error::Missing(declared.name.clone()));
        let place = secrets.iter().position(|it| it.name == declared.name.as_str());
        let value = secrets.swap_remove(place.ok_or_else(missing)?).value;
        let value = Value::new(value).map_err(|_| missing())?;
        Ok(Given { name: declared.name.clone(), delivery: declared.delivery, value })
    });
    given.collect()
}

/// Whether all that the order declares was handed over, in the form that it says.
pub(crate) fn check(order: &Order, given: &[Given]) -> Result<(), Error> {
    let has = |declared: &&pipelines::plan::Secret| {
        given.iter().any(|it| it.name == declared.name && it.delivery == declared.delivery)
    };
    match order.job.secrets.iter().find(|declared| !has(declared)) {
        None => Ok(()),
        Some(missing) => Err(Error::Missing(missing.name.clone())),
    }
}
