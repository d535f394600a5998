//! The way to the coordinator, and who this agent is there.

use std::net::SocketAddr;
use std::time::Duration;

use proto::v1;
use proto::v1::link_client::LinkClient;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tonic::Code;

use super::Finding;
use crate::clock;
use crate::config::Config;
use crate::identity::{self, Identity};

/// For each step on the way.
const PATIENCE: Duration = Duration::from_secs(5);

/// A certificate is renewed daily; with less than this left, that has failed for weeks.
const WEEK_S: i64 = 7 * DAY_S;

const DAY_S: i64 = 24 * 3600;

/// Clocks that differ by more, in µs, are wrong, and by [`FAR_US`] too wrong to work with.
const NEAR_US: u64 = 5_000_000;

/// See [`NEAR_US`].
const FAR_US: u64 = 60_000_000;

pub(super) fn certificate(identity: &Identity) -> Finding {
    const CHECK: &str = "certificate";
    let now = i64::try_from(clock::wall_us() / 1_000_000).unwrap_or(i64::MAX);
    let left = identity.not_after - now;
    let partition = &identity.partition;
    let found = format!("of partition {partition}, valid for {} days", left.max(0) / DAY_S);
    if now < identity.not_before {
        let found = format!("of partition {partition}, not valid yet by this host's clock");
        Finding::fail(CHECK, found, "set the clock")
    } else if left < 0 {
        let found = format!("of partition {partition}, expired {} days ago", -left / DAY_S);
        let advice = "start the agent: it renews the certificate, up to 180 days behind its end";
        Finding::fail(CHECK, found, advice)
    } else if left < WEEK_S {
        let advice = "see in the agent's log why it was not renewed: that happens each day";
        Finding::warn(CHECK, found, advice)
    } else {
        Finding::ok(CHECK, found)
    }
}

/// Name and TCP; then TLS, an answer, and the clocks, if it gets so far.
pub(super) async fn coordinator(config: &Config, identity: &Identity) -> Vec<Finding> {
    let mut found = way(config).await;
    if found.iter().any(|it| it.status == super::Status::Fail) {
        return found;
    }
    let channel = match timeout(PATIENCE, identity.channel(config)).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => {
            let advice = match error {
                identity::Error::Untrusted { .. } => "see who answers at that address",
                _ => "let TLS pass from here to the coordinator as it is",
            };
            found.push(Finding::fail("tls", error.to_string(), advice));
            return found;
        }
        Err(_) => {
            let advice = "look for what lets TCP through and holds TLS up, such as a small MTU";
            found.push(Finding::fail("tls", "the handshake did not end", advice));
            return found;
        }
    };
    found.push(Finding::ok("tls", "the coordinator is of the authority that this agent joined"));
    let sent = clock::wall_us();
    let mut client = LinkClient::new(channel);
    match timeout(PATIENCE, client.ping(v1::PingRequest {})).await {
        Ok(Ok(answer)) => {
            let answer = answer.into_inner();
            let found_out = format!("garrison {} answers", answer.version);
            found.push(Finding::ok("coordinator", found_out));
            found.push(clocks(sent, clock::wall_us(), answer.time_us));
        }
        Ok(Err(status)) if status.code() == Code::Unimplemented => {
            let words = "it is older, and answers no such question";
            let advice = "upgrade the coordinator to have clocks compared";
            found.push(Finding::warn("coordinator", words, advice));
        }
        Ok(Err(status)) => {
            let advice = match status.code() {
                Code::PermissionDenied => {
                    "if the agent was cut off by mistake, join again with a new token"
                }
                Code::Unauthenticated => "start the agent: it renews its certificate first",
                _ => "look at the coordinator's own log",
            };
            found.push(Finding::fail("coordinator", status.message(), advice));
        }
        Err(_) => {
            let advice = "look at the coordinator's own log and load";
            found.push(Finding::fail("coordinator", "it does not answer", advice));
        }
    }
    found
}

/// Whether the coordinator's name is known here, and its port is open.
pub(super) async fn way(config: &Config) -> Vec<Finding> {
    let Some((host, port)) = config.authority() else { return Vec::new() };
    let looked_up = timeout(PATIENCE, lookup_host((host, port))).await;
    let addresses: Vec<SocketAddr> = match looked_up {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return vec![no_name(host, &error.to_string())],
        Err(_) => return vec![no_name(host, "no name server answers")],
    };
    let list: Vec<_> = addresses.iter().map(|it| it.ip().to_string()).collect();
    let mut found = vec![Finding::ok("name", format!("{host} is {}", list.join(", ")))];
    for address in addresses {
        let error = match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                found.push(Finding::ok("tcp", format!("{address} accepts connections")));
                return found;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        let advice = "start the coordinator, or let this host out to that address and port: the agent \
                      alone dials, nothing need come in";
        found.push(Finding::fail("tcp", format!("{address}: {error}"), advice));
    }
    found
}

fn no_name(host: &str, words: &str) -> Finding {
    let advice = "correct `coordinator`, or name its address in /etc/hosts: then the link needs no name server";
    Finding::fail("name", format!("{host} cannot be looked up: {words}"), advice)
}

/// Compares this host's clock with an answer's, which was given at some time between the two.
fn clocks(sent_us: u64, heard_us: u64, theirs_us: u64) -> Finding {
    const CHECK: &str = "clock";
    let distance = match theirs_us {
        theirs if theirs < sent_us => sent_us - theirs,
        theirs => theirs.saturating_sub(heard_us),
    };
    let side = if theirs_us < sent_us { "ahead of" } else { "behind" };
    let found =
        format!("{}.{} s {side} the coordinator's", distance / 1_000_000, distance / 100_000 % 10);
    let advice = "set the clock of whichever is wrong, and have NTP keep it";
    if distance == 0 {
        Finding::ok(CHECK, "as the coordinator's")
    } else if distance <= NEAR_US {
        Finding::ok(CHECK, found)
    } else if distance <= FAR_US {
        Finding::warn(CHECK, found, advice)
    } else {
        Finding::fail(CHECK, found, advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn clocks_may_differ_by_what_the_answer_took() {
        let s = 1_000_000;
        let told = |theirs: u64| {
            let found = clocks(100 * s, 102 * s, theirs);
            (found.status, found.found)
        };
        assert_eq!(told(101 * s), (Status::Ok, "as the coordinator's".to_owned()));
        assert_eq!(told(104 * s).0, Status::Ok);
        let (status, found) = told(110 * s);
        assert_eq!((status, found.as_str()), (Status::Warn, "8.0 s behind the coordinator's"));
        let (status, found) = told(39 * s);
        assert_eq!((status, found.as_str()), (Status::Fail, "61.0 s ahead of the coordinator's"));
    }
}
