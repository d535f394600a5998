//! The way of a job's output: masked, then framed, then on disk, then told to whoever follows.

use std::io;

use proto::log::Stream;
use tokio::sync::watch;

use crate::mask::{Masker, Secrets};
use crate::spool;

/// Takes all that a job writes, in the order in which it was read.
#[derive(Debug)]
pub struct Output {
    log: spool::Bounded,
    secrets: Secrets,
    stdout: Masker,
    stderr: Masker,
    masked: Vec<u8>,
    length: watch::Sender<u64>,
}

impl Output {
    /// Output into `log`; each new length of it is sent to `length`.
    pub fn new(log: spool::Bounded, secrets: Secrets, length: watch::Sender<u64>) -> Self {
        length.send_replace(log.length());
        Self {
            log,
            stdout: Masker::new(secrets.clone()),
            stderr: Masker::new(secrets.clone()),
            secrets,
            masked: Vec::new(),
            length,
        }
    }

    /// Takes what one read of `stream` gave, best up to [`spool::FRAME`] bytes of it. What
    /// there is no room for is dropped. An error means that the log's disk failed: the job must end
    /// then.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.masked.clear();
        match stream {
            Stream::Stdout => self.stdout.push(bytes, &mut self.masked),
            Stream::Stderr => self.stderr.push(bytes, &mut self.masked),
            Stream::System | Stream::Gap => self.masked = self.secrets.mask(bytes),
        }
        self.append(stream)
    }

    /// Adds a line in Garrison's own words.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        self.write(Stream::System, format!("{line}\n").as_bytes())
    }

    /// A text that is complete in itself, masked.
    pub(crate) fn masked(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.secrets.mask(text.as_bytes())).into_owned()
    }

    /// Writes what the maskers still hold, and makes the log durable. The end is true of what could
    /// be written, also where something could not.
    pub(crate) fn close(mut self) -> (pipelines::outcome::LogEnd, io::Result<()>) {
        let flushed = self.flush();
        let (end, closed) = self.log.close();
        (end, flushed.and(closed))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.masked.clear();
        self.stdout.flush(&mut self.masked);
        self.append(Stream::Stdout)?;
        self.masked.clear();
        self.stderr.flush(&mut self.masked);
        self.append(Stream::Stderr)
    }

    fn append(&mut self, stream: Stream) -> io::Result<()> {
        if self.masked.is_empty() {
            return Ok(());
        }
        let appended = self.log.append(stream, &self.masked);
        self.length.send_replace(self.log.length());
        appended
    }
}
