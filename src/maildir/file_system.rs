//! What the file system is like on which something lies, or would lie once it is made.

use crate::maildir::Error;
use rustix::fs::Access;
use rustix::io::Errno;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A file system, seen from the nearest directory that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileSystem {
    /// The path itself is there.
    pub exists: bool,
    /// We may make and remove files in the nearest directory that is there.
    pub is_writable: bool,
    /// Its number: hard links are possible between paths that have the same.
    pub device: u64,
    /// Other machines may change files on it.
    pub is_on_network: bool,
    /// Names may have a colon, which every message with flags has.
    pub takes_colons: bool,
    /// What we may still write, in bytes.
    pub free: u64,
    /// How many files we may still make; none where there is no such limit.
    pub files_left: Option<u64>,
}

impl FileSystem {
    /// Looks at the file system of a path, or of the nearest directory above it that is there. Makes nothing.
    pub fn of(path: &Path) -> Result<Self, Error> {
        let failed = |errno| Error::new("looking at a file system", path.as_os_str().as_encoded_bytes(), errno);
        let mut nearest = path;
        let metadata = loop {
            match std::fs::metadata(nearest) {
                Ok(metadata) => break metadata,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    nearest = nearest.parent().ok_or_else(|| failed(Errno::NOENT))?;
                }
                Err(error) => return Err(failed(Errno::from_io_error(&error).unwrap_or(Errno::IO))),
            }
        };
        let kind = rustix::fs::statfs(nearest).map_err(failed)?.f_type as u64;
        let room = rustix::fs::statvfs(nearest).map_err(failed)?;
        let is_writable = rustix::fs::access(nearest, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        Ok(Self {
            exists: nearest == path,
            is_writable: is_writable && metadata.is_dir(),
            device: metadata.dev(),
            is_on_network: is_of_network(kind),
            takes_colons: !is_of_windows(kind),
            free: room.f_bavail.saturating_mul(room.f_frsize),
            // btrfs and others make inodes as they need them, and tell none.
            files_left: (room.f_files > 0).then_some(room.f_favail),
        })
    }
}

/// Tells whether other machines may change what lies on a file system of this kind.
pub(super) fn is_of_network(kind: u64) -> bool {
    const NETWORK: [u64; 9] = [
        0x6969,      // NFS
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB2
        0x517b,      // SMB
        0x6573_5546, // FUSE
        0x0102_1997, // 9p
        0x5346_414f, // AFS
        0x00c3_6400, // Ceph
        0x7375_7245, // Coda
    ];
    NETWORK.contains(&(kind & 0xffff_ffff))
}

/// Tells whether names on a file system of this kind are those of Windows, without colons.
fn is_of_windows(kind: u64) -> bool {
    const WINDOWS: [u64; 7] = [
        0x4d44,      // FAT
        0x2011_bab0, // exFAT
        0x5346_544e, // NTFS
        0x7366_746e, // NTFS3
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB2
        0x517b,      // SMB
    ];
    WINDOWS.contains(&(kind & 0xffff_ffff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_yet_is_judged_by_the_directory_above_it() {
        let tmp = tempfile::tempdir().expect("a directory");
        let here = FileSystem::of(tmp.path()).expect("looked at");
        assert!(here.exists && here.is_writable && here.takes_colons && here.free > 0);
        let below = FileSystem::of(&tmp.path().join("a/b")).expect("looked at");
        assert_eq!((below.exists, below.is_writable, below.device), (false, true, here.device));
        assert!(!tmp.path().join("a").exists());
        std::fs::write(tmp.path().join("file"), "").expect("written");
        assert!(!FileSystem::of(&tmp.path().join("file")).expect("looked at").is_writable);
    }
}
