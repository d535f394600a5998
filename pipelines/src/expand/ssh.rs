//! A job on a device, with all that its inventory says of the way there.

use super::{Instance, fill};
use crate::ast::{Ssh as Written, Transfer};
use crate::check::{self, Elsewhere};
use crate::diagnostic::Report;
use crate::inventory::{Device, Inventory};
use crate::name::{AgentName, DeviceName};
use crate::parse::Side;
use crate::plan::{Download, Reboot, Ssh, Upload};

/// What the job does on its device; none if something is missing that was reported.
pub(super) fn ssh(
    instance: &Instance<'_, '_>,
    written: &Written,
    inventory: &Inventory,
    fill: &fill::Filled<'_>,
    report: &mut Report<'_>,
) -> Option<Ssh> {
    let (name, device) = instance.target.device?;
    let job = instance.written;
    let reboot = job.reboot.as_ref().map(|reboot| Reboot {
        wait_s: reboot.wait_s,
        host_key: reboot.host_key,
        run: reboot.run.as_ref().map(|run| fill.command(run, report)),
    });
    let uploads = job.upload.iter().flat_map(|upload| &upload.transfers);
    let upload = uploads.map(|it| upload(it, fill, report)).collect();
    let downloads = job.download.iter().flat_map(|download| &download.transfers);
    let download = downloads.map(|it| download(it, fill, report)).collect();
    let reached = reached(name, device, inventory);
    Some(Ssh {
        user: written.user.clone().unwrap_or_else(|| device.user.clone()),
        device_kind: device.kind,
        sudo: written.sudo.as_ref().map(|sudo| sudo.value.clone()),
        pty: written.pty,
        timeout_s: written.timeout_s,
        key: written.key.as_ref().map(|key| key.value.clone()),
        upload,
        download,
        reboot,
        ..reached
    })
}

/// A device and how to reach it, as its inventory says.
pub(super) fn reached(name: &DeviceName, device: &Device, inventory: &Inventory) -> Ssh {
    let mut host_keys = device.host_keys.iter().cloned();
    let first = host_keys.next().unwrap_or_default();
    let (address, user) = (device.address.clone(), device.user.clone());
    Ssh {
        more_host_keys: host_keys.collect(),
        host_ca: device.host_ca.clone(),
        rsa: device.rsa,
        jump: inventory.jumps(name),
        ..Ssh::new(name.clone(), address, device.port, user, first)
    }
}

fn upload(written: &Transfer, fill: &fill::Filled<'_>, report: &mut Report<'_>) -> Upload {
    Upload {
        from: fill.path(&written.from, Side::File, report),
        to: fill.path(&written.to, Side::RemoteFileOrFolder, report),
        mode: written.mode,
    }
}

fn download(written: &Transfer, fill: &fill::Filled<'_>, report: &mut Report<'_>) -> Download {
    Download {
        from: fill.path(&written.from, Side::RemoteFile, report),
        to: fill.path(&written.to, Side::FileOrFolder, report),
    }
}

/// The agent that carries out a reboot, where it cannot be any of the partition.
pub(super) fn elsewhere<'i>(
    instance: &Instance<'_, '_>,
    inventory: &'i Inventory,
) -> Option<&'i AgentName> {
    let (device, _) = instance.target.device?;
    match check::elsewhere(instance.written, device, inventory) {
        Elsewhere::On(agent) => Some(agent),
        Elsewhere::Any | Elsewhere::Nowhere => None,
    }
}
