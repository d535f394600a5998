//! How time passes. Between two steps hardly any does; when much does, whoever is awake does what
//! cannot wait: hearts beat, and leases that end are enforced within [`SLACK`].

use pipelines::id::AttemptId;

use crate::world::{DRIFT, World, note};

/// A runner looks at the clock once a second, and its job may take as long as this to end; in µs.
const SLACK: u64 = 16_000_000;

/// An agent whose link works renews its leases at least this long before their end, in µs.
const AHEAD: u64 = 6_000_000;

impl World {
    /// So many µs pass.
    pub(crate) fn wait(&mut self, us: u64) {
        note!(self, "{} s", us / 1_000_000);
        let end = self.now + us;
        self.hearts_beat();
        let mut done = Vec::new();
        while let Some((at, h, attempt)) = self.next_lease_end(&done).filter(|it| it.0 <= end) {
            self.now = self.now.max(at.saturating_sub(AHEAD));
            let before = self.lease_end(h, attempt);
            self.lease_ends(h, attempt);
            if self.lease_end(h, attempt) == before {
                done.push((h, attempt));
            }
            if self.ledger.finding.is_some() {
                return;
            }
        }
        self.now = self.now.max(end);
        self.hearts_beat();
    }

    /// All that is on its way by a stream that works arrives, and heartbeats are answered; an agent
    /// that gets no answer hangs up.
    fn hearts_beat(&mut self) {
        for h in 0..self.hosts.len() {
            self.heart_beats(h);
            self.keep_all(h);
        }
    }

    fn heart_beats(&mut self, h: usize) {
        let host = &self.hosts[h];
        if !host.is_awake() {
            return;
        }
        let Some(stream) = host.agent.as_ref().and_then(|agent| agent.stream) else { return };
        if !host.cut {
            self.drain(stream);
        }
        self.beat(h);
        if !self.hosts[h].cut {
            self.drain(stream);
        }
    }

    fn drain(&mut self, stream: u64) {
        while self.streams.get(&stream).is_some_and(|it| it.coordinator && !it.up.is_empty()) {
            self.arrive_up(stream);
        }
        while self.streams.get(&stream).is_some_and(|it| it.agent && !it.down.is_empty()) {
            self.arrive_down(stream);
        }
    }

    /// Keepers pass on what they know.
    fn keep_all(&mut self, h: usize) {
        if !self.hosts[h].is_awake() {
            return;
        }
        let keepers = self.hosts[h].agent.iter().flat_map(|agent| agent.keepers.keys());
        let keepers: Vec<AttemptId> = keepers.copied().collect();
        for attempt in keepers {
            self.keep_on(h, attempt);
        }
    }

    /// A keeper attaches, and tells its runner what there is to tell; or buries it.
    fn keep_on(&mut self, h: usize, attempt: AttemptId) {
        for _ in 0..3 {
            if self.hosts[h].programs.contains_key(&attempt) && self.can_keep(h, attempt) {
                self.keep(h, attempt);
            }
        }
    }

    /// When, by the world's clock, the next lease of a program ends, and whose.
    fn next_lease_end(&self, done: &[(usize, AttemptId)]) -> Option<(u64, usize, AttemptId)> {
        let hosts = self.hosts.iter().enumerate();
        let ends = hosts.flat_map(|(h, host)| {
            host.programs.keys().filter_map(move |attempt| {
                let end = self.lease_end(h, *attempt)?;
                (!done.contains(&(h, *attempt))).then_some((end, h, *attempt))
            })
        });
        ends.min()
    }

    /// When a program's lease ends by the world's clock.
    fn lease_end(&self, h: usize, attempt: AttemptId) -> Option<u64> {
        let end = self.hosts[h].programs.get(&attempt)?.lease_end?;
        Some((end.0 * 1000).div_ceil(DRIFT[h % DRIFT.len()]))
    }

    /// A lease ends, unless it is renewed just in time.
    fn lease_ends(&mut self, h: usize, attempt: AttemptId) {
        if !self.hosts[h].is_awake() {
            return self.ledger.frozen(attempt);
        }
        let Some(before) = self.lease_end(h, attempt) else { return };
        self.heart_beats(h);
        self.keep_on(h, attempt);
        if self.lease_end(h, attempt) != Some(before) {
            return;
        }
        self.now = self.now.max(before) + SLACK;
        let mut runners = self.hosts[h].runners.iter();
        let runner = runners.find(|(_, runner)| runner.attempt == attempt && runner.is_working());
        match runner.map(|(pid, _)| *pid) {
            Some(pid) => self.run(h, pid),
            None => self.ledger.orphaned(attempt),
        }
    }
}
