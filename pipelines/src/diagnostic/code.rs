//! The kinds of mistakes, each with a code that never changes its meaning.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($name:ident = $code:literal, $summary:literal;)*) => {
        /// Which mistake a diagnostic is about. Written as its code, such as `P030`.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Code {
            $(
                #[doc = $summary]
                #[serde(rename = $code)]
                $name,
            )*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// The code as it is written.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => $code,)*
                }
            }

            /// What it stands for, as one line of the handbook's table.
            pub fn summary(self) -> &'static str {
                match self {
                    $(Code::$name => $summary,)*
                }
            }
        }
    };
}

codes! {
    FileTooLarge = "P001", "The file is larger than 1 MiB.";
    NotUtf8 = "P002", "The file is not UTF-8.";
    NulCharacter = "P003", "The file, or a text in it, holds a NUL character.";
    Syntax = "P004", "The file is not YAML.";
    DuplicateKey = "P005", "A key stands twice in one mapping.";
    MergeKey = "P006", "`<<` is used; merging mappings is not supported.";
    Tag = "P007", "A YAML tag such as `!vault` is used.";
    TooDeep = "P008", "Lists and mappings are nested deeper than 64.";
    TooManyNodes = "P009", "The file holds too much, counted with its aliases expanded.";
    SeveralDocuments = "P010", "The file holds more than one YAML document.";
    EmptyFile = "P011", "The file holds nothing.";
    KeyNotText = "P012", "A key is a list, a mapping or empty.";
    RecursiveAlias = "P013", "An alias stands inside the value that it stands for.";

    FileUnavailable = "P020", "The pipeline's file could not be had.";
    UnknownPartition = "P021", "A partition is not one that the coordinator knows.";
    PartitionNotAllowed = "P022", "The repository may not deploy to a partition.";
    InventoryUnavailable = "P023", "A partition's inventory could not be had.";
    InventoryNotAtHand = "P024", "A partition's inventory is not at hand, so nothing was checked against it.";

    UnknownKey = "P030", "A key does not exist.";
    PlannedKey = "P031", "A key is planned, but nothing executes it yet.";
    WrongType = "P032", "A value has the wrong type.";
    MissingKey = "P033", "A key is missing.";
    InvalidName = "P034", "A name has a form that names may not have.";
    UnknownChoice = "P035", "A value is none of those that are possible.";
    InvalidDuration = "P036", "A duration cannot be read, or is out of range.";
    InvalidSize = "P037", "A size cannot be read, or is out of range.";
    InvalidGlob = "P038", "A glob pattern cannot be used.";
    InvalidVariableName = "P039", "The name of an environment variable cannot be used.";
    InvalidVariable = "P040", "The value of an environment variable cannot be used.";
    Empty = "P041", "A list, a mapping or a text is empty.";
    TooLong = "P042", "A text is too long.";
    Duplicate = "P043", "A list names something twice.";
    InvalidNumber = "P044", "A number cannot be read, or is out of range.";
    InvalidImage = "P045", "An image reference cannot be used.";
    InvalidUser = "P046", "A user name cannot be used.";
    InvalidLabel = "P047", "A label's value cannot be used.";
    InvalidInput = "P048", "An input is declared wrongly, or its value cannot be used.";
    LockInLock = "P049", "A job has a lock, and its pipeline has one too.";

    NotOneTask = "P050", "A job is not exactly one of `container`, `ssh`, `process`, `render`, `gate` and `pipeline`, or `wait` alone.";
    UnknownJob = "P051", "`needs` names a job that does not exist.";
    NeedsItself = "P052", "A job needs itself.";
    Cycle = "P053", "Jobs need each other in a circle.";
    NeedElsewhere = "P054", "A needed job does not run in a partition of the job that needs it.";
    PartitionNotListed = "P055", "A job names a partition that the pipeline does not name.";
    NoImage = "P056", "A container has no image.";
    UnknownDevice = "P057", "A device is not in the partition's inventory.";
    ArtifactsOnDevice = "P058", "A job on a device has artifacts, and fetches no file.";
    TooManyJobs = "P059", "The plan would have too many jobs.";
    PlanTooLarge = "P060", "The plan would be too large.";
    NotTriggered = "P061", "The pipeline does not start on this trigger.";
    TooManyPartitions = "P062", "The pipeline names too many partitions.";
    LostAfterMissing = "P063", "`on_lost` is `fail` or `retry`, and `lost_after` is missing.";
    LostAfterUnused = "P064", "`lost_after` is given, and nothing is done then.";
    LostOnDevice = "P065", "A job on a device cannot be given up by `on_lost`.";
    LostOnHostNetwork = "P066", "A container with its host's network is given up by `on_lost`.";
    UnknownInput = "P067", "An input is given that the pipeline does not have.";
    MissingInput = "P068", "A required input is not given.";
    RequiredOnPush = "P069", "An input is required, and the pipeline starts on what gives none.";

    WrongPartition = "P070", "An inventory is another partition's.";
    InvalidHostKey = "P071", "A host key cannot be used.";
    InvalidAddress = "P072", "An address cannot be used.";
    HostKeyAndKeys = "P073", "A device has both `host_key` and `host_keys`.";
    UnknownTimeZone = "P074", "A time zone does not exist.";
    InvalidTime = "P075", "A time of day cannot be read.";
    SenselessWindow = "P076", "A maintenance window makes no sense.";
    TooManyLabels = "P077", "Something has too many labels.";

    InvalidSecretName = "P080", "The name of a secret cannot be used.";
    SecretIsVariable = "P081", "A secret has the name of a variable.";
    SecretFileOnDevice = "P082", "A job on a device has a secret as a file.";
    TooManySecrets = "P083", "A job has too many secrets.";
    InvalidTemplate = "P084", "A text with `{{ }}` or `{% %}` cannot be filled in.";
    InvalidCondition = "P085", "A condition cannot be read, or its types do not fit.";
    InvalidMatrix = "P086", "`include` or `exclude` of a matrix does not fit its keys.";
    MatrixTooLarge = "P087", "A matrix has too many variants.";
    UnknownTemplate = "P088", "`extends` names a template that does not exist.";
    TemplateCycle = "P089", "Templates extend each other in a circle.";
    OutputsOnDevice = "P090", "A job on a device has outputs.";
    TooManyOutputs = "P091", "A job has too many outputs.";
    OutputsCollide = "P092", "Outputs of two needed jobs would be one variable.";
    CacheOnDevice = "P093", "A job on a device has a cache.";
    InvalidCacheKey = "P094", "The key of a cache cannot be used.";
    ServicesWithoutContainer = "P095", "A job that runs in no container has services.";
    TooManyServices = "P096", "A job has too many services.";
    OutputsOfVariants = "P097", "A job with a matrix has outputs.";
    NoAgents = "P098", "A job runs on each agent of a partition whose inventory lists none.";
    OutputsOfEachAgent = "P099", "A job that runs on each agent has outputs.";
    InvalidCron = "P100", "A cron expression cannot be read.";
    NeverDue = "P101", "A schedule is never due.";
    ScheduleLacksInput = "P103", "A schedule does not give a required input.";
    InvalidInclude = "P104", "What an entry of `include` names cannot be included.";
    IncludeUnavailable = "P105", "An included file is not to be had.";
    IncludeCycle = "P106", "Files include each other in a circle.";
    TooManyIncludes = "P107", "A pipeline includes too much.";
    InvalidCall = "P108", "A job starts a pipeline that it cannot start, or has more keys than that.";
    CallCycle = "P109", "Pipelines start each other in a circle.";
    AnsibleUnreadable = "P110", "An Ansible inventory cannot be read.";
    AnsibleLeftOut = "P111", "Something of an Ansible inventory is left out.";
    AnsibleNoHostKey = "P112", "No key of an Ansible inventory's host is known.";
    AnsibleNoDevice = "P113", "A host of an Ansible inventory cannot be a device.";
    AnsibleRenamed = "P114", "A name of an Ansible inventory is changed.";
    InvalidTransfer = "P115", "A file of `upload` or `download` cannot be carried.";
    OnlyOnDevice = "P116", "A job that runs on no device has `upload`, `download` or `reboot`.";
    KeyNotDeclared = "P117", "`key` of `ssh` names a secret that the job does not have.";
    JumpsInCircle = "P118", "A device would be reached through itself, or through too many others.";
    NoShell = "P119", "A job asks for what a device of the kind `cli` cannot do.";
    InvalidEnvironment = "P120", "The name or the URL of an environment cannot be used.";
    NothingToDo = "P121", "Every job is left out.";
    ResourcesWithoutContainer = "P122", "`resources` are given for a job without a container.";
    RebootOfAgent = "P123", "A job would reboot the host of every agent that could run it.";
    EventLacksInput = "P124", "An entry of `on: event` does not give a required input.";
    InvalidTopic = "P125", "The topic of an event cannot be used.";
    NotOneProbe = "P127", "An entry of `wait` has none or several of `tcp`, `ssh`, `http`, `tls` and `run`.";
    ProbeOption = "P128", "A key of a probe does not go with its kind.";
    InvalidProbe = "P129", "An address, URL, status, pattern or path of a probe cannot be used.";
    ProbeWithoutDevice = "P130", "A probe is for the job's own device, and the job has none.";
    TooManyProbes = "P131", "A job waits for too many things.";
    ProbeOutlivesJob = "P132", "A probe may take longer than its job.";
    WithoutScript = "P133", "A job without a script has what only a script can use or leave.";
    InvalidRender = "P134", "A path of `render` cannot be used.";
    KeyBesideGate = "P135", "A gate has a key that is for jobs which do something.";
    KeyBesideAcknowledge = "P136", "A gate with `acknowledge` has a key that is for approvals.";
    InvalidGateText = "P137", "The message of a gate, or what is to be acknowledged, cannot be used.";
    TooManyGates = "P138", "A pipeline has too many gates.";
    UnknownWindow = "P139", "A partition's inventory has no window of the pipeline's name for it.";
    WaivesNothing = "P140", "A gate with `waives` needs no job, or has a `when` about how jobs ended.";
    InvalidDevices = "P143", "`devices` of a job cannot be used as they are.";
    InvalidRollout = "P144", "A `rollout` cannot be used where or as it is.";
    OutputsOfDevices = "P145", "A job that runs for each of several devices has outputs.";
    UnknownLimit = "P146", "A run is to be held to what is not there.";
    AnsibleElsewhere = "P147", "A job that runs neither in a container nor as a process has `inventory` or `recap`.";
    AnsibleVariable = "P148", "A job with `inventory: ansible` has a variable that this sets.";
    MissingFile = "P150", "A command reads a file that the repository does not have.";
    NotExecutable = "P151", "A script that is run by its path is not executable.";
    NoTerminal = "P152", "A command asks for a terminal, and a job has none.";
    OutsideOfContainer = "P153", "A variable names a file that a job's container does not see.";
    Placeholder = "P154", "A placeholder such as `CHANGE_ME` was never replaced.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_ascending() {
        let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
    }
}
