//! The ISO that `bootstrap-partition` makes, in machines that QEMU emulates. What comes behind the mirror's first
//! answer is Debian's own.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use garrison::site::{OPEN_POLICY, wait_within};
use integration::vm::Machine;
use integration::{World, ok};

use crate::web::Web;

const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/library");

/// The jobs of `bootstrap-partition`, on a host that has what the installer's image has.
const PIPELINE: &str = r#"
on: { manual: {} }
partitions: [fra-equ01]
jobs:
  preseed:
    devices: { names: [mgmt01] }
    render: { template: templates/preseed.cfg.j2, to: "iso/{{ device.name }}/preseed.cfg" }
  iso:
    needs: [preseed]
    devices: { of: preseed }
    process: {}
    run:
      - cd "iso/$GARRISON_DEVICE"
      - ../../files/make-iso "$GARRISON_DEVICE"
    artifacts: { paths: ["iso/*/*.iso"] }
"#;

/// A machine with an empty disk, the ISO in its drive, and four ports, of which `fw01` is the last one and the
/// only one that reaches this host, as 10.0.2.2.
fn boot(dir: &Path, iso: &str, firmware: &[&str]) -> Machine {
    let disk = dir.join("disk");
    fs::File::create(&disk).unwrap().set_len(8 << 30).unwrap();
    let mut parts: Vec<String> = firmware.iter().map(|&it| it.to_owned()).collect();
    let disk = format!("file={},format=raw,if=virtio", disk.display());
    parts.extend(["-drive".to_owned(), disk, "-cdrom".to_owned(), iso.to_owned()]);
    for (number, restricted) in [(4, "on"), (3, "on"), (2, "on"), (1, "off")] {
        let network = format!("user,id=port{number},restrict={restricted}");
        // Firmware has nothing to boot from there.
        let port = format!("netdev=port{number},mac=02:00:00:02:01:0{number},romfile=");
        parts.extend(["-netdev".to_owned(), network]);
        parts.extend(["-device".to_owned(), format!("virtio-net-pci,{port}")]);
    }
    Machine::switch_on(dir, &parts)
}

#[test]
fn a_server_with_bios_boots_from_its_iso_and_asks_the_mirror_without_a_question() {
    asks_the_mirror(&[]);
}

#[test]
fn a_server_with_uefi_boots_from_its_iso_and_asks_the_mirror_without_a_question() {
    asks_the_mirror(&["-bios", "/usr/share/ovmf/OVMF.fd"]);
}

fn asks_the_mirror(firmware: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let web = Web::start(here);
    let mut world = World::without_agents(&["fra-equ01"], "on: { manual: {} }\njobs: {}\n");
    let repository = world.site.repository();
    let mut copy = Command::new("cp");
    copy.arg("-r").args(["files", "templates"].map(|it| format!("{LIBRARY}/{it}")));
    assert!(copy.arg(repository).status().unwrap().success());
    let inventory = fs::read_to_string(format!("{LIBRARY}/partitions/fra-equ01.yaml")).unwrap();
    let mirror = web.url.replace("http://127.0.0.1", "10.0.2.2");
    let inventory = inventory.replace("deb.debian.org", &mirror).replace("/dev/sda", "/dev/vda");
    ok(world
        .site
        .commit(&[(".garrison/iso.yaml", PIPELINE), ("partitions/fra-equ01.yaml", &inventory)]));
    ok(world.site.add_agent("fra-equ01", "outside", 8, OPEN_POLICY));

    let said = world.garrison(&["trigger", "iso", "--repository", "infra", "-o", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let run = said.json()["id"].as_u64().unwrap();
    let detail = world.finished(run);
    assert_eq!(detail["status"], "succeeded", "{}", world.log(run, 1));
    let files = here.join("artifacts").display().to_string();
    let said = world.garrison(&["artifacts", &run.to_string(), "--download", &files]);
    assert_eq!(said.code, 0, "{said:?}");
    let found = Command::new("find").args([&files, "-name", "mgmt01.iso"]).output().unwrap();
    let iso = String::from_utf8(found.stdout).unwrap();

    let machine = boot(here, iso.trim(), firmware);
    let release = "/debian/dists/bookworm/Release";
    let asked = wait_within(Duration::from_secs(600), "the installer at its mirror", || {
        web.asked().iter().any(|path| path == release).then_some(())
    });
    let console = machine.console();
    assert!(asked.is_ok(), "{asked:?}\n{console}");
    assert!(console.contains("fw01: renamed from"), "{console}");
}
