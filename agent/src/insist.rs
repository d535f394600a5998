//! Calls to the coordinator that wait for the link, for as long as it takes; only its refusal or
//! this host ends them.

use std::fmt;
use std::time::Duration;

use proto::v1::link_client::LinkClient;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::warn;

/// First and longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What calls are made with.
pub(crate) type Client = LinkClient<Channel>;

/// The link, whenever there is one.
pub(crate) type Link = watch::Receiver<Option<Client>>;

/// Why one try failed.
pub(crate) enum Failed<E> {
    /// Another may not.
    Again(String),
    /// No other will do better.
    Finally(E),
}

/// Tries over whatever link is up until it is done, or never will be.
pub(crate) async fn insist<T, E, F>(
    link: &Link,
    doing: impl fmt::Display,
    attempt: impl Fn(Client) -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, Failed<E>>>,
{
    let mut link = link.clone();
    let mut pause = PAUSES.0;
    loop {
        let client = link.wait_for(Option::is_some).await.map(|client| client.clone());
        let Ok(Some(client)) = client else {
            // The link's side is gone only while the agent stops.
            return std::future::pending().await;
        };
        let reason = match attempt(client).await {
            Ok(done) => return Ok(done),
            Err(Failed::Finally(error)) => return Err(error),
            Err(Failed::Again(reason)) => reason,
        };
        warn!(%reason, again_in_ms = pause.as_millis(), "cannot {doing}");
        let jittered = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        // A new link is tried at once.
        let _ = tokio::time::timeout(jittered, link.changed()).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Whether the coordinator has decided, or something lies between.
pub(crate) fn failed<E>(status: &Status, refused: impl FnOnce(&str) -> E) -> Failed<E> {
    match status.code() {
        Code::NotFound
        | Code::PermissionDenied
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => Failed::Finally(refused(status.message())),
        _ => Failed::Again(status.message().to_owned()),
    }
}
