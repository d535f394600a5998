//! The form of entries: what may stand in a bundle, in which order, and its header.

use std::collections::BTreeSet;

use tar::{EntryType, Header};

use super::{Error, MAX_ENTRIES, MAX_PATH, Problem, refused};

/// Everything in a tar is padded to blocks of so many bytes.
pub(super) const BLOCK: usize = 512;

/// Longest part of a path, in bytes, that file systems take.
const MAX_PART: usize = 255;

/// The name of the entries that hold a long path or target for the header behind them.
const LONG: &str = "././@LongLink";

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    File { executable: bool, size: u64 },
    Directory,
    Symlink { target: &'a str },
}

impl Kind<'_> {
    /// Bytes of content behind the header.
    pub(super) fn size(&self) -> u64 {
        match self {
            Kind::File { size, .. } => *size,
            Kind::Directory | Kind::Symlink { .. } => 0,
        }
    }
}

/// What the entries of one bundle must keep to, one after the other.
#[derive(Debug, Default)]
pub(super) struct Rules {
    last: String,
    directories: BTreeSet<String>,
    entries: usize,
}

impl Rules {
    /// Takes the next entry.
    pub(super) fn admit(&mut self, path: &str, kind: &Kind<'_>) -> Result<(), Error> {
        check(path, kind).map_err(|problem| refused(path, problem))?;
        if path <= self.last.as_str() {
            return Err(refused(path, Problem::Order));
        }
        if let Some((parent, _)) = path.rsplit_once('/')
            && !self.directories.contains(parent)
        {
            return Err(refused(path, Problem::Orphan));
        }
        if self.entries == MAX_ENTRIES {
            return Err(Error::TooMany);
        }
        self.entries += 1;
        if *kind == Kind::Directory {
            self.directories.insert(path.to_owned());
        }
        path.clone_into(&mut self.last);
        Ok(())
    }
}

fn check(path: &str, kind: &Kind<'_>) -> Result<(), Problem> {
    let sound = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    if !path.split('/').all(sound) {
        return Err(Problem::Path);
    }
    if path.len() > MAX_PATH || path.split('/').any(|part| part.len() > MAX_PART) {
        return Err(Problem::TooLong);
    }
    match kind {
        Kind::Symlink { target } if !stays_inside(path, target) => {
            Err(Problem::Outside((*target).to_owned()))
        }
        Kind::Symlink { .. } | Kind::File { .. } | Kind::Directory => Ok(()),
    }
}

/// `..` behind a name would step up from wherever another link led to.
fn stays_inside(path: &str, target: &str) -> bool {
    if target.is_empty() || target.starts_with('/') || target.contains('\0') {
        return false;
    }
    let mut parts = target.split('/').filter(|part| !matches!(*part, "" | ".")).peekable();
    let mut up = 0;
    while parts.next_if_eq(&"..").is_some() {
        up += 1;
    }
    target.len() <= MAX_PATH && up <= path.matches('/').count() && parts.all(|part| part != "..")
}

/// All blocks in front of an entry's content.
pub(super) fn head(path: &str, kind: &Kind<'_>) -> Vec<u8> {
    let mut head = Vec::with_capacity(BLOCK);
    let (kind_byte, mode, target) = match kind {
        Kind::File { executable: true, .. } => (EntryType::Regular, 0o755, ""),
        Kind::File { executable: false, .. } => (EntryType::Regular, 0o644, ""),
        Kind::Directory => (EntryType::Directory, 0o755, ""),
        Kind::Symlink { target } => (EntryType::Symlink, 0o777, *target),
    };
    let mut header = header(kind_byte, mode, kind.size());
    let fields = header.as_gnu_mut().expect("it was made as GNU's");
    if !fill(&mut fields.linkname, target) {
        long(&mut head, EntryType::GNULongLink, target);
    }
    if !fill(&mut fields.name, path) {
        long(&mut head, EntryType::GNULongName, path);
    }
    header.set_cksum();
    head.extend_from_slice(header.as_bytes());
    head
}

/// Zeros that follow `size` bytes of content.
pub(super) fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// As much of `text` as fits; whether that is all.
fn fill(field: &mut [u8], text: &str) -> bool {
    let fits = text.len().min(field.len());
    field[..fits].copy_from_slice(&text.as_bytes()[..fits]);
    fits == text.len()
}

fn long(out: &mut Vec<u8>, kind: EntryType, text: &str) {
    let size = text.len() as u64 + 1;
    let mut header = header(kind, 0o644, size);
    fill(&mut header.as_gnu_mut().expect("it was made as GNU's").name, LONG);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(text.as_bytes());
    out.resize(out.len() + 1 + padding(size), 0);
}
