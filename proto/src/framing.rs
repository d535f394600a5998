//! Records in a file: length, checksum, bytes. Journals, state files and logs are sequences of it.
//!
//! Layout, little endian: `u32` length of the payload, `u32` CRC-32 (IEEE) of length and payload,
//! the payload. A crash can cut the last record; [`Error`] tells that apart from a damaged one.

/// Bytes before each payload.
pub const HEADER: usize = 8;

/// Largest payload, in bytes; a longer length means damage, not data.
pub const MAX_PAYLOAD: usize = 64 << 20;

/// Why no record stands at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end inside the record, or there are none.
    #[error("record is cut off")]
    Incomplete,
    /// The checksum differs, or the length is impossible.
    #[error("record is damaged: checksum differs")]
    Damaged,
}

/// Appends `payload` as one record to `out`.
///
/// # Panics
/// If the payload is longer than [`MAX_PAYLOAD`]; callers bound what they write.
pub fn append(out: &mut Vec<u8>, payload: &[u8]) {
    assert!(payload.len() <= MAX_PAYLOAD, "record of {} bytes", payload.len());
    let length = (payload.len() as u32).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// Splits the record at the start of `bytes` into its payload and what follows it.
pub fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(Error::Incomplete)?;
    let (crc, rest) = rest.split_first_chunk::<4>().ok_or(Error::Incomplete)?;
    let size = u32::from_le_bytes(*length) as usize;
    if size > MAX_PAYLOAD {
        return Err(Error::Damaged);
    }
    let (payload, rest) = rest.split_at_checked(size).ok_or(Error::Incomplete)?;
    if checksum(*length, payload) != u32::from_le_bytes(*crc) {
        return Err(Error::Damaged);
    }
    Ok((payload, rest))
}

/// The records at the start of `bytes`, up to the first that is cut off or damaged.
pub fn records(bytes: &[u8]) -> Records<'_> {
    Records { rest: bytes, read: 0 }
}

/// Iterator over records; afterwards [`Records::valid`] says how many bytes were sound.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    read: usize,
}

impl Records<'_> {
    /// Bytes of all records returned so far, headers included.
    pub fn valid(&self) -> usize {
        self.read
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (payload, rest) = split(self.rest).ok()?;
        self.rest = rest;
        self.read += HEADER + payload.len();
        Some(payload)
    }
}

/// The length is part of it, so that a run of zeros is not taken for an empty record.
fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_come_back_up_to_any_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut file = Vec::new();
            let mut ends = vec![0];
            for payload in &payloads {
                append(&mut file, payload);
                ends.push(file.len());
            }
            let cut = cut.index(file.len() + 1);
            let mut records = records(&file[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let read: Vec<_> = records.by_ref().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(&read[..], &payloads[..whole]);
            prop_assert_eq!(records.valid(), ends[whole]);
        }

        #[test]
        fn a_changed_byte_is_damage(payload in prop::collection::vec(any::<u8>(), 0..64), at: prop::sample::Index, bit in 0..8u32) {
            let mut file = Vec::new();
            append(&mut file, &payload);
            let at = at.index(file.len());
            file[at] ^= 1u8 << bit;
            prop_assert!(split(&file).is_err());
        }
    }

    #[test]
    fn zeros_are_no_records() {
        assert_eq!(split(&[0; 32]), Err(Error::Damaged));
    }
}
