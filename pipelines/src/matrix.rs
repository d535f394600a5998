//! A job's matrix: its variants.

use std::collections::BTreeMap;

/// What stands before a key's name in the environment of the job's variants.
pub(crate) const PREFIX: &str = "MATRIX_";

/// A variant: a value for each key.
pub type Combination = BTreeMap<String, String>;

/// All variants of a job.
pub(crate) struct Matrix {
    /// The keys, in the order of the file.
    pub(crate) keys: Vec<String>,
    /// The variants, each once; the last key's values change first.
    pub(crate) combinations: Vec<Combination>,
}

/// Every value of each key with every one of the others.
pub(crate) fn product(axes: &[(String, Vec<String>)]) -> Vec<Combination> {
    if axes.is_empty() {
        return Vec::new();
    }
    axes.iter().fold(vec![Combination::new()], |combinations, (key, values)| {
        let with = |combination: &Combination, value: &String| {
            let mut combination = combination.clone();
            combination.insert(key.clone(), value.clone());
            combination
        };
        let all = combinations.iter().flat_map(|one| values.iter().map(move |it| with(one, it)));
        all.collect()
    })
}

/// The environment variables by which a variant knows itself.
pub(crate) fn variables(combination: &Combination) -> impl Iterator<Item = (String, String)> {
    let name = |key: &str| format!("{PREFIX}{}", key.to_ascii_uppercase());
    combination.iter().map(move |(key, value)| (name(key), value.clone()))
}

/// The variant in words, such as `arch=x86, os=4.3.0`.
pub(crate) fn title(combination: &Combination) -> String {
    let pairs: Vec<_> = combination.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ")
}
