//! Every key of the language, by the place where it may stand: those that work, and those that are
//! planned. A planned key is refused, so that nothing parses that does not work; it moves to the
//! first list in the change that makes it work.

/// A place where keys may stand.
pub(crate) struct Place {
    /// What the place is called in messages, such as "a job".
    pub(crate) title: &'static str,
    /// Keys that work.
    pub(crate) keys: &'static [&'static str],
    /// Keys that are planned, each with what to do meanwhile.
    pub(crate) planned: &'static [(&'static str, &'static str)],
}

pub(crate) const PIPELINE: Place = Place {
    title: "a pipeline",
    keys: &[
        "name",
        "include",
        "on",
        "inputs",
        "partitions",
        "lock",
        "window",
        "concurrency",
        "defaults",
        "variables",
        "templates",
        "jobs",
    ],
    planned: &[],
};

pub(crate) const INCLUDE: Place =
    Place { title: "an entry of `include`", keys: &["repository", "ref", "file"], planned: &[] };

pub(crate) const INCLUDED: Place = Place {
    title: "an included file",
    keys: &["include", "inputs", "defaults", "variables", "templates", "jobs"],
    planned: &[],
};

pub(crate) const ON: Place = Place {
    title: "`on`",
    keys: &["push", "tag", "pull_request", "schedule", "event", "manual"],
    planned: &[],
};

pub(crate) const PUSH: Place =
    Place { title: "`push`", keys: &["branches", "paths"], planned: &[] };

pub(crate) const PULL_REQUEST: Place =
    Place { title: "`pull_request`", keys: &["branches", "paths"], planned: &[] };

pub(crate) const SCHEDULE: Place =
    Place { title: "a schedule", keys: &["cron", "timezone", "inputs", "missed"], planned: &[] };

pub(crate) const EVENT: Place = Place {
    title: "an event",
    keys: &["topic", "partition", "when", "inputs", "max_age"],
    planned: &[],
};

pub(crate) const MANUAL: Place = Place { title: "`manual`", keys: &[], planned: &[] };

pub(crate) const CONCURRENCY: Place =
    Place { title: "`concurrency`", keys: &["group", "mode"], planned: &[] };

pub(crate) const INPUT: Place = Place {
    title: "an input",
    keys: &["type", "default", "required", "options", "description"],
    planned: &[],
};

pub(crate) const PARTITIONS: Place =
    Place { title: "`partitions`", keys: &["names", "select", "changed", "rollout"], planned: &[] };

pub(crate) const PARTITIONS_ROLLOUT: Place = Place {
    title: "`rollout` of partitions",
    keys: &["canary", "waves", "max_parallel", "pause", "stop_after"],
    planned: &[],
};

pub(crate) const DEVICES: Place =
    Place { title: "`devices`", keys: &["names", "role", "group", "labels", "of"], planned: &[] };

pub(crate) const ROLLOUT: Place = Place {
    title: "`rollout` of a job",
    keys: &["serial", "max_parallel", "pause", "stop_after", "groups"],
    planned: &[],
};

pub(crate) const DEFAULTS: Place =
    Place { title: "`defaults`", keys: &["image", "timeout", "retry"], planned: &[] };

pub(crate) const JOB: Place = Place {
    title: "a job",
    keys: &[
        "container",
        "process",
        "ssh",
        "render",
        "gate",
        "pipeline",
        "run",
        "upload",
        "download",
        "reboot",
        "wait",
        "extends",
        "matrix",
        "when",
        "needs",
        "variables",
        "secrets",
        "timeout",
        "resources",
        "environment",
        "artifacts",
        "outputs",
        "cache",
        "services",
        "inventory",
        "recap",
        "partitions",
        "agent",
        "devices",
        "rollout",
        "lock",
        "retry",
        "on_lost",
        "lost_after",
    ],
    planned: &[],
};

pub(crate) const CONTAINER: Place =
    Place { title: "`container`", keys: &["image", "pull", "network"], planned: &[] };

pub(crate) const CALL: Place =
    Place { title: "`pipeline`", keys: &["repository", "ref", "file", "inputs"], planned: &[] };

pub(crate) const PROCESS: Place = Place { title: "`process`", keys: &[], planned: &[] };

pub(crate) const SSH: Place = Place {
    title: "`ssh`",
    keys: &["device", "user", "key", "sudo", "pty", "timeout"],
    planned: &[],
};

pub(crate) const RENDER: Place =
    Place { title: "`render`", keys: &["template", "to"], planned: &[] };

pub(crate) const PROBE: Place = Place {
    title: "a probe",
    keys: &[
        "tcp",
        "ssh",
        "http",
        "tls",
        "run",
        "status",
        "body",
        "server_name",
        "issuer",
        "valid_for",
        "ca",
        "output",
        "interval",
        "timeout",
    ],
    planned: &[],
};

pub(crate) const PROBE_DEVICE: Place =
    Place { title: "`ssh` of a probe", keys: &["device"], planned: &[] };

pub(crate) const GATE: Place = Place {
    title: "`gate`",
    keys: &["role", "count", "triggerer", "acknowledge", "waives", "message", "timeout"],
    planned: &[],
};

pub(crate) const UPLOAD: Place =
    Place { title: "an entry of `upload`", keys: &["from", "to", "mode"], planned: &[] };

pub(crate) const DOWNLOAD: Place =
    Place { title: "an entry of `download`", keys: &["from", "to"], planned: &[] };

pub(crate) const REBOOT: Place =
    Place { title: "`reboot`", keys: &["wait", "host_key", "run"], planned: &[] };

pub(crate) const RESOURCES: Place =
    Place { title: "`resources`", keys: &["memory", "cpus"], planned: &[] };

pub(crate) const ENVIRONMENT: Place =
    Place { title: "`environment`", keys: &["name", "url"], planned: &[] };

pub(crate) const NEED: Place =
    Place { title: "an entry of `needs`", keys: &["job", "optional", "artifacts"], planned: &[] };

pub(crate) const ARTIFACTS: Place =
    Place { title: "`artifacts`", keys: &["paths", "expire"], planned: &[] };

pub(crate) const CACHE: Place = Place { title: "`cache`", keys: &["key", "paths"], planned: &[] };

pub(crate) const SERVICE: Place = Place {
    title: "a service",
    keys: &["image", "command", "variables", "health", "resources"],
    planned: &[],
};

pub(crate) const HEALTH: Place =
    Place { title: "`health`", keys: &["run", "interval", "timeout"], planned: &[] };

pub(crate) const SECRET: Place =
    Place { title: "an entry of `secrets`", keys: &["name", "as"], planned: &[] };

pub(crate) const RETRY: Place =
    Place { title: "`retry`", keys: &["max", "on", "delay"], planned: &[] };

pub(crate) const INVENTORY: Place = Place {
    title: "an inventory",
    keys: &["partition", "labels", "variables", "timezone", "windows", "agents", "devices"],
    planned: &[],
};

pub(crate) const WINDOW: Place =
    Place { title: "a time of a window", keys: &["days", "from", "to"], planned: &[] };

pub(crate) const INVENTORY_AGENT: Place =
    Place { title: "an agent", keys: &["device", "labels"], planned: &[] };

pub(crate) const DEVICE: Place = Place {
    title: "a device",
    keys: &[
        "address",
        "port",
        "user",
        "host_key",
        "host_keys",
        "host_ca",
        "rsa",
        "kind",
        "jump",
        "role",
        "group",
        "labels",
        "variables",
    ],
    planned: &[],
};

/// Places of a pipeline file; a key that is unknown in one may belong in another.
const PIPELINE_PLACES: &[&Place] = &[
    &PIPELINE,
    &INCLUDE,
    &INCLUDED,
    &ON,
    &PUSH,
    &PULL_REQUEST,
    &SCHEDULE,
    &CONCURRENCY,
    &INPUT,
    &DEFAULTS,
    &JOB,
    &EVENT,
    &NEED,
    &CONTAINER,
    &SSH,
    &CALL,
    &RENDER,
    &PROBE,
    &PROBE_DEVICE,
    &GATE,
    &UPLOAD,
    &DOWNLOAD,
    &REBOOT,
    &ARTIFACTS,
    &CACHE,
    &SERVICE,
    &HEALTH,
    &SECRET,
    &RETRY,
    &RESOURCES,
    &ENVIRONMENT,
    &DEVICES,
    &ROLLOUT,
];

impl Place {
    /// Another place of a pipeline where `key` works.
    pub(crate) fn elsewhere(&self, key: &str) -> Option<&'static Place> {
        let is_of_pipelines = |place: &&&Place| place.title == self.title;
        PIPELINE_PLACES.iter().find(is_of_pipelines)?;
        PIPELINE_PLACES.iter().find(|place| place.keys.contains(&key)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_both_works_and_is_planned() {
        let more = [&MANUAL, &PARTITIONS, &PROCESS, &NEED, &INVENTORY, &WINDOW, &DEVICE];
        for place in PIPELINE_PLACES.iter().copied().chain(more) {
            for (planned, _) in place.planned {
                assert!(!place.keys.contains(planned), "{planned} in {}", place.title);
            }
        }
    }
}
