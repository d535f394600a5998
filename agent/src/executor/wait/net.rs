//! Probes of TCP and of SSH servers of which no key is known.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

/// Most bytes that a server may say before its version (RFC 4253, section 4.2).
const MOST: u64 = 8 << 10;

/// Connects to `HOST:PORT`.
pub(super) async fn connect(address: &str) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| told(&error))
}

/// Whether an SSH server of version 2 answers there.
pub(super) async fn version(address: &str) -> Result<(), String> {
    let mut lines = BufReader::new(connect(address).await?.take(MOST));
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).await.map_err(|error| told(&error))? == 0 {
            return Err("the connection was closed before an SSH server said its version".into());
        }
        if line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-") {
            return Ok(());
        }
        if line.starts_with(b"SSH-") {
            return Err(format!("it speaks {}", String::from_utf8_lossy(&line)));
        }
    }
}

/// An error in the words of people.
pub(super) fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    }
}
