//! Whether this server reaches itself by its public address, through the firewall.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Finding;

/// The kernel sends its first packet again after 1 s.
const PATIENCE: Duration = Duration::from_secs(4);

pub(super) async fn examine(address: &str) -> Finding {
    const CHECK: &str = "hairpin";
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            let from = stream.local_addr().map_or("this server".into(), |it| it.ip().to_string());
            Finding::ok(CHECK, format!("{from} reaches {address}"))
        }
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            let advice = "name a port that the firewall forwards to this server, and on which something \
                          listens here, such as SSH";
            Finding::fail(CHECK, format!("{address} refuses the connection"), advice)
        }
        Ok(Err(error)) => {
            let advice =
                "let the firewall forward this port of its public address to this server (DNAT)";
            Finding::fail(CHECK, format!("{address}: {error}"), advice)
        }
        Err(_) => {
            let advice = "let the firewall also masquerade what it sends back into the network that it came \
                          from (hairpin NAT): by DNAT alone the server sees its own address as the sender, \
                          and answers itself";
            Finding::fail(CHECK, format!("{address} does not answer this server"), advice)
        }
    }
}
