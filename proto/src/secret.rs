//! Secrets on the wire show no values.

use std::fmt;

use crate::v1::Secret;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::v1::{Secret, Secrets};

    #[test]
    fn no_value_shows() {
        let secret = Secret { name: "TOKEN".into(), value: "hunter2".into() };
        let shown = format!("{:?}", Secrets { secrets: vec![secret] });
        assert_eq!(shown, "Secrets { secrets: [Secret { name: \"TOKEN\", .. }] }");
    }
}
