//! Keys of the database: one byte for the kind, then numbers, most significant byte first, then the part.
//!
//! Pure. Everything lives in one tree, for only there is a commit atomic; the kinds keep it apart. What makes up the
//! picture of one mailbox lies side by side, so that it is read, or dropped, as one range.

use crate::mail::{BaseName, Uid};
use crate::sync::{BatchId, MailboxId};

/// The first key behind all small records: those before it are read at each open.
pub(super) const PICTURES: [u8; 1] = [0x50];

/// UIDs are stored in chunks of 32: about 3.5 KiB, and so one part, with fingerprints and names of usual length.
const UID_BITS: u32 = 5;

/// The name of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Key {
    /// The identity, the counters, and the sum of every other small record.
    Header,
    /// The memory of the guard.
    Guard,
    /// What a batch removed, or brought back; by the number of the first message.
    Removals(u64),
    /// Whether uploads wait.
    Uploads,
    /// The pause that the server asked for.
    Quiet,
    /// What is known of a mailbox as a whole.
    Mailbox(MailboxId),
    /// A batch that was begun and is not settled.
    Batch(BatchId),
    /// The sum of a mailbox's picture.
    Seal(MailboxId),
    /// A chunk of a picture: what has a UID.
    Uids(MailboxId, u32),
    /// A bucket of a picture: what is in the Maildir only.
    Names(MailboxId, u16),
    /// A chunk of the ledger of a drop.
    Entries(MailboxId, u32),
}

impl Key {
    /// The chunk that a UID belongs to.
    pub(super) fn of_uid(mailbox: MailboxId, uid: Uid) -> Self {
        Self::Uids(mailbox, uid.get() >> UID_BITS)
    }

    /// The chunk of a ledger that a number belongs to.
    pub(super) fn of_entry(mailbox: MailboxId, uid: Uid) -> Self {
        Self::Entries(mailbox, uid.get() >> UID_BITS)
    }

    /// The range of keys that a ledger occupies, as their common beginning.
    pub(super) fn ledger(mailbox: MailboxId) -> Vec<u8> {
        [&Self::picture(mailbox)[..], &[2]].concat()
    }

    /// The bucket that a local message without partner belongs to.
    pub(super) fn of_name(mailbox: MailboxId, name: &BaseName) -> Self {
        // 4,096 buckets: with 100,000 messages that wait for their upload, one holds about 24.
        Self::Names(mailbox, (hash(name) >> 52) as u16)
    }

    /// The range of keys that a mailbox's picture occupies, as their common beginning.
    pub(super) fn picture(mailbox: MailboxId) -> Vec<u8> {
        [&PICTURES[..], &mailbox.0.to_be_bytes()].concat()
    }

    /// The mailbox whose picture the record is a piece of, if it is one.
    pub(super) fn in_picture(self) -> Option<MailboxId> {
        match self {
            Self::Uids(mailbox, _) | Self::Names(mailbox, _) | Self::Entries(mailbox, _) => Some(mailbox),
            Self::Header | Self::Guard | Self::Removals(_) | Self::Uploads | Self::Quiet => None,
            Self::Mailbox(_) | Self::Batch(_) | Self::Seal(_) => None,
        }
    }

    /// The beginning that the keys of all parts of the record have in common.
    pub(super) fn stem(self) -> Vec<u8> {
        match self {
            Self::Header => vec![0x00],
            Self::Guard => vec![0x10],
            Self::Removals(first) => [&[0x18][..], &first.to_be_bytes()].concat(),
            Self::Uploads => vec![0x19],
            Self::Quiet => vec![0x1a],
            Self::Mailbox(id) => [&[0x20][..], &id.0.to_be_bytes()].concat(),
            Self::Batch(id) => [&[0x30][..], &id.0.to_be_bytes()].concat(),
            Self::Seal(id) => [&[0x40][..], &id.0.to_be_bytes()].concat(),
            Self::Uids(id, chunk) => [&Self::picture(id)[..], &[0], &chunk.to_be_bytes()].concat(),
            Self::Names(id, bucket) => [&Self::picture(id)[..], &[1], &bucket.to_be_bytes()].concat(),
            Self::Entries(id, chunk) => [&Self::ledger(id)[..], &chunk.to_be_bytes()].concat(),
        }
    }

    /// The key of one part of the record.
    pub(super) fn part(self, part: u16) -> Vec<u8> {
        [&self.stem()[..], &part.to_be_bytes()].concat()
    }

    /// Reads the key of a part; `None` if no record has such a key.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, u16)> {
        let (stem, part) = bytes.split_last_chunk()?;
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_be_bytes);
        let key = match stem {
            [0x00] => Self::Header,
            [0x10] => Self::Guard,
            [0x18, first @ ..] => Self::Removals(u64::from_be_bytes(first.try_into().ok()?)),
            [0x19] => Self::Uploads,
            [0x1a] => Self::Quiet,
            [0x20, id @ ..] => Self::Mailbox(MailboxId(number(id)?)),
            [0x30, id @ ..] => Self::Batch(BatchId(u64::from_be_bytes(id.try_into().ok()?))),
            [0x40, id @ ..] => Self::Seal(MailboxId(number(id)?)),
            [0x50, a, b, c, d, rest @ ..] => {
                let mailbox = MailboxId(u32::from_be_bytes([*a, *b, *c, *d]));
                match rest {
                    [0, chunk @ ..] => Self::Uids(mailbox, number(chunk)?),
                    [1, high, low] => Self::Names(mailbox, u16::from_be_bytes([*high, *low])),
                    [2, chunk @ ..] => Self::Entries(mailbox, number(chunk)?),
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some((key, u16::from_be_bytes(*part)))
    }
}

/// A number that stands for a name; its highest 12 bits are the bucket.
pub(super) fn hash(name: &BaseName) -> u64 {
    let digest = blake3::hash(name.as_bytes());
    u64::from_be_bytes(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> impl Strategy<Value = Key> {
        prop_oneof![
            Just(Key::Header),
            Just(Key::Guard),
            any::<u64>().prop_map(Key::Removals),
            Just(Key::Uploads),
            Just(Key::Quiet),
            any::<u32>().prop_map(|id| Key::Mailbox(MailboxId(id))),
            any::<u64>().prop_map(|id| Key::Batch(BatchId(id))),
            any::<u32>().prop_map(|id| Key::Seal(MailboxId(id))),
            (any::<u32>(), any::<u32>()).prop_map(|(id, chunk)| Key::Uids(MailboxId(id), chunk)),
            (any::<u32>(), any::<u16>()).prop_map(|(id, bucket)| Key::Names(MailboxId(id), bucket)),
            (any::<u32>(), any::<u32>()).prop_map(|(id, chunk)| Key::Entries(MailboxId(id), chunk)),
        ]
    }

    #[test]
    fn a_picture_lies_behind_all_small_records() {
        for key in [Key::Header, Key::Guard, Key::Seal(MailboxId(u32::MAX)), Key::Batch(BatchId(u64::MAX))] {
            assert!(key.part(u16::MAX).as_slice() < &PICTURES[..]);
        }
    }

    proptest! {
        #[test]
        fn every_key_survives(key in keys(), part: u16) {
            prop_assert_eq!(Key::decode(&key.part(part)), Some((key, part)));
        }

        #[test]
        fn batches_and_parts_sort_by_number(a: u64, b: u64, x: u16, y: u16) {
            let key = |batch, part| Key::Batch(BatchId(batch)).part(part);
            prop_assert_eq!(key(a, x).cmp(&key(b, y)), (a, x).cmp(&(b, y)));
        }

        #[test]
        fn parts_of_a_record_are_the_only_keys_with_its_stem(a in keys(), b in keys()) {
            prop_assert_eq!(b.part(7).starts_with(&a.stem()) && b.part(7).len() == a.part(7).len(), a == b);
        }

        #[test]
        fn any_bytes_are_a_key_that_encodes_to_them_or_none(bytes in prop::collection::vec(any::<u8>(), 0..14)) {
            if let Some((key, part)) = Key::decode(&bytes) {
                prop_assert_eq!(key.part(part), bytes);
            }
        }
    }
}
