//! A message on its way out: read twice, the first time to know its size and whether a server can take it.

use crate::mail::{BaseName, Fingerprint, Fingerprinter, stub};
use crate::maildir::lines::ToCrlf;
use crate::maildir::scan::ScannedFile;
use crate::maildir::{Error, Folder};
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What opening a message for upload gave.
#[derive(Debug)]
pub enum Upload {
    /// It can be sent.
    Ready(Outgoing),
    /// No server takes it: quarantine.
    Refused(Unsendable),
    /// It is in no directory of the folder.
    Gone,
}

/// Why a message cannot be sent over IMAP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsendable {
    /// It has no byte.
    #[error("the message is empty")]
    Empty,
    /// It has a NUL, which a literal cannot hold (RFC 9051, section 4.3).
    #[error("the message contains a NUL byte")]
    Nul,
    /// It is a stub, which a reader saved under another name.
    #[error("it is only the header of a message that is on the server, and not the message")]
    Stub,
}

/// A message with CRLF line ends and a last one. Reading gives exactly [`size`](Self::size) octets or fails.
#[derive(Debug)]
pub struct Outgoing {
    /// Octets over the wire.
    pub size: u64,
    /// What the message is.
    pub fingerprint: Fingerprint,
    /// When it arrived: the time of the file, between 1980 and tomorrow.
    pub internal_date: SystemTime,
    file: File,
    lines: ToCrlf,
    ready: Vec<u8>,
    /// How much of `ready` is read.
    taken: usize,
    /// What is still to be read, `ready` included.
    left: u64,
}

const BUFFER: usize = 64 * 1024;
const YEAR_1980: Duration = Duration::from_secs(315_532_800);
const DAY: Duration = Duration::from_secs(86_400);

/// Opens a message for upload, wherever a reader moved it. `now` bounds its date.
pub fn open_for_upload(
    folder: &Folder,
    base: &BaseName,
    known: &ScannedFile,
    now: SystemTime,
) -> Result<Upload, Error> {
    let Some(file) = open_found(folder, base, known)? else { return Ok(Upload::Gone) };
    measure(file, now).map_err(|e| Error::io("reading a message", &e))
}

/// What a message looks like, whether it can be sent or not; `None` if it is in no directory of the folder.
pub fn print_of(folder: &Folder, base: &BaseName, known: &ScannedFile) -> Result<Option<Fingerprint>, Error> {
    let Some(mut file) = open_found(folder, base, known)? else { return Ok(None) };
    let mut fingerprinter = Fingerprinter::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer).map_err(|e| Error::io("reading a message", &e))? {
            0 => return Ok(Some(fingerprinter.finish())),
            count => fingerprinter.update(&buffer[..count]),
        }
    }
}

impl Folder {
    /// Opens a message to read it; `None` if it is in neither directory of the folder.
    pub fn open_message(&self, base: &BaseName) -> Result<Option<File>, Error> {
        match self.find(base)? {
            Some(known) => open_found(self, base, &known),
            None => Ok(None),
        }
    }
}

/// How a file looks, whether it can be sent or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Looks {
    /// What the message is.
    pub fingerprint: Fingerprint,
    /// Octets over the wire: with CRLF line ends and a last one.
    pub octets: u64,
    /// The last line end is not in the file.
    pub unended: bool,
    /// The time of the file.
    pub modified: SystemTime,
}

/// How a file looks; `None` if it is in no directory of the folder, or a stub under another name. It is read once, in constant memory.
pub fn looks_of(folder: &Folder, base: &BaseName, known: &ScannedFile) -> Result<Option<Looks>, Error> {
    let Some(file) = open_found(folder, base, known)? else { return Ok(None) };
    look(file).map_err(|e| Error::io("reading a message", &e))
}

fn look(mut file: File) -> io::Result<Option<Looks>> {
    let modified = file.metadata()?.modified()?;
    let mut fingerprinter = Fingerprinter::default();
    let (mut lines, mut octets, mut last) = (ToCrlf::default(), 0, None);
    let (mut buffer, mut wire) = (vec![0; BUFFER], Vec::with_capacity(2 * BUFFER));
    loop {
        let count = file.read(&mut buffer)?;
        let part = &buffer[..count];
        if last.is_none() && stub::begins(part) {
            return Ok(None);
        }
        fingerprinter.update(part);
        lines.push(part, &mut wire);
        last = part.last().copied().or(last);
        if count == 0 {
            lines.finish(&mut wire);
        }
        octets += wire.len() as u64;
        wire.clear();
        if count == 0 {
            break;
        }
    }
    let unended = last.is_some_and(|last| last != b'\n');
    Ok(Some(Looks { fingerprint: fingerprinter.finish(), octets, unended, modified }))
}

/// Opens a message, wherever a reader moved it; `None` if it is in no directory of the folder.
fn open_found(folder: &Folder, base: &BaseName, known: &ScannedFile) -> Result<Option<File>, Error> {
    let open = |file: &ScannedFile| folder.subdir(file.subdir).open_file(&file.file_name);
    let missing_as_none = |opened: Result<File, Error>| match opened {
        Err(error) if error.is_missing() => Ok(None),
        opened => opened.map(Some),
    };
    if let Some(file) = missing_as_none(open(known))? {
        return Ok(Some(file));
    }
    match folder.find(base)? {
        Some(found) => missing_as_none(open(&found)),
        None => Ok(None),
    }
}

fn measure(mut file: File, now: SystemTime) -> io::Result<Upload> {
    let mut fingerprinter = Fingerprinter::default();
    let (mut lines, mut size) = (ToCrlf::default(), 0);
    let (mut buffer, mut wire) = (vec![0; BUFFER], Vec::with_capacity(2 * BUFFER));
    loop {
        let count = file.read(&mut buffer)?;
        let part = &buffer[..count];
        if memchr::memchr(0, part).is_some() {
            return Ok(Upload::Refused(Unsendable::Nul));
        }
        if size == 0 && stub::begins(part) {
            return Ok(Upload::Refused(Unsendable::Stub));
        }
        fingerprinter.update(part);
        lines.push(part, &mut wire);
        if count == 0 {
            lines.finish(&mut wire);
        }
        size += wire.len() as u64;
        wire.clear();
        if count == 0 {
            break;
        }
    }
    if size == 0 {
        return Ok(Upload::Refused(Unsendable::Empty));
    }
    let modified = file.metadata()?.modified()?;
    file.rewind()?;
    Ok(Upload::Ready(Outgoing {
        size,
        fingerprint: fingerprinter.finish(),
        internal_date: modified.clamp(UNIX_EPOCH + YEAR_1980, (now + DAY).max(UNIX_EPOCH + YEAR_1980)),
        file,
        lines: ToCrlf::default(),
        ready: wire,
        taken: 0,
        left: size,
    }))
}

impl Outgoing {
    /// Converts the next part of the file; an error if the file is no longer what was measured.
    fn refill(&mut self) -> io::Result<()> {
        let changed = || io::Error::new(io::ErrorKind::InvalidData, "the message changed while it was read");
        self.ready.clear();
        self.taken = 0;
        let mut part = [0; BUFFER / 4];
        let count = self.file.read(&mut part)?;
        self.lines.push(&part[..count], &mut self.ready);
        if count == 0 {
            self.lines.finish(&mut self.ready);
            if self.ready.len() as u64 != self.left {
                return Err(changed());
            }
        }
        if self.ready.len() as u64 > self.left || memchr::memchr(0, &self.ready).is_some() {
            return Err(changed());
        }
        Ok(())
    }
}

impl Read for Outgoing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || self.left == 0 {
            return Ok(0);
        }
        if self.taken == self.ready.len() {
            self.refill()?;
        }
        let count = out.len().min(self.ready.len() - self.taken);
        out[..count].copy_from_slice(&self.ready[self.taken..self.taken + count]);
        self.taken += count;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::fingerprint;
    use crate::maildir::deliver::tests::{base, deliver};
    use crate::maildir::folder::tests::inbox;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn outgoing(text: &[u8]) -> Upload {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text).expect("written");
        file.rewind().expect("rewound");
        measure(file, SystemTime::now()).expect("measured")
    }

    fn sent(upload: Upload) -> (Vec<u8>, u64, Fingerprint) {
        let Upload::Ready(mut outgoing) = upload else { panic!("{upload:?}") };
        let mut wire = Vec::new();
        outgoing.read_to_end(&mut wire).expect("read");
        (wire, outgoing.size, outgoing.fingerprint)
    }

    #[test]
    fn a_look_counts_what_a_server_would() {
        let text = b"X-TUID: abcdefghijkl\nMessage-ID: <1@x>\r\n\nbody";
        let (tmp, _, folder) = inbox();
        let file = deliver(&folder, "1.a", "", "x\n");
        std::fs::write(tmp.path().join("INBOX/new/1.a"), text).expect("written");
        let looks = looks_of(&folder, &base("1.a"), &file).expect("looked").expect("there");
        assert_eq!((looks.octets, looks.unended), (22 + 19 + 2 + 6, true));
        assert_eq!(looks.octets - looks.fingerprint.size, 22);
        assert_eq!(looks.fingerprint, fingerprint::of(text));
        std::fs::remove_file(tmp.path().join("INBOX/new/1.a")).expect("removed");
        assert_eq!(looks_of(&folder, &base("1.a"), &file).expect("looked"), None);
    }

    #[test]
    fn what_no_server_takes_is_refused() {
        assert!(matches!(outgoing(b""), Upload::Refused(Unsendable::Empty)));
        assert!(matches!(outgoing(b"a\0b"), Upload::Refused(Unsendable::Nul)));
        assert!(matches!(outgoing(&stub::text(b"A: b\r\n", 70_000)), Upload::Refused(Unsendable::Stub)));
    }

    #[test]
    fn a_message_is_found_wherever_a_reader_moved_it() {
        let (tmp, _, folder) = inbox();
        let file = deliver(&folder, "1.a", "", "A: b\r\n\r\nx\r\n");
        let dir = tmp.path().join("INBOX");
        std::fs::rename(dir.join("new/1.a"), dir.join("cur/1.a:2,S")).expect("renamed");
        let upload = open_for_upload(&folder, &base("1.a"), &file, SystemTime::now()).expect("open");
        assert_eq!(sent(upload).0, b"A: b\r\n\r\nx\r\n");
        std::fs::remove_file(dir.join("cur/1.a:2,S")).expect("removed");
        assert!(matches!(open_for_upload(&folder, &base("1.a"), &file, SystemTime::now()), Ok(Upload::Gone)));
        std::os::unix::fs::symlink("/etc/passwd", dir.join("new/1.a")).expect("made");
        assert!(matches!(open_for_upload(&folder, &base("1.a"), &file, SystemTime::now()), Err(Error::Hostile { .. })));
    }

    #[test]
    fn a_pipe_in_the_place_of_a_message_hangs_nobody() {
        let (tmp, _, folder) = inbox();
        let file = deliver(&folder, "1.a", "", "x\n");
        let path = tmp.path().join("INBOX/new/1.a");
        std::fs::remove_file(&path).expect("removed");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("made");
        assert!(matches!(open_for_upload(&folder, &base("1.a"), &file, SystemTime::now()), Err(Error::Hostile { .. })));
    }

    #[test]
    fn dates_that_servers_refuse_are_clamped() {
        let (tmp, _, folder) = inbox();
        let file = deliver(&folder, "1.a", "", "x\n");
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (secs, expected) in [(0, 315_532_800), (1_000_000_000, 1_000_000_000), (4_000_000_000, 1_700_086_400)] {
            let body = File::open(tmp.path().join("INBOX/new/1.a")).expect("open");
            body.set_modified(UNIX_EPOCH + Duration::from_secs(secs)).expect("set");
            let Ok(Upload::Ready(out)) = open_for_upload(&folder, &base("1.a"), &file, now) else { panic!("refused") };
            assert_eq!(out.internal_date, UNIX_EPOCH + Duration::from_secs(expected));
        }
    }

    #[test]
    fn a_message_that_changes_meanwhile_is_an_error_and_never_cut_short() {
        for change in [b"".as_slice(), b"longer than it was\n", b"a\0\n"] {
            let (tmp, _, folder) = inbox();
            let file = deliver(&folder, "1.a", "", "abc\n");
            let Ok(Upload::Ready(mut out)) = open_for_upload(&folder, &base("1.a"), &file, SystemTime::now()) else {
                panic!("refused");
            };
            std::fs::write(tmp.path().join("INBOX/new/1.a"), change).expect("written");
            assert!(out.read_to_end(&mut Vec::new()).is_err(), "{change:?}");
        }
    }

    proptest! {
        #[test]
        fn the_wire_form_has_the_announced_size_and_the_same_fingerprint(text in "[a:\r\n]{1,80}", repeat in 1usize..2000) {
            let text = text.repeat(repeat);
            let (wire, size, print) = sent(outgoing(text.as_bytes()));
            prop_assert_eq!(wire.len() as u64, size);
            prop_assert!(wire.ends_with(b"\r\n"));
            prop_assert_eq!(print, fingerprint::of(text.as_bytes()));
            prop_assert_eq!(print, fingerprint::of(&wire));
            prop_assert!(memchr::memchr_iter(b'\n', &wire).all(|at| at > 0 && wire[at - 1] == b'\r'));
        }
    }
}
