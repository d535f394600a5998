//! Variables that name a file which a container does not see.

use super::Place;
use crate::ast::{Job, Pipeline};
use crate::diagnostic::{Code, Report, quoted};
use crate::shell;
use crate::source::Span;
use crate::template::is_template;

/// Variables whose value is a file's path.
const NAMES: &[&str] = &[
    "KUBECONFIG",
    "K8S_AUTH_KUBECONFIG",
    "ANSIBLE_VAULT_PASSWORD_FILE",
    "ANSIBLE_PRIVATE_KEY_FILE",
];

/// Folders of a container that are not the image's alone: the working directory, secrets that are files, and
/// what scripts write to.
const THERE: &[&str] = &["/work/", "/run/", "/tmp/", "/var/tmp/", "/dev/", "/proc/"];

/// Reports variables of a job in a container that name a file outside of it.
pub(super) fn check_variables(
    pipeline: &Pipeline,
    job: &Job,
    place: Place,
    report: &mut Report<'_>,
) {
    if place != Place::Container {
        return;
    }
    let scripts: Vec<_> = job.run.iter().map(|text| text.value.as_str()).collect();
    let of_pipeline =
        pipeline.variables.iter().filter(|(name, _)| !job.variables.contains_key(*name));
    for (name, text) in job.variables.iter().chain(of_pipeline) {
        if !is_template(&text.value)
            && let Some(path) = outside(name, &text.value)
            && !is_written(name, path, &scripts)
        {
            complain(name, path, text.span, report);
        }
    }
}

/// The path in a variable's value that lies outside of a container.
pub(super) fn outside<'v>(name: &str, value: &'v str) -> Option<&'v str> {
    if !NAMES.contains(&name) {
        return None;
    }
    let mut paths = value.split(|c| c == ':' && name.contains("KUBECONFIG"));
    paths.find(|path| {
        let of_home = ["~/", "$HOME/", "${HOME}/"].iter().find_map(|it| path.strip_prefix(it));
        let below = of_home.or_else(|| path.strip_prefix('/'));
        let is_there = THERE.iter().any(|folder| path.starts_with(folder)) || *path == "/dev/null";
        below.is_some_and(|below| !below.contains('$')) && !is_there
    })
}

/// Whether the scripts themselves speak of the file, and so may write it.
pub(super) fn is_written(name: &str, path: &str, scripts: &[&str]) -> bool {
    let variables = [format!("${name}"), format!("${{{name}}}")];
    scripts.iter().flat_map(|script| shell::commands(script)).any(|command| {
        let by_variable = command.writes.iter().any(|word| variables.contains(&word.value()));
        let words = command.words.iter().filter(|word| word.assignment().is_none());
        by_variable || words.chain(&command.writes).any(|word| word.value().ends_with(path))
    })
}

/// What the image holds nobody can say, so it may be there.
pub(super) fn complain(name: &str, path: &str, span: Span, report: &mut Report<'_>) {
    let message = format!(
        "{} names {}, and a container sees nothing of the host but the working directory",
        quoted(name),
        quoted(path)
    );
    let help = format!(
        "make the file a secret: `secrets: [{{ name: {name}, as: file }}]` sets the variable to where it is"
    );
    report.warning(Code::OutsideOfContainer, span, message, help);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_host_are_outside() {
        let kubeconfig = |value| outside("KUBECONFIG", value);
        for value in ["/home/op/.kube/config", "~/.kube/config", "$HOME/k", "${HOME}/k", "a:/b"] {
            assert!(kubeconfig(value).is_some(), "{value}");
        }
        for value in
            ["kubeconfig", "./k", "/work/k", "/tmp/k", "/run/garrison/k", "$K", "/a/$K", ""]
        {
            assert_eq!(kubeconfig(value), None, "{value}");
        }
        assert_eq!(outside("OTHER", "/home/op/x"), None);
    }

    #[test]
    fn what_the_script_writes_is_there() {
        let is_written = |script| is_written("KUBECONFIG", "~/.kube/config", &[script]);
        assert!(is_written("echo \"$DATA\" > ~/.kube/config"));
        assert!(is_written("cp kubeconfig ~/.kube/config"));
        assert!(is_written("export KUBECONFIG=~/.kube/config\necho x > \"$KUBECONFIG\""));
        assert!(!is_written("export KUBECONFIG=~/.kube/config\nkubectl get nodes > nodes"));
    }
}
