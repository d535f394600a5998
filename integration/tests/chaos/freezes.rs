//! Agents, runners and coordinators that stand still for longer than the keepalive waits.

use std::thread::{scope, sleep};
use std::time::Duration;

use garrison::site::wait;
use integration::processes::{self, Frozen};
use integration::{World, ok};

use crate::job::{self, Records};

/// The keepalive of both sides gives up after 20 s.
const LONGER: Duration = Duration::from_secs(23);

/// What the job prints; a multiple of ten.
const LINES: u32 = 50_000;

/// A job runs while the process that `of` names stands still; then all is as if nothing had been.
/// Where the job can end meanwhile, it does.
fn freezes(of: impl Fn(&World) -> u32, ends_meanwhile: bool) {
    let records = Records::new();
    let text = format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  only:\n    process: {{}}\n    run: {}\n",
        records.print(LINES)
    );
    let world = World::start(&["fra"], &text);
    job::commit(&world);
    let run = world.trigger();
    let started = || (records.said("started").len() == 1).then_some(());
    ok(wait("the job to start", started));
    let frozen = Frozen::freeze(of(&world));
    // Passing time is the point.
    sleep(LONGER);
    assert_eq!(!records.said("ended").is_empty(), ends_meanwhile);
    drop(frozen);
    let shown = world.finished(run);
    assert_eq!(shown["status"], "succeeded", "{shown:#}\n{}", world.logs());
    assert_eq!(job::attempts(&shown).len(), 1);
    job::logs_arrive(&world, run);
    job::check_log(&world, "1.0.1", LINES);
    records.check();
    assert_eq!(world.finished(world.trigger())["status"], "succeeded");
}

#[test]
fn whoever_freezes_nothing_is_lost_and_nothing_runs_twice() {
    scope(|threads| {
        threads.spawn(|| freezes(|world| world.site.agent_pid("fra", "mgmt01").unwrap(), true));
        threads.spawn(|| freezes(|world| world.site.coordinator_pid().unwrap(), true));
        // The job waits for somebody who takes its output.
        threads.spawn(|| freezes(|world| processes::runners(world.site.dir())[0].pid, false));
    });
}
