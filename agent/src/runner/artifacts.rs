//! What a job leaves for others: packed by the runner once the script has succeeded.

use std::fs::File;
use std::io::BufWriter;

use pipelines::glob::Glob;
use pipelines::outcome::{Artifact, Outcome};
use proto::bundle::{self, Packed};

use crate::attempt::Attempt;
use crate::output::Output;

/// Packs what the patterns match into [`Attempt::artifacts`], durably; how the attempt ends then.
pub(super) async fn pack(
    attempt: &Attempt,
    patterns: &[String],
    output: &mut Output,
) -> (Outcome, Option<Artifact>) {
    if patterns.is_empty() {
        return (Outcome::Succeeded, None);
    }
    let (attempt, globs) = (attempt.clone(), patterns.to_vec());
    let packing = tokio::task::spawn_blocking(move || pack_now(&attempt, &globs));
    let packed = packing.await.unwrap_or_else(|panic| Err(panic.to_string()));
    let (line, result) = match packed {
        Ok(Some(artifact)) => {
            let Artifact { files, size, .. } = &artifact;
            let line = format!("artifacts: {files} files, {size} bytes packed");
            (line, (Outcome::Succeeded, Some(artifact)))
        }
        Ok(None) => {
            let line = format!("artifacts: no file matches {}", patterns.join(", "));
            (line, (Outcome::Succeeded, None))
        }
        Err(error) => {
            let reason = format!("the job succeeded, but its artifacts cannot be packed: {error}");
            (format!("artifacts: {error}"), (Outcome::InfraError { reason }, None))
        }
    };
    match output.say(&line) {
        Ok(()) => result,
        Err(error) => (super::incomplete(result.0, &error), None),
    }
}

/// None if nothing matches.
fn pack_now(attempt: &Attempt, patterns: &[String]) -> Result<Option<Artifact>, String> {
    let globs: Result<Vec<Glob>, _> = patterns.iter().map(|pattern| pattern.parse()).collect();
    let globs = globs.map_err(|error| error.to_string())?;
    let wanted = |path: &str| globs.iter().any(|glob| glob.matches_file(path));
    match write(attempt, wanted) {
        Ok(Packed { files: 0, .. }) => {
            // Of no use, and in nobody's way.
            let _ = std::fs::remove_file(attempt.artifacts());
            Ok(None)
        }
        Ok(Packed { hash, size, files }) => {
            Ok(Some(Artifact { sha256: hash.to_string(), size, files }))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn write(attempt: &Attempt, wanted: impl Fn(&str) -> bool) -> Result<Packed, bundle::Error> {
    let file = BufWriter::with_capacity(64 << 10, File::create(attempt.artifacts())?);
    let (packed, file) = bundle::pack(&attempt.work(), wanted, file)?;
    let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.sync_all()?;
    File::open(attempt.dir())?.sync_all()?;
    Ok(packed)
}
