//! Names of Ansible as ours can be.

/// A name in small letters, with one `-` for whatever else is no letter or digit. It need not be
/// one of ours yet: it may be empty, or too long.
pub(super) fn name(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => name.push(c),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
    }
    name.trim_end_matches('-').to_owned()
}

/// Whether a group comes back from `garrison inventory export` under the name that it has.
pub(super) fn returns(group: &str) -> bool {
    name(group).replace('-', "_") == group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_ours() {
        for (theirs, ours) in
            [("mgmt_servers", "mgmt-servers"), ("Leaf_01.fra", "leaf-01-fra"), ("_x_", "x")]
        {
            assert_eq!(name(theirs), ours);
        }
        assert!(returns("mgmt_servers") && !returns("Leaves") && !returns("mgmt-servers"));
    }
}
