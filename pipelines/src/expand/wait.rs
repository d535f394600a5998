//! What a job waits for, filled in at one place.

use super::Instance;
use super::fill::Filled;
use super::ssh;
use crate::ast::{Check as Written, Probe as WrittenProbe, Text};
use crate::diagnostic::Report;
use crate::inventory::Inventory;
use crate::parse::ProbeForm as Form;
use crate::probe::{Check, Http, Probe, Tls};

/// Between two tries, if nothing is said; in seconds.
const INTERVAL_S: u32 = 5;

/// Until a probe must have passed, if nothing is said; in seconds.
const TIMEOUT_S: u32 = 5 * 60;

/// The probes of a job; none if something is missing that was reported.
pub(super) fn probes(
    instance: &Instance<'_, '_>,
    inventory: Option<&Inventory>,
    fill: &Filled<'_>,
    report: &mut Report<'_>,
) -> Option<Vec<Probe>> {
    let written = instance.written.wait.iter().flat_map(|wait| &wait.probes);
    written.map(|written| probe(written, instance, inventory, fill, report)).collect()
}

fn probe(
    written: &WrittenProbe,
    instance: &Instance<'_, '_>,
    inventory: Option<&Inventory>,
    fill: &Filled<'_>,
    report: &mut Report<'_>,
) -> Option<Probe> {
    let mut text = |text: &Text, form| fill.of_probe(text, form, report);
    let check = match &written.check {
        Written::Tcp(address) => Check::Tcp { address: text(address, Form::Address) },
        Written::Ssh(address) => Check::Ssh { address: text(address, Form::Address) },
        Written::HostKey(Some(device)) => {
            let inventory = inventory?;
            let found = inventory.devices.get(&device.value)?;
            Check::HostKey { device: Box::new(ssh::reached(&device.value, found, inventory)) }
        }
        Written::HostKey(None) => {
            let (name, device) = instance.target.device?;
            Check::HostKey { device: Box::new(ssh::reached(name, device, inventory?)) }
        }
        Written::Http { url, status, body, ca } => Check::Http(Http {
            url: text(url, Form::Url),
            status: status.clone(),
            body: body.as_ref().map(|body| text(body, Form::Pattern)),
            ca: ca.as_ref().map(|ca| text(ca, Form::Path)),
        }),
        Written::Tls { address, server_name, issuer, valid_for_s, ca } => Check::Tls(Tls {
            address: text(address, Form::Address),
            server_name: server_name.as_ref().map(|name| text(name, Form::Any)),
            issuer: issuer.as_ref().map(|issuer| text(issuer, Form::Any)),
            valid_for_s: *valid_for_s,
            ca: ca.as_ref().map(|ca| text(ca, Form::Path)),
        }),
        Written::Run { line, output } => {
            let output = output.as_ref().map(|output| text(output, Form::Pattern));
            Check::Run { line: fill.command(line, report), output }
        }
    };
    Some(Probe {
        check,
        interval_s: written.interval_s.unwrap_or(INTERVAL_S),
        timeout_s: written.timeout_s.as_ref().map_or(TIMEOUT_S, |timeout| timeout.value),
    })
}
