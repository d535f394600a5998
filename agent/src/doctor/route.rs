//! The default route, and whether packets are forwarded.

use std::fs;

use serde::Deserialize;
use tokio::process::Command;

use super::Finding;

/// Where the kernel says whether it forwards.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// A route as `ip -json route` prints it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Route {
    #[serde(default)]
    gateway: Option<String>,
    #[serde(default)]
    dev: Option<String>,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    nexthops: Vec<Route>,
}

/// Whether there is a default route that came by `protocol`; by any if that is `any`.
pub(super) async fn default(protocol: &str) -> Finding {
    const CHECK: &str = "default route";
    let output =
        Command::new("ip").args(["-json", "-4", "route", "show", "default"]).output().await;
    let output = match output {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Finding::fail(CHECK, words, "see what `ip route show default` says");
        }
        Err(error) => {
            let advice = "apt-get install iproute2";
            return Finding::fail(CHECK, format!("cannot start ip: {error}"), advice);
        }
    };
    judge(&output, protocol)
}

fn judge(listed: &[u8], protocol: &str) -> Finding {
    const CHECK: &str = "default route";
    let Ok(routes) = serde_json::from_slice::<Vec<Route>>(listed) else {
        return Finding::fail(CHECK, "ip printed something else than routes", "upgrade iproute2");
    };
    let by = |route: &Route| route.protocol.clone().unwrap_or_else(|| "boot".to_owned());
    let told = |route: &Route| {
        let hops = route.nexthops.iter().chain([route]);
        let hops = hops.filter_map(|hop| match (&hop.gateway, &hop.dev) {
            (Some(gateway), _) => Some(format!("via {gateway}")),
            (None, Some(dev)) => Some(format!("on {dev}")),
            (None, None) => None,
        });
        format!("{} by {}", hops.collect::<Vec<_>>().join(", "), by(route))
    };
    match routes.iter().find(|route| protocol == "any" || by(route) == protocol) {
        Some(route) => Finding::ok(CHECK, told(route)),
        None if routes.is_empty() => {
            let advice =
                "have the management firewall propagate one, and look at the BGP session with it";
            Finding::fail(CHECK, "there is none", advice)
        }
        None => {
            let list: Vec<_> = routes.iter().map(told).collect();
            let advice = format!(
                "it should come by {protocol}: look at the session with the management firewall"
            );
            Finding::fail(CHECK, list.join("; "), advice)
        }
    }
}

pub(super) fn forwarding() -> Finding {
    const CHECK: &str = "forwarding";
    match fs::read_to_string(FORWARD) {
        Ok(text) if text.trim() == "1" => Finding::ok(CHECK, "IPv4 is forwarded"),
        Ok(_) => {
            let advice = "set `net.ipv4.ip_forward = 1` in a file of /etc/sysctl.d";
            Finding::fail(CHECK, "IPv4 is not forwarded", advice)
        }
        Err(error) => Finding::fail(CHECK, format!("{FORWARD}: {error}"), "mount /proc"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_default_route_is_judged_by_how_it_came() {
        let one =
            br#"[{"dst":"default","gateway":"10.0.0.1","dev":"eth0","protocol":"bgp","flags":[]}]"#;
        let found = judge(one, "bgp");
        assert_eq!((found.status, found.found.as_str()), (Status::Ok, "via 10.0.0.1 by bgp"));
        assert_eq!(judge(one, "any").status, Status::Ok);
        assert_eq!(judge(one, "ospf").status, Status::Fail);
        let two = br#"[{"dst":"default","protocol":"bgp","nexthops":[{"gateway":"10.0.0.1","dev":"a"},{"dev":"b"}]}]"#;
        assert_eq!(judge(two, "bgp").found, "via 10.0.0.1, on b by bgp");
        assert_eq!(judge(b"[]", "any").found, "there is none");
        assert_eq!(judge(b"[ ]x", "any").status, Status::Fail);
    }
}
