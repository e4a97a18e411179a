//! What a hook reads: a JSON list with an object for each message or trouble.

use super::News;
use super::batch::Batch;
use crate::mail::{BaseName, Head};
use crate::maildir::FileName;
use crate::worker::{Touch, Touched};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// So much of a message is read for its sender and its subject.
const HEADER: u64 = 64 << 10;
/// One entry of the list. Of what a kind of entry does not have the key is there, and null.
#[derive(Serialize, Default)]
struct Entry<'a> {
    /// `new`, `changed`, `gone`, `error`, or `more`.
    event: &'static str,
    account: &'a str,
    mailbox: Option<&'a str>,
    file: Option<String>,
    uid: Option<u32>,
    flags: Vec<String>,
    from: Option<String>,
    subject: Option<String>,
    /// Of an error: what is wrong.
    reason: Option<&'a str>,
    /// Of `more`: how many there are besides.
    count: Option<u64>,
}

/// The text for a batch. Blocking: it looks for the files, and reads the heads of new messages.
pub(super) fn text(account: &str, batch: &Batch) -> String {
    let files = locate(&batch.news);
    let mut entries: Vec<Entry<'_>> = batch.news.iter().map(|news| entry(account, news, &files)).collect();
    if batch.more > 0 {
        entries.push(Entry { event: "more", account, count: Some(batch.more), ..Entry::default() });
    }
    let mut text = serde_json::to_string(&entries).expect("texts and numbers are JSON");
    text.push('\n');
    text
}

type Files = BTreeMap<(PathBuf, BaseName), PathBuf>;

fn entry<'a>(account: &'a str, news: &'a News, files: &Files) -> Entry<'a> {
    match news {
        News::Trouble(reason) => Entry { event: "error", account, reason: Some(reason), ..Entry::default() },
        News::Message(Touched { mailbox, directory, name, uid, flags, how }) => {
            let event = match how {
                Touch::New => "new",
                Touch::Changed => "changed",
                Touch::Gone => "gone",
            };
            let file = files.get(&(directory.clone(), name.clone())).filter(|_| *how != Touch::Gone);
            let Head { from, subject, .. } =
                file.filter(|_| *how == Touch::New).and_then(|file| head(file)).unwrap_or_default();
            Entry {
                event,
                account,
                mailbox: Some(mailbox),
                // One that is no text cannot be told.
                file: file.and_then(|file| file.to_str()).map(str::to_owned),
                uid: uid.map(|uid| uid.get()),
                flags: flags.to_string().split_whitespace().map(str::to_owned).collect(),
                from,
                subject,
                ..Entry::default()
            }
        }
    }
}

/// Where the files are now: readers may have moved them from `new` to `cur`, or given them other flags.
fn locate(news: &[News]) -> Files {
    let mut wanted: BTreeMap<&Path, BTreeSet<&[u8]>> = BTreeMap::new();
    for touched in news.iter().filter_map(|news| match news {
        News::Message(touched) if touched.how != Touch::Gone => Some(touched),
        _ => None,
    }) {
        wanted.entry(&touched.directory).or_default().insert(touched.name.as_bytes());
    }
    let mut files = Files::new();
    for (directory, names) in wanted {
        for part in ["new", "cur"] {
            let there = std::fs::read_dir(directory.join(part)).into_iter().flatten().flatten();
            for file in there {
                let name = FileName::parse(file.file_name().as_bytes());
                if let Some(FileName { base, .. }) = name.filter(|name| names.contains(name.base.as_bytes())) {
                    files.insert((directory.to_owned(), base), file.path());
                }
            }
        }
    }
    files
}

/// The head of a message.
fn head(file: &Path) -> Option<Head> {
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(HEADER).read_to_end(&mut bytes).ok()?;
    Some(Head::of(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Flags, Uid};
    use serde_json::{Value, json};

    fn touched(directory: &Path, name: &str, how: Touch) -> News {
        News::Message(Touched {
            mailbox: "Lists/rust".into(),
            directory: directory.to_owned(),
            name: BaseName::new(name.as_bytes()).expect("a name"),
            uid: Uid::new(7),
            flags: Flags::parse("\\Seen work"),
            how,
        })
    }

    fn told(batch: &Batch) -> Value {
        serde_json::from_str(&text("home", batch)).expect("JSON")
    }

    #[test]
    fn a_message_is_told_with_its_file_as_it_is_called_now() {
        let place = tempfile::tempdir().expect("a directory");
        for part in ["new", "cur"] {
            std::fs::create_dir(place.path().join(part)).expect("made");
        }
        let file = place.path().join("cur/1.a:2,FS");
        let head =
            "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\nSubject: =?utf-8?b?w6TDtg==?= \x1b[31m\tred\n\nbody\n";
        std::fs::write(&file, head).expect("written");
        let news = vec![
            touched(place.path(), "1.a", Touch::New),
            touched(place.path(), "2.b", Touch::Changed),
            touched(place.path(), "1.a", Touch::Gone),
            News::Trouble("no \"room\"".into()),
        ];
        let common = json!({"account": "home", "mailbox": "Lists/rust", "uid": 7, "flags": ["\\Seen", "work"], "file": null,
            "from": null, "subject": null, "reason": null, "count": null});
        let with = |more: Value| {
            let mut entry = common.clone();
            more.as_object().expect("keys").iter().for_each(|(key, value)| entry[key] = value.clone());
            entry
        };
        let none = json!({"mailbox": null, "uid": null, "flags": []});
        let is = told(&Batch { news, more: 3 });
        assert_eq!(
            is,
            json!([
                with(
                    json!({"event": "new", "file": file, "from": "Jürgen <j@example.org>", "subject": "äö  [31m red"})
                ),
                with(json!({"event": "changed"})),
                with(json!({"event": "gone"})),
                with(json!({"event": "error", "reason": "no \"room\"", "mailbox": null, "uid": null, "flags": []})),
                with(json!({"event": "more", "count": 3, "mailbox": none["mailbox"], "uid": none["uid"], "flags": []})),
            ]),
            "{is:#}"
        );
    }

    #[test]
    fn what_a_stranger_wrote_is_no_longer_than_it_may_be_and_no_head_is_no_trouble() {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(place.path().join("new")).expect("made");
        std::fs::write(place.path().join("new/1.a"), format!("Subject: {}\n\n", "x".repeat(100_000))).expect("written");
        std::fs::write(place.path().join("new/2.b"), [0xff, 0, b'\n', 0xfe]).expect("written");
        let news = ["1.a", "2.b"].map(|name| touched(place.path(), name, Touch::New)).to_vec();
        let is = told(&Batch { news, more: 0 });
        assert!(is[0]["subject"].as_str().is_some_and(|subject| subject.len() <= 500), "{is:#}");
        assert_eq!((&is[1]["event"], &is[1]["subject"]), (&json!("new"), &Value::Null));
    }
}
