//! What a job's container is made of, and those of its services.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountTmpfsOptions, MountType,
    RestartPolicy, RestartPolicyNameEnum,
};
use pipelines::order::Order;
use pipelines::plan::{Container, Network, Service};

use super::{AGENT_LABEL, ATTEMPT_LABEL, MARK_LABEL, left};
use crate::executor::ansible::{self, Guest, Seen};
use crate::executor::secrets::{FILES, ForContainer, MOUNTED};
use crate::executor::{Context, OUTPUTS, environment, outputs};
use crate::processes::MARK;

/// Where the job's working directory is in the container.
const WORK: &str = "/work";

/// Where its script is.
const SCRIPT: &str = "/run/garrison/script";

/// Where the script writes the job's outputs.
const OUTPUTS_FILE: &str = "/run/garrison/outputs";

/// Where its Ansible finds what is made for it, and writes the recap.
const ANSIBLE: &str = "/run/garrison/ansible";
const RECAP_FILE: &str = "/run/garrison/recap";

/// Makes the init process pass SIGTERM on to the script's whole process group, not to the shell
/// alone, which would sit it out behind the program that it waits for.
const TERM_TO_GROUP: &str = "TINI_KILL_PROCESS_GROUP=1";

/// Room for a container's files with secrets, in bytes; they are fewer and shorter.
const FILES_SIZE: i64 = 8 << 20;

/// Files of this host that a job's container sees beside its working directory.
pub(super) struct Files<'f> {
    pub(super) script: PathBuf,
    pub(super) secrets: Option<&'f ForContainer>,
    pub(super) guest: Option<&'f Guest>,
}

/// How a container gets its network.
pub(super) struct Joined {
    mode: String,
    /// Names that stand for the host itself.
    hosts: Vec<String>,
}

impl Joined {
    /// A network of its own, or the host's, in which these are reached by their names.
    pub(super) fn own(network: Network, services: &[Service]) -> Self {
        let host = |service: &Service| format!("{}:127.0.0.1", service.name);
        Self { mode: mode(network).into(), hosts: services.iter().map(host).collect() }
    }

    /// That of another container, with the names that are known there.
    pub(super) fn of(owner: &str) -> Self {
        Self { mode: format!("container:{owner}"), hosts: Vec::new() }
    }
}

/// A container's name: for people, who see it in `docker ps`.
pub(super) fn name(order: &Order, context: &Context) -> String {
    let mark = context.mark.simple().to_string();
    format!("garrison-{}-{}", order.attempt, &mark[..8])
}

/// What its Ansible finds.
pub(super) fn guest(order: &Order, context: &Context) -> io::Result<Option<Guest>> {
    let key = context.secrets.iter().find(|secret| ansible::is_key(secret));
    let seen = Seen {
        folder: ANSIBLE.to_owned(),
        recap: RECAP_FILE.to_owned(),
        key: key.map(|key| format!("{FILES}/{}", key.name)),
    };
    Guest::make(order, &context.dir, &seen)
}

/// A container for `order` that runs the script among `files`, with secrets mounted: the engine writes
/// down all else that a container is made of.
pub(super) fn body(
    order: &Order,
    container: &Container,
    joined: &Joined,
    files: &Files<'_>,
    context: &Context,
) -> ContainerCreateBody {
    let mut env = environment(order, context.mark);
    let of_guest = files.guest.iter().flat_map(|guest| &guest.variables);
    env.extend(of_guest.map(|(name, value)| ((*name).to_owned(), value.clone())));
    if !order.job.outputs.is_empty() {
        env.insert(OUTPUTS.into(), OUTPUTS_FILE.into());
    }
    let env = env.into_iter().map(|(name, value)| format!("{name}={value}"));
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
        host_config: Some(HostConfig {
            init: Some(true),
            mounts: Some(mounts(order, files, context)),
            ..limited(joined, container.memory, container.millicpus)
        }),
        ..ContainerCreateBody::default()
    }
}

/// The container of a service, which sees nothing of the job but its network.
pub(super) fn service_body(
    order: &Order,
    service: &Service,
    joined: &Joined,
    context: &Context,
) -> ContainerCreateBody {
    let mark = (MARK.to_owned(), context.mark.to_string());
    let env = service.env.clone().into_iter().chain([mark]);
    ContainerCreateBody {
        image: Some(service.image.clone()),
        cmd: (!service.command.is_empty()).then(|| service.command.clone()),
        env: Some(env.map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(labels(order, context)),
        tty: Some(false),
        open_stdin: Some(false),
        attach_stdin: Some(false),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(limited(joined, service.memory, service.millicpus)),
        ..ContainerCreateBody::default()
    }
}

/// What the script of the job's container sees of the host.
fn mounts(order: &Order, files: &Files<'_>, context: &Context) -> Vec<Mount> {
    let mut mounts =
        vec![mount(&context.workspace, WORK, false), mount(&files.script, SCRIPT, true)];
    if !order.job.outputs.is_empty() {
        mounts.push(mount(&outputs(&context.dir), OUTPUTS_FILE, false));
    }
    if let Some(secrets) = files.secrets {
        mounts.extend([mount(&secrets.folder, MOUNTED, true), in_memory()]);
    }
    if let Some(guest) = files.guest {
        mounts.push(mount(&guest.folder, ANSIBLE, true));
        mounts.push(mount(&ansible::recap(&context.dir), RECAP_FILE, false));
    }
    mounts
}

/// What holds for all containers: no rights beside their limits, and no log of the engine's.
fn limited(joined: &Joined, memory: Option<u64>, millicpus: Option<u32>) -> HostConfig {
    let memory = memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    HostConfig {
        network_mode: Some(joined.mode.clone()),
        extra_hosts: (!joined.hosts.is_empty()).then(|| joined.hosts.clone()),
        memory,
        // The same, so that the limit is not doubled by swap.
        memory_swap: memory,
        nano_cpus: millicpus.map(|millicpus| i64::from(millicpus) * 1_000_000),
        privileged: Some(false),
        auto_remove: Some(false),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
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

fn mode(network: Network) -> &'static str {
    match network {
        Network::Bridge => "bridge",
        Network::Host => "host",
        Network::None => "none",
    }
}

/// Memory that any user of the container can write to.
fn in_memory() -> Mount {
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
