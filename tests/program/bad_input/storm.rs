//! A reader that renames as fast as it can while passes run: new to cur, flags, between folders. No message is taken for deleted,
//! and no flag is lost.

use crate::support::bench::{Bench, USER, message};
use crate::support::server::Profile;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const MESSAGES: usize = 200;
const RENAMES: usize = 30_000;

/// Where a message is, and with which letters.
struct File {
    base: String,
    path: PathBuf,
    folder: &'static str,
    letters: &'static str,
}

#[test]
fn a_storm_of_renames_deletes_nothing_and_loses_no_flag() {
    let bench = Bench::new(Profile::full());
    bench.server.create(USER, "Work");
    for n in 0..MESSAGES {
        bench.server.deliver(USER, ["INBOX", "Work"][n % 2], message(n), &[]);
    }
    bench.sync().is(0, "");
    let mut files = Vec::new();
    for folder in ["INBOX", "Work"] {
        for entry in fs::read_dir(bench.maildir().join(folder).join("new")).expect("listed").flatten() {
            let base = entry.file_name().to_string_lossy().into_owned();
            files.push(File { base, path: entry.path(), folder, letters: "" });
        }
    }
    assert_eq!(files.len(), MESSAGES);
    let ends = std::thread::scope(|threads| {
        let storm = threads.spawn(|| {
            let mut random = fastrand::Rng::with_seed(3);
            for _ in 0..RENAMES {
                std::thread::sleep(Duration::from_micros(20));
                let file = &mut files[random.usize(..MESSAGES)];
                if random.u8(..50) == 0 {
                    file.folder = if file.folder == "INBOX" { "Work" } else { "INBOX" };
                }
                file.letters = ["", "F", "FS", "S"][random.usize(..4)];
                let cur = bench.maildir().join(file.folder).join("cur");
                let to = cur.join(format!("{}:2,{}", file.base, file.letters));
                fs::rename(&file.path, &to).expect("nobody else renames");
                file.path = to;
            }
            files
        });
        while !storm.is_finished() {
            let ran = bench.sync();
            assert!(matches!(ran.code, Some(0 | 1)), "{:?} {}", ran.code, ran.err);
        }
        storm.join().expect("the storm ends")
    });
    bench.settle();
    bench.sync().is(0, "");
    bench.settle();
    bench.sync().is(0, "");
    let there = bench.server.snapshot(USER);
    assert_eq!(there.get("Trash").map_or(0, Vec::len), 0, "something was taken for deleted");
    let mut found = BTreeMap::new();
    for folder in ["INBOX", "Work"] {
        for (_, flags, body) in &there[folder] {
            let letter = |(flag, letter)| flags.split(' ').any(|f| f == flag).then_some(letter);
            let letters: String = [("\\Flagged", 'F'), ("\\Seen", 'S')].into_iter().filter_map(letter).collect();
            let text = String::from_utf8_lossy(body).replace("\r\n", "\n");
            assert_eq!(found.insert(text, (folder, letters)), None, "a message is there twice");
        }
    }
    assert_eq!(found.len(), MESSAGES);
    for file in ends {
        let text = fs::read_to_string(&file.path).expect("it is where the storm left it");
        assert_eq!(found[&text], (file.folder, file.letters.to_owned()), "{}", file.base);
    }
}
