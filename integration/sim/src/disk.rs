//! The coordinator's disk: real bytes under the real journal, and all that can befall them.
//!
//! Each file has two forms: what a reader sees (the kernel's pages) and what is kept when power
//! fails. Writes reach the second with a sync; before that, power loss keeps any part of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use coordinator::store::disk::{Disk, File};
use rand::Rng;

/// A disk writes this many bytes at once or not at all.
const SECTOR: usize = 512;

/// A disk; a clone is the same one.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Rc<RefCell<Inner>>);

/// An open file.
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    inode: u64,
}

/// What befalls the next operations.
#[derive(Debug, Clone, Copy, Default)]
pub struct Troubles {
    /// No space is left for reservations and names.
    pub full: bool,
    /// The next sync of a file fails, and what it should have written is on no disk.
    pub failing_sync: bool,
    /// The process ends while it writes: this many bytes of the next write are done.
    pub torn_write: Option<usize>,
    /// Syncs do nothing (a mutant).
    pub lying_syncs: bool,
}

#[derive(Debug, Clone, Default)]
struct Inner {
    troubles: Troubles,
    names: BTreeMap<String, u64>,
    kept_names: BTreeMap<String, u64>,
    inodes: BTreeMap<u64, Inode>,
    made: u64,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    kept: Vec<u8>,
    /// What a sync has yet to write, in order.
    unsynced: Vec<Write>,
}

#[derive(Debug, Clone)]
enum Write {
    Bytes { offset: usize, bytes: Vec<u8> },
    Size(usize),
}

impl SimDisk {
    /// What befalls the next operations.
    pub fn troubles(&self) -> Troubles {
        self.0.borrow().troubles
    }

    /// Changes what befalls the next operations.
    pub fn trouble(&self, change: impl FnOnce(&mut Troubles)) {
        change(&mut self.0.borrow_mut().troubles);
    }

    /// Whether nothing would be lost with power.
    pub fn is_synced(&self) -> bool {
        let inner = self.0.borrow();
        inner.names == inner.kept_names && inner.inodes.values().all(|it| it.unsynced.is_empty())
    }

    /// Another disk with what would surely be there after power loss, and no troubles.
    pub fn certain(&self) -> SimDisk {
        let inner = self.0.borrow();
        let mut copy = Inner {
            names: inner.kept_names.clone(),
            kept_names: inner.kept_names.clone(),
            made: inner.made,
            ..Inner::default()
        };
        for inode in inner.kept_names.values() {
            let kept = inner.inodes[inode].kept.clone();
            copy.inodes.insert(*inode, Inode { seen: kept.clone(), kept, unsynced: vec![] });
        }
        SimDisk(Rc::new(RefCell::new(copy)))
    }

    /// The power fails: of what was not synced, any sectors and names are kept.
    pub fn lose_power(&self, rng: &mut impl Rng) {
        let inner = &mut *self.0.borrow_mut();
        let chance = [0.0, 0.5, 0.9, 1.0][rng.random_range(0..4)];
        for inode in inner.inodes.values_mut() {
            inode.keep_some(|| rng.random_bool(chance));
        }
        let mut names = inner.kept_names.clone();
        for (name, inode) in &inner.names {
            if !names.contains_key(name) && rng.random_bool(chance) {
                names.insert(name.clone(), *inode);
            }
        }
        names.retain(|name, _| inner.names.contains_key(name) || !rng.random_bool(chance));
        inner.inodes.retain(|inode, _| names.values().any(|named| named == inode));
        (inner.names, inner.kept_names) = (names.clone(), names);
        inner.troubles = Troubles { full: inner.troubles.full, ..Troubles::default() };
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let inner = self.0.borrow();
        let inode = *inner.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(SimFile { disk: self.clone(), inode })
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let inner = &mut *self.0.borrow_mut();
        if inner.troubles.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let made = &mut inner.made;
        let inode = *inner.names.entry(name.to_owned()).or_insert_with(|| {
            *made += 1;
            *made
        });
        inner.inodes.entry(inode).or_default().write(Write::Size(0));
        Ok(SimFile { disk: self.clone(), inode })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.0.borrow_mut().names.remove(name);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn archive(&self, name: &str) -> io::Result<()> {
        self.remove(name)?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        let inner = &mut *self.0.borrow_mut();
        inner.kept_names = inner.names.clone();
        Ok(())
    }
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut Inode, &mut Troubles) -> T) -> T {
        let inner = &mut *self.disk.0.borrow_mut();
        act(inner.inodes.entry(self.inode).or_default(), &mut inner.troubles)
    }
}

impl File for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.with(|inode, _| inode.seen.len() as u64))
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.with(|inode, _| {
            let rest = inode.seen.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            length
        }))
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|inode, troubles| {
            let torn = troubles.torn_write.take().map(|done| done.min(bytes.len()));
            let done = bytes[..torn.unwrap_or(bytes.len())].to_vec();
            inode.write(Write::Bytes { offset: offset as usize, bytes: done });
            torn.map_or(Ok(()), |_| Err(io::Error::other("the process ended")))
        })
    }

    fn reserve(&self, offset: u64, length: u64) -> io::Result<()> {
        self.with(|inode, troubles| {
            if troubles.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            inode.write(Write::Size(inode.seen.len().max((offset + length) as usize)));
            Ok(())
        })
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.with(|inode, _| inode.write(Write::Size(size as usize)));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|inode, troubles| {
            if troubles.lying_syncs {
                return Ok(());
            }
            let unsynced = std::mem::take(&mut inode.unsynced);
            if std::mem::take(&mut troubles.failing_sync) {
                // As Linux does it: the pages count as clean, and no other sync writes them.
                return Err(io::Error::other("the disk does not answer"));
            }
            unsynced.iter().for_each(|write| write.apply(&mut inode.kept));
            Ok(())
        })
    }
}

impl Inode {
    fn write(&mut self, write: Write) {
        write.apply(&mut self.seen);
        self.unsynced.push(write);
    }

    /// Power loss: each unsynced sector is there afterwards if `keep` says so.
    fn keep_some(&mut self, mut keep: impl FnMut() -> bool) {
        for write in std::mem::take(&mut self.unsynced) {
            match write {
                Write::Size(_) if keep() => write.apply(&mut self.kept),
                Write::Size(_) => {}
                Write::Bytes { mut offset, bytes } => {
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let length = rest.len().min(SECTOR - offset % SECTOR);
                        let (sector, behind) = rest.split_at(length);
                        if keep() {
                            Write::Bytes { offset, bytes: sector.to_vec() }.apply(&mut self.kept);
                        }
                        (rest, offset) = (behind, offset + length);
                    }
                }
            }
        }
        self.seen = self.kept.clone();
    }
}

impl Write {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Write::Size(size) => content.resize(*size, 0),
            Write::Bytes { offset, bytes } => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}
