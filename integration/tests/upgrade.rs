//! Upgrades: agents change their program under running jobs, by order and by package, and go back
//! where the new one is no good.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use garrison::site::{OPEN_POLICY, wait};
use integration::{Said, World, ok, program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Writes a thousand lines, waits for `DIR/go`, writes a thousand more.
fn pipeline(dir: &Path) -> String {
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  long:\n    process: {{}}\n    \
         timeout: 5m\n    run: |\n      echo start >> {dir}/starts\n      seq 1000\n      \
         until [ -e {dir}/go ]; do sleep 0.05; done\n      seq 1001 2000\n",
        dir = dir.display()
    )
}

/// A job that runs and writes, and what it waits for.
struct Running {
    world: World,
    dir: tempfile::TempDir,
    run: u64,
}

impl Running {
    fn start() -> Running {
        let dir = tempfile::tempdir().unwrap();
        let world = World::start(&["fra"], &pipeline(dir.path()));
        let run = world.trigger();
        let starts = dir.path().join("starts");
        ok(wait("the job to run", || starts.exists().then_some(())));
        Running { world, dir, run }
    }

    /// Lets the job go on, and looks at what became of it.
    fn check(&self) {
        fs::write(self.dir.path().join("go"), "").unwrap();
        let run = self.world.finished(self.run);
        assert_eq!(run["status"], "succeeded", "{run:#}\n{}", self.world.logs());
        let numbers: String = (1..=2000).map(|number| format!("{number}\n")).collect();
        let log = self.world.log(self.run, 0);
        assert!(log.ends_with(&numbers), "{} bytes: {log:.200}", log.len());
        assert_eq!(fs::read_to_string(self.dir.path().join("starts")).unwrap(), "start\n");
    }

    /// This build's program with other bytes behind it, which do nothing.
    fn another(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        let mut bytes = fs::read(program()).unwrap();
        bytes.extend(name.as_bytes());
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The same, whose agent says something else to the coordinator than what that understands.
    fn mute(&self) -> PathBuf {
        let path = self.another("mute");
        let mut bytes = fs::read(&path).unwrap();
        let (word, other) = (b"/garrison.v1.Link/Control", b"/garrison.v1.Link/Contort");
        let places: Vec<usize> = memchr::memmem::find_iter(&bytes, word).collect();
        assert!(!places.is_empty(), "the program does not hold the name of its call");
        for at in places {
            bytes[at..at + word.len()].copy_from_slice(other);
        }
        fs::write(&path, bytes).unwrap();
        path
    }

    fn upgrade(&self, arguments: &[&str]) -> Said {
        let all = [&["agents", "upgrade", "fra/mgmt01", "-o", "json"], arguments].concat();
        self.world.garrison(&all)
    }

    fn upgrade_to(&self, program: &Path) -> Said {
        self.upgrade(&["--program", program.to_str().unwrap()])
    }

    fn pid(&self) -> u32 {
        self.world.site.agent_pid("fra", "mgmt01").unwrap()
    }

    /// The file that the agent's process runs.
    fn runs(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/exe", self.pid())).unwrap()
    }

    fn agent(&self) -> serde_json::Value {
        self.world.garrison(&["agents", "list", "-o", "json"]).json()[0].clone()
    }

    /// Another job runs, through.
    fn check_work(&self) {
        fs::write(self.dir.path().join("go"), "").unwrap();
        let run = self.world.finished(self.world.trigger());
        assert_eq!(run["status"], "succeeded", "{run:#}");
    }
}

fn upgrade_of(said: &Said) -> serde_json::Value {
    said.json()[0]["upgrade"].clone()
}

#[test]
fn an_agent_changes_its_program_under_a_running_job() {
    let mut running = Running::start();
    let (pid, before) = (running.pid(), running.runs());
    let said = running.upgrade_to(&running.another("second"));
    assert_eq!((said.code, &upgrade_of(&said)["status"]), (0, &"done".into()), "{said:?}");
    assert_eq!(running.pid(), pid);
    assert_ne!(running.runs(), before);
    running.check();
    running.check_work();
    // Runners that were children of the process before have not stayed behind as zombies.
    let zombies = || processes_of(pid).into_iter().filter(|state| state == "Z").count();
    ok(wait("the runners' ends to be heard", || (zombies() == 0).then_some(())));

    // A restart of its service starts the installed program, which knows of the other.
    ok(running.world.site.stop_agent("fra", "mgmt01"));
    ok(running.world.site.start_agent("fra", "mgmt01"));
    assert_ne!(running.runs(), before);
    running.check_work();
}

/// The states of a process's children.
fn processes_of(pid: u32) -> Vec<String> {
    let stat = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("stat")).ok();
    let stats = fs::read_dir("/proc").unwrap().flatten().filter_map(stat);
    let fields = |text: String| {
        let fields: Vec<String> =
            text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect();
        (fields[1] == pid.to_string()).then(|| fields[0].clone())
    };
    stats.filter_map(fields).collect()
}

#[test]
fn the_coordinators_own_program_is_the_usual_one() {
    let running = Running::start();
    let said = running.upgrade(&[]);
    assert_eq!((said.code, &upgrade_of(&said)["status"]), (0, &"done".into()), "{said:?}");
    let audit = running.world.garrison(&["audit"]).out;
    assert!(audit.contains("asked agent fra/mgmt01 to run program"), "{audit}");
    running.check();
}

#[test]
fn a_program_that_cannot_link_gives_way_to_the_one_before_it() {
    let running = Running::start();
    let folder = running.world.site.agent_dir("fra", "mgmt01");
    let config = fs::read_to_string(folder.join("agent.toml")).unwrap();
    fs::write(folder.join("agent.toml"), format!("{config}upgrade_patience = \"3s\"\n")).unwrap();
    let (pid, before) = (running.pid(), running.runs());
    let said = running.upgrade_to(&running.mute());
    let upgrade = upgrade_of(&said);
    assert_eq!((said.code, &upgrade["status"]), (1, &"failed".into()), "{said:?}");
    let reason = upgrade["reason"].as_str().unwrap();
    assert!(reason.contains("did not answer it within 3 s"), "{reason}");
    assert_eq!((running.pid(), running.runs()), (pid, before));
    running.check();
}

#[test]
fn a_program_that_ends_on_trial_gives_way_at_the_next_start() {
    let mut running = Running::start();
    let before = running.runs();
    let mute = running.mute();
    let said = running.upgrade(&["--detach", "--program", mute.to_str().unwrap()]);
    assert_eq!((said.code, &upgrade_of(&said)["status"]), (0, &"asked".into()), "{said:?}");
    ok(wait("the program to be on trial", || (running.runs() != before).then_some(())));
    ok(running.world.site.kill_agent("fra", "mgmt01"));
    ok(running.world.site.start_agent("fra", "mgmt01"));
    assert_eq!(running.runs(), before);
    // The link is there before what it tells is recorded.
    let reason = || running.agent()["upgrade"]["reason"].as_str().map(str::to_owned);
    let reason = ok(wait("the reason to be told", reason));
    assert!(reason.contains("ended before the coordinator answered"), "{reason}");
    running.check();
}

#[test]
fn a_program_that_is_none_is_refused_in_words() {
    let running = Running::start();
    let path = running.dir.path().join("script");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    let said = running.upgrade_to(&path);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("no program for Linux"), "{said:?}");
    // One for another machine, or broken: its check tells, and the agent was never away.
    let since = running.agent()["since_us"].clone();
    fs::write(&path, b"\x7fELF and nothing else").unwrap();
    let said = running.upgrade_to(&path);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(upgrade_of(&said)["reason"].to_string().contains("does not start here"), "{said:?}");
    assert_eq!(running.agent()["since_us"], since);
    let said = running.world.garrison(&["agents", "upgrade", "fra/nobody"]);
    assert_eq!(said.code, 4, "{said:?}");
    running.check();
}

#[test]
fn an_agent_that_is_away_is_upgraded_when_it_is_back() {
    let mut running = Running::start();
    let before = running.runs();
    ok(running.world.site.stop_agent("fra", "mgmt01"));
    let second = running.another("second");
    let said = running.upgrade(&["--detach", "--program", second.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{said:?}");
    ok(running.world.site.launch_agent("fra", "mgmt01"));
    ok(wait("the upgrade", || (running.agent()["upgrade"]["status"] == "done").then_some(())));
    assert_ne!(running.runs(), before);
    running.check();
}

#[test]
fn a_job_has_its_own_agent_restarted_with_another_program() {
    // As a package does: the file is replaced, the service restarted, here by the test's hand.
    let dir = tempfile::tempdir().unwrap();
    let installed = dir.path().join("garrison");
    fs::copy(program(), &installed).unwrap();
    let pipeline = format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  upgrade:\n    process: {{}}\n    run: |\n      \
         cp {new} {dir}/new\n      mv {dir}/new {dir}/garrison\n      touch {dir}/restart\n      \
         until [ -e {dir}/restarted ]; do sleep 0.05; done\n      echo upgraded\n",
        new = program().display(),
        dir = dir.path().display(),
    );
    let mut world = World::without_agents(&["fra"], &pipeline);
    world.site.set_program(&installed);
    ok(world.site.add_agent("fra", "mgmt01", 1, OPEN_POLICY));
    let run = world.trigger();
    ok(wait("the job to ask", || dir.path().join("restart").exists().then_some(())));
    let pid = world.site.agent_pid("fra", "mgmt01").unwrap();
    let old = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert!(old.to_string_lossy().ends_with("(deleted)"), "{}", old.display());
    kill(Pid::from_raw(pid as i32), Signal::SIGTERM).unwrap();
    ok(world.site.stop_agent("fra", "mgmt01"));
    ok(world.site.start_agent("fra", "mgmt01"));
    fs::write(dir.path().join("restarted"), "").unwrap();
    assert_eq!(world.finished(run)["status"], "succeeded", "{}", world.logs());
    assert!(world.log(run, 0).ends_with("upgraded\n"));
}
