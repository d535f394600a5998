//! Stories about schedules.

use insta::assert_snapshot;
use pipelines::input::Inputs;
use pipelines::schedule::{Found, Missed, Schedule};

use super::world::World;
use crate::event::{Event, Resolution};
use crate::trigger::State;

const FILE: &str = ".garrison/site.yaml";

pub(super) fn schedule(cron: &str, missed: Missed) -> Schedule {
    let (cron, timezone) = (cron.to_owned(), "Europe/Berlin".to_owned());
    Schedule { cron, timezone, inputs: Inputs::new(), missed }
}

impl World {
    /// The head of the repository has these schedules.
    pub(super) fn finds(&mut self, commit: &str, schedules: &[Schedule]) {
        self.line(&format!("{} schedules at {commit}", schedules.len()));
        let found = Found {
            file: FILE.into(),
            pipeline: "site".parse().unwrap(),
            partitions: vec!["fra".parse().unwrap()],
            schedules: schedules.to_vec(),
            subscriptions: Vec::new(),
        };
        self.happens(&Event::SchedulesFound {
            repository: "infra".parse().unwrap(),
            reference: "refs/heads/main".into(),
            commit: commit.into(),
            pipelines: if schedules.is_empty() { vec![] } else { vec![found] },
        });
    }

    /// All times that started something, by the clocks of the zone.
    fn started(&self) -> Vec<String> {
        let actors = self.store.triggers.values().map(|trigger| trigger.actor.to_string());
        actors
            .map(|actor| actor.replace("schedule of ", "").replace(" Europe/Berlin", ""))
            .collect()
    }
}

#[test]
fn a_schedule_starts_its_pipeline_once_at_each_of_its_times() {
    let mut world = World::new();
    world.wall_clock("2026-11-23T12:00:00Z");
    world.finds("c0ffee", &[schedule("30 2 * * *", Missed::Once)]);
    world.wall_clock("2026-11-24T01:29:59Z");
    assert!(world.started().is_empty());
    world.wall_clock("2026-11-24T01:30:00Z");
    world.restart();
    world.wall_clock("2026-11-24T01:31:00Z");
    assert_eq!(world.started(), ["2026-11-24 02:30"]);
    // Found anew at another commit it is the same.
    world.finds("facade", &[schedule("30 2 * * *", Missed::Once)]);
    // A clock that is set back brings no time again.
    world.wall_clock("2026-11-23T01:30:00Z");
    world.wall_clock("2026-11-24T01:30:00Z");
    world.wall_clock("2026-11-25T01:30:01Z");
    assert_eq!(world.started(), ["2026-11-24 02:30", "2026-11-25 02:30"]);
    assert!(world.store.audit.is_empty());
    assert_snapshot!(world.transcript());
}

#[test]
fn what_its_pipeline_has_no_more_is_due_no_more() {
    let mut world = World::new();
    world.wall_clock("2026-11-23T12:00:00Z");
    let [early, late] = ["0 1 * * *", "0 2 * * *"].map(|cron| schedule(cron, Missed::Once));
    world.finds("c0ffee", &[early.clone(), late.clone()]);
    world.finds("facade", &[late]);
    world.wall_clock("2026-11-24T00:00:00Z");
    assert!(world.started().is_empty());
    world.wall_clock("2026-11-24T01:00:00Z");
    assert_eq!(world.started(), ["2026-11-24 02:00"]);
    world.finds("decade", &[early]);
    world.finds("c0de", &[]);
    assert_eq!(world.core.next_schedule(), None);
    assert_snapshot!(world.transcript());
}

#[test]
fn a_time_starts_nothing_again_when_the_schedule_comes_back_and_the_clock_goes_back() {
    let mut world = World::new();
    world.wall_clock("2026-11-23T12:00:00Z");
    let nightly = schedule("30 2 * * *", Missed::Once);
    world.finds("c0ffee", std::slice::from_ref(&nightly));
    world.wall_clock("2026-11-24T01:30:00Z");
    world.finds("facade", &[]);
    world.wall_clock("2026-11-24T01:00:00Z");
    world.finds("decade", &[nightly]);
    world.wall_clock("2026-11-24T01:30:00Z");
    assert_eq!(world.started(), ["2026-11-24 02:30"]);
    world.wall_clock("2026-11-25T01:30:00Z");
    assert_eq!(world.started(), ["2026-11-24 02:30", "2026-11-25 02:30"]);
}

#[test]
fn of_times_that_were_missed_the_latest_is_made_up_for() {
    let mut world = World::new();
    world.wall_clock("2026-11-20T12:00:00Z");
    let (once, skip) = (schedule("30 2 * * *", Missed::Once), schedule("0 5 * * *", Missed::Skip));
    world.finds("c0ffee", &[once, skip]);
    world.restart();
    world.wall_clock("2026-11-23T12:00:00Z");
    assert_eq!(world.started(), ["2026-11-23 02:30"]);
    let words: Vec<&str> = world.store.audit.iter().map(|it| it.text.as_str()).collect();
    let site = format!("of {FILE} in infra was missed at 2026-11-21");
    assert_eq!(
        words,
        [
            format!(
                "schedule '30 2 * * * Europe/Berlin' {site} 02:30 Europe/Berlin: started for 2026-11-23 02:30 Europe/Berlin instead"
            ),
            format!("schedule '0 5 * * * Europe/Berlin' {site} 05:00 Europe/Berlin: not started"),
        ]
    );
    world.wall_clock("2026-11-24T04:00:00Z");
    // What was missed is made up for at once, and what is due now is not late.
    assert_eq!(world.started()[1..], ["2026-11-24 02:30", "2026-11-24 05:00"]);
}

#[test]
fn what_was_missed_more_than_a_day_ago_is_not_made_up_for() {
    let mut world = World::new();
    world.wall_clock("2026-11-20T12:00:00Z");
    world.finds("c0ffee", &[schedule("30 2 * * sat", Missed::Once)]);
    world.wall_clock("2026-11-22T01:30:01Z");
    assert!(world.started().is_empty());
    assert!(world.store.audit[0].text.ends_with(": not started"), "{:?}", world.store.audit);
    world.wall_clock("2026-11-28T01:30:00Z");
    assert_eq!(world.started(), ["2026-11-28 02:30"]);
}

#[test]
fn a_short_restart_misses_nothing() {
    let mut world = World::new();
    world.wall_clock("2026-11-20T12:00:00Z");
    world.finds("c0ffee", &[schedule("*/2 * * * *", Missed::Skip)]);
    world.restart();
    world.wall_clock("2026-11-20T12:03:30Z");
    assert_eq!(world.started(), ["2026-11-20 13:02"]);
    assert!(world.store.audit.is_empty());
}

#[test]
fn a_schedule_that_its_pipeline_has_lost_meanwhile_starts_no_run() {
    let mut world = World::new();
    world.wall_clock("2026-11-20T12:00:00Z");
    world.finds("c0ffee", &[schedule("1 * * * *", Missed::Once)]);
    world.wall_clock("2026-11-20T12:01:00Z");
    let id = *world.store.triggers.keys().next().unwrap();
    let resolution: Result<Vec<Resolution>, String> = Ok(vec![]);
    world.happens(&Event::Resolved { trigger: id, resolution });
    assert_eq!(world.store.triggers[&id].state, State::Resolved { runs: vec![] });
}
