//! Gathers the files that a pipeline consists of, without reading any itself.
//!
//! [`Loader::step`] says which files are still needed. The caller fetches them, from a disk or from
//! git, gives them, and asks again, until it gets [`Sources`]: everything that [`crate::compile`]
//! looks at. Which file holds a partition's inventory, and whether the pipeline's repository may
//! deploy there, the caller alone knows.

use std::collections::{BTreeMap, BTreeSet};

use crate::call;
use crate::diagnostic::{Diagnostics, Report};
use crate::include::{self, Include, Pinned};
use crate::limits;
use crate::name::PartitionName;
use crate::parse;
use crate::source::File;
use crate::yaml::{self, Document};

/// A file that is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The pipeline's own file, by its path in the repository.
    Pipeline(String),
    /// A file that the pipeline, or a file of it, includes or starts.
    Include(Include),
    /// What `git ls-tree -r -z` says of the pipeline's commit: `hash(…)` asks for its files.
    Tree,
    /// The inventory that is bound to a partition.
    Inventory(PartitionName),
}

/// Why a needed file cannot be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// No inventory is bound to the partition.
    NotBound {
        /// Partitions that the user may be told about, for advice.
        known: Vec<PartitionName>,
    },
    /// The pipeline's repository may not deploy to the partition, or not include the file.
    NotAllowed,
    /// Where it should be, there is no such file.
    NotFound,
    /// It could not be fetched; the text says why, for people.
    Failed(String),
    /// It is on this machine and cannot be read; the text says why, for people.
    Unreadable(String),
    /// The caller has no access to inventories at all, as on a developer's own machine.
    NotAtHand,
}

/// What to do about [`Unavailable::Unreadable`].
pub(crate) const UNREADABLE: &str = "name a file, and one that you may read";

/// What became of a need.
pub type Found = Result<File, Unavailable>;

/// A pipeline's files, as far as they are there.
#[derive(Debug)]
pub struct Loader {
    path: String,
    among: Vec<PartitionName>,
    pipeline: Option<Found>,
    included: BTreeMap<Include, Found>,
    /// Files that are included.
    includes: BTreeSet<Include>,
    /// None if nothing asks for it.
    tree: Option<Found>,
    asks_for_tree: bool,
    inventories: BTreeMap<PartitionName, Found>,
    /// Partitions that the pipeline names.
    named: BTreeSet<PartitionName>,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Give these to the loader and ask again.
    Need(Vec<Need>, Loader),
    /// Everything is there.
    Done(Sources),
}

/// All files that a pipeline consists of, or why they are not there.
#[derive(Debug, Clone)]
pub struct Sources {
    pub(crate) path: String,
    /// Partitions that the pipeline may choose among, sorted.
    pub(crate) among: Vec<PartitionName>,
    pub(crate) pipeline: Found,
    pub(crate) included: BTreeMap<Include, Found>,
    /// None if nothing asks for it.
    pub(crate) tree: Option<Found>,
    pub(crate) inventories: BTreeMap<PartitionName, Found>,
}

/// Gathers a pipeline's files with a function that fetches one.
///
/// `among` are the partitions that the pipeline's repository may deploy to.
pub fn load(
    path: impl Into<String>,
    among: Vec<PartitionName>,
    mut fetch: impl FnMut(&Need) -> Found,
) -> Sources {
    let mut loader = Loader::new(path, among);
    loop {
        match loader.step() {
            Step::Done(sources) => return sources,
            Step::Need(needs, next) => {
                loader = next;
                for need in needs {
                    let found = fetch(&need);
                    loader.give(need, found);
                }
            }
        }
    }
}

impl Loader {
    /// Starts with the path of the pipeline's file in its repository, and the partitions that the
    /// repository may deploy to.
    pub fn new(path: impl Into<String>, mut among: Vec<PartitionName>) -> Self {
        among.sort();
        among.dedup();
        Self {
            path: path.into(),
            among,
            pipeline: None,
            included: BTreeMap::new(),
            includes: BTreeSet::new(),
            tree: None,
            asks_for_tree: false,
            inventories: BTreeMap::new(),
            named: BTreeSet::new(),
        }
    }

    /// Says what is still needed, or hands out what there is.
    pub fn step(self) -> Step {
        let Some(pipeline) = self.pipeline.as_ref() else {
            return Step::Need(vec![Need::Pipeline(self.path.clone())], self);
        };
        let includes = self.includes.iter().filter(|it| !self.included.contains_key(*it));
        let includes = includes.cloned().map(Need::Include);
        let missing = self.named.iter().filter(|name| !self.inventories.contains_key(*name));
        let tree = (self.asks_for_tree && self.tree.is_none()).then_some(Need::Tree);
        let needs = includes.chain(tree);
        let needs: Vec<_> = needs.chain(missing.cloned().map(Need::Inventory)).collect();
        if !needs.is_empty() {
            return Step::Need(needs, self);
        }
        let pipeline = pipeline.clone();
        let Loader { path, among, included, tree, inventories, .. } = self;
        Step::Done(Sources { path, among, pipeline, included, tree, inventories })
    }

    /// Takes what became of a need.
    pub fn give(&mut self, need: Need, found: Found) {
        match need {
            Need::Pipeline(_) => {
                self.asks_for_tree |= found.as_ref().is_ok_and(asks_for_tree);
                if let Some(document) = found.as_ref().ok().and_then(silently) {
                    self.named =
                        parse::partition_names(&document, &self.among).into_iter().collect();
                    self.include(&document, None);
                }
                self.pipeline = Some(found);
            }
            Need::Include(include) => {
                self.asks_for_tree |= found.as_ref().is_ok_and(asks_for_tree);
                if let Some(document) = found.as_ref().ok().and_then(silently) {
                    self.include(&document, include.pinned.as_ref());
                }
                self.included.insert(include, found);
            }
            Need::Tree => self.tree = Some(found),
            Need::Inventory(partition) => {
                self.inventories.insert(partition, found);
            }
        }
    }

    /// What a file includes or starts is needed too, up to what a pipeline may include.
    fn include(&mut self, document: &Document, own: Option<&Pinned>) {
        let mut found = Diagnostics::default();
        let mut report = Report::new(&document.source, &mut found);
        let includes = include::named(document, own, &mut report);
        for include in includes.into_iter().chain(call::named(document, &mut report)) {
            if self.includes.len() <= limits::INCLUDES {
                self.includes.insert(include);
            }
        }
    }
}

impl Sources {
    /// The files that are there: the pipeline's own first, then those that it includes, then inventories
    /// by partition.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        let own = std::iter::once(&self.pipeline);
        own.chain(self.included.values()).chain(self.inventories.values()).flatten()
    }
}

/// Whether a file may call `hash`: to list a commit costs more than to look for the word.
fn asks_for_tree(file: &File) -> bool {
    let word = b"hash";
    file.bytes.windows(word.len()).any(|window| window == word)
}

/// Mistakes in the file are reported when it is compiled; here they only mean fewer needs.
fn silently(file: &File) -> Option<Document> {
    yaml::read(file, &mut Diagnostics::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Found {
        Ok(File { name: "a.yaml".into(), bytes: text.as_bytes().to_vec() })
    }

    #[test]
    fn the_pipeline_says_which_inventories_it_needs() {
        let Step::Need(needs, mut loader) = Loader::new("a.yaml", Vec::new()).step() else {
            panic!()
        };
        assert_eq!(needs, [Need::Pipeline("a.yaml".into())]);
        loader.give(needs[0].clone(), file("partitions: [b, a, b, Not-A-Name]"));

        let Step::Need(needs, mut loader) = loader.step() else { panic!() };
        let [a, b] = ["a", "b"].map(|name| Need::Inventory(name.parse().unwrap()));
        assert_eq!(needs, [a.clone(), b.clone()]);
        loader.give(b, Err(Unavailable::NotAllowed));

        let Step::Need(needs, mut loader) = loader.step() else { panic!() };
        assert_eq!(needs, std::slice::from_ref(&a));
        loader.give(a, file("partition: a"));

        let Step::Done(sources) = loader.step() else { panic!() };
        assert_eq!(sources.files().count(), 2);
    }

    #[test]
    fn a_pipeline_that_chooses_needs_the_inventories_of_all() {
        let among: Vec<PartitionName> = ["b", "a", "b"].map(|name| name.parse().unwrap()).into();
        for (text, count) in
            [("partitions: { select: x }", 3), ("partitions: { names: [a], select: x }", 2)]
        {
            let sources = load("a.yaml", among.clone(), |_| file(text));
            assert_eq!(sources.files().count(), count, "{text}");
        }
    }

    #[test]
    fn a_broken_pipeline_needs_nothing_more() {
        for text in ["", "{", "partitions: 5", "- a"] {
            let sources = load("a.yaml", Vec::new(), |_| file(text));
            assert_eq!(sources.files().count(), 1);
        }
    }
}
