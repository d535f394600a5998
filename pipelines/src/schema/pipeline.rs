//! The schema of a pipeline.

use serde_json::{Value, json};

use super::{
    about, any_of, by_name, duration, list, mapping, name, one_of, or_nothing, scalar, template,
    text, yes_or_no,
};
use crate::keys;
use crate::limits;
use crate::parse::words;

/// A pipeline's file.
pub(super) fn file() -> Value {
    let mut file = mapping(&keys::PIPELINE, &["on", "partitions"], |key| {
        Some(match key {
            "name" => about("Its name; that of the file, if missing.", name())?,
            "include" => about("Files with parts of it.", list(any_of(&[text(), include()])))?,
            "on" => about("When it starts.", on())?,
            "inputs" => about("What can be chosen at the start, by name.", by_name(input()))?,
            "partitions" => about("Where its jobs run.", any_of(&[list(name()), partitions()]))?,
            "lock" => about("Held by the run in each partition.", name())?,
            "window" => about("Its jobs begin in this window alone.", name())?,
            "concurrency" => about("Runs of which one at a time is under way.", concurrency())?,
            "defaults" => about("For jobs that do not say.", defaults())?,
            "variables" => about("In the environment of all scripts.", by_name(scalar()))?,
            "templates" => about("Keys of jobs, for `extends`.", by_name(job()))?,
            "jobs" => about("What is done, by name.", by_name(job()))?,
            _ => return None,
        })
    });
    // Jobs may all stand in what it includes.
    file["anyOf"] = json!([{ "required": ["jobs"] }, { "required": ["include"] }]);
    file
}

/// A file that pipelines include.
pub(super) fn included() -> Value {
    // It says the same of its keys as a pipeline does.
    let pipeline = file();
    mapping(&keys::INCLUDED, &[], |key| pipeline["properties"].get(key).cloned())
}

fn include() -> Value {
    mapping(&keys::INCLUDE, &["file"], |key| {
        Some(match key {
            "repository" => about("Another one than its own; with `ref`.", name())?,
            "ref" => about("A tag or a commit.", scalar())?,
            "file" => about("A path from the repository's root.", text())?,
            _ => return None,
        })
    })
}

fn on() -> Value {
    mapping(&keys::ON, &[], |key| {
        Some(match key {
            "push" => about("Pushes to branches.", or_nothing(push(&keys::PUSH)))?,
            "pull_request" => {
                about("Pull requests, which are planned.", or_nothing(push(&keys::PULL_REQUEST)))?
            }
            "tag" => about("Tags; patterns, or nothing for all.", or_nothing(list(text())))?,
            "schedule" => about("Times.", list(schedule()))?,
            "event" => about("Events from outside.", list(event()))?,
            "manual" => about("Somebody asks for it.", or_nothing(nothing(&keys::MANUAL)))?,
            _ => return None,
        })
    })
}

fn nothing(place: &keys::Place) -> Value {
    mapping(place, &[], |_| None)
}

fn push(place: &keys::Place) -> Value {
    mapping(place, &[], |key| {
        Some(match key {
            "branches" => about("Patterns of branches.", list(text()))?,
            "paths" => about("Patterns of files, one of which must have changed.", list(text()))?,
            _ => return None,
        })
    })
}

fn schedule() -> Value {
    mapping(&keys::SCHEDULE, &["cron"], |key| {
        Some(match key {
            "cron" => about("Minute, hour, day of month, month, day of week.", text())?,
            "timezone" => about("Such as `Europe/Berlin`; UTC, if missing.", text())?,
            "inputs" => about("What its runs are started with.", by_name(scalar()))?,
            "missed" => about("What becomes of missed times.", one_of(words::MISSED))?,
            _ => return None,
        })
    })
}

fn event() -> Value {
    mapping(&keys::EVENT, &["topic"], |key| {
        Some(match key {
            "topic" => about("A pattern of topics.", scalar())?,
            "partition" => about("Patterns of partitions.", any_of(&[scalar(), list(scalar())]))?,
            "when" => about("A condition over `event`.", scalar())?,
            "inputs" => about("What its runs are started with.", by_name(scalar()))?,
            "max_age" => about("Older ones start nothing; `10m`, if missing.", duration())?,
            _ => return None,
        })
    })
}

fn input() -> Value {
    mapping(&keys::INPUT, &["type"], |key| {
        Some(match key {
            "type" => about("What may be given.", one_of(words::INPUT_TYPES))?,
            "default" => about("What it is if it is not given.", scalar())?,
            "required" => about("It must be given.", yes_or_no())?,
            "options" => about("What a choice may be.", list(scalar()))?,
            "description" => about("What it is for.", text())?,
            _ => return None,
        })
    })
}

fn partitions() -> Value {
    mapping(&keys::PARTITIONS, &[], |key| {
        Some(match key {
            "names" => about("Chooses among these.", list(name()))?,
            "select" => about("A condition that must hold.", scalar())?,
            "changed" => about("A pattern of files with `{partition}` in it.", text())?,
            "rollout" => about("A few at a time.", partitions_rollout())?,
            _ => return None,
        })
    })
}

fn partitions_rollout() -> Value {
    mapping(&keys::PARTITIONS_ROLLOUT, &[], |key| {
        Some(match key {
            "canary" => about("These come first.", list(name()))?,
            "waves" => about("How many in each wave.", sizes())?,
            _ => return pace(key),
        })
    })
}

fn devices() -> Value {
    mapping(&keys::DEVICES, &[], |key| {
        let names = || any_of(&[name(), list(name())]);
        Some(match key {
            "names" => about("These.", list(name()))?,
            "role" => about("Those of these roles.", names())?,
            "group" => about("Those of these redundancy groups.", names())?,
            "labels" => about("Those with these labels.", by_name(scalar()))?,
            "of" => about("Those of this job, each behind its own.", name())?,
            _ => return None,
        })
    })
}

fn rollout() -> Value {
    mapping(&keys::ROLLOUT, &[], |key| {
        Some(match key {
            "serial" => about("How many in each wave.", any_of(&[one_of(words::SERIAL), sizes()]))?,
            "groups" => about("Whether a redundant pair may go together.", one_of(words::GROUPS))?,
            _ => return pace(key),
        })
    })
}

fn sizes() -> Value {
    any_of(&[scalar(), list(scalar())])
}

fn pace(key: &str) -> Option<Value> {
    let count = || json!({ "type": "integer", "minimum": 1 });
    match key {
        "max_parallel" => about("At a time.", count()),
        "stop_after" => about("So many failures end it.", count()),
        "pause" => about("Between two waves.", duration()),
        _ => None,
    }
}

fn concurrency() -> Value {
    let mapping = mapping(&keys::CONCURRENCY, &[], |key| {
        Some(match key {
            "group" => about("The pipeline's own name, if missing.", name())?,
            "mode" => about("What becomes of the others.", one_of(words::MODES))?,
            _ => return None,
        })
    });
    any_of(&[name(), mapping])
}

fn defaults() -> Value {
    mapping(&keys::DEFAULTS, &[], |key| {
        Some(match key {
            "image" => about("Of containers that name none.", text())?,
            "timeout" => about("Time limit.", duration())?,
            "retry" => about("More attempts.", retry())?,
            _ => return None,
        })
    })
}

fn job() -> Value {
    mapping(&keys::JOB, &[], |key| {
        let any_text = || any_of(&[text(), list(text())]);
        Some(match key {
            "container" => about(
                "Runs the script in a container.",
                any_of(&[text(), or_nothing(container())]),
            )?,
            "process" => {
                about("Runs it on the management server.", or_nothing(nothing(&keys::PROCESS)))?
            }
            "ssh" => about("Runs it on a device.", or_nothing(ssh()))?,
            "render" => about("Makes a file of a template.", render())?,
            "gate" => about("Waits for people.", or_nothing(gate()))?,
            "pipeline" => about("Another pipeline.", any_of(&[text(), call()]))?,
            "run" => about("Shell commands.", any_text())?,
            "wait" => about("What must be so behind the script.", list(probe()))?,
            "upload" => about("Files that are put onto the device before.", list(upload()))?,
            "download" => about("Files that are fetched from it behind.", list(download()))?,
            "reboot" => about("The device is rebooted behind.", or_nothing(reboot()))?,
            "extends" => about("Templates.", any_text())?,
            "matrix" => about("Its variants.", matrix())?,
            "when" => about("A condition.", scalar())?,
            "needs" => about("Jobs that end first.", needs())?,
            "variables" => about("In the script's environment.", by_name(scalar()))?,
            "secrets" => about("Secrets that the script gets.", list(secret()))?,
            "timeout" => about("Time limit.", duration())?,
            "resources" => about("Limits of its container.", resources())?,
            "environment" => about("What it deploys to.", any_of(&[text(), environment()]))?,
            "artifacts" => about("Files that it leaves.", artifacts())?,
            "outputs" => about("Short texts that it leaves.", list(text()))?,
            "cache" => about("Files that it finds again.", cache())?,
            "services" => about("Containers beside its own.", by_name(service()))?,
            "inventory" => about("The partition's devices, for Ansible.", one_of(words::TOOLS))?,
            "recap" => about("What came of Ansible's hosts is shown.", one_of(words::TOOLS))?,
            "partitions" => about("Only these.", list(name()))?,
            "agent" => about(
                "Labels that its agent must have, or `each` for all agents.",
                any_of(&[one_of(words::AGENTS), by_name(scalar())]),
            )?,
            "devices" => about("Once for each.", any_of(&[list(name()), devices()]))?,
            "rollout" => about("A few devices at a time.", rollout())?,
            "lock" => about("Held by the job.", any_of(&[name(), template()]))?,
            "retry" => about("More attempts.", retry())?,
            "on_lost" => about("When its agent is away.", one_of(words::ON_LOST))?,
            "lost_after" => about("For how long.", duration())?,
            _ => return None,
        })
    })
}

fn container() -> Value {
    mapping(&keys::CONTAINER, &[], |key| {
        Some(match key {
            "image" => about("That of `defaults`, if missing.", text())?,
            "pull" => about("When it is pulled.", one_of(words::PULL))?,
            "network" => about("Its network.", one_of(words::NETWORK))?,
            _ => return None,
        })
    })
}

fn ssh() -> Value {
    mapping(&keys::SSH, &[], |key| {
        Some(match key {
            "device" => about("Of the partition's inventory.", name())?,
            "user" => about("Instead of the inventory's.", text())?,
            "key" => about("The secret that logs in.", text())?,
            "sudo" => about("As root, or as this user.", any_of(&[yes_or_no(), text()]))?,
            "pty" => about("With a terminal.", yes_or_no())?,
            "timeout" => about("How long logging in may take.", duration())?,
            _ => return None,
        })
    })
}

fn upload() -> Value {
    mapping(&keys::UPLOAD, &["from", "to"], |key| {
        Some(match key {
            "from" => about("A file of the working directory.", text())?,
            "to" => about("Its path there; `/` at the end for a folder.", text())?,
            "mode" => about("Octal permissions, such as `0640`.", scalar())?,
            _ => return None,
        })
    })
}

fn download() -> Value {
    mapping(&keys::DOWNLOAD, &["from", "to"], |key| {
        Some(match key {
            "from" => about("A file there.", text())?,
            "to" => about("Its path here; `/` at the end for a folder.", text())?,
            _ => return None,
        })
    })
}

fn reboot() -> Value {
    mapping(&keys::REBOOT, &[], |key| {
        Some(match key {
            "wait" => about("How long it may take; 15m, if missing.", duration())?,
            "host_key" => about("Which it may show then.", one_of(words::HOST_KEY))?,
            "run" => about("The command that asks for it.", text())?,
            _ => return None,
        })
    })
}

fn call() -> Value {
    mapping(&keys::CALL, &["file"], |key| {
        Some(match key {
            "repository" => about("Where it is, when not here.", name())?,
            "ref" => about("A tag or a commit there.", scalar())?,
            "file" => about("Its path in the repository.", text())?,
            "inputs" => about("What it is started with.", by_name(scalar()))?,
            _ => return None,
        })
    })
}

fn render() -> Value {
    mapping(&keys::RENDER, &["template", "to"], |key| {
        Some(match key {
            "template" => about("A file of the commit.", text())?,
            "to" => about("The file to make, an artifact.", text())?,
            _ => return None,
        })
    })
}

fn probe() -> Value {
    mapping(&keys::PROBE, &[], |key| {
        Some(match key {
            "tcp" => about("HOST:PORT that accepts connections.", text())?,
            "ssh" => {
                about("HOST:PORT of an SSH server, or a device.", any_of(&[text(), device()]))?
            }
            "http" => about("A URL that answers.", text())?,
            "tls" => about("HOST:PORT with a certificate.", text())?,
            "run" => about("A command on the job's own device that succeeds.", text())?,
            "status" => about(
                "Such as `200` or `2xx`; `200`, if missing.",
                any_of(&[scalar(), list(scalar())]),
            )?,
            "body" => about("A regular expression that the body matches.", text())?,
            "server_name" => about("Instead of the address's host.", text())?,
            "issuer" => about("In the name of who issued the certificate.", text())?,
            "valid_for" => about("At least that long.", duration())?,
            "ca" => about("A file with authorities to trust.", text())?,
            "output" => about("A regular expression that its output matches.", text())?,
            "interval" | "timeout" => duration(),
            _ => return None,
        })
    })
}

fn gate() -> Value {
    let count = json!({ "type": "integer", "minimum": 1, "maximum": limits::APPROVALS });
    mapping(&keys::GATE, &[], |key| {
        Some(match key {
            "role" => about("Who may answer.", one_of(words::ROLES))?,
            "count" => about("How many different people must approve.", count.clone())?,
            "triggerer" => {
                about("Whether who triggered the run may approve.", one_of(words::TRIGGERERS))?
            }
            "acknowledge" => about("What somebody does by hand, in his words.", text())?,
            "waives" => about(
                "Opens only where a job that it needs has not succeeded, and then goes on.",
                yes_or_no(),
            )?,
            "message" => about("What people are told.", text())?,
            "timeout" => about("How long it waits.", duration())?,
            _ => return None,
        })
    })
}

fn device() -> Value {
    mapping(&keys::PROBE_DEVICE, &[], |key| match key {
        "device" => about("Of the inventory; the job's own, if missing.", name()),
        _ => None,
    })
}

fn matrix() -> Value {
    let variant = || list(by_name(scalar()));
    json!({
        "type": "object",
        "properties": { "include": variant(), "exclude": variant() },
        "additionalProperties": list(scalar()),
        "minProperties": 1,
    })
}

fn needs() -> Value {
    let need = mapping(&keys::NEED, &["job"], |key| {
        Some(match key {
            "job" => about("That job.", name())?,
            "optional" => about("It need not be there.", yes_or_no())?,
            "artifacts" => about("Whether its files are wanted.", yes_or_no())?,
            _ => return None,
        })
    });
    json!({ "type": "array", "items": any_of(&[name(), need]) })
}

fn secret() -> Value {
    let mapping = mapping(&keys::SECRET, &["name"], |key| {
        Some(match key {
            "name" => about("Its name.", text())?,
            "as" => about("As a variable, if missing.", one_of(words::DELIVERIES))?,
            _ => return None,
        })
    });
    any_of(&[text(), mapping])
}

fn resources() -> Value {
    mapping(&keys::RESOURCES, &[], |key| {
        Some(match key {
            "memory" => about("Such as `512MiB`.", text())?,
            "cpus" => about("Cores, such as 1.5.", scalar())?,
            _ => return None,
        })
    })
}

fn environment() -> Value {
    mapping(&keys::ENVIRONMENT, &["name"], |key| {
        Some(match key {
            "name" => about("Such as `fra-equ01/switches`.", text())?,
            "url" => about("Where to look at it.", text())?,
            _ => return None,
        })
    })
}

fn artifacts() -> Value {
    mapping(&keys::ARTIFACTS, &["paths"], |key| match key {
        "paths" => about("Patterns of files.", list(scalar())),
        "expire" => about("For how long they are kept.", duration()),
        _ => None,
    })
}

fn cache() -> Value {
    mapping(&keys::CACHE, &["key", "paths"], |key| match key {
        "key" => about("Jobs with the same key share it.", text()),
        "paths" => about("Patterns of files.", list(scalar())),
        _ => None,
    })
}

fn service() -> Value {
    mapping(&keys::SERVICE, &["image"], |key| {
        Some(match key {
            "image" => about("Its image.", text())?,
            "command" => about("Arguments.", list(text()))?,
            "variables" => about("Its environment.", by_name(scalar()))?,
            "health" => about("When it can be used.", health())?,
            "resources" => about("Limits.", resources())?,
            _ => return None,
        })
    })
}

fn health() -> Value {
    mapping(&keys::HEALTH, &["run"], |key| {
        Some(match key {
            "run" => about("A command that succeeds then.", text())?,
            "interval" | "timeout" => duration(),
            _ => return None,
        })
    })
}

fn retry() -> Value {
    let count = json!({ "type": "integer", "minimum": 0, "maximum": limits::RETRIES });
    let mapping = mapping(&keys::RETRY, &["max"], |key| {
        Some(match key {
            "max" => about("Attempts after the first.", count.clone())?,
            "on" => about("After which outcomes.", list(one_of(words::RETRY_ON)))?,
            "delay" => about("The pause before.", duration())?,
            _ => return None,
        })
    });
    any_of(&[count, mapping])
}
