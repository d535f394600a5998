//! TCP ports that stay with who has them.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use tokio::net::TcpSocket;

/// A port that nobody else is given as long as this is kept, whether a server listens there or is down.
///
/// It is bound and never listened on. Linux gives such a port to nobody who asks for any, as what starts and
/// what connects does; and to whoever asks for it by its number with `SO_REUSEADDR`, as servers do.
#[derive(Debug)]
pub struct Port {
    address: SocketAddrV4,
    _bound: TcpSocket,
}

impl Port {
    /// A free one of this host's address.
    ///
    /// # Errors
    /// If the host has no such address, or no port is left.
    pub fn reserve(host: Ipv4Addr) -> io::Result<Port> {
        let bound = TcpSocket::new_v4()?;
        bound.set_reuseaddr(true)?;
        bound.bind(SocketAddrV4::new(host, 0).into())?;
        let port = bound.local_addr()?.port();
        Ok(Port { address: SocketAddrV4::new(host, port), _bound: bound })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.address.port()
    }
}

impl fmt::Display for Port {
    /// Such as `127.0.0.1:4222`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn who_asks_for_it_may_listen_and_nobody_answers_otherwise() {
        let port = Port::reserve(Ipv4Addr::LOCALHOST).unwrap();
        for _ in 0..2 {
            let refused = TcpStream::connect(port.address()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let listener = TcpListener::bind(port.address()).unwrap();
            TcpStream::connect(port.address()).unwrap();
            drop(listener);
        }
    }
}
