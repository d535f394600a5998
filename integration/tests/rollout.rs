//! Rollouts over real devices, ten redundant pairs of them: never both of a pair, whatever happens.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use garrison::site::wait;
use integration::sshd::{Sshd, make_key};
use integration::{World, ok};
use serde_json::Value;

const PAIRS: usize = 10;

/// Takes down the device: a folder for its pair that only one can make, for as long as it takes.
const RESET: &str = "      - |\n        cd \"$PLAYGROUND\"; g=${GARRISON_DEVICE#leaf}; g=$(( (${g#0} + 1) / 2 ))\n        \
                     if ! mkdir \"away/$g\"; then echo \"$GARRISON_DEVICE beside its partner\" >> broken; fi\n        \
                     echo \"$GARRISON_DEVICE\" >> \"order-$GARRISON_RUN\"; sleep 0.2\n        \
                     rmdir \"away/$g\"; test ! -e \"fails-$GARRISON_DEVICE\"\n";

struct Site {
    world: World,
    dir: tempfile::TempDir,
    /// Kept so that they listen.
    _devices: Vec<Sshd>,
}

/// Twenty leaves, a pair after the other, and a pipeline that resets them so.
fn site(rollout: &str) -> Site {
    let dir = tempfile::tempdir().unwrap();
    make_key(&dir.path().join("user"));
    fs::create_dir(dir.path().join("away")).unwrap();
    let start = |n: usize| {
        let folder = dir.path().join(format!("device-{n}"));
        fs::create_dir(&folder).unwrap();
        Sshd::admitting(&folder, &dir.path().join("user.pub"))
    };
    let devices: Vec<Sshd> = (1..=2 * PAIRS).map(start).collect();
    let entry = |(n, device): (usize, &Sshd)| {
        device.entry(&format!("leaf{n:02}"), &format!(", role: leaf, group: pair{}", n.div_ceil(2)))
    };
    let entries: String = (1..).zip(&devices).map(entry).collect();
    let inventory = format!(
        "partition: fra\nvariables: {{ PLAYGROUND: \"{}\" }}\ndevices:\n{entries}",
        dir.path().display()
    );
    let pipeline = format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  reset:\n    devices: {{ role: leaf }}\n    \
         rollout: {rollout}\n    ssh: {{}}\n    run:\n{RESET}  check:\n    devices: {{ of: reset }}\n    \
         needs: [reset]\n    process: {{}}\n    run: 'test -n \"$GARRISON_DEVICE\"'\n"
    );
    let mut world = World::without_agents(&["fra"], &pipeline);
    ok(world.site.commit(&[("partitions/fra.yaml", &inventory)]));
    let policy = format!(
        "[process]\nallow = true\nrepositories = [\"*\"]\n[ssh]\nkeys = [\"{}/user\"]\nusers = [\"root\"]\n",
        dir.path().display()
    );
    ok(world.site.add_agent("fra", "mgmt01", 8, &policy));
    Site { world, dir, _devices: devices }
}

fn statuses(detail: &Value, name: &str) -> Vec<(String, String)> {
    let jobs = detail["jobs"].as_array().unwrap().iter().filter(|job| job["name"] == name);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    jobs.map(|job| (text(&job["device"]), text(&job["status"]))).collect()
}

fn order(dir: &Path, run: u64) -> Vec<String> {
    let order = fs::read_to_string(dir.join(format!("order-{run}"))).unwrap_or_default();
    order.lines().map(str::to_owned).collect()
}

#[test]
fn never_both_of_a_pair_with_two_runs_at_once_and_processes_that_die() {
    let Site { mut world, dir, _devices } = site("{ serial: halves, max_parallel: 6 }");
    let runs = [world.trigger(), world.trigger()];
    let doomed = world.trigger();
    let begun = |run| move |dir: &Path| (order(dir, run).len() >= 3).then_some(());
    ok(wait("the first run to be in its midst", || begun(runs[0])(dir.path())));
    ok(world.site.kill_agent("fra", "mgmt01"));
    ok(world.site.start_agent("fra", "mgmt01"));
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    world.garrison(&["cancel", &doomed.to_string()]);
    for run in runs {
        let detail = world.finished(run);
        assert_eq!(detail["status"], "succeeded", "{detail:#}\n{}", world.logs());
        let order = order(dir.path(), run);
        assert_eq!(order.len(), 2 * PAIRS, "{order:?}");
        // One half of each pair, and then the other.
        let (first, second) = order.split_at(PAIRS);
        let is_first = |name: &String| name[4..].parse::<usize>().unwrap() % 2 == 1;
        assert!(first.iter().all(is_first) && !second.iter().any(is_first), "{order:?}");
    }
    world.finished(doomed);
    let broken = fs::read_to_string(dir.path().join("broken")).unwrap_or_default();
    assert_eq!(broken, "", "{}", world.logs());
}

#[test]
fn it_stops_at_a_failure_which_keeps_the_partner_untouched_and_goes_on_when_it_is_tried_again() {
    let Site { world, dir, _devices } = site("{ serial: [1, 2], stop_after: 1 }");
    let failing = dir.path().join("fails-leaf03");
    fs::write(&failing, "").unwrap();
    let run = world.trigger();
    let detail = world.finished(run);
    assert_eq!(detail["status"], "failed", "{detail:#}\n{}", world.logs());
    // In order: the first of each pair, one, then two at a time.
    let reset = statuses(&detail, "reset");
    let by = |status: &str| reset.iter().filter(|(_, it)| it == status).count();
    assert_eq!(reset[1], ("leaf03".into(), "failed".into()), "{reset:?}");
    assert_eq!((by("succeeded"), by("stopped")), (2, 17), "{reset:?}");
    let shown = world.garrison(&["show", &run.to_string()]);
    assert!(
        shown.out.contains("the rollout stops when 1 of its devices of reset failed"),
        "{shown:?}"
    );
    let locks = world.garrison(&["locks", "list"]);
    assert!(locks.out.contains("fra/group:pair2"), "{locks:?}");
    assert!(locks.out.contains("leaf03, where job 1.1 did not succeed"), "{locks:?}");

    // Another run may work at that device, and fares no better.
    let other = world.trigger();
    let detail = world.finished(other);
    assert_eq!(statuses(&detail, "reset")[1].1, "failed", "{detail:#}");

    fs::remove_file(&failing).unwrap();
    assert_eq!(world.garrison(&["retry", &run.to_string()]).code, 0);
    let detail = world.finished(run);
    assert_eq!(detail["status"], "succeeded", "{detail:#}\n{}", world.logs());
    let order = order(dir.path(), run);
    assert_eq!(order.len(), 2 * PAIRS + 1, "{order:?}");
    assert_eq!(order.iter().filter(|it| *it == "leaf01").count(), 1, "{order:?}");
    assert_eq!(world.garrison(&["locks", "list"]).out, "no locks are held\n");
    let broken = fs::read_to_string(dir.path().join("broken")).unwrap_or_default();
    assert_eq!(broken, "", "{}", world.logs());
}

#[test]
fn partitions_come_in_waves_behind_their_canary_and_somebody_promotes() {
    let dir = tempfile::tempdir().unwrap();
    let (order, fails) = (dir.path().join("order"), dir.path().join("fails"));
    let pipeline = format!(
        "on: {{ manual: {{}} }}\npartitions:\n  names: [fra, lab, muc]\n  \
         rollout: {{ canary: [lab], waves: [1], stop_after: 1 }}\njobs:\n  \
         promote: {{ gate: {{ triggerer: allowed }}, partitions: [fra, muc] }}\n  deploy:\n    process: {{}}\n    \
         needs: [{{ job: promote, optional: true }}]\n    run:\n      \
         - echo \"$GARRISON_PARTITION\" >> {}\n      - test ! -e {}\n",
        order.display(),
        fails.display()
    );
    let world = World::start(&["fra", "lab", "muc"], &pipeline);
    let order = || fs::read_to_string(&order).unwrap_or_default();
    fs::write(&fails, "").unwrap();
    let detail = world.finished(world.trigger());
    assert_eq!((detail["status"].as_str(), order().as_str()), (Some("failed"), "lab\n"));

    fs::remove_file(&fails).unwrap();
    assert_eq!(world.garrison(&["retry", "1"]).code, 0);
    for partition in ["fra", "muc"] {
        let is_open = |detail: &Value| {
            let jobs = detail["jobs"].as_array().unwrap().iter();
            let open = jobs.filter(|job| job["status"] == "open").map(|job| &job["partition"]);
            open.eq([partition])
        };
        world.run_when(1, &format!("ask for {partition}"), is_open);
        let said = world.garrison(&["approve", "1"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let detail = world.finished(1);
    assert_eq!(detail["status"], "succeeded", "{detail:#}");
    assert_eq!(order(), "lab\nlab\nfra\nmuc\n");

    let held = world.garrison(&["trigger", "deploy", "-r", "infra", "--limit", "lab", "--follow"]);
    assert_eq!((held.code, order().as_str()), (0, "lab\nlab\nfra\nmuc\nlab\n"), "{held:?}");
}
