//! The wire between coordinator and agents: generated messages, their conversions, and the
//! framing that journals and logs share. Invariant: no I/O.

pub mod convert;
pub mod framing;
pub mod log;

/// Messages and services of `garrison.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("garrison.v1");
}

/// The protocol version that this build speaks; raised when a peer must know about a change.
pub const PROTOCOL: u32 = 1;

/// Largest gRPC message either side accepts, in bytes.
pub const MAX_MESSAGE: usize = 4 << 20;

/// Most frame bytes put into one [`v1::LogMessage`] before another is begun.
pub const LOG_MESSAGE: usize = 256 << 10;
