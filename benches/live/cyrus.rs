//! A private Cyrus IMAP on loopback, from the programs of Debian's packages, gone when it is dropped.
//!
//! Debian's Dovecot and Cyrus exclude each other, so it need not be installed: the packages may be unpacked anywhere. As
//! root it runs as `nobody`.

use rcgen::{CertificateParams, KeyPair};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::dovecot::give_away_all;

/// nobody, and nogroup.
const NOBODY: u32 = 65534;

/// A running Cyrus IMAP.
pub struct Cyrus {
    /// The port without TLS.
    pub imap_port: u16,
    /// The port with TLS from the first byte.
    pub imaps_port: u16,
    child: Child,
    base: tempfile::TempDir,
}

impl Cyrus {
    /// Starts the one that is below this directory, for one user, and waits until it greets.
    pub fn start(root: &Path, user: &str, password: &str) -> Self {
        let root = &std::path::absolute(root).expect("it is not empty");
        let programs = root.join("usr/lib/cyrus/bin");
        for program in [programs.join("master"), programs.join("idled"), passwords(root)] {
            assert!(
                program.exists(),
                "{} is missing: --cyrus wants / where Debian's cyrus-imapd and sasl2-bin are installed, or the directory \
                 into which they, cyrus-common, and the libraries that they need were unpacked with `dpkg -x`",
                program.display()
            );
        }
        // Sockets lie below: their paths must stay below 108 bytes.
        let base = tempfile::Builder::new().prefix("cy").tempdir_in("/tmp").expect("a temporary directory");
        let place = base.path();
        // Who waits in IDLE has a socket in the second.
        for directory in ["conf/proc", "conf/socket", "spool", "run"] {
            fs::create_dir_all(place.join(directory)).expect("made");
        }
        let held = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
        let [imap_port, imaps_port] = held.each_ref().map(|port| port.local_addr().expect("it is bound").port());
        drop(held);
        make_certificate(place);
        fs::write(place.join("imapd.conf"), settings(place)).expect("written");
        fs::write(place.join("cyrus.conf"), services(place, &programs, imap_port, imaps_port)).expect("written");
        make_user(root, place, user, password);
        give_away_all(place);
        let mut command = program(root, &programs.join("master"));
        command.arg("-D").arg("-C").arg(place.join("imapd.conf")).arg("-M").arg(place.join("cyrus.conf"));
        command.arg("-p").arg(place.join("run/master.pid")).process_group(0);
        command.stderr(fs::File::create(place.join("stderr")).expect("made"));
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let child = command.spawn().expect("Cyrus can be started");
        let cyrus = Self { imap_port, imaps_port, child, base };
        cyrus.wait();
        cyrus
    }

    /// The server's certificate, which nobody else has signed.
    pub fn ca_pem_path(&self) -> PathBuf {
        self.base.path().join("cert.pem")
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Ok(socket) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.imap_port)) {
                socket.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
                let mut line = String::new();
                let _ = BufReader::new(socket).read_line(&mut line);
                if line.contains("Cyrus") {
                    return;
                }
            }
            sleep(Duration::from_millis(10));
        }
        // More is in the log of the system.
        panic!("Cyrus did not start:\n{}", fs::read_to_string(self.base.path().join("stderr")).unwrap_or_default());
    }
}

impl Drop for Cyrus {
    fn drop(&mut self) {
        // Nothing is left to be put in order.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn passwords(root: &Path) -> PathBuf {
    root.join("usr/sbin/saslpasswd2")
}

/// A program with the libraries that were unpacked beside it.
fn program(root: &Path, program: &Path) -> Command {
    let kind = format!("{}-linux-gnu", std::env::consts::ARCH);
    let [first, second] = ["usr/lib", "lib"].map(|libraries| root.join(libraries).join(&kind));
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command.env("LD_LIBRARY_PATH", format!("{}:{}", first.display(), second.display()));
    command.env("SASL_PATH", first.join("sasl2"));
    command
}

fn make_certificate(place: &Path) {
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new(["localhost".to_owned()]).expect("a valid name");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    for (name, text) in [("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())] {
        fs::write(place.join(name), text).expect("written");
    }
}

fn make_user(root: &Path, place: &Path, user: &str, password: &str) {
    let mut command = program(root, &passwords(root));
    command.args(["-p", "-c", "-u", "localhost", "-f"]).arg(place.join("sasldb2")).arg(user);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("saslpasswd2 can be started");
    writeln!(child.stdin.take().expect("it is piped"), "{password}").expect("said");
    assert!(child.wait().expect("it ends").success(), "saslpasswd2 made no user");
}

fn settings(place: &Path) -> String {
    let mut name = "nobody".to_owned();
    if !rustix::process::geteuid().is_root() {
        let said = Command::new("id").arg("-un").output().expect("id can be started").stdout;
        String::from_utf8_lossy(&said).trim().clone_into(&mut name);
    }
    let place = place.display();
    format!(
        "configdirectory: {place}/conf
partition-default: {place}/spool
defaultpartition: default
cyrus_user: {name}
admins: cyrus
servername: localhost
unixhierarchysep: yes
altnamespace: yes
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {place}/sasldb2
sasl_mech_list: PLAIN LOGIN
autocreate_quota: 0
autocreate_inbox_folders: Sent | Drafts | Trash | Junk
xlist-sent: Sent
xlist-drafts: Drafts
xlist-trash: Trash
xlist-junk: Junk
expunge_mode: immediate
delete_mode: immediate
idlesocket: {place}/run/idle
lmtpsocket: {place}/run/lmtp
notifysocket: {place}/run/notify
proc_path: {place}/run/proc
mboxname_lockpath: {place}/run/lock
tls_server_cert: {place}/cert.pem
tls_server_key: {place}/key.pem
"
    )
}

/// Without its daemon for IDLE, Cyrus looks once a minute whether there is news.
fn services(place: &Path, programs: &Path, imap_port: u16, imaps_port: u16) -> String {
    let (settings, programs) = (place.join("imapd.conf"), programs.display());
    let settings = settings.display();
    format!(
        r#"START {{
  recover cmd="{programs}/ctl_cyrusdb -C {settings} -r"
}}
SERVICES {{
  imap cmd="{programs}/imapd -C {settings}" listen="127.0.0.1:{imap_port}" prefork=1
  imaps cmd="{programs}/imapd -C {settings} -s" listen="127.0.0.1:{imaps_port}" prefork=1
}}
DAEMON {{
  idled cmd="{programs}/idled -C {settings} -d"
}}
"#
    )
}
