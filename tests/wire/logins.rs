//! Every way in, through the real program and a real Dovecot: mechanisms, TLS, tunnels, secrets, and less of a server
//! than it is.

#[path = "../../benches/compare/link.rs"]
mod link;

use crate::support::dovecot::{Dovecot, PASSWORD, Settings};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

/// A home for the program, and the Dovecot that it talks to.
struct Home {
    dovecot: Dovecot,
    home: tempfile::TempDir,
}

impl Home {
    fn new(settings: &Settings) -> Self {
        let dovecot = Dovecot::with(settings);
        for (n, mailbox) in ["INBOX", "INBOX", "Sent", "Work", "Work"].into_iter().enumerate() {
            let text = format!("Message-ID: <{n}@example.org>\nSubject: number {n}\n\nText {n}.\n");
            dovecot.deliver("me", mailbox, text.as_bytes());
        }
        let home = Self { dovecot, home: tempfile::tempdir().expect("a directory") };
        home.write("secret", &format!("{PASSWORD}\nnotes below\n"));
        home.write("secret.plain", &format!("{PASSWORD}\n"));
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).expect("private");
    }

    /// An account over TLS, with the authority that signed the certificate, and these lines.
    fn over_tls(&self, name: &str, more: &str) {
        let (port, ca) = (self.dovecot.imaps_port, self.dovecot.ca_pem_path());
        self.configure(name, &format!("host = \"localhost\"\nport = {port}\ntls-ca = {ca:?}\nuser = \"me\"\n{more}"));
    }

    fn by_file(&self) -> String {
        format!("password.file = {:?}\n", self.path("secret.plain"))
    }

    /// One account, with a state and a Maildir of its own name.
    fn configure(&self, name: &str, lines: &str) {
        let (state, maildir) = (self.path("state"), self.path(name));
        let text =
            format!("state-dir = {state:?}\n[account.{name}]\nmaildir = {maildir:?}\ntimeout = \"20s\"\n{lines}\n");
        self.write("daemon.toml", &text);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailtwin"));
        command.arg("-vv").arg("--config").arg(self.path("daemon.toml")).args(arguments).stdin(Stdio::null());
        command.env_clear().env("HOME", self.home.path()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> String {
        let said = said(self.command(arguments).output().expect("it runs"), code);
        let coded = STANDARD.encode(PASSWORD);
        walk(&self.path("state"), &mut |path| {
            let bytes = fs::read(path).unwrap_or_default();
            let holds = |secret: &str| memchr::memmem::find(&bytes, secret.as_bytes()).is_some();
            assert!(!holds(PASSWORD) && !holds(&coded), "the password is in {path:?}");
        });
        said
    }

    /// Makes the directories look as if nothing had changed for long: else a deletion waits for seconds.
    fn settle(&self, name: &str) {
        let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for folder in fs::read_dir(self.path(name)).expect("listed").flatten() {
            for part in ["new", "cur"] {
                if let Ok(directory) = fs::File::open(folder.path().join(part)) {
                    directory.set_modified(past).expect("set");
                }
            }
        }
    }

    /// The texts of an account, by mailbox.
    fn tree(&self, name: &str) -> BTreeMap<String, Vec<String>> {
        let mut tree: BTreeMap<String, Vec<String>> = BTreeMap::new();
        walk(&self.path(name), &mut |path| {
            let folder = path.parent().and_then(Path::parent).and_then(|p| p.strip_prefix(self.path(name)).ok());
            let Some(folder) = folder.filter(|_| !path.to_string_lossy().contains("mailtwin-")) else { return };
            let text = fs::read_to_string(path).expect("read");
            tree.entry(folder.to_string_lossy().into_owned()).or_default().push(text);
        });
        tree.values_mut().for_each(|texts| texts.sort());
        tree
    }
}

fn walk(directory: &Path, see: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            walk(&entry.path(), see);
        } else {
            see(&entry.path());
        }
    }
}

/// Holds the exit code, and that the password was not said.
#[track_caller]
fn said(output: Output, code: i32) -> String {
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(!text.contains(PASSWORD), "the password was said: {text}");
    text
}

fn five(tree: &BTreeMap<String, Vec<String>>) {
    let counts: Vec<(&str, usize)> = tree.iter().map(|(name, texts)| (name.as_str(), texts.len())).collect();
    assert_eq!(counts, [("INBOX", 2), ("Sent", 1), ("Work", 2)]);
}

#[test]
fn an_unchanged_account_takes_five_round_trips() {
    let home = Home::new(&Settings::default());
    // What is sent without waiting is not answered before all of it was sent.
    let far = link::Quality { round_trip_ms: 100, bits_per_second: 0 };
    let link = link::Link::open(home.dovecot.imaps_port, far);
    let (port, ca, secret) = (link.port, home.dovecot.ca_pem_path(), home.by_file());
    let server = format!("host = \"localhost\"\nport = {port}\ntls-ca = {ca:?}\nuser = \"me\"\nauth = [\"plain\"]\n");
    home.configure("near", &format!("{server}{secret}"));
    home.run(&["sync"], 0);
    five(&home.tree("near"));
    home.settle("near");
    link.turns();
    home.run(&["sync"], 0);
    // The connect, TLS, the greeting, the login, the list; and a goodbye that nobody waits for.
    assert_eq!(link.turns(), 5 + 1);
}

#[test]
fn every_mechanism_lets_in_and_a_wrong_secret_does_not() {
    let home = Home::new(&Settings::default());
    let token = format!("oauth2.token-command = [\"head\", \"-1\", {:?}]\n", home.path("secret"));
    for mechanism in ["plain", "login", "scram-sha-256", "cram-md5", "xoauth2", "oauthbearer"] {
        let name = mechanism;
        let by_token = matches!(mechanism, "xoauth2" | "oauthbearer");
        let secret = if by_token { token.clone() } else { home.by_file() };
        home.over_tls(name, &format!("auth = [{mechanism:?}]\n{secret}"));
        let checked = home.run(&["check"], 0);
        assert!(checked.to_lowercase().contains(&format!("me is let in, with {mechanism}")), "{checked}");
        home.run(&["sync"], 0);
        five(&home.tree(name));
        assert!(home.run(&["sync"], 0).contains("nothing to do"), "{mechanism}");
        home.write("wrong", "another\n");
        let wrong = secret.replace("secret.plain", "wrong").replace("secret\"", "wrong\"");
        home.over_tls(name, &format!("auth = [{mechanism:?}]\n{wrong}"));
        let before = home.dovecot.log().matches("auth failed").count();
        let refused = home.run(&["sync"], 77);
        assert!(refused.contains("the server refused the login"), "{mechanism}: {refused}");
        let tries = home.dovecot.log().matches("auth failed, 1 attempts").count();
        assert!(tries <= before + 1, "{mechanism}: more than one try\n{}", home.dovecot.log());
        five(&home.tree(name));
    }
}

#[test]
fn the_best_mechanism_is_chosen_when_none_is_named() {
    let home = Home::new(&Settings::default());
    home.over_tls("work", &home.by_file());
    assert!(home.run(&["check"], 0).contains("with SCRAM-SHA-256"));
    let home = Home::new(&Settings { mechanisms: "cram-md5".into(), ..Settings::default() });
    home.over_tls("work", &home.by_file());
    // CRAM-MD5 is for those who name it.
    let refused = home.run(&["sync"], 1);
    assert!(refused.contains("cannot log in"), "{refused}");
}

#[test]
fn a_client_certificate_lets_in_without_a_password_and_only_whom_it_names() {
    let settings = Settings { client_certificates: true, mechanisms: "external plain".into(), ..Settings::default() };
    let home = Home::new(&settings);
    let [certificate, key] = home.dovecot.client_pem_paths();
    let shown = format!("tls-client-cert = {certificate:?}\ntls-client-key = {key:?}\n");
    home.over_tls("work", &format!("auth = [\"external\"]\n{shown}"));
    let checked = home.run(&["check"], 0);
    assert!(checked.contains("me is let in, with EXTERNAL"), "{checked}");
    home.run(&["sync"], 0);
    five(&home.tree("work"));
    assert!(home.run(&["sync"], 0).contains("nothing to do"));
    // Somebody else's mail is not for whom the certificate names.
    let (port, ca) = (home.dovecot.imaps_port, home.dovecot.ca_pem_path());
    let other =
        format!("host = \"localhost\"\nport = {port}\ntls-ca = {ca:?}\nuser = \"you\"\nauth = [\"external\"]\n{shown}");
    home.configure("other", &other);
    let refused = home.run(&["sync"], 77);
    assert!(refused.contains("the server refused the login"), "{refused}");
    // Without a certificate, or with half of one, the server is not even asked.
    home.over_tls("without", "auth = [\"external\"]\n");
    assert!(home.run(&["sync"], 78).contains("tls-client-cert"));
    home.over_tls("half", &format!("auth = [\"external\"]\ntls-client-cert = {certificate:?}\n"));
    assert!(home.run(&["sync"], 78).contains("tls-client-key"));
    for name in ["other", "without", "half"] {
        assert_eq!(home.tree(name), BTreeMap::new());
    }
}

#[test]
fn starttls_and_implicit_tls_and_loopback_plaintext_give_the_same_tree() {
    let home = Home::new(&Settings::default());
    home.over_tls("implicit", &home.by_file());
    home.run(&["sync"], 0);
    let (port, ca) = (home.dovecot.imap_port, home.dovecot.ca_pem_path());
    let common = format!("host = \"127.0.0.1\"\nport = {port}\nuser = \"me\"\n{}", home.by_file());
    home.configure("starttls", &format!("{common}tls = \"starttls\"\ntls-ca = {ca:?}\n"));
    let checked = home.run(&["check"], 0);
    assert!(checked.contains("has a certificate that is trusted, TLSv1.3, TLS13_"), "{checked}");
    home.run(&["sync"], 0);
    home.configure("plaintext", &format!("{common}tls = \"none\"\n"));
    assert!(home.run(&["check"], 0).contains("answers, without TLS"));
    home.run(&["sync"], 0);
    five(&home.tree("implicit"));
    assert_eq!(home.tree("implicit"), home.tree("starttls"));
    assert_eq!(home.tree("implicit"), home.tree("plaintext"));
}

#[test]
fn a_refused_certificate_tells_the_fingerprint_with_which_it_is_accepted() {
    for self_signed in [false, true] {
        let home = Home::new(&Settings { self_signed, ..Settings::default() });
        let port = home.dovecot.imaps_port;
        let common = format!("host = \"localhost\"\nport = {port}\nuser = \"me\"\n{}", home.by_file());
        home.configure("work", &common);
        let fingerprint = home.dovecot.fingerprint.to_string();
        let refused = home.run(&["sync"], 1);
        let why = if self_signed { "the certificate of localhost is refused" } else { "mailtwin test authority" };
        for words in [why, "seen: localhost", "nothing was sent", &format!("tls-fingerprint = \"{fingerprint}\"")] {
            assert!(refused.contains(words), "no {words:?} in {refused}");
        }
        let checked = home.run(&["check"], 1);
        assert!(checked.contains("failed  connection:") && checked.contains(&fingerprint), "{checked}");
        home.configure("work", &format!("{common}tls-fingerprint = {fingerprint:?}\n"));
        assert!(home.run(&["check"], 0).contains("shows the pinned certificate"));
        home.run(&["sync"], 0);
        five(&home.tree("work"));
        let other = format!("sha256:{}", "ab".repeat(32));
        home.configure("work", &format!("{common}tls-fingerprint = {other:?}\n"));
        let refused = home.run(&["sync"], 1);
        assert!(refused.contains(&fingerprint), "{refused}");
        five(&home.tree("work"));
    }
}

#[test]
fn a_tunnel_is_a_connection_and_may_have_logged_in_already() {
    let home = Home::new(&Settings::default());
    home.over_tls("direct", &home.by_file());
    home.run(&["sync"], 0);
    // A relay in bash, as an ssh to the server would be.
    let port = home.dovecot.imap_port;
    let relay = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3 & cat >&3; kill $!");
    home.configure("relay", &format!("tunnel = [\"bash\", \"-c\", {relay:?}]\nuser = \"me\"\n{}", home.by_file()));
    assert!(
        home.run(&["check"], 0).contains("through") || home.run(&["check"], 0).contains("the tunnel \"bash\" answers")
    );
    home.run(&["sync"], 0);
    assert_eq!(home.tree("relay"), home.tree("direct"));
    home.configure("broken", "tunnel = [\"/nowhere/at/all\"]\n");
    let refused = home.run(&["sync"], 1);
    assert!(refused.contains("could not be started"), "{refused}");
    home.configure("broken", "tunnel = [\"false\"]\n");
    home.run(&["sync"], 75);
}

#[test]
fn with_fewer_extensions_the_trees_are_the_same() {
    let home = Home::new(&Settings::default());
    home.over_tls("all", &home.by_file());
    home.run(&["sync"], 0);
    five(&home.tree("all"));
    for (name, disabled, tier) in [
        ("no-qresync", "\"QRESYNC\"", "tier B"),
        ("no-condstore", "\"CONDSTORE\", \"MOVE\"", "tier C"),
        ("no-uidplus", "\"UIDPLUS\", \"MOVE\", \"QRESYNC\"", "tier B"),
        ("slow", "\"LITERAL+\", \"MULTIAPPEND\", \"LIST-STATUS\", \"LIST-EXTENDED\", \"SPECIAL-USE\"", "tier A"),
        (
            "old",
            "\"CONDSTORE\", \"UIDPLUS\", \"MOVE\", \"LIST-STATUS\", \"ESEARCH\", \"NAMESPACE\", \"SASL-IR\"",
            "tier C",
        ),
    ] {
        home.over_tls(name, &format!("disable-extensions = [{disabled}]\n{}", home.by_file()));
        let checked = home.run(&["check"], 0);
        assert!(checked.contains(tier), "{checked}");
        home.run(&["sync"], 0);
        five(&home.tree(name));
        assert_eq!(home.tree(name), home.tree("all"), "{name}");
        // And in the other direction: a message of ours, then its end.
        let ours = home.path(name).join("Work/cur/1700000009.M1.here:2,S");
        fs::write(&ours, "Message-ID: <9@example.org>\nSubject: ours\n\nText.\n").expect("written");
        home.run(&["sync"], 0);
        assert!(home.run(&["sync"], 0).contains("nothing to do"), "{name}");
        fs::remove_file(&ours).expect("removed");
        home.settle(name);
        home.run(&["sync"], 0);
        home.run(&["sync"], 0);
        five(&home.tree(name).into_iter().filter(|(mailbox, _)| mailbox != "Trash").collect());
        home.over_tls("all", &home.by_file());
        home.run(&["sync"], 0);
        assert_eq!(home.tree(name), home.tree("all"), "{name}");
        // For the next, the Trash is empty again.
        walk(&home.path(name).join("Trash"), &mut |path| {
            if !path.ends_with("mailtwin-folder") {
                fs::remove_file(path).expect("removed");
            }
        });
        home.settle(name);
        home.over_tls(name, &format!("disable-extensions = [{disabled}]\n{}", home.by_file()));
        home.run(&["sync"], 0);
        home.run(&["sync"], 0);
        home.over_tls("all", &home.by_file());
        home.run(&["sync"], 0);
        five(&home.tree("all"));
    }
}

#[test]
fn a_secret_comes_from_a_command_a_file_the_environment_or_a_credential() {
    let home = Home::new(&Settings::default());
    let sources = [
        ("command", format!("password.command = [\"cat\", {:?}]\n", home.path("secret"))),
        ("file", home.by_file()),
        ("env", "password.env = \"THE_PASSWORD\"\n".to_owned()),
        ("credential", "password.credential = \"secret.plain\"\n".to_owned()),
        ("literal", format!("password = {PASSWORD:?}\n")),
    ];
    for (name, source) in &sources {
        home.over_tls(name, source);
        for command in [&["check"][..], &["sync"]] {
            let mut command = home.command(command);
            command.env("THE_PASSWORD", PASSWORD).env("CREDENTIALS_DIRECTORY", home.home.path());
            said(command.output().expect("it runs"), 0);
        }
        five(&home.tree(name));
    }
    for (name, words) in [("env", "THE_PASSWORD is not set"), ("credential", "CREDENTIALS_DIRECTORY is not set")] {
        let source = &sources.iter().find(|(known, _)| *known == name).expect("known").1;
        home.over_tls(name, source);
        let refused = home.run(&["sync"], 1);
        assert!(refused.contains(words), "{refused}");
    }
    fs::set_permissions(home.path("secret.plain"), fs::Permissions::from_mode(0o644)).expect("set");
    home.over_tls("file", &home.by_file());
    assert!(home.run(&["sync"], 1).contains("can be read by others (mode 644)"));
    home.over_tls("command", "password.command = [\"sh\", \"-c\", \"echo the agent is locked >&2; exit 3\"]\n");
    assert!(home.run(&["sync"], 1).contains("the agent is locked"));
}
