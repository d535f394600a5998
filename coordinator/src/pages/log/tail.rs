//! What arrives of a log, as events for a browser.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use coordinator_core::change::Change;
use futures::StreamExt;
use futures::stream::{self, BoxStream, Fuse};
use pipelines::id::AttemptId;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, timeout, timeout_at};

use super::head;
use crate::api::{self, Shared, runs};
use crate::logs::{self, Followed};
use crate::pages::Visitor;
use crate::pages::live::PACE;
use crate::pages::output::Renderer;
use crate::pages::pager::Pager;

/// How long a log's seal may take behind its last byte.
const SEAL: Duration = Duration::from_secs(1);

/// Lines that arrived.
#[derive(Debug, Serialize)]
struct Output {
    /// Whether they stand for all that the reader has, since more came than is shown at once.
    anew: bool,
    /// HTML of lines that are ended; they begin with the one that was not.
    lines: String,
    /// HTML of the line that is not ended.
    open: String,
}

/// A log from some place on.
struct Tail {
    arriving: Fuse<BoxStream<'static, Result<Followed, logs::Error>>>,
    renderer: Renderer,
    /// What arrived since the last event, behind the line that was not ended.
    pager: Pager,
    has_news: bool,
    is_anew: bool,
    earliest: Instant,
}

/// One reader's stream.
struct Reader {
    api: Shared,
    visitor: Visitor,
    id: AttemptId,
    tail: Tail,
    changes: Receiver<Arc<[Change]>>,
    stage: Stage,
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Lines arrive.
    Output,
    /// All lines are there; how the attempt ended may not be known yet.
    Verdict,
    /// All was told.
    Over,
}

/// The events of a log, from where `pager` starts.
pub(super) fn events(
    api: Shared,
    visitor: Visitor,
    id: AttemptId,
    pager: Pager,
) -> impl IntoResponse {
    let (changes, stop) = (api.driver.watch(), api.stop.clone());
    let tail = Tail::new(&api, id, pager);
    let reader = Reader { api, visitor, id, tail, changes, stage: Stage::Output };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    Sse::new(events.take_until(stop.cancelled_owned())).keep_alive(KeepAlive::default())
}

impl Reader {
    /// The next event; none when the session or the log ended.
    async fn next(&mut self) -> Option<Event> {
        let id = self.id;
        let concerns = |change: &Change| matches!(change, Change::Attempt(it) if it.id == id);
        let output = match self.stage {
            Stage::Output => tokio::select! {
                output = self.tail.next() => Some(output),
                changed = runs::changed(&mut self.changes, concerns) => changed.map(|()| None)?,
            },
            Stage::Verdict => runs::changed(&mut self.changes, concerns).await.map(|()| None)?,
            Stage::Over => return None,
        };
        if !self.visitor.is_in(&self.api).ok()? {
            return None;
        }
        match output {
            Some(Some(Ok(output))) => return output,
            // The browser comes again by itself.
            Some(Some(Err(_))) => return None,
            Some(None) => {
                let mut rest = self.api.logs.follow(id, u64::MAX);
                let _ = timeout(SEAL, rest.next()).await;
                self.stage = Stage::Verdict;
            }
            None => {}
        }
        let head = head(&self.api, &self.visitor, id).ok()?;
        let is_over = self.stage == Stage::Verdict && head.has_ended;
        if is_over {
            self.stage = Stage::Over;
        }
        head.part(is_over)?.event()
    }
}

impl Tail {
    fn new(api: &Shared, id: AttemptId, pager: Pager) -> Tail {
        let (line, offset) = pager.position();
        Tail {
            arriving: api::logs::following(api.clone(), id, offset).boxed().fuse(),
            renderer: Renderer::new(line),
            pager,
            has_news: false,
            is_anew: false,
            earliest: Instant::now(),
        }
    }

    /// The next event; none at the end. What comes within [`PACE`] goes into one. Cancel-safe.
    async fn next(&mut self) -> Option<Result<Option<Event>, logs::Error>> {
        while !self.has_news {
            match self.arriving.next().await? {
                Ok(followed) => self.take(followed),
                Err(error) => return Some(Err(error)),
            }
        }
        while let Ok(Some(followed)) = timeout_at(self.earliest, self.arriving.next()).await {
            match followed {
                Ok(followed) => self.take(followed),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(self.event()))
    }

    fn take(&mut self, followed: Followed) {
        self.has_news = true;
        match followed {
            Followed::Frames(frames) => frames.into_iter().for_each(|it| self.pager.push(it)),
            Followed::Restarted => {
                (self.pager, self.renderer) = (Pager::at(1, 0), Renderer::new(1));
                self.is_anew = true;
            }
        }
    }

    fn event(&mut self) -> Option<Event> {
        let next = self.pager.go_on();
        let pager = std::mem::replace(&mut self.pager, next);
        let anew = std::mem::take(&mut self.is_anew) || pager.has_dropped();
        let (line, offset) = pager.position();
        let page = pager.window().page;
        if anew {
            self.renderer = Renderer::new(page.first);
        }
        let rendered = self.renderer.render(&page.frames);
        (self.has_news, self.earliest) = (false, Instant::now() + PACE);
        let output = Output { anew, lines: rendered.lines, open: rendered.open };
        Event::default().event("output").id(format!("{line}-{offset}")).json_data(output).ok()
    }
}
