//! A private Dovecot on loopback: ports, users, mail and certificates of its own, gone when it is dropped.
//!
//! Any user may log in, with the password [`PASSWORD`]. As root it runs as `nobody`, since Dovecot refuses mail of
//! root. Where Dovecot is missing it is installed (Debian); where that fails the test fails, it is never skipped.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The password of every user.
pub const PASSWORD: &str = "testpass";

const PROGRAM: &str = "/usr/sbin/dovecot";

/// What a Dovecot can be asked to be like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `auth_mechanisms`.
    pub mechanisms: String,
    /// `mail_plugins` of the IMAP service; `imap_zlib` makes COMPRESS=DEFLATE.
    pub imap_plugins: String,
    /// The hierarchy separator.
    pub separator: char,
    /// Mailboxes with a role, made for every user: name and attribute.
    pub special_use: Vec<(String, String)>,
    /// `imap_capability`: replaces the list after the login, to hide extensions.
    pub capabilities: Option<String>,
    /// Shows a certificate that is signed by itself, as `openssl req -x509` makes them, instead of the CA's.
    pub self_signed: bool,
    /// Serves POP3 as well.
    pub pop3: bool,
    /// Lets in whom a certificate of the CA names, by EXTERNAL and without a password.
    pub client_certificates: bool,
    /// More lines for the end of the configuration.
    pub extra: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mechanisms: "plain login scram-sha-256 cram-md5 xoauth2 oauthbearer".into(),
            imap_plugins: "zlib imap_zlib".into(),
            separator: '/',
            special_use: [("Sent", "\\Sent"), ("Drafts", "\\Drafts"), ("Trash", "\\Trash"), ("Junk", "\\Junk")]
                .map(|(name, role)| (name.into(), role.into()))
                .into(),
            capabilities: None,
            self_signed: false,
            pop3: false,
            client_certificates: false,
            extra: String::new(),
        }
    }
}

/// A running Dovecot.
#[derive(Debug)]
pub struct Dovecot {
    /// The port with STARTTLS.
    pub imap_port: u16,
    /// The port with TLS from the first byte.
    pub imaps_port: u16,
    /// The port with STLS, where POP3 was asked for.
    pub pop3_port: u16,
    /// The same with TLS from the first byte.
    pub pop3s_port: u16,
    /// SHA-256 of the server's certificate.
    pub fingerprint: mailtwin::remote::Pin,
    child: Child,
    base: tempfile::TempDir,
    separator: char,
}

impl Dovecot {
    /// Starts one with the default settings.
    pub fn start() -> Self {
        Self::with(&Settings::default())
    }

    /// Starts one, and waits until it greets.
    pub fn with(settings: &Settings) -> Self {
        install("imap");
        if settings.pop3 {
            install("pop3");
        }
        let mut last_log = String::new();
        // Another process may take a port between our choice and Dovecot's bind.
        for _ in 0..5 {
            match Self::attempt(settings) {
                Ok(dovecot) => return dovecot,
                Err(log) => last_log = log,
            }
        }
        panic!("Dovecot did not start; its log:\n{last_log}");
    }

    /// The authority that signed the server's certificate.
    pub fn ca_pem_path(&self) -> PathBuf {
        self.base.path().join("ca.pem")
    }

    /// A certificate that names the user `me`, signed by the same authority, and its key.
    pub fn client_pem_paths(&self) -> [PathBuf; 2] {
        ["client.pem", "client-key.pem"].map(|name| self.base.path().join(name))
    }

    /// The user's INBOX; other mailboxes are `.Name` below it.
    pub fn user_maildir(&self, user: &str) -> PathBuf {
        self.base.path().join("mail").join(user.to_lowercase()).join("Maildir")
    }

    /// Puts a message into a mailbox as another delivery agent would, and gives its file.
    pub fn deliver(&self, user: &str, mailbox: &str, message: &[u8]) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let inbox = self.user_maildir(user);
        let folder = match mailbox {
            "INBOX" => inbox.clone(),
            name => inbox.join(format!(".{}", name.replace(self.separator, "."))),
        };
        for directory in [inbox.parent().expect("a home"), &inbox, &folder] {
            make_directory(directory);
        }
        for part in ["cur", "new", "tmp"] {
            make_directory(&folder.join(part));
        }
        let name = format!("1700000000.M{}P{}.test", COUNT.fetch_add(1, Ordering::Relaxed), std::process::id());
        let (temporary, delivered) = (folder.join("tmp").join(&name), folder.join("new").join(&name));
        fs::write(&temporary, message).expect("the message can be written");
        give_away(&temporary);
        fs::rename(&temporary, &delivered).expect("the message can be delivered");
        delivered
    }

    /// Gives a user the mail of another, with what Dovecot knows of it; the files of the messages are links.
    pub fn copy_user(&self, from: &str, to: &str) {
        let (source, target) = (self.user_maildir(from), self.user_maildir(to));
        make_directory(target.parent().expect("a home"));
        copy_directory(&source, &target);
    }

    /// What Dovecot has logged.
    pub fn log(&self) -> String {
        log_in(self.base.path())
    }

    fn attempt(settings: &Settings) -> Result<Self, String> {
        // Sockets lie below: their paths must stay below 108 bytes.
        let base = tempfile::Builder::new().prefix("dv").tempdir_in("/tmp").expect("a temporary directory");
        let fingerprint = make_certificates(base.path(), settings.self_signed);
        for directory in ["run", "state", "mail"] {
            make_directory(&base.path().join(directory));
        }
        let ports = free_ports();
        let [imap_port, imaps_port, pop3_port, pop3s_port] = ports;
        let greeting = base.path().file_name().expect("it has a name").to_string_lossy().into_owned();
        let file = base.path().join("dovecot.conf");
        fs::write(&file, configuration(base.path(), &greeting, ports, settings)).expect("written");
        for name in ["", "dovecot.conf", "ca.pem", "cert.pem", "key.pem"] {
            give_away(&base.path().join(name));
        }
        let mut command = Command::new(PROGRAM);
        command.arg("-F").arg("-c").arg(&file).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(base.path().join("stderr")).expect("created")).process_group(0);
        if rustix::process::geteuid().is_root() {
            let owner = owner();
            command.uid(owner.uid).gid(owner.gid);
        }
        let child = command.spawn().expect("Dovecot can be started");
        let separator = settings.separator;
        let mut dovecot = Self { imap_port, imaps_port, pop3_port, pop3s_port, fingerprint, child, base, separator };
        if dovecot.greets(&greeting) { Ok(dovecot) } else { Err(dovecot.log()) }
    }

    /// Waits for the greeting with our word in it: another server's on the same port does not count.
    fn greets(&mut self, word: &str) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            if let Ok(socket) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.imap_port)) {
                socket.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
                let mut line = String::new();
                let _ = BufReader::new(socket).read_line(&mut line);
                if line.contains(word) {
                    return true;
                }
            }
            sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // Nothing is left to be put in order: asked politely, the master would wait a second for its log process.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn log_in(base: &Path) -> String {
    ["stderr", "dovecot.log"].map(|name| fs::read_to_string(base.join(name)).unwrap_or_default()).concat()
}

/// A CA, a server certificate for localhost and 127.0.0.1, and a client's: `ca.pem`, `cert.pem`, `key.pem`, `client.pem`,
/// `client-key.pem`.
fn make_certificates(base: &Path, self_signed: bool) -> mailtwin::remote::Pin {
    let mut ca = CertificateParams::default();
    ca.distinguished_name = named("mailtwin test authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().expect("a key");
    let ca_certificate = ca.self_signed(&ca_key).expect("a certificate");
    let issuer = Issuer::new(ca, ca_key);
    let mut client = CertificateParams::default();
    client.distinguished_name = named("me");
    let client_key = KeyPair::generate().expect("a key");
    let client = client.signed_by(&client_key, &issuer).expect("a certificate");
    let mut server = CertificateParams::new(["localhost", "127.0.0.1"].map(String::from)).expect("valid names");
    server.distinguished_name = named("localhost");
    let key = KeyPair::generate().expect("a key");
    let certificate = if self_signed {
        server.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        server.self_signed(&key)
    } else {
        server.signed_by(&key, &issuer)
    };
    let certificate = certificate.expect("a certificate");
    for (name, text) in [
        ("ca.pem", ca_certificate.pem()),
        ("cert.pem", certificate.pem()),
        ("key.pem", key.serialize_pem()),
        ("client.pem", client.pem()),
        ("client-key.pem", client_key.serialize_pem()),
    ] {
        fs::write(base.join(name), text).expect("the certificates can be written");
    }
    mailtwin::remote::Pin::of(certificate.der())
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn free_ports() -> [u16; 4] {
    let held = [(); 4].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    held.each_ref().map(|listener| listener.local_addr().expect("it is bound").port())
}

fn configuration(base: &Path, greeting: &str, ports: [u16; 4], settings: &Settings) -> String {
    let [imap, imaps, pop3, pop3s] = ports;
    let base = base.display();
    let Owner { user, group, .. } = owner();
    let Settings { mechanisms, imap_plugins, separator, special_use, capabilities, extra, .. } = settings;
    let capabilities = capabilities.as_ref().map_or(String::new(), |list| format!("imap_capability = {list}"));
    let clients = match settings.client_certificates {
        true => format!(
            "ssl_ca = <{base}/ca.pem\nssl_require_crl = no\nssl_verify_client_cert = yes\n\
             auth_ssl_username_from_cert = yes\n\
             passdb {{\n  driver = static\n  args = nopassword=y\n  mechanisms = external\n}}"
        ),
        false => String::new(),
    };
    let pop3 = match settings.pop3 {
        true => format!(
            r#"
protocols = imap pop3
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
  client_limit = 1000
  process_limit = 10
  service_count = 0
}}
service pop3 {{
  process_limit = 256
  service_count = 64
}}
protocol pop3 {{
  mail_max_userip_connections = 200
  pop3_no_flag_updates = yes
}}"#
        ),
        false => String::new(),
    };
    let roles: String = special_use
        .iter()
        .map(|(name, role)| format!("  mailbox \"{name}\" {{\n    auto = subscribe\n    special_use = {role}\n  }}\n"))
        .collect();
    format!(
        r#"
base_dir = {base}/run
state_dir = {base}/state
instance_name = {greeting}
login_greeting = {greeting}
log_path = {base}/dovecot.log
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
first_valid_gid = 1
listen = 127.0.0.1
protocols = imap
ssl = yes
ssl_cert = <{base}/cert.pem
ssl_key = <{base}/key.pem
ssl_dh =
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
auth_username_format = %Lu
auth_failure_delay = 0
mail_fsync = never
mail_location = maildir:~/Maildir
mailbox_list_index = yes
{clients}
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={base}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
{roles}}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
  client_limit = 1000
  process_limit = 10
  service_count = 0
}}
service imap {{
  process_limit = 256
  service_count = 64
}}
service anvil {{
  chroot =
  client_limit = 2000
  # Otherwise each wrong password makes all logins from this address slower.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  client_limit = 4000
}}
service stats {{
  client_limit = 4000
}}
protocol imap {{
  mail_plugins = {imap_plugins}
  mail_max_userip_connections = 200
  {capabilities}
}}
{pop3}
{extra}
"#
    )
}

/// Whom the server runs as.
struct Owner {
    uid: u32,
    gid: u32,
    user: String,
    group: String,
}

fn owner() -> Owner {
    let (uid, gid) = match rustix::process::geteuid().as_raw() {
        0 => (65534, 65534), // nobody, nogroup
        uid => (uid, rustix::process::getegid().as_raw()),
    };
    Owner { uid, gid, user: name_of(uid, "/etc/passwd"), group: name_of(gid, "/etc/group") }
}

/// The name of a user or group; its number is in the third field of both files.
fn name_of(id: u32, file: &str) -> String {
    let lines = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file} cannot be read: {error}"));
    let mut entries = lines.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let entry = entries.find(|fields| fields.get(2) == Some(&id.to_string().as_str()));
    entry.map_or_else(|| panic!("Dovecot needs an entry for id {id} in {file}"), |fields| fields[0].to_owned())
}

fn make_directory(path: &Path) {
    if !path.is_dir() {
        fs::create_dir(path).unwrap_or_else(|error| panic!("{path:?} cannot be made: {error}"));
        give_away(path);
    }
}

fn copy_directory(from: &Path, to: &Path) {
    make_directory(to);
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_directory(&source, &target);
        } else if entry.file_name().to_string_lossy().starts_with("dovecot") || source.ends_with("subscriptions") {
            fs::copy(&source, &target).expect("copied");
            give_away(&target);
        } else {
            fs::hard_link(&source, &target).expect("linked");
        }
    }
}

/// Makes a file the server's.
fn give_away(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let owner = owner();
        chown(path, Some(owner.uid), Some(owner.gid)).unwrap_or_else(|error| panic!("chown of {path:?}: {error}"));
    }
}

/// Makes a directory and everything in it the server's.
pub fn give_away_all(path: &Path) {
    give_away(path);
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            give_away_all(&entry.path());
        } else {
            give_away(&entry.path());
        }
    }
}

/// Installs Dovecot with this protocol where it is missing; once, also with several test processes.
fn install(protocol: &str) {
    let there = || Path::new(PROGRAM).exists() && Path::new("/usr/lib/dovecot").join(protocol).exists();
    if there() {
        return;
    }
    let lock = std::env::temp_dir().join(format!("mailtwin-install-{}.lock", rustix::process::geteuid().as_raw()));
    let lock = fs::File::create(lock).expect("a lock file in the temporary directory");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
    if there() {
        return;
    }
    let package = format!("dovecot-{protocol}d");
    let update = apt_get(&["update"]);
    let installed = apt_get(&["install", "-y", "--no-install-recommends", &package]);
    assert!(
        there(),
        "these tests need Dovecot 2.3, and it could not be installed: \
         run `apt-get install {package}` as root, then try again\n{update}\n{installed}"
    );
}

/// Runs it as root; gives what it said.
pub fn apt_get(arguments: &[&str]) -> String {
    let root = rustix::process::geteuid().is_root();
    let mut command = Command::new(if root { "apt-get" } else { "sudo" });
    if !root {
        command.args(["-n", "apt-get"]);
    }
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    match command.output() {
        Ok(output) => String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        Err(error) => format!("{arguments:?}: {error}"),
    }
}
