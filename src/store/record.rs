//! Values of the database: a version, a checksum, and the payload in parts.
//!
//! Pure. sled keeps a value in its log only while the page around it stays below 128 KiB; a page holds up to 19 values
//! for a moment, and what is larger goes to a file of its own that is never synced. So no value here exceeds
//! [`MAX_VALUE`], and a longer payload is cut. The checksum covers the key as well: a value under another's key is found.

use crate::store::keys::Key;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u8 = 1;

/// The longest value, in bytes.
pub(super) const MAX_VALUE: usize = 6 * 1024;

/// Version, checksum, number of parts.
const FRAME: usize = 1 + 8 + 2;

/// The first record: who this database is, and how far it counted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// Random bytes, made with the database.
    pub(super) identity: [u8; 16],
    /// How many commits there were.
    pub(super) commits: u64,
    /// How many begins there were.
    pub(super) generation: u64,
    /// The number of the newest batch.
    pub(super) last_batch: u64,
    /// The number that the next new mailbox gets.
    pub(super) next_mailbox: u32,
    /// What every other small record adds up to.
    pub(super) sum: Sum,
}

/// What a set of stored parts adds up to, in any order: by it a part that was lost, or that came back, is missed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sum {
    count: u32,
    checksums: u64,
}

/// What is wrong with stored bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Flaw {
    /// It is not even a frame.
    #[error("it is cut short")]
    Short,
    /// The checksum does not fit.
    #[error("its checksum does not fit")]
    Checksum,
    /// The checksum fits, the version is none that we know.
    #[error("it has the unknown version {0}")]
    Version(u8),
    /// A part is missing, or one too many is there.
    #[error("its parts do not fit together")]
    Parts,
    /// The key is none of ours.
    #[error("its key is unknown")]
    Key,
    /// The payload is not what the key promises.
    #[error("its content makes no sense")]
    Payload,
    /// The payload is too large to be stored.
    #[error("it is too large")]
    TooLarge,
}

/// One key and value, as they are stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// A record whose parts were all there and sound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) key: Key,
    pub(super) payload: Vec<u8>,
    pub(super) sum: Sum,
}

/// Encodes a record as the parts that are stored.
pub(super) fn encode(key: Key, content: &impl Serialize) -> Result<Vec<Part>, Flaw> {
    let payload = postcard::to_stdvec(content).map_err(|_| Flaw::Payload)?;
    // An empty payload is one empty part.
    let bodies: Vec<&[u8]> = if payload.is_empty() { vec![&[]] } else { payload.chunks(MAX_VALUE - FRAME).collect() };
    let parts = u16::try_from(bodies.len()).map_err(|_| Flaw::TooLarge)?;
    let part = |(number, body)| {
        let key = key.part(number);
        let mut value = vec![FORMAT; 1];
        value.extend([0; 8]);
        value.extend(parts.to_be_bytes());
        value.extend_from_slice(body);
        let checksum = checksum(&key, &value);
        value[1..9].copy_from_slice(&checksum);
        Part { key, value }
    };
    Ok((0..parts).zip(bodies).map(part).collect())
}

/// Decodes the payload of a record; every byte must be used.
pub(super) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Flaw> {
    match postcard::take_from_bytes(payload) {
        Ok((content, [])) => Ok(content),
        _ => Err(Flaw::Payload),
    }
}

/// Checks one stored part: its checksum, the number of parts that the record has, and its share of the payload.
///
/// The layout up to here is the same in every format to come, so that a newer version is told from damage.
pub(super) fn check<'v>(key: &[u8], value: &'v [u8]) -> Result<(u64, u16, &'v [u8]), Flaw> {
    let (frame, body) = value.split_first_chunk::<FRAME>().ok_or(Flaw::Short)?;
    let [version, c0, c1, c2, c3, c4, c5, c6, c7, high, low] = *frame;
    let stored = [c0, c1, c2, c3, c4, c5, c6, c7];
    if checksum(key, value) != stored {
        return Err(Flaw::Checksum);
    }
    if version != FORMAT {
        return Err(Flaw::Version(version));
    }
    Ok((u64::from_be_bytes(stored), u16::from_be_bytes([high, low]), body))
}

/// The checksum of a part: over its key, and its value without the checksum.
pub(super) fn checksum(key: &[u8], value: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key).update(&value[..1]).update(&value[9..]);
    *hasher.finalize().as_bytes().first_chunk().expect("a digest has 32 bytes")
}

impl Sum {
    /// Adds a part to the set.
    pub(super) fn add(&mut self, checksum: u64) {
        self.count = self.count.wrapping_add(1);
        self.checksums ^= checksum;
    }

    /// Takes a part out of the set.
    pub(super) fn remove(&mut self, checksum: u64) {
        self.count = self.count.wrapping_sub(1);
        self.checksums ^= checksum;
    }

    /// Adds a whole set.
    pub(super) fn add_all(&mut self, other: Self) {
        self.count = self.count.wrapping_add(other.count);
        self.checksums ^= other.checksums;
    }
}

/// Puts the parts of records together again, as they come by in the order of their keys.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    open: Option<(Record, u16, u16)>,
}

impl Assembler {
    /// Takes the next part; returns the record that it completes.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Record>, Flaw> {
        let (name, number) = Key::decode(key).ok_or(Flaw::Key)?;
        let (checksum, parts, body) = check(key, value)?;
        let mut sum = Sum::default();
        sum.add(checksum);
        let (record, have) = match self.open.take() {
            None if number == 0 => (Record { key: name, payload: body.to_vec(), sum }, 1),
            Some((mut record, have, of)) if record.key == name && have == number && of == parts => {
                record.payload.extend_from_slice(body);
                record.sum.add_all(sum);
                (record, have + 1)
            }
            _ => return Err(Flaw::Parts),
        };
        if have == parts {
            return Ok(Some(record));
        }
        if have > parts {
            return Err(Flaw::Parts);
        }
        self.open = Some((record, have, parts));
        Ok(None)
    }

    /// Tells that no part follows.
    pub(super) fn finish(self) -> Result<(), Flaw> {
        if self.open.is_some() { Err(Flaw::Parts) } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
