//! What a job's container is made of.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountTmpfsOptions, MountType,
    RestartPolicy, RestartPolicyNameEnum,
};
use pipelines::order::Order;
use pipelines::plan::{Container, Network};

use super::{AGENT_LABEL, ATTEMPT_LABEL, MARK_LABEL, left};
use crate::executor::secrets::{FILES, ForContainer, MOUNTED};
use crate::executor::{Context, environment};

/// Where the job's working directory is in the container.
const WORK: &str = "/work";

/// Where its script is.
const SCRIPT: &str = "/run/garrison/script";

/// Makes the init process pass SIGTERM on to the script's whole process group, not to the shell
/// alone, which would sit it out behind the program that it waits for.
const TERM_TO_GROUP: &str = "TINI_KILL_PROCESS_GROUP=1";

/// Room for a container's files with secrets, in bytes; they are fewer and shorter.
const FILES_SIZE: i64 = 8 << 20;

/// A container's name: for people, who see it in `docker ps`.
pub(super) fn name(order: &Order, context: &Context) -> String {
    let mark = context.mark.simple().to_string();
    format!("garrison-{}-{}", order.attempt, &mark[..8])
}

/// A container for `order` that runs `script`, a file of this host, with `secrets` mounted: the
/// engine writes down all else that a container is made of.
pub(super) fn body(
    order: &Order,
    container: &Container,
    script: &Path,
    secrets: Option<&ForContainer>,
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
        host_config: Some(host_config(container, script, secrets, context)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(
    container: &Container,
    script: &Path,
    secrets: Option<&ForContainer>,
    context: &Context,
) -> HostConfig {
    let memory = container.memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let mut mounts = vec![mount(&context.workspace, WORK, false), mount(script, SCRIPT, true)];
    if let Some(secrets) = secrets {
        mounts.extend([mount(&secrets.folder, MOUNTED, true), files()]);
    }
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
        mounts: Some(mounts),
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

/// Memory that any user of the container can write to.
fn files() -> Mount {
    let options =
        MountTmpfsOptions { size_bytes: Some(FILES_SIZE), mode: Some(0o1777), options: None };
    Mount {
        typ: Some(MountType::TMPFS),
        target: Some(FILES.into()),
        tmpfs_options: Some(options),
        ..Mount::default()
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
