//! An attempt's log on the agent's disk: frames of masked output, written by the runner and read
//! for the upload while it grows. Offsets count bytes of output, not of the file.

mod reader;
mod writer;

pub use reader::{Batch, Error, Reader};
pub use writer::{Writer, no_output};

/// Most bytes of output in one frame.
pub const FRAME: usize = 64 << 10;
