//! Ansible's inventories as Ansible reads them: hosts, groups, and variables with their places.
//!
//! What is not to be had without Ansible itself (templates, vaults, plugins, programs) is told and
//! left out.

mod content;
mod ini;
mod literal;
mod range;
mod sources;
mod words;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};

use pipelines::diagnostic::{Code, quoted};
use pipelines::inventory::ansible::groups::OWN;

use super::findings::{Findings, Place};

pub(super) use sources::read;

/// The group that all hosts are in.
pub(super) const ALL: &str = "all";

/// Variables by name.
pub(super) type Vars = BTreeMap<String, Var>;

/// All sources together.
#[derive(Debug, Default)]
pub(super) struct Ansible {
    /// Hosts by name.
    pub(super) hosts: BTreeMap<String, Host>,
    /// Groups by name.
    pub(super) groups: BTreeMap<String, Group>,
}

/// A host.
#[derive(Debug)]
pub(super) struct Host {
    /// Where it is named first.
    pub(super) place: Place,
    /// Variables of the inventory itself.
    pub(super) vars: Vars,
    /// Variables of `host_vars/`, which go before.
    pub(super) files: Vars,
}

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    /// Where it is named first.
    pub(super) place: Place,
    /// Hosts that are in it directly.
    pub(super) hosts: BTreeSet<String>,
    /// Groups that are in it directly.
    pub(super) children: BTreeSet<String>,
    /// Among groups of one depth, the higher goes before.
    priority: i64,
    /// Variables of the inventory itself.
    pub(super) vars: Vars,
    /// Variables of `group_vars/`, which go before.
    pub(super) files: Vars,
}

/// A variable.
#[derive(Debug, Clone)]
pub(super) struct Var {
    /// What it holds, if that is a text that says all by itself.
    pub(super) value: Result<String, Unfit>,
    /// Where it is written.
    pub(super) place: Place,
}

/// Why a variable's value says nothing by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// A list or a mapping.
    #[error("nested")]
    Nested,
    /// Nothing.
    #[error("empty")]
    Empty,
    /// Encrypted.
    #[error("vaulted")]
    Vaulted,
    /// Marked by a YAML tag.
    #[error("with a YAML tag")]
    Tagged,
    /// To be filled in.
    #[error("a template")]
    Template,
}

impl Ansible {
    /// Adds a host to a group, with variables.
    fn add_host(&mut self, name: &str, group: &str, place: &Place, vars: &Vars) {
        let host = self.hosts.entry(name.to_owned()).or_insert_with(|| Host {
            place: place.clone(),
            vars: Vars::new(),
            files: Vars::new(),
        });
        host.vars.extend(vars.clone());
        self.group(group, place).hosts.insert(name.to_owned());
    }

    /// A group, which is made if it is not there.
    fn group(&mut self, name: &str, place: &Place) -> &mut Group {
        self.groups.entry(name.to_owned()).or_insert_with(|| Group {
            place: place.clone(),
            hosts: BTreeSet::new(),
            children: BTreeSet::new(),
            priority: 1,
            vars: Vars::new(),
            files: Vars::new(),
        })
    }

    /// Puts a group into another.
    fn add_child(&mut self, parent: &str, child: &str, place: &Place, findings: &mut Findings) {
        if parent == child || self.ancestors(parent).contains(child) {
            let message = format!("the group {} would be in itself", quoted(child));
            let help = "remove it from its `children`, or from those of a group in it";
            findings.error(Code::AnsibleUnreadable, place, message, help);
            return;
        }
        self.group(child, place);
        self.group(parent, place).children.insert(child.to_owned());
    }

    /// Sets a variable of a group.
    fn set(&mut self, group: &str, name: &str, var: Var) {
        let group = self.group(group, &var.place);
        match (name, &var.value) {
            ("ansible_group_priority", Ok(text)) => {
                group.priority = text.parse().unwrap_or(group.priority);
            }
            _ => {
                group.vars.insert(name.to_owned(), var);
            }
        }
    }

    /// All groups that a group is in, but for `all`.
    fn ancestors<'a>(&'a self, name: &'a str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut ask = vec![name];
        while let Some(child) = ask.pop() {
            for (parent, group) in &self.groups {
                if parent != ALL && group.children.contains(child) && found.insert(parent.as_str())
                {
                    ask.push(parent);
                }
            }
        }
        found
    }

    /// All groups of a host but those that Ansible makes by itself.
    pub(super) fn groups_of(&self, host: &str) -> BTreeSet<&str> {
        let has_it = |group: &Group| group.hosts.contains(host);
        let direct = self.groups.iter().filter(|(_, group)| has_it(group));
        let direct = direct.map(|(name, _)| name.as_str());
        let all: BTreeSet<_> =
            direct.flat_map(|name| self.ancestors(name).into_iter().chain([name])).collect();
        all.into_iter().filter(|name| !OWN.contains(name)).collect()
    }

    /// How deep a group lies: 1 if it is in `all` alone.
    fn depth(&self, name: &str) -> usize {
        let parents = self.groups.iter().filter(|(_, group)| group.children.contains(name));
        parents
            .filter(|(parent, _)| *parent != ALL)
            .map(|(parent, _)| self.depth(parent) + 1)
            .max()
            .unwrap_or(1)
    }

    /// Variables of the group `all`.
    pub(super) fn shared(&self) -> Vars {
        let Some(all) = self.groups.get(ALL) else { return Vars::new() };
        merged([&all.vars, &all.files])
    }

    /// All variables of a host, in Ansible's order of precedence.
    pub(super) fn vars_of(&self, name: &str) -> Vars {
        let mut groups: Vec<_> = self.groups_of(name).into_iter().collect();
        if self.groups.get("ungrouped").is_some_and(|group| group.hosts.contains(name))
            && groups.is_empty()
        {
            groups.push("ungrouped");
        }
        groups.sort_by_key(|name| (self.depth(name), self.groups[*name].priority, *name));
        let groups: Vec<_> = groups.into_iter().map(|name| &self.groups[name]).collect();
        let all = self.groups.get(ALL);
        let host = &self.hosts[name];
        let written = all.into_iter().chain(groups.iter().copied()).map(|group| &group.vars);
        let filed = all.into_iter().chain(groups.iter().copied()).map(|group| &group.files);
        merged(written.chain(filed).chain([&host.vars, &host.files]))
    }
}

/// Variables of several places; the later go before.
fn merged<'v>(places: impl IntoIterator<Item = &'v Vars>) -> Vars {
    places.into_iter().flatten().map(|(name, var)| (name.clone(), var.clone())).collect()
}
