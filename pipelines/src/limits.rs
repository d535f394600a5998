//! How large anything in a pipeline or an inventory may be. What exceeds a limit gets a diagnostic
//! that names the limit; nothing here is a matter of taste of one caller, so that a file that
//! passes `garrison lint` also passes on the coordinator.

/// Largest file, in bytes.
pub const FILE_BYTES: usize = 1 << 20;

/// Deepest nesting of lists and mappings.
pub const DEPTH: usize = 64;

/// Most YAML nodes in a file, counted after aliases were replaced by what they stand for.
pub const NODES: usize = 100_000;

/// Most bytes of text in a file's nodes, counted after aliases were replaced.
pub const EXPANDED_BYTES: usize = 4 << 20;

/// Most diagnostics kept of one compilation; the rest is counted only.
pub const DIAGNOSTICS: usize = 200;

/// Most files that a pipeline includes, each counted as often as it is.
pub const INCLUDES: usize = 50;

/// Most sizes of waves that a rollout names.
pub const WAVES: usize = 100;

/// Longest tag that a file is included from, in bytes.
pub const REF_BYTES: usize = 255;

/// Most files that a job carries to a device, or from it.
pub const TRANSFERS: usize = 100;

/// Longest path of such a file, in bytes.
pub const PATH_BYTES: usize = 1024;

/// Most hosts through which a device is reached.
pub const JUMPS: usize = 8;

/// Most partitions that one pipeline may name.
pub const PARTITIONS: usize = 1_000;

/// Most jobs of a plan, counted once for each partition, variant and agent.
pub const JOBS: usize = 10_000;

/// Most bytes of scripts, environments and patterns in a plan, summed over all its jobs.
pub const PLAN_BYTES: usize = 16 << 20;

/// Longest entry of `run`, in bytes.
pub const SCRIPT_LINE_BYTES: usize = 64 << 10;

/// Longest value of an environment variable, in bytes.
pub const VARIABLE_BYTES: usize = 32 << 10;

/// Longest name of an environment variable, in bytes.
pub const VARIABLE_NAME_BYTES: usize = 255;

/// Most inputs of a pipeline.
pub const INPUTS: usize = 50;

/// Most schedules of a pipeline.
pub const SCHEDULES: usize = 32;

/// Most entries of `on: event` of a pipeline.
pub const EVENTS: usize = 32;

/// Longest age of an event that still starts a pipeline, in seconds: a day. Keys of triggers must be
/// remembered for longer.
pub const EVENT_AGE_S: u32 = 24 * 60 * 60;

/// Most secrets of a job.
pub const SECRETS: usize = 32;

/// Most variants of a job.
pub const MATRIX: usize = 256;

/// Longest value of a matrix, in bytes.
pub const MATRIX_VALUE_BYTES: usize = 255;

/// Longest condition, in bytes.
pub const CONDITION_BYTES: usize = 1 << 10;

/// Deepest nesting of brackets and choices in a condition: its parser takes some 100 KiB of stack for
/// each when it is not optimised.
pub const CONDITION_DEPTH: usize = 8;

/// Most operators that stand within each other in a condition.
pub const CONDITION_OPERATORS: usize = 32;

/// Most steps that it may take to fill in one text.
pub const TEMPLATE_FUEL: u64 = 1_000;

/// Most steps that it may take to fill in all texts of a plan.
pub const TEMPLATES_FUEL: u64 = 2_000_000;

/// Longest value that a text may be filled in with, in bytes.
pub const TEMPLATE_VALUE_BYTES: usize = 4 << 10;

/// Longest text that is filled in, in bytes.
pub const RENDERED_BYTES: usize = 64 << 10;

/// Longest name and URL of an environment, in bytes.
pub const ENVIRONMENT_BYTES: usize = 255;

/// Most outputs of a job.
pub const OUTPUTS: usize = 20;

/// Longest value of an output, in bytes.
pub const OUTPUT_BYTES: usize = 4 << 10;

/// Most bytes of all values of a job's outputs together.
pub const OUTPUTS_BYTES: usize = 32 << 10;

/// Longest inventory and known hosts that a job's Ansible is given, in bytes together.
pub const ANSIBLE_BYTES: usize = 2 << 20;

/// Most hosts of a recap that are kept.
pub const RECAP_HOSTS: usize = 1_000;

/// Most failed tasks of a recap that are kept.
pub const RECAP_FAILURES: usize = 20;

/// Most bytes of a recap that are kept, as JSON.
pub const RECAP_BYTES: usize = 64 << 10;

/// Longest key of a cache, in bytes.
pub const CACHE_KEY_BYTES: usize = 200;

/// Most services of a job.
pub const SERVICES: usize = 10;

/// Most probes of a job.
pub const PROBES: usize = 32;

/// Longest glob pattern, in bytes.
pub const GLOB_BYTES: usize = 1024;

/// Longest image reference, in bytes.
pub const IMAGE_BYTES: usize = 512;

/// Most attempts of a job after its first.
pub const RETRIES: u32 = 10;

/// Longest time that artifacts expire after, in seconds: 10 years.
pub const EXPIRE_S: u32 = 3650 * 24 * 60 * 60;

/// Most gates of a pipeline.
pub const GATES: usize = 20;

/// Most people who must approve at one gate.
pub const APPROVALS: u32 = 10;

/// Longest message of a gate, in bytes.
pub const MESSAGE_BYTES: usize = 8 << 10;

/// Longest text that is acknowledged, in bytes.
pub const ACKNOWLEDGE_BYTES: usize = 200;

/// Longest time limit of a job, in seconds: 30 days.
pub const TIMEOUT_S: u32 = 30 * 24 * 60 * 60;
