//! What sites install, under systemd: in a machine of its own, with a kernel that has control groups of the second
//! version, and Docker.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use garrison::site::wait_within;
use integration::guide::blocks;
use integration::vm::Vm;
use integration::{ok, program};
use serde_json::Value;
use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The machine is emulated, and others are at work here.
const PATIENCE: Duration = Duration::from_secs(180);

const INVENTORY: &str = "partition: fra-equ01\nagents: { mgmt01: {} }\ndevices: {}\n";

/// A job that goes on until there is a file `go` where it works.
const WORK: &str = "echo begun; until [ -e go ]; do sleep 0.1; done; echo ended";

/// The files that the handbook installs, where its commands find them, and a repository.
fn unpack(vm: &Vm, dir: &Path, pipeline: &str) {
    let stripped = dir.join("garrison");
    let strip = Command::new("strip").arg("-o").args([&stripped, &program()]).status();
    assert!(strip.unwrap().success());
    let deploy = Path::new(ROOT).join("deploy");
    let systemd = fs::read_dir(deploy.join("systemd")).unwrap();
    let mut files: Vec<PathBuf> = systemd.map(|it| it.unwrap().path()).collect();
    files.extend([stripped, deploy.join("policy.toml")]);

    // As an operator would edit the examples.
    let read = |file: &str| fs::read_to_string(deploy.join(file)).unwrap();
    let repository =
        read("coordinator.toml").replace("https://git.example.org/infra.git", "/srv/infra");
    let agent = read("agent.toml");
    let agent = agent.split("[doctor]").next().unwrap();
    for (file, text) in [("coordinator.toml", repository.as_str()), ("agent.toml", agent)] {
        fs::write(dir.join(file), text).unwrap();
        files.push(dir.join(file));
    }
    vm.copy(&files, "/root");
    vm.insist(&format!(
        "echo '127.0.0.1 garrison.example.org' >> /etc/hosts\n\
         install -d -m 700 /etc/garrison/keys\n\
         ssh-keygen -q -t ed25519 -N '' -f /etc/garrison/keys/id_ed25519\n\
         chmod 755 /etc/garrison\n\
         git init --quiet --initial-branch main /srv/infra; cd /srv/infra; mkdir .garrison partitions\n\
         cat > .garrison/work.yaml <<'END'\n{pipeline}END\n\
         echo '{INVENTORY}' > partitions/fra-equ01.yaml\n\
         git add .; git -c user.name=o -c user.email=o@example.org commit --quiet --message work"
    ));
}

/// The commands of a block of the handbook's section about installing.
fn commands(number: usize) -> String {
    let handbook = fs::read_to_string(format!("{ROOT}/docs/operations.md")).unwrap();
    let section = handbook.split("\n## ").find(|it| it.starts_with("Installing by hand")).unwrap();
    blocks(section).swap_remove(number).text
}

/// A machine with a coordinator, and the pipeline `work`.
fn coordinator(pipeline: &str) -> (TempDir, Vm) {
    let dir = tempfile::tempdir().unwrap();
    let vm = Vm::boot(dir.path());
    unpack(&vm, dir.path(), pipeline);
    vm.insist(&commands(0));
    vm.insist("chown --recursive garrison /srv/infra");
    until(&vm, "the coordinator to answer", "sudo -u garrison garrison runs");
    (dir, vm)
}

fn garrison(vm: &Vm, words: &str) -> String {
    vm.insist(&format!("sudo -u garrison garrison {words}"))
}

fn trigger(vm: &Vm) -> u64 {
    let said = garrison(vm, "trigger work --repository infra -o json");
    serde_json::from_str::<Value>(&said).unwrap()["id"].as_u64().unwrap()
}

/// Waits until a script of root's says yes.
fn until(vm: &Vm, what: &str, script: &str) {
    let came = wait_within(PATIENCE, what, || (vm.run(script).code == 0).then_some(()));
    came.unwrap_or_else(|failure| {
        let units = vm.run("systemctl --no-pager status 'garrison-*'; journalctl --no-pager -n 60");
        panic!("{failure}: {}", units.out);
    });
}

/// Where the first attempt of a job works.
fn work(run: u64, job: usize) -> String {
    format!("/var/lib/garrison-agent/attempts/{run}.{job}.1/work")
}

/// A run whose jobs have begun.
fn begun(vm: &Vm, jobs: usize) -> u64 {
    let run = trigger(vm);
    for job in 0..jobs {
        let log = format!("sudo -u garrison garrison logs {run}.{job} | grep -qx begun");
        until(vm, "the job to begin", &log);
    }
    run
}

fn ended(vm: &Vm, run: u64) -> Value {
    ok(wait_within(PATIENCE, "the run to end", || {
        let said = vm.run(&format!("sudo -u garrison garrison show {run} -o json"));
        let detail: Value = serde_json::from_str(&said.out).ok()?;
        (!detail["finished_us"].is_null()).then_some(detail)
    }))
}

/// Has the jobs of a run begin, and end after `meanwhile`; each has run once, and has its whole log.
fn outlives(vm: &Vm, jobs: usize, meanwhile: impl FnOnce(u64)) {
    let run = begun(vm, jobs);
    meanwhile(run);
    for job in 0..jobs {
        vm.insist(&format!("touch {}/go", work(run, job)));
    }
    let detail = ended(vm, run);
    assert_eq!(detail["status"], "succeeded", "{detail:#}");
    for job in 0..jobs {
        let log = garrison(vm, &format!("logs {run}.{job} --follow"));
        let said = |word: &str| log.lines().filter(|line| *line == word).count();
        assert_eq!((said("begun"), said("ended")), (1, 1), "{log}");
    }
}

const RESTART: &str = "systemctl restart garrison-coordinator garrison-agent\n\
                       kill -9 $(systemctl show -P MainPID garrison-agent)\n\
                       kill -9 $(systemctl show -P MainPID garrison-coordinator)";

const ACTIVE: &str = "systemctl is-active garrison-coordinator garrison-agent";

#[test]
fn services_are_installed_as_the_handbook_says_and_jobs_outlive_them() {
    let pipeline = format!(
        "on: {{ manual: {{}} }}\npartitions: [fra-equ01]\njobs:\n  contained:\n    \
         container: {{ image: registry.example.org/shell:1, pull: never, network: none }}\n    \
         run: {WORK:?}\n  processed:\n    process: {{}}\n    run: {WORK:?}\n"
    );
    let (_dir, vm) = coordinator(&pipeline);
    garrison(&vm, "agents token --partition fra-equ01 --name mgmt01 > /root/join-token");
    for line in commands(1).lines() {
        match line.split_once('#') {
            // It goes on, and a person ends it.
            Some((join, _)) if join.contains("--join-token-file") => vm.insist(&format!(
                "{join} > joined 2>&1 & agent=$!\n\
                 until grep joined joined; do kill -0 $agent || exit 1; sleep 0.2; done\n\
                 kill -INT $agent; wait $agent"
            )),
            _ => vm.insist(line),
        };
    }
    vm.insist(
        "mkdir -p image/bin; cp /usr/bin/busybox image/bin/sh; ln -s sh image/bin/sleep\n\
         tar --create --directory image . | docker import - registry.example.org/shell:1",
    );
    outlives(&vm, 2, |run| {
        // A job is not protected from the kernel as its agent is.
        let scores = vm.insist(&format!(
            "cat /proc/$(systemctl show -P MainPID garrison-agent)/oom_score_adj\n\
             cat /proc/$(pgrep -f 'runner .*/{run}.1.1$')/oom_score_adj"
        ));
        assert_eq!(scores.lines().collect::<Vec<_>>(), ["-500", "0"]);
        vm.insist(RESTART);
        until(&vm, "both to be back", ACTIVE);
    });

    // A host that restarts has them both again, and says what it cut off.
    let run = begun(&vm, 2);
    vm.reboot();
    let cut = ended(&vm, run);
    for job in cut["jobs"].as_array().unwrap() {
        assert_eq!(job["status"], "infra_error", "{cut:#}");
    }
    until(&vm, "both to be back", ACTIVE);
    outlives(&vm, 2, |_| ());
}

/// A management server's agent, as `bootstrap-partition` installs it: its jobs are root without bounds.
#[test]
fn jobs_restart_the_agent_of_the_librarys_unit_and_go_on() {
    let pipeline = format!(
        "on: {{ manual: {{}} }}\npartitions: [fra-equ01]\njobs:\n  administers:\n    process: {{}}\n    \
         run:\n      - systemctl restart garrison-agent\n      - echo restarted > /etc/restarted\n      \
         - {WORK:?}\n"
    );
    let (_dir, vm) = coordinator(&pipeline);
    let unit = Path::new(ROOT).join("pipelines/library/files/garrison-agent.service");
    vm.copy(&[unit], "/etc/systemd/system");
    vm.insist("install -m 755 garrison /usr/local/bin/; install -m 644 agent.toml policy.toml /etc/garrison/");
    garrison(&vm, "agents token --partition fra-equ01 --name mgmt01 > /etc/garrison/join-token");
    vm.insist("systemctl daemon-reload; systemctl enable --now garrison-agent");

    outlives(&vm, 1, |_| {
        until(
            &vm,
            "the agent to be back",
            "systemctl is-active garrison-agent && grep restarted /etc/restarted",
        );
        vm.insist("systemctl restart garrison-agent");
    });
}
