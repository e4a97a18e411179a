//! The mapping of names, held against two hundred hostile ones.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const LAYOUTS: [Layout; 3] = [Layout::Nested, Layout::MaildirPlusPlus, Layout::Flat];

fn name(wire: &str) -> MailboxName {
    MailboxName::new(wire).expect("a name")
}

fn local(wire: &str, layout: Layout) -> String {
    to_local(&name(wire), Some('/'), layout).expect("a path").as_str().to_owned()
}

#[test]
fn ordinary_names_stay_readable() {
    for (wire, nested, plus, flat) in [
        ("INBOX", "INBOX", "", "INBOX"),
        ("inbox", "INBOX", "", "INBOX"),
        ("INBOX/x", "INBOX/x", ".INBOX.x", "INBOX.x"),
        ("Inbox/x", "Inbox/x", ".Inbox.x", "Inbox.x"),
        ("A/inbox", "A/inbox", ".A.inbox", "A.inbox"),
        ("Sent Items", "Sent Items", ".Sent Items", "Sent Items"),
        ("Entw&APw-rfe/2026", "Entwürfe/2026", ".Entwürfe.2026", "Entwürfe.2026"),
        ("a.b/c", "a.b/c", ".a%2Eb.c", "a%2Eb.c"),
        ("Tom &- Jerry", "Tom & Jerry", ".Tom & Jerry", "Tom & Jerry"),
        ("R&D", "%=R&D", ".%=R&D", "%=R&D"),
        ("100%", "100%25", ".100%25", "100%25"),
        ("../cur//~x", "%2E%2E/%63ur/%/%7Ex", ".%2E%2E.cur.%.%7Ex", "%2E%2E.cur.%.%7Ex"),
        ("Lists/new", "Lists/%6Eew", ".Lists.new", "Lists.new"),
        ("new", "%6Eew", ".new", "%6Eew"),
        ("mailtwin-root", "%6Dailtwin-root", ".mailtwin-root", "%6Dailtwin-root"),
        (" a. ", "%20a.%20", ".%20a%2E%20", "%20a%2E%20"),
        (".", "%2E", ".%2E", "%2E"),
    ] {
        assert_eq!(local(wire, Layout::Nested), nested, "{wire}");
        assert_eq!(local(wire, Layout::MaildirPlusPlus), plus, "{wire}");
        assert_eq!(local(wire, Layout::Flat), flat, "{wire}");
    }
    let flat_server = to_local(&name("a/b.c"), None, Layout::Nested).expect("a path");
    assert_eq!(flat_server.as_str(), "a%2Fb.c");
    assert_eq!(to_remote(&flat_server, None, Layout::Nested), Ok(name("a/b.c")));
}

#[test]
fn two_hundred_hostile_names_find_their_way_back_whatever_is_renamed() {
    let names: Vec<MailboxName> = hostile().iter().map(|wire| name(wire)).collect();
    let maps: [&[(&str, &str)]; 4] = [
        &[],
        &[("A", "Elsewhere/A")],
        &[("..", "up"), ("cur", "tmp"), ("~root", "A/~root/x")],
        &[("A", "B-side"), ("A/%", "percent"), (".notmuch", "notmuch"), ("é", "cur")],
    ];
    for layout in LAYOUTS {
        for map in maps {
            let mut mapping = crate::maildir::Mapping::new(layout);
            map.iter().for_each(|(remote, local)| mapping.rename(remote, local));
            let mut seen: BTreeMap<LocalPath, &MailboxName> = BTreeMap::new();
            for name in &names {
                let path = mapping.to_local(name, Some('/')).expect("a path");
                hold(&path, layout);
                match mapping.to_remote(&path, Some('/')) {
                    Ok(back) => {
                        assert_eq!(mapping.to_local(&back, Some('/')).as_ref(), Ok(&path), "{layout:?} {map:?}");
                    }
                    Err(reason) => assert!(
                        path.as_str().contains("%~") || reason == NoRemoteName::Renamed,
                        "{layout:?} {map:?} {path}: {reason}"
                    ),
                }
                if let Some(other) = seen.insert(path.clone(), name)
                    && other != name
                {
                    let pair = [(other, Some('/')), (name, Some('/'))];
                    assert!(mapping.clash(pair).is_some(), "{layout:?} {map:?} gives both {path}");
                }
            }
        }
    }
}

/// Two hundred names that a hostile or broken server could send, and more.
fn hostile() -> Vec<String> {
    let pieces = [
        "",
        ".",
        "..",
        "...",
        "~",
        "~root",
        "cur",
        "new",
        "tmp",
        "Cur",
        "mailtwin-root",
        "mailtwin-folder",
        " ",
        " a",
        "a ",
        "a.",
        ".a",
        "%",
        "%%",
        "%2E",
        "%2F",
        "%~",
        "%=",
        "%=x",
        "\\",
        "a\\b",
        "\x07",
        "\x1b[2J",
        "\x7f",
        "&",
        "&-",
        "&AC8-",
        "&AAA-",
        "&AC4ALg-",
        "&AC4ALgAv-",
        "&APw-",
        "&APw",
        "é",
        "\u{202e}x",
        "\u{feff}",
        "\u{2028}",
        "INBOX",
        "inbox",
        "*",
        "?",
        "\"",
        "<",
        ">",
        "|",
        ":2,S",
        "-rf",
        "$HOME",
        "`id`",
        "a;b",
        "nul",
        "con",
        ".notmuch",
        "lost+found",
        "#x",
    ];
    let mut names: Vec<String> = Vec::new();
    for piece in pieces {
        names.extend([piece.to_owned(), format!("A/{piece}"), format!("{piece}/B"), format!("A/{piece}/{piece}")]);
    }
    names.extend(
        ["/", "//", "/etc/passwd", "../../etc/cron.d/x", "A/../../B", "a/./b", "INBOX/../x"].map(str::to_owned),
    );
    names.extend([201, 255, 256, 300, 1000].map(|n| "x".repeat(n)));
    names.extend([70, 100].map(|n| "%".repeat(n)));
    names.extend([200, 201, 300].map(|n| utf7::encode(&"ü€".repeat(n))));
    names.push(vec!["a"; 60].join("/"));
    names.retain(|n| !n.is_empty());
    names
}

#[test]
fn two_hundred_hostile_names_stay_beneath_the_root_and_apart() {
    let names = hostile();
    assert!(names.len() >= 200, "{}", names.len());
    for layout in LAYOUTS {
        let mut seen: BTreeMap<LocalPath, MailboxName> = BTreeMap::new();
        for wire in &names {
            let name = name(wire);
            let path = to_local(&name, Some('/'), layout).expect("a path");
            hold(&path, layout);
            if let Some(other) = seen.insert(path.clone(), name.clone()) {
                assert_eq!(other, name, "{layout:?} gives both {path}");
            }
            match to_remote(&path, Some('/'), layout) {
                Ok(back) => assert_eq!(back, name),
                Err(reason) => assert_eq!((reason, path.as_str().contains("%~")), (NoRemoteName::Shortened, true)),
            }
        }
    }
}

/// What every path must be.
fn hold(path: &LocalPath, layout: Layout) {
    assert_eq!(LocalPath::new(path.as_str()).as_ref(), Some(path));
    let components: Vec<&str> = path.components().collect();
    assert!(layout == Layout::Nested || components.len() <= 1);
    for c in components {
        assert!(c.len() <= 220 && !c.contains(['/', '\0']) && !c.chars().any(char::is_control), "{path}");
        assert!(!TAKEN.contains(&c) && c != "." && c != "..", "{path}");
        assert!(c.starts_with('.') == (layout == Layout::MaildirPlusPlus), "{path}");
        assert!(!c.starts_with(['~', ' ']) && !c.ends_with(['.', ' ']), "{path}");
    }
}

#[test]
fn absurd_names_are_refused() {
    let deep = name(&vec!["a"; 65].join("/"));
    assert_eq!(to_local(&deep, Some('/'), Layout::Nested), Err(HostileName::TooDeep));
    let long = name(&vec!["x".repeat(190); 30].join("/"));
    assert_eq!(to_local(&long, Some('/'), Layout::Nested), Err(HostileName::TooLong));
    assert!(to_local(&long, Some('/'), Layout::Flat).is_ok());
}

#[test]
fn a_directory_of_another_hand_is_not_guessed_at() {
    let remote = |path: &str, delimiter| to_remote(&LocalPath::new(path).expect("a path"), delimiter, Layout::Nested);
    assert_eq!(remote("A/B", Some('/')), Ok(name("A/B")));
    assert_eq!(remote("A/B", Some('.')), Ok(name("A.B")));
    assert_eq!(remote("A/B", None), Err(NoRemoteName::Delimiter));
    assert_eq!(remote("A.B", Some('.')), Err(NoRemoteName::Delimiter));
    assert_eq!(remote("Grün", Some('/')), Ok(name("Gr&APw-n")));
    for path in ["Inbox", "a%2e", "a%41", "%", "%=x", "%zz", "~x", "a ", "a\u{7}", "%FF", "%=%0A"] {
        assert_eq!(remote(path, None), Err(NoRemoteName::NotCanonical), "{path:?}");
    }
    for path in ["..", "a/../b", "a//b", "/a", "a/", ".", "a\0"] {
        assert_eq!(LocalPath::new(path), None, "{path:?}");
        assert!(serde_json::from_value::<LocalPath>(serde_json::json!(path)).is_err());
    }
}

#[test]
fn names_that_differ_in_case_only_are_known_to_collide() {
    let path = |text: &str| LocalPath::new(text).expect("a path");
    assert!(collides(&path("Ärger/x"), &path("ärger/X")));
    assert!(!collides(&path("a"), &path("a")) && !collides(&path("a"), &path("b")));
}

fn any_name() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "/", ".", "..", "%", "cur", "~", " ", "&", "&-", "-", "&APw-", "=", "INBOX", "inbox", "~0"
        ])
        .prop_map(str::to_owned),
        "[a-z%/.& ]{1,4}",
        any::<String>(),
        "[xü]{150,260}",
    ];
    prop::collection::vec(piece, 1..5).prop_map(|p| p.concat())
}

proptest! {
    #[test]
    fn any_name_is_confined_and_reversible(wire in any_name(), delimiter in prop::sample::select(vec![None, Some('/'), Some('.')])) {
        if let Some(name) = MailboxName::new(&wire) {
            for layout in LAYOUTS {
                if let Ok(path) = to_local(&name, delimiter, layout) {
                    hold(&path, layout);
                    if !path.as_str().contains("%~") {
                        prop_assert_eq!(to_remote(&path, delimiter, layout), Ok(name.clone()));
                    }
                }
            }
        }
    }

    #[test]
    fn two_names_never_share_a_directory(a in any_name(), b in any_name(), delimiter in prop::sample::select(vec![None, Some('/')])) {
        if let (Some(a), Some(b)) = (MailboxName::new(&a), MailboxName::new(&b)) {
            for layout in LAYOUTS {
                if let (Ok(x), Ok(y)) = (to_local(&a, delimiter, layout), to_local(&b, delimiter, layout)) {
                    prop_assert_eq!(x == y, a == b);
                }
            }
        }
    }

    #[test]
    fn any_directory_is_read_or_refused(path in "[a-c%=~2EF./ ]{0,12}") {
        if let Some(path) = LocalPath::new(&path) {
            for layout in LAYOUTS {
                if let Ok(name) = to_remote(&path, Some('/'), layout) {
                    prop_assert_eq!(to_local(&name, Some('/'), layout), Ok(path.clone()));
                }
            }
        }
    }
}
