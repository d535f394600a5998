//! What a job's container is made of.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, RestartPolicy,
    RestartPolicyNameEnum,
};
use pipelines::order::Order;
use pipelines::plan::{Container, Network};

use super::{AGENT_LABEL, ATTEMPT_LABEL, MARK_LABEL, left};
use crate::executor::{Context, environment};

/// Where the job's working directory is in the container.
const WORK: &str = "/work";

/// Where its script is.
const SCRIPT: &str = "/run/garrison/script";

/// Makes the init process pass SIGTERM on to the script's whole process group, not to the shell
/// alone, which would sit it out behind the program that it waits for.
const TERM_TO_GROUP: &str = "TINI_KILL_PROCESS_GROUP=1";

/// A container's name: for people, who see it in `docker ps`.
pub(super) fn name(order: &Order, context: &Context) -> String {
    let mark = context.mark.simple().to_string();
    format!("garrison-{}-{}", order.attempt, &mark[..8])
}

/// A container for `order` that runs `script`, a file of this host.
pub(super) fn body(
    order: &Order,
    container: &Container,
    script: &Path,
    context: &Context,
) -> ContainerCreateBody {
    let env = environment(order, context.mark).into_iter();
    let env = env.map(|(name, value)| format!("{name}={value}"));
    ContainerCreateBody {
        image: Some(container.image.clone()),
        entrypoint: Some(["/bin/sh", "-e", SCRIPT].map(Into::into).to_vec()),
        cmd: Some(Vec::new()),
        env: Some(env.chain([TERM_TO_GROUP.into()]).collect()),
        working_dir: Some(WORK.into()),
        labels: Some(labels(order, context)),
        tty: Some(false),
        open_stdin: Some(false),
        attach_stdin: Some(false),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(host_config(container, script, context)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(container: &Container, script: &Path, context: &Context) -> HostConfig {
    let memory = container.memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    HostConfig {
        network_mode: Some(network(container.network).into()),
        memory,
        // The same, so that the limit is not doubled by swap.
        memory_swap: memory,
        nano_cpus: container.millicpus.map(|millicpus| i64::from(millicpus) * 1_000_000),
        init: Some(true),
        privileged: Some(false),
        auto_remove: Some(false),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
        mounts: Some(vec![mount(&context.workspace, WORK, false), mount(script, SCRIPT, true)]),
        ..HostConfig::default()
    }
}

fn labels(order: &Order, context: &Context) -> HashMap<String, String> {
    let attempts = context.dir.parent().unwrap_or(&context.dir);
    HashMap::from([
        (ATTEMPT_LABEL.into(), order.attempt.to_string()),
        (MARK_LABEL.into(), context.mark.to_string()),
        (AGENT_LABEL.into(), left::agent_of(attempts)),
    ])
}

fn network(network: Network) -> &'static str {
    match network {
        Network::Bridge => "bridge",
        Network::Host => "host",
        Network::None => "none",
    }
}

fn mount(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.into()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}
