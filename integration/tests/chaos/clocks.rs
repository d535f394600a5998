//! Wall clocks that jump by hours while jobs run. Nothing that is waited for depends on them.

use std::time::{Duration, Instant};

use garrison::site::{OPEN_POLICY, wait};
use integration::clock::Clock;
use integration::{World, ok};
use serde_json::Value;

/// A job that fails and is tried again, one that takes too long, and one that may be given up.
const PIPELINE: &str = "on: { manual: {} }\npartitions: [fra]\njobs:\n  \
    again:\n    process: {}\n    run: date; case $GARRISON_ATTEMPT in *.1) false;; esac\n    \
    retry: { max: 2, on: [failed], delay: 4s }\n  \
    slow:\n    process: {}\n    run: sleep 600\n    timeout: 8s\n  \
    given-up:\n    process: {}\n    run: sleep 5; echo done\n    on_lost: retry\n    \
    lost_after: 1m\n";

/// Which of the two has the clock that jumps.
#[derive(PartialEq)]
enum Whose {
    Coordinator,
    Agent,
}

fn jumps(whose: Whose) {
    let mut world = World::without_agents(&["fra"], PIPELINE);
    let clock = Clock::new(&world.site.dir().join("clock"));
    let shifted = |world: &mut World| {
        clock.env().iter().for_each(|(name, value)| world.site.set_env(name, value));
    };
    if whose == Whose::Coordinator {
        ok(world.site.stop_coordinator());
        shifted(&mut world);
        ok(world.site.start_coordinator());
        world.site.clear_env();
    } else {
        shifted(&mut world);
    }
    ok(world.site.add_agent("fra", "mgmt01", 8, OPEN_POLICY));

    let run = world.trigger();
    let begun = Instant::now();
    let client = ok(world.site.client());
    let mut hours = ["+5h", "-5h", "+1h", "+30h", "-7h", "+0"].iter().cycle();
    let mut jumped = Instant::now();
    let mut again = None;
    let shown = ok(wait("the run's end", || {
        if jumped.elapsed() > Duration::from_millis(300) {
            clock.shift(hours.next()?);
            jumped = Instant::now();
        }
        let shown: Value = client.get(&format!("/api/v1/runs/{run}")).ok()?;
        let of = |job: usize| shown["jobs"][job]["attempts"].as_array().map_or(0, Vec::len);
        if of(0) == 2 {
            again.get_or_insert_with(|| begun.elapsed());
        }
        (!shown["finished_us"].is_null()).then_some(shown)
    }));
    let took = begun.elapsed();

    let job = |index: usize| &shown["jobs"][index];
    let attempts = |index: usize| job(index)["attempts"].as_array().unwrap().len();
    assert_eq!((&job(0)["status"], attempts(0)), (&Value::from("succeeded"), 2), "{shown:#}");
    assert_eq!((&job(1)["status"], attempts(1)), (&Value::from("timed_out"), 1), "{shown:#}");
    assert_eq!((&job(2)["status"], attempts(2)), (&Value::from("succeeded"), 1), "{shown:#}");
    let paused = again.unwrap();
    assert!(paused >= Duration::from_secs(4), "tried again after {paused:?}");
    assert!(took >= Duration::from_secs(8), "ended after {took:?}");
    assert!(took < Duration::from_secs(20), "ended after {took:?}");
}

#[test]
fn a_coordinator_whose_wall_clock_jumps_decides_as_before() {
    jumps(Whose::Coordinator);
}

#[test]
fn an_agent_whose_wall_clock_jumps_works_as_before() {
    jumps(Whose::Agent);
}
