//! Outputs: short texts that a job leaves for the jobs that need it.
//!
//! They come from a script, by way of an agent: whoever takes them checks them.

use std::collections::BTreeMap;

use crate::limits;
use crate::name::JobName;

/// What stands before a job's and an output's name in the environment of the jobs that need it.
pub(crate) const PREFIX: &str = "OUTPUT_";

/// What a job left, by name.
pub type Outputs = BTreeMap<String, String>;

/// Whether a text can be an output's value.
///
/// # Errors
/// Why not, as the end of a sentence; says nothing of the text itself.
pub fn check(value: &str) -> Result<(), String> {
    if value.len() > limits::OUTPUT_BYTES {
        return Err(format!("has {} bytes; at most {} fit", value.len(), limits::OUTPUT_BYTES));
    }
    if value.contains(|c: char| c.is_control() && c != '\t') {
        return Err("holds a control character".to_owned());
    }
    Ok(())
}

/// Whether outputs are no more than one job may have, each of them checked.
///
/// # Errors
/// Why not, as a sentence.
pub fn check_together(outputs: &Outputs) -> Result<(), String> {
    let bytes: usize = outputs.values().map(String::len).sum();
    if bytes > limits::OUTPUTS_BYTES {
        let most = limits::OUTPUTS_BYTES;
        return Err(format!("the outputs have {bytes} bytes together; at most {most} fit"));
    }
    Ok(())
}

/// Those of the outputs that an agent told which the job declares and which may be: all, if the agent
/// is as it should be.
pub fn declared(outputs: &Outputs, names: &[String]) -> Outputs {
    let fits = |(name, value): &(&String, &String)| names.contains(name) && check(value).is_ok();
    let outputs: Outputs =
        outputs.iter().filter(fits).map(|(name, value)| (name.clone(), value.clone())).collect();
    if check_together(&outputs).is_ok() { outputs } else { Outputs::new() }
}

/// The environment variable by which a job knows the output `name` of one that it needs; `path` are the
/// jobs that lead to that one, itself the last.
pub fn variable<'j>(path: impl IntoIterator<Item = &'j JobName>, name: &str) -> String {
    let path: String =
        path.into_iter().map(|job| format!("{}_", job.as_str().replace('-', "_"))).collect();
    format!("{PREFIX}{path}{name}").to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(entries: &[(&str, &str)]) -> Outputs {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_variable_names_job_and_output() {
        let job: JobName = "build-all".parse().unwrap();
        assert_eq!(variable([&job], "image_tag"), "OUTPUT_BUILD_ALL_IMAGE_TAG");
    }

    #[test]
    fn a_value_is_a_short_line() {
        assert_eq!(check("a\tb = ä"), Ok(()));
        assert_eq!(check(""), Ok(()));
        assert!(check(&"a".repeat(limits::OUTPUT_BYTES)).is_ok());
        assert!(check(&"a".repeat(limits::OUTPUT_BYTES + 1)).unwrap_err().contains("4096"));
        for bad in ["a\nb", "a\0", "\x1b[31m", "a\r"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn of_what_an_agent_tells_only_what_is_declared_and_fits_is_taken() {
        let names = ["a".to_owned(), "b".to_owned()];
        let told = outputs(&[("a", "1"), ("b", "two\nlines"), ("c", "3")]);
        assert_eq!(declared(&told, &names), outputs(&[("a", "1")]));
        let names: Vec<String> = (0..9).map(|n| format!("n{n}")).collect();
        let large = "x".repeat(limits::OUTPUT_BYTES);
        let told = names.iter().map(|name| (name.clone(), large.clone())).collect();
        assert_eq!(declared(&told, &names), Outputs::new());
        assert_eq!(declared(&told, &names[..8]).len(), 8);
    }
}
