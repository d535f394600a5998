//! What keeps a page up to date: its changing part, rendered anew after each change.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use coordinator_core::change::Change;
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, sleep_until};

use super::Visitor;
use crate::api::{Shared, runs};

/// Shortest time between two events of a stream: changes that come faster are shown together.
pub(super) const PACE: Duration = Duration::from_millis(50);

/// A part rests this many times as long as it took to render, so that large runs cost little.
const REST: u32 = 5;

/// The changing part of a page.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Part {
    /// The page's title.
    pub(super) title: String,
    /// The part's HTML.
    pub(super) html: String,
    /// Whether nothing will change without the reader's doing, so that the browser need not come
    /// again.
    pub(super) is_last: bool,
}

impl Part {
    pub(super) fn new(title: String, template: &impl Template, is_last: bool) -> Option<Part> {
        Some(Part { title, html: template.render().ok()?, is_last })
    }

    /// The event that has the browser replace the part.
    pub(super) fn event(&self) -> Option<Event> {
        Event::default().event("part").json_data(self).ok()
    }
}

/// The part now and after each change that concerns it, until it is the last or the session ends.
pub(super) fn updates(
    api: Shared,
    visitor: Visitor,
    concerns: impl Fn(&Change) -> bool + Copy + Send + 'static,
    render: impl Fn() -> Option<Part> + Clone + Send + 'static,
) -> impl IntoResponse {
    let stop = api.stop.clone();
    let parts = stream::unfold(Some(Next::Part), move |next| {
        let (api, visitor, render) = (api.clone(), visitor.clone(), render.clone());
        async move {
            if let Next::Change { mut changes, earliest } = next? {
                sleep_until(earliest).await;
                runs::changed(&mut changes, concerns).await?;
            }
            if !visitor.is_in(&api).ok()? {
                return None;
            }
            // What is rendered below is newer than all that waited in the one before.
            let changes = api.driver.watch();
            let began = Instant::now();
            let part = render()?;
            let earliest = began + PACE.max(began.elapsed() * REST);
            let next = (!part.is_last).then_some(Next::Change { changes, earliest });
            Some((Ok::<_, Infallible>(part.event()?), next))
        }
    });
    Sse::new(parts.take_until(stop.cancelled_owned())).keep_alive(KeepAlive::default())
}

/// What a stream shows next.
enum Next {
    /// The part as it is.
    Part,
    /// The part after a change, but not before this.
    Change { changes: Receiver<Arc<[Change]>>, earliest: Instant },
}
