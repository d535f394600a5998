//! Unpacking bundles, whoever made them.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use crate::content::{Hash, Hasher};

use super::form::{BLOCK, Kind, Rules, head, padding};
use super::{Error, MAX_PATH, MAX_SIZE, Packed, Problem, file_error, refused};

/// Unpacks the bundle that `input` gives into the directory `into`, over what is there: a file or
/// symlink takes the place of another, a directory only that of a directory. What was unpacked
/// before an error stays. Nobody else may write below `into` meanwhile.
///
/// # Errors
/// Everything that is not in canonical form; nothing is ever written outside of `into`.
pub fn unpack(input: impl Read, into: &Path) -> Result<Packed, Error> {
    let mut reader = Reader::new(input);
    let mut rules = Rules::default();
    let mut files = 0;
    while let Some(entry) = reader.entry()? {
        let kind = entry.kind()?;
        rules.admit(&entry.path, &kind)?;
        if head(&entry.path, &kind) != entry.head {
            return Err(Error::Malformed { at: reader.at });
        }
        let place = into.join(&entry.path);
        match kind {
            Kind::Directory => directory(&entry.path, place)?,
            Kind::Symlink { target } => {
                make_room(&entry.path, &place)?;
                symlink(target, &place).map_err(file_error(place))?;
                files += 1;
            }
            Kind::File { executable, size } => {
                make_room(&entry.path, &place)?;
                file(&mut reader, size, &place, if executable { 0o755 } else { 0o644 })?;
                files += 1;
            }
        }
    }
    let (hash, size) = reader.finish();
    Ok(Packed { hash, size, files })
}

/// Every folder that `place` lies in came as a directory of this bundle, so none is a symlink.
fn directory(path: &str, place: PathBuf) -> Result<(), Error> {
    match fs::symlink_metadata(&place) {
        Ok(data) if data.is_dir() => return Ok(()),
        Ok(_) => return Err(refused(path, Problem::InTheWay)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file_error(place)(error)),
    }
    let made = fs::create_dir(&place);
    made.and_then(|()| fs::set_permissions(&place, Permissions::from_mode(0o755)))
        .map_err(file_error(place))
}

fn make_room(path: &str, place: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(place) {
        Ok(data) if data.is_dir() => Err(refused(path, Problem::InTheWay)),
        Ok(_) => fs::remove_file(place).map_err(file_error(place)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(file_error(place)(error)),
    }
}

fn file(reader: &mut Reader<impl Read>, size: u64, place: &Path, mode: u32) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(mode);
    let mut file = options.open(place).map_err(file_error(place))?;
    reader.content(size, &mut file, |source| file_error(place)(source))?;
    // Whatever the umask took.
    file.set_permissions(Permissions::from_mode(mode)).map_err(file_error(place))
}

/// Reads the entries of a bundle, one after the other.
pub(super) struct Reader<R> {
    input: R,
    hasher: Hasher,
    /// Where the entry in hand begins.
    at: u64,
}

/// An entry's blocks before its content, and what they say.
pub(super) struct Entry {
    pub(super) head: Vec<u8>,
    header: Header,
    pub(super) path: String,
    target: String,
}

impl Entry {
    pub(super) fn kind(&self) -> Result<Kind<'_>, Error> {
        match self.header.entry_type() {
            EntryType::Directory => Ok(Kind::Directory),
            EntryType::Symlink => Ok(Kind::Symlink { target: &self.target }),
            EntryType::Regular => {
                let executable = self.header.mode().is_ok_and(|mode| mode & 0o100 != 0);
                let size = self.header.entry_size().unwrap_or(u64::MAX);
                Ok(Kind::File { executable, size })
            }
            _ => Err(refused(&self.path, Problem::Kind)),
        }
    }
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R) -> Self {
        Reader { input, hasher: Hasher::default(), at: 0 }
    }

    /// How many bytes of the bundle were read.
    pub(super) fn position(&self) -> u64 {
        self.hasher.length()
    }

    /// The hash and the length of what was read.
    pub(super) fn finish(self) -> (Hash, u64) {
        self.hasher.finish()
    }

    /// The next entry; none at the end, behind which nothing may follow.
    pub(super) fn entry(&mut self) -> Result<Option<Entry>, Error> {
        self.at = self.hasher.length();
        let mut head = Vec::new();
        let (mut path, mut target) = (None, None);
        loop {
            let block = self.block()?;
            if block == [0; BLOCK] {
                let rest = self.block()?;
                let over = self.input.read(&mut [0])? == 0;
                let sound = head.is_empty() && rest == [0; BLOCK] && over;
                return if sound { Ok(None) } else { Err(self.malformed()) };
            }
            head.extend_from_slice(&block);
            let header = Header::from_byte_slice(&block);
            match header.entry_type() {
                EntryType::GNULongLink => target = Some(self.long(header, &mut head)?),
                EntryType::GNULongName => path = Some(self.long(header, &mut head)?),
                _ => {
                    let gnu = header.as_gnu().ok_or_else(|| self.malformed())?;
                    let path = path.unwrap_or_else(|| until_nul(&gnu.name));
                    let target = target.unwrap_or_else(|| until_nul(&gnu.linkname));
                    let path = String::from_utf8(path).map_err(not_utf8)?;
                    let target = String::from_utf8(target).map_err(not_utf8)?;
                    return Ok(Some(Entry { head, header: header.clone(), path, target }));
                }
            }
        }
    }

    /// The text of an entry that stands for a field of the next one.
    fn long(&mut self, header: &Header, head: &mut Vec<u8>) -> Result<Vec<u8>, Error> {
        let size = header.entry_size().unwrap_or(u64::MAX);
        if size > MAX_PATH as u64 + 1 || head.len() > 4 * MAX_PATH {
            return Err(self.malformed());
        }
        let mut text = vec![0; size as usize + padding(size)];
        self.fill(&mut text)?;
        head.extend_from_slice(&text);
        text.truncate(size.saturating_sub(1) as usize);
        Ok(text)
    }

    /// Copies the content of a file `to`, whose errors are `told` so.
    pub(super) fn content(
        &mut self,
        size: u64,
        to: &mut impl io::Write,
        told: impl Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        if self.hasher.length().saturating_add(size) > MAX_SIZE {
            return Err(Error::TooLarge);
        }
        let mut buffer = vec![0; (64 << 10).min(size as usize)];
        let mut left = size;
        while left > 0 {
            let part = buffer.len().min(left as usize);
            self.fill(&mut buffer[..part])?;
            to.write_all(&buffer[..part]).map_err(&told)?;
            left -= part as u64;
        }
        let mut padded = vec![0; padding(size)];
        self.fill(&mut padded)?;
        if padded.iter().any(|&byte| byte != 0) { Err(self.malformed()) } else { Ok(()) }
    }

    fn block(&mut self) -> Result<[u8; BLOCK], Error> {
        if self.hasher.length() + BLOCK as u64 > MAX_SIZE {
            return Err(Error::TooLarge);
        }
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        Ok(block)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        match self.input.read_exact(buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.malformed());
            }
            read => read?,
        }
        self.hasher.update(buffer);
        Ok(())
    }

    pub(super) fn malformed(&self) -> Error {
        Error::Malformed { at: self.at }
    }
}

fn until_nul(field: &[u8]) -> Vec<u8> {
    field.iter().copied().take_while(|&byte| byte != 0).collect()
}

fn not_utf8(error: std::string::FromUtf8Error) -> Error {
    refused(String::from_utf8_lossy(error.as_bytes()), Problem::NotUtf8)
}
