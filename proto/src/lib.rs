//! The wire between coordinator and agents: generated messages, their conversions, the framing that
//! journals and logs share, and the content that travels by hash.
//!
//! Invariant: no I/O, but for files in [`bundle`] and [`content`], which both sides pack, keep and
//! unpack by the same code.

pub mod bundle;
pub mod content;
pub mod convert;
pub mod framing;
pub mod log;
mod secret;

/// Messages and services of `garrison.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("garrison.v1");
}

/// The protocol version that this build speaks; raised when a peer must know about a change.
pub const PROTOCOL: u32 = 1;

/// Largest gRPC message either side accepts, in bytes.
pub const MAX_MESSAGE: usize = 4 << 20;

/// Bytes of content in one [`v1::Chunk`] or [`v1::StoreChunk`].
pub const CONTENT_CHUNK: usize = 256 << 10;

/// Most frame bytes put into one [`v1::LogMessage`] before another is begun.
pub const LOG_MESSAGE: usize = 256 << 10;
