//! Whether a DHCP server offers a lease on an interface (RFC 2131). The lease is never taken: a DISCOVER is
//! sent, offers are read, and nothing answers them.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Flags, HType, Message, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::Finding;

/// A server may first see by ARP or ping whether the address is free.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long others may be slower than the first that answers.
const OTHERS: Duration = Duration::from_millis(500);

/// Where Linux lists interfaces.
const INTERFACES: &str = "/sys/class/net";

/// What ONIE asks for beside the standard options: where the installer of a switch is, and where the script
/// that sets the switch up (SONiC's ZTP) lies.
const DEFAULT_URL: u8 = 114;

/// See [`DEFAULT_URL`].
const ZTP_URL: u8 = 239;

/// What one server offers.
#[derive(Debug, PartialEq, Eq)]
struct Offer {
    server: Ipv4Addr,
    address: Ipv4Addr,
    /// Options that make a device start, as `name text`.
    boot: Vec<String>,
}

pub(super) async fn examine(interface: &str) -> Finding {
    let check = format!("dhcp {interface}");
    let offers = match ask(interface).await {
        Ok(offers) => offers,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let advice = "correct `doctor.dhcp`; `ip link` lists interfaces";
            return Finding::fail(&check, "there is no such interface", advice);
        }
        Err(error) => {
            let advice =
                "run the doctor as root, while no DHCP client holds port 68 of the interface";
            return Finding::fail(&check, error.to_string(), advice);
        }
    };
    let told: Vec<_> = offers.iter().map(Offer::to_string).collect();
    match offers.len() {
        0 => {
            let advice = "see whether a DHCP server or relay serves this network, and whether it knows this \
                          interface's MAC address";
            Finding::fail(&check, "no server offers a lease", advice)
        }
        1 => Finding::ok(&check, told.concat()),
        _ => {
            let advice = "one of them should not be there, unless both give the same";
            Finding::warn(&check, told.join("; "), advice)
        }
    }
}

/// Sends a DISCOVER, and gathers what comes.
async fn ask(interface: &str) -> io::Result<Vec<Offer>> {
    let mac = hardware_address(&Path::new(INTERFACES).join(interface))?;
    let socket = socket(interface)?;
    let id = rand::random();
    let everybody = SocketAddr::from((Ipv4Addr::BROADCAST, 67));
    socket.send_to(&discover(id, mac)?, everybody).await?;
    let mut offers: Vec<Offer> = Vec::new();
    let mut until = Instant::now() + PATIENCE;
    let mut buffer = [0; 1500];
    while let Ok(received) = timeout_at(until, socket.recv_from(&mut buffer)).await {
        let (length, from) = received?;
        let Some(offer) = offer(&buffer[..length], id, from) else { continue };
        if !offers.contains(&offer) {
            offers.push(offer);
            until = until.min(Instant::now() + OTHERS);
        }
    }
    Ok(offers)
}

fn hardware_address(interface: &Path) -> io::Result<[u8; 6]> {
    let text = fs::read_to_string(interface.join("address"))?;
    let mut mac = [0; 6];
    let parts = text.trim().split(':').map(|part| u8::from_str_radix(part, 16));
    mac.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part.unwrap_or_default());
    Ok(mac)
}

/// A socket of the client's port, on this interface alone.
fn socket(interface: &str) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into())?;
    UdpSocket::from_std(socket.into())
}

fn discover(id: u32, mac: [u8; 6]) -> io::Result<Vec<u8>> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(id, none, none, none, none, &mac);
    // An offer to everybody is heard whatever address this interface has.
    message.set_htype(HType::Eth).set_flags(Flags::default().set_broadcast());
    let wanted = [
        OptionCode::SubnetMask,
        OptionCode::Router,
        OptionCode::DomainNameServer,
        OptionCode::TFTPServerName,
        OptionCode::BootfileName,
        OptionCode::from(DEFAULT_URL),
        OptionCode::from(ZTP_URL),
    ];
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(MessageType::Discover));
    options.insert(DhcpOption::ParameterRequestList(wanted.to_vec()));
    let mut bytes = Vec::new();
    message.encode(&mut Encoder::new(&mut bytes)).map_err(io::Error::other)?;
    Ok(bytes)
}

/// What is an answer to this question; anything else is none.
fn offer(bytes: &[u8], id: u32, from: SocketAddr) -> Option<Offer> {
    let message = Message::decode(&mut Decoder::new(bytes)).ok()?;
    let options = message.opts();
    let Some(DhcpOption::MessageType(MessageType::Offer)) = options.get(OptionCode::MessageType)
    else {
        return None;
    };
    if message.xid() != id {
        return None;
    }
    let server = match (options.get(OptionCode::ServerIdentifier), from) {
        (Some(DhcpOption::ServerIdentifier(server)), _) => *server,
        (_, SocketAddr::V4(from)) => *from.ip(),
        (_, SocketAddr::V6(_)) => return None,
    };
    let shown = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.chars().filter(|c| !c.is_control()).collect::<String>()
    };
    let text = |code: OptionCode| match options.get(code)? {
        DhcpOption::TFTPServerName(bytes) | DhcpOption::BootfileName(bytes) => Some(shown(bytes)),
        DhcpOption::CaptivePortal(url) => Some(shown(url.as_bytes())),
        DhcpOption::Unknown(unknown) => Some(shown(unknown.data())),
        _ => None,
    };
    let boot = [
        ("tftp server", OptionCode::TFTPServerName),
        ("boot file", OptionCode::BootfileName),
        ("default-url", OptionCode::from(DEFAULT_URL)),
        ("ztp", OptionCode::from(ZTP_URL)),
    ];
    let boot = boot.into_iter().filter_map(|(name, code)| Some(format!("{name} {}", text(code)?)));
    Some(Offer { server, address: message.yiaddr(), boot: boot.collect() })
}

impl std::fmt::Display for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} offers {}", self.server, self.address)?;
        match self.boot.is_empty() {
            true => write!(f, ", and nothing to boot"),
            false => write!(f, ", {}", self.boot.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use dhcproto::v4::UnknownOption;

    use super::*;

    fn answer(kind: MessageType, id: u32) -> Vec<u8> {
        let none = Ipv4Addr::UNSPECIFIED;
        let address = Ipv4Addr::new(10, 0, 0, 9);
        let mut message = Message::new_with_id(id, none, address, none, none, &[1; 6]);
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        options.insert(DhcpOption::ServerIdentifier(Ipv4Addr::new(10, 0, 0, 1)));
        options.insert(DhcpOption::BootfileName(b"onie\x1b[31m-installer".to_vec()));
        let url = b"http://10.0.0.1/ztp.json".to_vec();
        options.insert(DhcpOption::Unknown(UnknownOption::new(OptionCode::from(ZTP_URL), url)));
        message.encode_to_vec()
    }

    trait EncodeToVec {
        fn encode_to_vec(&self) -> Vec<u8>;
    }

    impl EncodeToVec for Message {
        fn encode_to_vec(&self) -> Vec<u8> {
            let mut bytes = Vec::new();
            self.encode(&mut Encoder::new(&mut bytes)).unwrap();
            bytes
        }
    }

    #[test]
    fn an_offer_is_told_with_what_boots() {
        let from: SocketAddr = "10.0.0.2:67".parse().unwrap();
        let found = offer(&answer(MessageType::Offer, 7), 7, from).unwrap();
        let expected =
            "10.0.0.1 offers 10.0.0.9, boot file onie[31m-installer, ztp http://10.0.0.1/ztp.json";
        assert_eq!(found.to_string(), expected);
        assert_eq!(offer(&answer(MessageType::Offer, 8), 7, from), None);
        assert_eq!(offer(&answer(MessageType::Ack, 7), 7, from), None);
        assert_eq!(offer(b"anything", 7, from), None);
    }

    #[test]
    fn a_discover_asks_for_what_boots() {
        let bytes = discover(7, [2, 0, 0, 0, 0, 1]).unwrap();
        let message = Message::decode(&mut Decoder::new(&bytes)).unwrap();
        assert_eq!((message.xid(), message.chaddr()), (7, &[2, 0, 0, 0, 0, 1][..]));
        assert!(message.flags().broadcast());
        let wanted = message.opts().get(OptionCode::ParameterRequestList);
        let Some(DhcpOption::ParameterRequestList(wanted)) = wanted else { panic!("{message:?}") };
        assert!(wanted.contains(&OptionCode::from(ZTP_URL)));
    }
}
