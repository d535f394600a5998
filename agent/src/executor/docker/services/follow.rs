//! Following a service to its end, also over a restart of the engine.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use tokio::select;
use tokio::time::{sleep, timeout};

use super::tail::Tail;
use crate::executor::docker::engine::{Engine, Error, Frames, Standing};

/// Between two looks whether the engine is back.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the engine may be silent about what an ended service wrote.
const SILENCE: Duration = Duration::from_secs(1);

/// Keeps what container `id` writes in `tail` until it ends; its exit status, or none if it is gone.
pub(super) async fn follow(
    mut engine: Engine,
    id: String,
    frames: Frames,
    tail: Tail,
) -> Option<i64> {
    let mut frames = Some(frames);
    loop {
        if let Ok(code) = until_end(&engine, &id, &mut frames, &tail).await {
            while let Ok(true) = timeout(SILENCE, take(&mut frames, &tail)).await {}
            return Some(code);
        }
        // It went away. As long as it does, nobody can say that the service has ended.
        loop {
            sleep(PAUSE).await;
            match look(&engine, &id).await {
                Ok((_, Standing::Exited { code, .. }, _)) => return Some(code),
                Ok((_, Standing::Created, _)) => return None,
                Ok((again, Standing::Running, output)) => {
                    (engine, frames) = (again, output);
                    break;
                }
                Err(Error::Refused { status: 404, .. }) => return None,
                Err(_) => {}
            }
        }
    }
}

async fn until_end(
    engine: &Engine,
    id: &str,
    frames: &mut Option<Frames>,
    tail: &Tail,
) -> Result<i64, Error> {
    let mut exit = pin!(engine.wait(id));
    loop {
        select! {
            code = &mut exit => return code,
            _ = take(frames, tail), if frames.is_some() => {}
        }
    }
}

/// One read; whether there may be more.
async fn take(frames: &mut Option<Frames>, tail: &Tail) -> bool {
    let Some(open) = frames else { return false };
    match open.next().await {
        Some(Ok(output)) => tail.push(&output.into_bytes()),
        Some(Err(_)) | None => *frames = None,
    }
    frames.is_some()
}

/// How the container stands by a newly connected engine; its output is followed again.
async fn look(engine: &Engine, id: &str) -> Result<(Engine, Standing, Option<Frames>), Error> {
    let engine = Engine::connect(engine.address()).await?;
    let standing = engine.inspect(id).await?;
    let frames = match standing {
        Standing::Running => Some(engine.attach(id).await?),
        Standing::Created | Standing::Exited { .. } => None,
    };
    Ok((engine, standing, frames))
}
