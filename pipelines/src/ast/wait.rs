//! `wait` as it is written.

use super::Text;
use crate::name::DeviceName;
use crate::probe::Status;
use crate::source::{Span, Spanned};

/// What a job waits for, in this order.
pub(crate) struct Wait {
    /// Where the key stands.
    pub(crate) span: Span,
    /// How many probes there are, those too that cannot be read.
    pub(crate) count: usize,
    pub(crate) probes: Vec<Probe>,
}

pub(crate) struct Probe {
    /// Where its kind stands.
    pub(crate) span: Span,
    pub(crate) check: Check,
    /// In seconds.
    pub(crate) interval_s: Option<u32>,
    /// In seconds.
    pub(crate) timeout_s: Option<Spanned<u32>>,
}

pub(crate) enum Check {
    Tcp(Text),
    Ssh(Text),
    /// The named device, or the job's own.
    HostKey(Option<Spanned<DeviceName>>),
    Http {
        url: Text,
        status: Vec<Status>,
        body: Option<Text>,
        ca: Option<Text>,
    },
    Tls {
        address: Text,
        server_name: Option<Text>,
        issuer: Option<Text>,
        valid_for_s: Option<u32>,
        ca: Option<Text>,
    },
    Run {
        line: Text,
        output: Option<Text>,
    },
}

impl Wait {
    /// Everything that may be filled in.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &Text> {
        self.probes.iter().flat_map(|probe| probe.check.texts())
    }
}

impl Check {
    fn texts(&self) -> impl Iterator<Item = &Text> {
        let texts = match self {
            Check::Tcp(address) | Check::Ssh(address) => [Some(address), None, None, None],
            Check::HostKey(_) => [None; 4],
            Check::Http { url, body, ca, .. } => [Some(url), body.as_ref(), ca.as_ref(), None],
            Check::Tls { address, server_name, issuer, ca, .. } => {
                [Some(address), server_name.as_ref(), issuer.as_ref(), ca.as_ref()]
            }
            Check::Run { line, output } => [Some(line), output.as_ref(), None, None],
        };
        texts.into_iter().flatten()
    }
}
