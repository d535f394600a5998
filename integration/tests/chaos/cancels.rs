//! Cancels: whatever is away, restarts or hangs, what was asked is kept, and what is reached is shown.

use integration::processes::{self, Frozen};
use integration::{World, ok};
use serde_json::Value;

use garrison::site::wait;

use crate::job::{self, Records};

/// A job that goes on until it is ended, with a daemon.
struct Story {
    world: World,
    records: Records,
    run: u64,
}

impl Story {
    fn begin() -> Story {
        let records = Records::new();
        let text = format!(
            "on: {{ manual: {{}} }}\npartitions: [fra]\nlock: site\njobs:\n  only:\n    \
             process: {{}}\n    run: {}; sleep 1000\n",
            records.print(10)
        );
        let world = World::start(&["fra"], &text);
        job::commit(&world);
        let run = world.trigger();
        let story = Story { world, records, run };
        ok(wait("the job to work", || (story.records.said("ended").len() == 1).then_some(())));
        story
    }

    fn cancel(&self) {
        let said = self.world.garrison(&["cancel", &self.run.to_string()]);
        assert_eq!(said.code, 0, "{said:?}");
    }

    fn restart_coordinator(&mut self) {
        ok(self.world.site.kill_coordinator());
        ok(self.world.site.start_coordinator());
    }

    /// It is still known that it was asked, and nothing is claimed.
    fn is_cancelling(&self) {
        let shown = self.world.run_when(self.run, "be there", |_| true);
        assert_eq!(shown["status"], "cancelling", "{shown:#}");
        assert_eq!(shown["jobs"][0]["attempts"][0]["outcome"], Value::Null, "{shown:#}");
    }

    /// All of the job is ended, and whoever waits for its lock goes on.
    fn is_cancelled(&self) {
        let shown = self.world.finished(self.run);
        assert_eq!(shown["status"], "cancelled", "{shown:#}\n{}", self.world.logs());
        assert_eq!(shown["jobs"][0]["attempts"][0]["status"], "cancelled", "{shown:#}");
        assert_eq!(processes::left_of_jobs(self.world.site.dir()), [""; 0]);
        job::logs_arrive(&self.world, self.run);
        let next = self.world.trigger();
        let two = || (self.records.said("started").len() == 2).then_some(());
        ok(wait("the next run to start", two));
        assert_eq!(self.world.garrison(&["cancel", &next.to_string()]).code, 0);
        self.world.finished(next);
        self.records.check();
    }
}

#[test]
fn a_cancel_waits_for_an_agent_that_is_away_and_outlives_the_coordinator() {
    let mut story = Story::begin();
    ok(story.world.site.kill_agent("fra", "mgmt01"));
    story.cancel();
    story.restart_coordinator();
    story.is_cancelling();
    ok(story.world.site.start_agent("fra", "mgmt01"));
    story.is_cancelled();
}

#[test]
fn a_cancel_ends_a_runner_that_hangs_also_if_all_others_have_died_meanwhile() {
    let mut story = Story::begin();
    let runner = processes::runners(story.world.site.dir()).remove(0);
    let _frozen = Frozen::freeze(runner.pid);
    story.cancel();
    ok(story.world.site.kill_agent("fra", "mgmt01"));
    story.restart_coordinator();
    story.is_cancelling();
    ok(story.world.site.start_agent("fra", "mgmt01"));
    story.is_cancelled();
}
