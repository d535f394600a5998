//! `render` as it is written.

use super::Text;

/// A file that is made of a template.
pub(crate) struct Render {
    /// Where the template is, among the files of the commit.
    pub(crate) template: Text,
    /// Where the file is left.
    pub(crate) to: Text,
}
