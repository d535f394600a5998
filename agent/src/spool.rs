//! An attempt's log on the agent's disk: frames of masked output, written by the runner and read
//! for the upload while it grows. Offsets count bytes of output, not of the file.

mod bounded;
mod quota;
mod reader;
mod writer;

use std::path::Path;

use pipelines::name::DeviceName;

pub use bounded::Bounded;
pub use quota::{Full, Quota};
pub use reader::{Batch, Error, Reader};
pub use writer::{Writer, no_output};

/// Most bytes of output in one frame.
pub const FRAME: usize = 64 << 10;

/// The log at `path` of an attempt under `root`, which grows as far as `quota` allows; of one on a
/// `device`, if it is.
pub fn bounded(
    path: &Path,
    root: &Path,
    quota: Quota,
    device: Option<&DeviceName>,
) -> std::io::Result<Bounded> {
    let writer = Writer::open(path)?;
    let writer = match device {
        Some(device) => writer.of_device(device),
        None => writer,
    };
    Ok(Bounded::new(writer, quota::Room::new(quota, root)))
}
