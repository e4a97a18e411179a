//! The configuration, read from texts: what is accepted, what is refused, and in which words.

use mailtwin::config::{Account, Config, ConfigError, Environment, Source};
use mailtwin::maildir::{Keywords, Layout};
use mailtwin::remote::{Mechanism, Secret, Security, Target, TlsVersion};
use mailtwin::sync::maildrop::{Initial, Remove};
use mailtwin::sync::{Answer, Answers, Deletion, Guard, Limits, Oversize, Policy, Sides};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LEAST: &str = r#"
[account.work]
host = "imap.example.org"
user = "me@example.org"
password.command = ["pass", "show", "mail/work"]
maildir = "~/Mail/work"
"#;

fn environment() -> Environment {
    Environment::of([("HOME", "/home/me"), ("MAIL", "/srv/mail")])
}

fn source(text: &str) -> Source {
    Source { path: PathBuf::from("daemon.toml"), text: text.to_owned(), readable_by_others: false }
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(&source(text), &environment())
}

/// The only account of a configuration that has to be right.
#[track_caller]
fn account(text: &str) -> Account {
    let config = parse(text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    config.accounts.into_values().next().expect("an account")
}

/// The least that works, with lines added to its account.
fn with(lines: &str) -> String {
    format!("{LEAST}{lines}\n")
}

/// The problems of a configuration that has to be wrong, as lines.
#[track_caller]
fn problems(text: &str) -> Vec<String> {
    problems_of(Config::parse(&source(text), &environment()), text)
}

#[track_caller]
fn problems_of(result: Result<Config, ConfigError>, text: &str) -> Vec<String> {
    match result {
        Err(ConfigError::Faulty { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("expected problems, found {other:?} in\n{text}"),
    }
}

#[test]
fn the_least_that_works_has_the_documented_defaults() {
    let config = parse(LEAST).expect("a configuration");
    assert_eq!(config.state_dir, Path::new("/home/me/.local/state/mailtwin"));
    let account = account(LEAST);
    assert_eq!(account.name.as_str(), "work");
    assert_eq!(account.endpoint.target, Target::Host { host: "imap.example.org".into(), port: 993 });
    assert_eq!(account.endpoint.security, Security::Implicit);
    assert_eq!(account.endpoint.tls.min_version, TlsVersion::Tls12);
    assert_eq!(account.endpoint.timeout, Duration::from_secs(60));
    assert!(account.endpoint.mechanisms.is_empty());
    assert!(matches!(&account.endpoint.password, Some(Secret::Command(words)) if words[0] == "pass"));
    assert_eq!(account.maildir, Path::new("/home/me/Mail/work"));
    assert!(account.mailboxes.include("INBOX") && account.mailboxes.include("Junk"));
    assert_eq!(account.delete, Deletion::Trash);
    assert_eq!(account.keep_deleted, Duration::from_secs(14 * 24 * 3600));
    assert_eq!(account.guard, Guard { deletions: 50, percent: 25, emptied: 5, per_10_minutes: 500 });
    assert_eq!(account.keywords, Keywords::Dovecot);
    assert_eq!(account.limits, Limits::default());
    assert_eq!(account.every, Duration::from_secs(300));
    assert!(account.live);
}

#[test]
fn two_configurations_of_an_account_are_told_apart_by_a_digest() {
    let digest = |line: &str| account(&with(line)).digest();
    assert_eq!(digest("port = 993"), account(LEAST).digest());
    for line in ["every = \"6m\"", "port = 994", "mailboxes = [\"*\", \"!Junk\"]", "guard.percent = 26"] {
        assert_ne!(digest(line), account(LEAST).digest(), "{line}");
    }
    let literal = |password: &str| {
        let lines: Vec<&str> = LEAST.lines().filter(|line| !line.starts_with("password")).collect();
        let text = lines.join("\n").replace("[account.work]", &format!("[account.work]\npassword = \"{password}\""));
        account(&text).digest()
    };
    assert_ne!(literal("one"), literal("two"));
}

#[test]
fn the_example_is_a_configuration() {
    let text = include_str!("../../daemon.example.toml");
    let config = parse(text).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(config.accounts.len(), 4);
}

#[test]
fn the_example_does_not_lie_about_what_it_comments_out() {
    // Every commented line that looks like a key is tried, alone, in the least account that it can stand in.
    let text = include_str!("../../daemon.example.toml");
    let work =
        text.split("[account.work]").last().and_then(|rest| rest.split("[account.").next()).expect("the account");
    let mut tried = 0;
    for line in work.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| line.contains(" = ")) {
        let Some(key) = line.split(" = ").next().filter(|key| !key.contains(' ')) else { continue };
        let line = line.replace("sha256:...", &format!("sha256:{}", "ab".repeat(32)));
        let least = LEAST.lines().filter(|line| !key.starts_with("password") || !line.starts_with("password"));
        let mut text = least.collect::<Vec<_>>().join("\n");
        text.push_str(&format!("\n{line}\n"));
        match key {
            "tls-client-cert" => text.push_str("tls-client-key = \"/k\"\n"),
            "tls-client-key" => text.push_str("tls-client-cert = \"/c\"\n"),
            _ => {}
        }
        account(&text);
        tried += 1;
    }
    assert!(tried >= 18, "only {tried} commented keys were found");
}

#[test]
fn every_key_that_works_is_read() {
    let fingerprint = "AB:".repeat(31) + "ab";
    let account = account(&format!(
        r#"
        state-dir = "$MAIL/state"
        [defaults]
        timeout = "1m 30s"
        every = "90s"
        live = false
        delete = "never"
        password.file = "~/wrong"
        [account.work_2]
        type = "imap"
        host = "::1"
        port = 1143
        tls = "none"
        allow-plaintext = true
        tls-ca = "/ca.pem"
        tls-fingerprint = "sha256:{fingerprint}"
        tls-client-cert = "/c.pem"
        tls-client-key = "/k.pem"
        tls-min = "1.3"
        user = "me"
        password.credential = "work"
        auth = ["external", "cram-md5"]
        oauth2.token-command = ["token"]
        maildir = "${{MAIL}}/work/"
        layout = "maildir++"
        mailboxes = ["!Junk"]
        rename = {{ "Sent Items" = "Sent", "[Gmail]/Bin" = "Trash" }}
        subscribed-only = true
        create-mailboxes = "local"
        delete-mailboxes = "remote"
        mode = "two-way"
        delete = "expunge"
        keep-deleted = "0s"
        guard = {{ deletions = 1, per-10-minutes = 7 }}
        keywords = "none"
        max-size = "50 MiB"
        max-age = "5y"
        oversize = "headers"
        disable-extensions = ["qresync"]
        quirks = {{ labels = false }}
    "#
    ));
    let endpoint = &account.endpoint;
    assert_eq!(endpoint.target, Target::Host { host: "::1".into(), port: 1143 });
    assert_eq!(endpoint.security, Security::Plaintext { allowed_anywhere: true });
    assert_eq!(endpoint.tls.pin.expect("a pin").0, [0xab; 32]);
    assert_eq!(endpoint.tls.client, Some(("/c.pem".into(), "/k.pem".into())));
    assert_eq!(endpoint.tls.min_version, TlsVersion::Tls13);
    assert!(matches!(&endpoint.password, Some(Secret::Credential(name)) if name == "work"));
    assert_eq!(endpoint.mechanisms, [Mechanism::External, Mechanism::CramMd5]);
    assert_eq!(endpoint.token_command.as_deref(), Some(&["token".to_owned()][..]));
    assert_eq!(endpoint.timeout, Duration::from_secs(90));
    assert_eq!(endpoint.disabled_extensions, ["QRESYNC"]);
    assert_eq!((endpoint.quirks.labels, endpoint.quirks.keywords), (Some(false), None));
    assert_eq!(account.maildir, Path::new("/srv/mail/work"));
    assert!(!account.mailboxes.include("Junk"));
    assert_eq!((account.layout, account.subscribed_only), (Layout::MaildirPlusPlus, true));
    let renamed = [("Sent Items", "Sent"), ("[Gmail]/Bin", "Trash")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert!(renamed.iter().all(|pair| account.rename.contains(pair)) && account.rename.len() == 2);
    assert_eq!((account.create_mailboxes, account.delete_mailboxes), (Sides::LOCAL, Sides::REMOTE));
    assert_eq!(account.delete, Deletion::Expunge);
    assert_eq!(account.keep_deleted, Duration::ZERO);
    assert_eq!(account.guard, Guard { deletions: 1, per_10_minutes: 7, ..Guard::default() });
    assert_eq!(account.keywords, Keywords::None);
    assert_eq!((account.every, account.live), (Duration::from_secs(90), false));
    assert_eq!(account.policy, Policy::TWO_WAY);
}

#[test]
fn a_mode_is_a_policy_and_a_finer_one_keeps_what_it_does_not_list() {
    for (mode, policy) in [("two-way", Policy::TWO_WAY), ("mirror", Policy::MIRROR), ("archive", Policy::ARCHIVE)] {
        assert_eq!(account(&with(&format!("mode = \"{mode}\""))).policy, policy);
    }
    let finer = account(&with("policy = { pull = [\"new\", \"flags\"], push = [\"flags\"] }")).policy;
    let (yes, no) = (Answer::Allow, Answer::Keep);
    assert_eq!(finer.pull, Answers { new: yes, gone: no, flags: yes });
    assert_eq!(finer.push, Answers { new: no, gone: no, flags: yes });
    assert_eq!(account(&with("policy.pull = [\"new\"]")).policy.push, Answers { new: no, gone: no, flags: no });
    // What the account says itself stands against the defaults, whichever of the two it is.
    let defaults = "[defaults]\nmode = \"mirror\"\n";
    assert_eq!(account(&format!("{LEAST}{defaults}")).policy, Policy::MIRROR);
    let own = with("policy = { push = [\"new\"] }");
    assert_eq!(account(&format!("{own}\n{defaults}")).policy.push.new, Answer::Allow);
    // `delete` of the defaults is meant for the other accounts.
    account(&format!("{}\n[defaults]\ndelete = \"expunge\"\n", with("mode = \"mirror\"")));
    account(&with("mode = \"archive\"\ndelete = \"never\""));
}

#[test]
fn a_policy_that_makes_no_sense_is_refused_with_a_sentence() {
    for (lines, expected) in [
        ("mode = \"both\"", "write \"two-way\" or \"mirror\" or \"archive\""),
        ("mode = \"mirror\"\npolicy = { pull = [\"new\"] }", "`policy` and `mode` exclude each other"),
        ("policy = { pull = [] }", "this `policy` allows nothing"),
        ("policy = { pull = [\"flags\"], push = [\"gone\"] }", "lets no new message pass on either side"),
        ("policy = { pull = [\"New\"] }", "this list cannot be `pull`; write [\"new\", \"gone\", \"flags\"]"),
        ("policy = { pul = [\"new\"] }", "unknown key `pul` in `policy`; did you mean `pull`?"),
        ("policy = \"mirror\"", "this text cannot be `policy`; write a table such as"),
        ("mode = \"mirror\"\ndelete = \"expunge\"", "such deletions never reach the server"),
        ("policy = { pull = [\"new\"], push = [\"new\"] }\ndelete = \"trash\"", "such deletions never reach"),
    ] {
        let found = problems(&with(lines));
        assert!(found.len() == 1 && found[0].contains(expected), "{lines}: {found:?}");
    }
}

#[test]
fn the_limits_are_read() {
    let account = account(&with("max-size = \"50 MiB\"\nmax-age = \"5y\"\noversize = \"headers\""));
    let five_years = humantime::parse_duration("5y").expect("a duration").as_secs();
    let limits = Limits { max_size: Some(50 << 20), max_age: Some(five_years), oversize: Oversize::Headers };
    assert_eq!(account.limits, limits);
}

#[test]
fn a_size_is_a_whole_number_with_a_unit() {
    let with = |size: &str| format!("{LEAST}\nmax-size = {size}");
    for (text, octets) in [("500 B", 500), ("1KiB", 1024), ("2 kB", 2000), ("3 GB", 3_000_000_000), ("4 GiB", 4 << 30)]
    {
        assert_eq!(account(&with(&format!("{text:?}"))).limits.max_size, Some(octets), "{text}");
    }
    for text in [
        "\"5\"",
        "\"0 MiB\"",
        "\"1.5 MiB\"",
        "\"-1 B\"",
        "\"99999999999 GiB\"",
        "\"5 mib\"",
        "\"MiB\"",
        "\"\"",
        "5",
        "true",
    ] {
        let found = problems(&with(text));
        assert!(found[0].contains("`max-size`") && found[0].contains("write a size such as"), "{text}: {found:?}");
    }
}

#[test]
fn the_port_follows_from_the_protection() {
    for (tls, port) in [("implicit", 993), ("starttls", 143), ("none", 143)] {
        let account = account(&with(&format!("tls = \"{tls}\"")));
        assert!(matches!(account.endpoint.target, Target::Host { port: found, .. } if found == port), "{tls}");
    }
}

#[test]
fn a_tunnel_needs_neither_host_nor_user_nor_password() {
    let tunnel = account("[account.t]\ntunnel = [\"imapd\"]\nmaildir = \"/m\"");
    assert_eq!(tunnel.endpoint.target, Target::Tunnel(vec!["imapd".into()]));
    let beside_a_default = account("[defaults]\nhost = \"h\"\n[account.t]\ntunnel = [\"imapd\"]\nmaildir = \"/m\"");
    assert!(matches!(beside_a_default.endpoint.target, Target::Tunnel(_)));
}

#[test]
fn a_token_alone_names_the_mechanisms_that_take_one() {
    let account = account("[account.t]\nhost=\"h\"\nuser=\"u\"\noauth2.token-command=[\"t\"]\nmaildir=\"/m\"");
    assert_eq!(account.endpoint.mechanisms, [Mechanism::OauthBearer, Mechanism::Xoauth2]);
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest_name() {
    for (line, expected) in [
        ("hots = \"x\"", "7:1: unknown key `hots` in [account.work]; did you mean `host`?"),
        ("keep_deleted = \"1d\"", "7:1: unknown key `keep_deleted` in [account.work]; did you mean `keep-deleted`?"),
        ("  username = \"x\"", "7:3: unknown key `username` in [account.work]; did you mean `user`?"),
        ("guard.deletoins = 3", "7:7: unknown key `deletoins` in `guard`; did you mean `deletions`?"),
        ("oauth2.token-comand = [\"x\"]", "7:8: unknown key `token-comand` in `oauth2`; did you mean `token-command`?"),
    ] {
        assert_eq!(problems(&with(line)), [expected]);
    }
    assert_eq!(
        problems(&format!("colour = \"é\"\n{LEAST}")),
        ["1:1: unknown key `colour` in the file; the keys here are state-dir, metrics, defaults, account"]
    );
    assert_eq!(
        problems(&format!("timeout = \"5s\"\n{LEAST}")),
        ["1:1: unknown key `timeout` in the file; it belongs in an [account.NAME] table, or in [defaults]"]
    );
    assert_eq!(
        problems(&format!("[defaults]\ntimeuot = \"5s\"\n{LEAST}")),
        ["2:1: unknown key `timeuot` in [defaults]; did you mean `timeout`?"]
    );
    assert!(problems("[accounts.work]\nhost = \"x\"")[0].contains("did you mean `account`?"));
}

/// Every key and value of the interface that this version does not do.
const NOT_YET: &[(&str, &str)] = &[
    ("limit = \"2 MB/s\"", "limit"),
    ("oauth2.provider = \"google\"", "provider"),
    ("oauth2.client-id = \"x\"", "client-id"),
    ("oauth2.client-secret.command = [\"x\"]", "client-secret"),
];

#[test]
fn a_key_of_a_later_version_is_not_yet_and_never_ignored() {
    for (line, key) in NOT_YET {
        let found = problems(&with(line));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        let expected = found[0].starts_with("7:") && found[0].contains("not yet: this version does not do `");
        assert!(expected && found[0].contains(key), "{line}: {found:?}");
        let in_defaults = format!("{LEAST}[defaults]\n{line}\n");
        assert!(problems(&in_defaults)[0].contains("not yet"), "in [defaults]: {line}");
    }
}

#[test]
fn the_interface_has_no_third_kind_of_key() {
    // A key is done, or in the table above: nothing is silently half known.
    let later: Vec<&str> = NOT_YET.iter().map(|(_, key)| *key).collect();
    let text = problems(&with("zzzzzzzz = 1")).remove(0);
    let known: Vec<&str> = text.rsplit("the keys here are ").next().expect("the list").split(", ").collect();
    assert!(known.contains(&"host") && known.len() > 20, "{known:?}");
    for key in known {
        assert!(!later.contains(&key), "{key} both works and does not");
    }
}

/// The least that works of a drop, with lines added to its account.
fn drop_with(lines: &str) -> String {
    format!(
        "[account.old]\ntype = \"pop3\"\nhost = \"pop.example.net\"\nuser = \"me\"\npassword.file = \"~/secret\"\nmaildir = \"~/Mail/old\"\n{lines}\n"
    )
}

#[test]
fn a_drop_has_the_documented_defaults() {
    let account = account(&drop_with(""));
    assert_eq!(account.endpoint.target, Target::Host { host: "pop.example.net".into(), port: 995 });
    assert_eq!(account.endpoint.security, Security::Implicit);
    assert_eq!(account.policy, Policy::FETCH);
    let wanted = account.maildrop.expect("a drop");
    assert!(wanted.mailbox.is_inbox() && wanted.remove.keeps());
    assert_eq!((wanted.remove, wanted.initial), (Remove::default(), Initial::All));
    assert!(parse(LEAST).expect("a configuration").accounts.values().all(|account| account.maildrop.is_none()));
}

#[test]
fn the_keys_of_a_drop_are_read() {
    for tls in ["starttls", "none"] {
        let Target::Host { port, .. } = account(&drop_with(&format!("tls = \"{tls}\""))).endpoint.target else {
            panic!("a host")
        };
        assert_eq!(port, 110);
    }
    let wanted = |lines: &str| account(&drop_with(lines)).maildrop.expect("a drop");
    let all = "remove = { after = \"14d\", beyond-newest = 500, beyond-total = \"1 GiB\", larger-than = \"5 MiB\", deleted-here = true, \
               never-before = \"1h\" }\nmailbox = \"Archive/old\"\ninitial = { newest = 100 }";
    let expected = Remove {
        everything: false,
        after: Some(14 * 86_400),
        beyond_newest: Some(500),
        beyond_total: Some(1 << 30),
        larger_than: Some(5 << 20),
        deleted_here: true,
        never_before: 3600,
        once_passed_on: false,
    };
    let read = wanted(all);
    assert_eq!((read.remove, read.initial), (expected, Initial::Newest(100)));
    assert_eq!(read.mailbox.decoded().as_deref(), Some("Archive/old"));
    assert_eq!(wanted("initial = \"none\"").initial, Initial::None);
    assert_eq!(wanted("initial = { days = 30 }").initial, Initial::Days(30));
    assert_eq!(wanted("leave-on-server = false").remove, Remove::EVERYTHING);
    let later = wanted("leave-on-server = false\nremove = { never-before = \"2h\" }").remove;
    assert_eq!(later, Remove { never_before: 7200, ..Remove::EVERYTHING });
    assert_eq!(account(&drop_with("auth = [\"apop\"]")).endpoint.mechanisms, [Mechanism::Apop]);
    assert_eq!(account(&drop_with("quirks = { windowed = true }")).endpoint.quirks.windowed, Some(true));
    // What `[defaults]` says of mailboxes is not meant for a drop, and the other way round.
    let defaults = format!("[defaults]\nmode = \"mirror\"\nleave-on-server = false\n{LEAST}{}", drop_with(""));
    let both = parse(&defaults).expect("a configuration").accounts;
    let of = |name: &str| both.iter().find(|(key, _)| key.as_str() == name).expect("it is there").1;
    assert_eq!((of("work").policy, of("work").maildrop.is_none()), (Policy::MIRROR, true));
    assert!(!of("old").maildrop.as_ref().expect("a drop").remove.keeps());
}

#[test]
fn what_means_nothing_for_a_drop_or_contradicts_is_refused() {
    for (line, expected) in [
        ("mode = \"mirror\"", "`mode` means nothing for an account of type POP3; take it out, or correct `type`"),
        ("mailboxes = [\"*\"]", "`mailboxes` means nothing for an account of type POP3"),
        ("tunnel = [\"x\"]", "`tunnel` means nothing for an account of type POP3"),
        ("max-age = \"5y\"", "`max-age` means nothing for an account of type POP3"),
        ("connections = 2", "`connections` means nothing for an account of type POP3"),
        (
            "leave-on-server = false\nremove = { after = \"1d\" }",
            "leave-on-server = false leaves none; take one of them out",
        ),
        ("remove = { afer = \"1d\" }", "unknown key `afer` in `remove`; did you mean `after`?"),
        ("remove = { deleted-here = \"yes\" }", "cannot be `deleted-here`"),
        ("remove = true", "this true or false cannot be `remove`; write a table such as { after ="),
        ("initial = \"some\"", "cannot be `initial`; write \"all\", \"none\", { newest = 100 }, or { days = 30 }"),
        ("initial = { newest = 0 }", "this number cannot be `newest`"),
        ("initial = { days = 0 }", "this number cannot be `days`"),
        ("initial = { days = 30, newest = 3 }", "cannot be `initial`"),
        ("initial = {}", "cannot be `initial`"),
        ("mailbox = \"\"", "cannot be `mailbox`"),
    ] {
        let found = problems(&drop_with(line));
        assert!(found.len() == 1 && found[0].contains(expected), "{line}: {found:?}");
    }
    let deep = format!("mailbox = \"{}x\"", "a/".repeat(70));
    assert!(problems(&drop_with(&deep))[0].contains("`mailbox` cannot be a directory"));
    let imap = problems(&with("leave-on-server = true"));
    assert_eq!(
        imap,
        ["7:19: `leave-on-server` means nothing for an account of type IMAP; take it out, or correct `type`"]
    );
    assert!(problems(&with("auth = [\"apop\"]"))[0].contains("unknown mechanism in `auth`"));
    assert!(
        problems("[account.x]\ntype = \"pop3\"\nuser = \"u\"\npassword.env = \"P\"\nmaildir = \"/m\"")[0]
            .contains("pop.example.org")
    );
    assert!(problems(&with("type = \"pop\""))[0].contains("write \"imap\" or \"pop3\""));
}

/// The least that works of an account, and of a drop whose mail goes there, with lines added to each.
fn delivering(of_account: &str, of_drop: &str) -> String {
    let account = with(of_account);
    let drop =
        "[account.old]\ntype = \"pop3\"\nhost = \"pop.example.net\"\nuser = \"me\"\npassword.file = \"~/secret\"";
    format!("{account}{drop}\n{of_drop}\n")
}

#[test]
fn a_drop_delivers_to_another_account() {
    for text in
        [delivering("", "deliver-to = \"work/INBOX\""), delivering("layout = \"flat\"", "deliver-to = \"work/a/b\"")]
    {
        let config = parse(&text).expect("a configuration");
        let of = |name: &str| config.accounts.iter().find(|(key, _)| key.as_str() == name).expect("it is there").1;
        let queue = config.state_dir.join("old/queue");
        assert_eq!(
            (of("old").maildir.clone(), of("work").queues.clone()),
            (queue.clone(), vec![("old".into(), queue)])
        );
        let to = of("old").deliver_to.clone().expect("a destination");
        assert_eq!(
            (to.account.as_str(), to.maildir, to.layout),
            ("work", of("work").maildir.clone(), of("work").layout)
        );
        assert!(of("old").maildrop.as_ref().expect("a drop").remove.once_passed_on);
    }
    for (of_account, of_drop, expected) in [
        (
            "",
            "deliver-to = \"work\"",
            "write the name of an account and a mailbox of its server, such as \"work/INBOX\"",
        ),
        ("", "deliver-to = \"wrok/INBOX\"", "no other account \"wrok\" to deliver to; did you mean \"work/INBOX\"?"),
        ("", "deliver-to = \"old/INBOX\"", "there is no other account \"old\""),
        ("mode = \"mirror\"", "deliver-to = \"work/INBOX\"", "uploads no new mail"),
        ("mailboxes = [\"INBOX\"]", "deliver-to = \"work/Old\"", "does not synchronise this mailbox; add it"),
        ("", "deliver-to = \"work/INBOX\"\nmaildir = \"~/Mail/x\"", "`maildir` and `deliver-to` exclude each other"),
        ("", "deliver-to = \"work/INBOX\"\nmailbox = \"x\"", "`mailbox` and `deliver-to` exclude each other"),
        ("", "deliver-to = \"work/INBOX\"\nremove = { deleted-here = true }", "means nothing with `deliver-to`"),
        ("", "deliver-to = \"work/INBOX\"\noversize = \"headers\"", "a stub is never uploaded"),
    ] {
        let found = problems(&delivering(of_account, of_drop));
        assert!(found.len() == 1 && found[0].contains(expected), "{of_drop}: {found:?}");
    }
    let two = delivering("", "deliver-to = \"b/INBOX\"").replace("[account.work]", "[account.b]\ntype = \"pop3\"");
    assert!(problems(&two).iter().any(|problem| problem.contains("takes no mail")), "{:?}", problems(&two));
    assert_eq!(
        problems(&with("deliver-to = \"a/INBOX\"")),
        ["7:14: `deliver-to` means nothing for an account of type IMAP; take it out, or correct `type`"]
    );
}

#[test]
fn a_wrong_value_is_refused_with_what_is_expected() {
    for (line, expected) in [
        ("port = 99999", "this number cannot be `port`; write a number from 1 to 65535"),
        ("port = \"993\"", "this text cannot be `port`; write a number from 1 to 65535"),
        ("tls = \"yes\"", "this text cannot be `tls`; write \"implicit\" or \"starttls\" or \"none\""),
        ("allow-plaintext = 1", "this number cannot be `allow-plaintext`; write true or false"),
        ("timeout = 60", "this number cannot be `timeout`; write a duration such as"),
        ("timeout = \"60\"", "this text cannot be `timeout`: time unit needed"),
        ("timeout = \"0s\"", "write a duration from 1s to 1h"),
        ("every = \"0s\"", "write a duration from 1s to 1day"),
        ("delete = \"bin\"", "write \"trash\" or \"expunge\" or \"never\""),
        ("keywords = \"maildir\"", "write \"dovecot\" or \"database\" or \"none\""),
        ("mailboxes = \"*\"", "this text cannot be `mailboxes`; write a list such as [\"*\", \"!Junk\"]"),
        ("mailboxes = []", "write a list such as"),
        ("mailboxes = [\"!\"]", "write patterns that are not empty"),
        ("guard = 5", "write a table such as { deletions = 50"),
        ("guard.percent = 101", "write a number from 0 to 100"),
        ("tls-fingerprint = \"sha256:abc\"", "write \"sha256:\" and 64 hexadecimal digits"),
        ("tls-fingerprint = \"md5:ab\"", "write \"sha256:\" and 64 hexadecimal digits"),
        ("tls-min = \"1.1\"", "write \"1.2\" or \"1.3\""),
        ("tls-client-cert = \"/c\"", "`tls-client-key` is missing"),
        ("tls-ca = \"certs/ca.pem\"", "the path is relative"),
        ("auth = [\"plian\"]", "did you mean \"plain\"?"),
        ("auth = [\"xoauth2\"]", "add oauth2.token-command"),
        ("auth = [\"external\"]", "`tls-client-cert` is missing"),
        ("layout = \"wide\"", "this text cannot be `layout`; write \"nested\" or \"maildir++\" or \"flat\""),
        ("rename = [\"a\"]", "write a table of names"),
        ("rename = { a = 1 }", "this number cannot be `a`; write a name"),
        ("rename = { INBOX = \"In\" }", "`rename` cannot do \"INBOX\": INBOX is called so on both sides"),
        ("rename = { a = \"inbox\" }", "`rename` cannot do \"inbox\": INBOX is called so on both sides"),
        ("rename = { a = \"b//c\" }", "a level of it is empty"),
        ("rename = { a = \"X\", b = \"x\" }", "`rename` gives \"a\" and \"b\" one name here, \"x\""),
        ("subscribed-only = \"yes\"", "write true or false"),
        ("create-mailboxes = true", "write \"both\" or \"remote\" or \"local\" or \"none\""),
        ("delete-mailboxes = \"all\"", "write \"both\" or \"remote\" or \"local\" or \"none\""),
        ("type = \"smtp\"", "this text cannot be `type`"),
        ("disable-extensions = [\"A B\"]", "this is no capability"),
        ("quirks = { labels = 1 }", "write true or false"),
        ("quirks = { keyword = true }", "did you mean `keywords`?"),
        ("quirks = []", "write a table such as { keywords = true }"),
        ("tunnel = [\"x\"]", "`tunnel` and `host` exclude each other"),
    ] {
        let found = problems(&with(line));
        assert!(found.iter().any(|problem| problem.contains(expected)), "{line}: {found:?}");
    }
}

#[test]
fn what_is_missing_is_named_with_an_example() {
    for (missing, expected) in [
        ("host", "2:10: `host` is missing in [account.work]; add the server's name"),
        ("user", "2:10: `user` is missing"),
        ("password", "2:10: `password` is missing in [account.work]; add password.command = ["),
        ("maildir", "2:10: `maildir` is missing in [account.work]; add the directory"),
    ] {
        let text: Vec<&str> = LEAST.lines().filter(|line| !line.starts_with(missing)).collect();
        let found = problems(&text.join("\n"));
        assert!(found.len() == 1 && found[0].starts_with(expected), "{missing}: {found:?}");
    }
    assert!(problems("")[0].contains("add an [account.NAME] table"));
    assert!(problems("account = 3")[0].contains("write a table for each account"));
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let found = problems(&with("prot = 1\ntls = 3\nlimit = []"));
    let lines: Vec<&str> = found.iter().filter_map(|problem| problem.split(':').next()).collect();
    assert_eq!(lines, ["7", "8", "9"], "{found:?}");
}

#[test]
fn a_hook_is_a_program_and_its_arguments() {
    let account = account(&with("on-new = [\"notmuch\", \"new\"]\non-error = [\"/usr/bin/logger\"]"));
    let hooks: Vec<_> = account.hooks.all().collect();
    assert_eq!(
        hooks,
        [("on-new", &["notmuch".to_owned(), "new".to_owned()][..]), ("on-error", &["/usr/bin/logger".to_owned()])]
    );
    for line in ["on-new = \"notmuch new\"", "on-change = []", "on-error = [\"\"]", "on-new = [1]"] {
        let found = problems(&with(line));
        assert!(found.len() == 1 && found[0].contains("such as [\"notmuch\", \"new\"]"), "{line}: {found:?}");
    }
}

#[test]
fn a_fault_in_the_defaults_is_told_once() {
    let text = format!("[defaults]\ntimeout = 5\n{LEAST}{}", LEAST.replace("work", "home"));
    assert_eq!(problems(&text).len(), 1);
}

#[test]
fn a_maildir_has_a_place_of_its_own() {
    for wide in ["/", "~", "/home", "$HOME/."] {
        let text = LEAST.replace("~/Mail/work", wide);
        assert!(problems(&text)[0].contains("is no place for a Maildir"), "{wide}");
    }
    let two = |second: &str| format!("{LEAST}{}", LEAST.replace("work]", "home]").replace("~/Mail/work", second));
    for overlapping in ["~/Mail/work", "~/Mail", "~/Mail/work/sub", "/home/me//Mail/work/"] {
        let found = problems(&two(overlapping));
        assert!(found[0].contains("overlaps the one of [account.home]"), "{overlapping}: {found:?}");
    }
    parse(&two("~/Mail/work2")).expect("two Maildirs side by side");
    let state = problems(&format!("state-dir = \"~/Mail/work/state\"\n{LEAST}"));
    assert!(state[0].contains("overlaps the state directory"), "{state:?}");
    assert!(problems(&LEAST.replace("~/Mail/work", "/a/../b"))[0].contains("the path has .. in it"));
}

#[test]
fn the_name_of_an_account_is_plain() {
    for name in ["Work", "\"a/b\"", "\"\"", "\"a b\"", "\"-q\""] {
        let found = problems(&LEAST.replace("account.work", &format!("account.{name}")));
        assert!(found[0].contains("cannot be the name of an account"), "{name}: {found:?}");
    }
}

#[test]
fn a_password_in_a_file_that_others_read_is_refused() {
    let text = LEAST.replace("password.command = [\"pass\", \"show\", \"mail/work\"]", "password = \"hunter2\"");
    assert!(matches!(account(&text).endpoint.password, Some(Secret::Literal(_))));
    let open = Source { readable_by_others: true, ..source(&text) };
    let found = problems_of(Config::parse(&open, &environment()), &text);
    assert!(found[0].contains("everybody on this machine can read it; run chmod 600"), "{found:?}");
    let harmless = Source { readable_by_others: true, ..source(LEAST) };
    Config::parse(&harmless, &environment()).expect("a command is no secret");
}

#[test]
fn no_error_shows_a_secret() {
    for lines in [
        "pasword = \"hunter2\"",
        "password.comand = \"hunter2\"",
        "password = [\"hunter2\"]",
        "password = { file = \"hunter2\" }",
        "password = { env = \"hunter2\", file = \"/hunter2\" }",
        "password = \"hunter2",
        "password = \"hunter2\\q\"",
        "password = \"hunter2\" x",
        "password = hunter2",
    ] {
        let text = LEAST.lines().filter(|line| !line.starts_with("password")).collect::<Vec<_>>().join("\n");
        let error = parse(&format!("{text}\n{lines}\n")).expect_err(lines);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{lines}: {error:?}");
    }
}

#[test]
fn a_secret_is_not_in_the_debug_form() {
    let text = LEAST.replace("password.command = [\"pass\", \"show\", \"mail/work\"]", "password = \"hunter2\"");
    assert!(!format!("{:?}", parse(&text)).contains("hunter2"));
}

#[test]
fn text_that_is_no_toml_is_refused_with_its_place() {
    let found = problems("[account.work\nhost = 1");
    assert!(found[0].starts_with("1:14: this is not TOML: "), "{found:?}");
    assert!(problems(&with("user = \"twice\""))[0].contains("duplicate key"));
}

#[test]
fn the_file_is_looked_for_at_the_usual_places() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("mailtwin/daemon.toml");
    let environment =
        Environment::of([("HOME", "/home/me".as_ref()), ("XDG_CONFIG_HOME", directory.path().as_os_str())]);
    assert_eq!(environment.configuration_files(), [path.clone(), "/etc/mailtwin/daemon.toml".into()]);
    std::fs::create_dir(path.parent().expect("a parent")).expect("mkdir");
    std::fs::write(&path, LEAST).expect("write");
    assert_eq!(Config::load(None, &environment).expect("found").path, path);
    assert!(matches!(
        Config::load(Some(Path::new("/nowhere/daemon.toml")), &environment),
        Err(ConfigError::Unreadable { path, .. }) if path == Path::new("/nowhere/daemon.toml")
    ));
}

#[test]
fn the_state_is_kept_at_the_usual_place() {
    for (variables, expected) in [
        (vec![("HOME", "/h")], Some("/h/.local/state/mailtwin")),
        (vec![("HOME", "/h"), ("XDG_STATE_HOME", "/x")], Some("/x/mailtwin")),
        (vec![("HOME", "/h"), ("STATE_DIRECTORY", "/var/lib/mailtwin:/other")], Some("/var/lib/mailtwin")),
        (vec![], None),
    ] {
        assert_eq!(Environment::of(variables.clone()).state_dir().as_deref(), expected.map(Path::new), "{variables:?}");
    }
}

/// Pieces of configurations, right and wrong, that a text is made of.
const PIECES: &[&str] = &[
    "[account.work]\n",
    "[account.é]\n",
    "[defaults]\n",
    "[[account]]\n",
    "account.x.",
    "host",
    "port",
    "password",
    "guard",
    "mailboxes",
    "maildir",
    "oauth2",
    "tunnel",
    "type",
    "tls-fingerprint",
    "keep-deleted",
    ".command",
    ".token-command",
    ".percent",
    " = ",
    "\"",
    "'",
    "\"x\"",
    "\"~/é\"",
    "\"$\"",
    "\"${\"",
    "\"sha256:ä\"",
    "\"pop3\"",
    "\"99999999999999d\"",
    "[",
    "]",
    "[\"!\", \"*\"]",
    "{",
    "}",
    ",",
    "{ deletions = -1 }",
    "0x10",
    "1e400",
    "true",
    "1979-05-27",
    "#",
    "\n",
    "\r\n",
    "\\u0000",
    "ü",
    "\u{0}",
    "\u{202e}",
];

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        let text: String = pieces.concat();
        if let Err(ConfigError::Faulty { problems, .. }) = parse(&text) {
            prop_assert!(!problems.is_empty(), "an error without a reason");
            for problem in problems {
                let line = text.split('\n').nth(problem.line - 1);
                prop_assert!(line.is_some_and(|line| problem.column <= line.chars().count() + 1), "{problem} is outside");
                prop_assert!(!problem.to_string().chars().any(char::is_control), "{problem:?} is not escaped");
            }
        }
    }

    #[test]
    fn any_text_at_all_is_read_without_a_panic(text in ".*") {
        let _ = parse(&text);
        let _ = parse(&with(&format!("host = {text}")));
    }
}
