//! The systemd units that sites install: systemd understands them, and jobs live within their bounds.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use garrison::site::Site;
use integration::{World, image, kill_runner, ok, program};
use tempfile::TempDir;

const UNITS: [&str; 3] =
    ["garrison-coordinator.service", "garrison-agent.service", "garrison.slice"];

/// A user that is not root.
const OTHER: u32 = 4711;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").canonicalize().unwrap()
}

fn read(file: &str) -> String {
    fs::read_to_string(deploy().join(file)).unwrap()
}

/// The units, with this build's program in the place of the installed one.
fn units() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for unit in UNITS {
        let text = read(&format!("systemd/{unit}"));
        let text = text.replace("/usr/bin/garrison", program().to_str().unwrap());
        fs::write(folder.path().join(unit), text).unwrap();
    }
    folder
}

fn analyze(arguments: &[&str], units: &[PathBuf]) -> Output {
    let output = Command::new("systemd-analyze").args(arguments).args(units).output();
    output.unwrap_or_else(|error| panic!("systemd-analyze: {error}; apt-get install systemd"))
}

/// The values of a key in a unit.
fn values(unit: &str, key: &str) -> Vec<String> {
    let text = read(&format!("systemd/{unit}"));
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
    text.lines().filter_map(value).collect()
}

#[test]
fn systemd_understands_the_units() {
    let folder = units();
    let paths = UNITS.map(|unit| folder.path().join(unit));
    let output = analyze(&["verify"], &paths);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "{words}");

    // As it is installed: a drop-in of the agent's unit.
    let dropped = folder.path().join("garrison-agent.service.d");
    fs::create_dir(&dropped).unwrap();
    fs::write(dropped.join("host.conf"), read("systemd/garrison-agent-host.conf")).unwrap();
    let output = analyze(&["verify"], &paths);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "{words}");
}

/// Those that the library's pipelines install.
#[test]
fn systemd_understands_the_librarys_units() {
    let library = deploy().join("../pipelines/library/files");
    let folder = tempfile::tempdir().unwrap();
    let units = ["garrison-agent.service", "firewall-rules.service"].map(|unit| {
        let text = fs::read_to_string(library.join(unit)).unwrap();
        let text = text.replace("/usr/local/bin/garrison", program().to_str().unwrap());
        let path = folder.path().join(unit);
        fs::write(&path, text).unwrap();
        path
    });
    let output = analyze(&["verify"], &units);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "{words}");
}

#[test]
fn the_units_leave_their_services_few_rights() {
    let folder = units();
    // In tenths, as systemd counts: 0 is none, 100 all. The agent is root, and ends other users' processes.
    for (unit, threshold) in [(UNITS[0], "15"), (UNITS[1], "30")] {
        let threshold = format!("--threshold={threshold}");
        let output =
            analyze(&["security", "--offline=true", &threshold], &[folder.path().join(unit)]);
        let said = String::from_utf8_lossy(&output.stdout);
        let last = said.lines().last().unwrap_or_default();
        assert!(output.status.success(), "{last} {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn jobs_outlive_a_restart_of_the_agents_unit() {
    let unit = UNITS[1];
    assert_eq!(values(unit, "KillMode"), ["process"]);
    // Else systemd stops the agent when the kernel ends a job for its memory.
    assert_eq!(values(unit, "OOMPolicy"), ["continue"]);
    // Both would be removed under running jobs.
    assert_eq!(values(unit, "RuntimeDirectoryPreserve"), ["yes"]);
    assert!(values(unit, "PrivateTmp").is_empty());
}

#[test]
fn the_sysusers_file_makes_the_coordinators_user() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let mut command = Command::new("systemd-sysusers");
    command.arg("--root").arg(root.path()).arg(deploy().join("systemd/garrison.sysusers"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let user = values(UNITS[0], "User").remove(0);
    assert!(users.lines().any(|line| line.starts_with(&format!("{user}:"))), "{users}");
}

/// What holds a process to the rights of the agent's unit.
fn rights() -> Vec<String> {
    let named = values(UNITS[1], "CapabilityBoundingSet").remove(0).to_lowercase();
    let rights: String = named.split(' ').map(|it| format!(",+{}", &it["cap_".len()..])).collect();
    let set = format!("--bounding-set=-all{rights}");
    ["setpriv", &set, "--no-new-privs", "--"].map(str::to_owned).into()
}

#[test]
fn the_rights_of_the_agents_unit_suffice_for_containers() {
    let pipeline = format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  work:\n    \
         container: {{ image: \"{}\", pull: never, network: none }}\n    run: |\n      \
         mkdir -m 700 left\n      touch left/file\n      \
         until [ -e go ]; do sleep 0.05; done\n",
        image()
    );
    let mut world = World::without_agents(&["fra"], &pipeline);
    let rights = rights();
    world.site.start_agents_by(&rights.iter().map(String::as_str).collect::<Vec<_>>());
    ok(world.site.add_agent("fra", "mgmt01", 8, ""));

    let run = world.trigger();
    let dir = attempt(&world.site, run);
    ok(garrison::site::wait("the job to be ready", || {
        dir.join("work/left/file").exists().then_some(())
    }));
    // As an image leaves it whose user is another.
    chown(dir.join("work/left"), Some(OTHER), Some(OTHER)).unwrap();
    fs::write(dir.join("work/go"), "").unwrap();
    let ended = world.finished(run);
    assert_eq!(ended["status"], "succeeded", "{ended:#}\n{}", world.logs());
    ok(garrison::site::wait("the attempt to be removed", || (!dir.exists()).then_some(())));

    // What a dead runner leaves is found and ended.
    let run = world.trigger();
    let dir = attempt(&world.site, run);
    ok(garrison::site::wait("the job to be ready", || {
        dir.join("work/left/file").exists().then_some(())
    }));
    chown(dir.join("work/left"), Some(OTHER), Some(OTHER)).unwrap();
    kill_runner(&dir);
    let ended = world.finished(run);
    let reason = ended["jobs"][0].to_string();
    assert!(reason.contains("lost"), "{ended:#}");
    assert!(!reason.contains("may still run"), "{ended:#}");
    ok(garrison::site::wait("the attempt to be removed", || (!dir.exists()).then_some(())));
}

/// The directory of a run's first attempt.
fn attempt(site: &Site, run: u64) -> PathBuf {
    site.agent_dir("fra", "mgmt01").join(format!("state/attempts/{run}.0.1"))
}
