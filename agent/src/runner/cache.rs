//! A job's cache: found before its script, kept behind it. Whatever fails of it is a line in the log,
//! and the job goes on as if there were no cache.

use std::io;
use std::path::Path;

use pipelines::glob::Glob;
use pipelines::order::Order;
use pipelines::plan;
use proto::bundle::Packed;

use crate::attempt::Attempt;
use crate::cache::{Cache, Error, Found, Name};
use crate::output::Output;

/// What is to be kept if the job succeeds.
pub(super) struct Missing {
    cache: Cache,
    name: Name,
    key: String,
    paths: Vec<String>,
}

/// Puts what the cache has for the job into its working directory; what is to be kept later, if it has
/// nothing.
///
/// # Errors
/// The log cannot be written.
pub(super) async fn restore(
    attempt: &Attempt,
    order: &Order,
    cache: Option<&Cache>,
    output: &mut Output,
) -> io::Result<Option<Missing>> {
    let Some(plan::Cache { key, paths }) = order.job.cache.clone() else { return Ok(None) };
    let (Some(cache), Ok(name)) = (cache.cloned(), Name::of(order, &key)) else {
        output.say("cache: miss, this agent has no cache")?;
        return Ok(None);
    };
    let missing = Missing { cache: cache.clone(), name: name.clone(), key, paths };
    let (key, into) = (&missing.key, attempt.work());
    match blocking(move || cache.restore(&name, &into)).await {
        Ok(Found::Hit(Packed { files, size, .. })) => {
            output.say(&format!("cache: hit, {files} files, {size} bytes of `{key}`"))?;
            return Ok(None);
        }
        Ok(Found::Miss) => output.say(&format!("cache: miss, there is nothing of `{key}`"))?,
        Ok(Found::Damaged) => {
            output.say(&format!(
                "cache: miss, what there was of `{key}` was damaged and is removed"
            ))?;
        }
        Err(error) => {
            let line = format!("cache: miss, `{key}` is not all in its place: {error}");
            output.say(&line)?;
            return Ok(None);
        }
    }
    Ok(Some(missing))
}

/// Keeps what the job, which has succeeded, left of its cache.
///
/// # Errors
/// The log cannot be written.
pub(super) async fn store(
    attempt: &Attempt,
    missing: Option<Missing>,
    output: &mut Output,
) -> io::Result<()> {
    let Some(Missing { cache, name, key, paths }) = missing else { return Ok(()) };
    let patterns = paths.join(", ");
    let (from, unfinished) = (attempt.work(), attempt.dir().join("cache.unfinished"));
    let stored = blocking(move || store_now(&cache, &name, &from, &paths, &unfinished)).await;
    output.say(&match stored {
        Ok(Some(Packed { files, size, .. })) => {
            format!("cache: stored, {files} files, {size} bytes of `{key}`")
        }
        Ok(None) => format!("cache: nothing stored of `{key}`, no file matches {patterns}"),
        Err(error) => format!("cache: nothing stored of `{key}`: {error}"),
    })
}

fn store_now(
    cache: &Cache,
    name: &Name,
    from: &Path,
    paths: &[String],
    unfinished: &Path,
) -> Result<Option<Packed>, Error> {
    let globs: Result<Vec<Glob>, _> = paths.iter().map(|path| path.parse()).collect();
    let globs = globs.map_err(io::Error::other)?;
    cache.store(name, from, |path| globs.iter().any(|glob| glob.matches_file(path)), unfinished)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(io::Error::other(panic).into()))
}
