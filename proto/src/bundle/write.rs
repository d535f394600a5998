//! Writing bundles: entry by entry, or from a directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::content::Hasher;

use super::form::{BLOCK, Kind, Rules, head, padding};
use super::{Error, MAX_ENTRIES, MAX_SIZE, Packed, Problem, file_error, refused};

/// Writes one bundle. Entries come in byte order of their paths, folders before what they hold.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    hasher: Hasher,
    rules: Rules,
    files: u64,
}

impl<W: Write> Writer<W> {
    /// A bundle into `out`; best one with a buffer.
    pub fn new(out: W) -> Writer<W> {
        Writer { out, hasher: Hasher::default(), rules: Rules::default(), files: 0 }
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str) -> Result<(), Error> {
        self.entry(path, Kind::Directory)
    }

    /// Adds a symlink; `target` as it is stored in the link.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), Error> {
        self.files += 1;
        self.entry(path, Kind::Symlink { target })
    }

    /// Adds a file of `size` bytes, which `content` gives; what follows in it is left unread.
    pub fn file(
        &mut self,
        path: &str,
        executable: bool,
        size: u64,
        content: &mut impl Read,
    ) -> Result<(), Error> {
        self.files += 1;
        self.entry(path, Kind::File { executable, size })?;
        let copied = io::copy(&mut content.take(size), self)?;
        if copied < size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let zeros = [0; BLOCK];
        Ok(self.write_all(&zeros[..padding(size)])?)
    }

    /// Ends the bundle; gives back where it went.
    pub fn finish(mut self) -> Result<(Packed, W), Error> {
        self.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        let (hash, size) = self.hasher.finish();
        Ok((Packed { hash, size, files: self.files }, self.out))
    }

    fn entry(&mut self, path: &str, kind: Kind<'_>) -> Result<(), Error> {
        self.rules.admit(path, &kind)?;
        let head = head(path, &kind);
        let end = self.hasher.length() + head.len() as u64 + (3 * BLOCK) as u64;
        if end.saturating_add(kind.size()) > MAX_SIZE {
            return Err(Error::TooLarge);
        }
        Ok(self.write_all(&head)?)
    }
}

/// To be able to copy into it; what is written counts and is hashed.
impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Packs what is `wanted` of the directory `root`, with the directories that it lies in. Symlinks
/// are packed, never followed. Nothing may change below `root` meanwhile.
pub fn pack<W: Write>(
    root: &Path,
    wanted: impl Fn(&str) -> bool,
    out: W,
) -> Result<(Packed, W), Error> {
    let mut found = BTreeMap::new();
    collect(root, "", &wanted, &mut found)?;
    let mut writer = Writer::new(out);
    for (path, found) in &found {
        let full = root.join(path);
        match found {
            Found::Directory => writer.directory(path)?,
            Found::Symlink(target) => writer.symlink(path, target)?,
            Found::File => {
                let mut file = File::open(&full).map_err(file_error(&full))?;
                let data = file.metadata().map_err(file_error(&full))?;
                let executable = data.permissions().mode() & 0o100 != 0;
                writer.file(path, executable, data.len(), &mut file)?;
            }
        }
    }
    writer.finish()
}

enum Found {
    Directory,
    File,
    Symlink(String),
}

fn collect(
    root: &Path,
    folder: &str,
    wanted: &impl Fn(&str) -> bool,
    found: &mut BTreeMap<String, Found>,
) -> Result<(), Error> {
    let full = root.join(folder);
    for entry in fs::read_dir(&full).map_err(file_error(&full))? {
        let entry = entry.map_err(file_error(&full))?;
        let name = entry.file_name();
        let shown = name.to_string_lossy();
        let path = if folder.is_empty() { shown.to_string() } else { format!("{folder}/{shown}") };
        let is_wanted = wanted(&path);
        let kind = entry.file_type().map_err(file_error(entry.path()))?;
        if name.to_str().is_none() {
            if is_wanted {
                return Err(refused(path, Problem::NotUtf8));
            }
            continue;
        }
        if is_wanted {
            add_folders(&path, found);
            let one = if kind.is_dir() {
                Found::Directory
            } else if kind.is_file() {
                Found::File
            } else if kind.is_symlink() {
                Found::Symlink(target(&entry.path(), &path)?)
            } else {
                return Err(refused(path, Problem::Kind));
            };
            found.insert(path.clone(), one);
        }
        if found.len() > MAX_ENTRIES {
            return Err(Error::TooMany);
        }
        if kind.is_dir() {
            collect(root, &path, wanted, found)?;
        }
    }
    Ok(())
}

fn add_folders(path: &str, found: &mut BTreeMap<String, Found>) {
    for (end, _) in path.match_indices('/') {
        found.entry(path[..end].to_owned()).or_insert(Found::Directory);
    }
}

fn target(link: &Path, path: &str) -> Result<String, Error> {
    let target = fs::read_link(link).map_err(file_error(link))?;
    target.to_str().map(str::to_owned).ok_or_else(|| refused(path, Problem::NotUtf8))
}
