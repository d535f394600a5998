//! Keys of other systems, with what does the same here: who comes from GitLab CI, GitHub Actions or
//! Woodpecker is told so in their words.

/// What to write instead of a key that another system has at this place.
pub(crate) fn advice(place: &str, key: &str) -> Option<&'static str> {
    let table = match place {
        "a pipeline" => PIPELINE,
        "a job" => JOB,
        "`container`" => CONTAINER,
        "`on`" => ON,
        "`push`" => PUSH,
        _ => return None,
    };
    table.iter().find(|(known, _)| *known == key).map(|(_, advice)| *advice)
}

/// The key of ours that one of another system stands for, so that its absence need not be reported.
pub(crate) fn stands_for(key: &str) -> Option<&'static str> {
    match key {
        "commands" | "entrypoint" | "script" | "steps" | "uses" => Some("run"),
        "image" => Some("container"),
        _ => None,
    }
}

const PIPELINE: &[(&str, &str)] = &[
    ("before_script", "begin each job's `run` with it, or write it once under `templates`"),
    ("clone", "remove it: each job finds the files of the commit in its working directory"),
    ("default", "write `defaults`"),
    ("env", "write `variables`"),
    ("environment", "write `variables`, or `environment` in a job"),
    ("image", "write `defaults: { image: … }`"),
    ("labels", "write `agent` in a job"),
    ("permissions", "remove it: who may do what stands in the coordinator's configuration"),
    ("run-name", "write `name`"),
    ("runs-on", "write `agent` in a job"),
    ("services", "write `services` in a job"),
    ("stages", "say with `needs` in each job which others come first"),
    ("steps", "write each step as a job under `jobs`"),
    ("triggers", "write `on`"),
    ("when", "write `on` for what starts the pipeline, or `when` in a job"),
    ("workflow", "write `on`"),
];

const JOB: &[(&str, &str)] = &[
    ("after_script", "make it a job of its own with `needs` and `when: always()`"),
    ("allow_failure", "let what must go on all the same say `when: always()`"),
    ("before_script", "write it at the beginning of `run`"),
    ("commands", "write `run`"),
    ("concurrency", "write `lock`, or `concurrency` of the pipeline"),
    ("continue-on-error", "let what must go on all the same say `when: always()`"),
    ("dependencies", "write `needs`; `{ job: …, artifacts: false }` is one without artifacts"),
    ("depends_on", "write `needs`"),
    ("entrypoint", "write `run`"),
    ("env", "write `variables`"),
    ("except", "write `when` with a condition"),
    ("if", "write `when`"),
    ("image", "write `container: { image: … }`"),
    ("interruptible", "write `concurrency: { mode: cancel-running }` of the pipeline"),
    ("only", "write `when` with a condition"),
    ("parallel", "write `matrix`"),
    ("resource_group", "write `lock`"),
    ("rules", "write `when` with a condition"),
    ("runs-on", "write `agent` with labels"),
    ("script", "write `run`"),
    ("stage", "say with `needs` which other jobs come first"),
    ("steps", "write their commands as a list under `run`"),
    ("strategy", "write `matrix` in the job itself"),
    ("tags", "write `agent` with labels"),
    ("timeout-minutes", "write `timeout`, such as `timeout: 30m`"),
    ("uses", "write the commands under `run`; what jobs share stands under `templates`"),
    ("with", "write `variables`"),
    ("working-directory", "begin `run` with `cd`"),
];

const CONTAINER: &[(&str, &str)] = &[
    ("cpus", "write `resources: { cpus: … }` in the job"),
    ("env", "write `variables` in the job"),
    ("memory", "write `resources: { memory: … }` in the job"),
    ("variables", "write `variables` in the job"),
];

const PUSH: &[(&str, &str)] = &[
    ("branches-ignore", "list the branches that are meant"),
    ("paths-ignore", "list the paths that are meant"),
    ("tags", "write `tag:` beside `push:`"),
];

const ON: &[(&str, &str)] = &[
    ("cron", "write `schedule`"),
    ("deployment", "write `push` or `manual`"),
    ("merge_request", "write `pull_request`"),
    ("merge_request_event", "write `pull_request`"),
    ("release", "write `tag`"),
    ("web", "write `manual`"),
    ("workflow_dispatch", "write `manual`, and `inputs` beside `on`"),
];
