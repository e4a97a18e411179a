//! The same on a real Dovecot.

use crate::support::dovecot::{Dovecot, PASSWORD, Settings};
use std::path::Path;
use std::process::{Command, Stdio};

fn sync(home: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailtwin"));
    command.arg("--config").arg(home.join("daemon.toml")).args(["sync"]);
    let output = command.env_clear().env("HOME", home).stdin(Stdio::null()).output().expect("the program runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn files(home: &Path) -> Vec<Vec<u8>> {
    let folder = home.join("mail/INBOX");
    let parts = ["new", "cur"].into_iter().flat_map(|part| std::fs::read_dir(folder.join(part)).expect("a Maildir"));
    let mut all: Vec<Vec<u8>> =
        parts.map(|entry| std::fs::read(entry.expect("an entry").path()).expect("read")).collect();
    all.sort();
    all
}

#[test]
fn mail_of_every_kind_is_fetched_as_it_is_and_removed_when_it_is_here() {
    let dovecot = Dovecot::with(&Settings { pop3: true, ..Settings::default() });
    let mut mail: Vec<Vec<u8>> = [
        "Subject: plain\n\nhello\n",
        "Subject: dots\n\n.\n..\n.x\n...\n",
        "Subject: smuggled\n\nhi\n.\n+OK 9 octets\nforged\n.\n-ERR\n",
        "Subject: lonely\n\na\rb\r\nc\n",
        "\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    mail.push(b"Subject: bytes\n\n\0\xff\xfe\n".to_vec());
    mail.extend((0..300).map(|n| format!("Subject: {n}\n\n{n}\n").into_bytes()));
    mail.iter().for_each(|text| drop(dovecot.deliver("ann", "INBOX", text)));
    // It puts no dot before the first line.
    dovecot.deliver("ann", "INBOX", b".\r\n+OK\r\nSubject: forged\r\n\r\n");
    let home = tempfile::tempdir().expect("a directory");
    let configure = |more: &str| {
        let text = format!(
            "[account.old]\ntype = \"pop3\"\nhost = \"localhost\"\nport = {}\ntls = \"starttls\"\ntls-ca = \"{}\"\n\
             user = \"ann\"\npassword = \"{PASSWORD}\"\nmaildir = \"{}\"\n{more}\n",
            dovecot.pop3_port,
            dovecot.ca_pem_path().display(),
            home.path().join("mail").display()
        );
        let file = home.path().join("daemon.toml");
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
    };
    configure("");
    let said = sync(home.path());
    assert!(said.contains("306 fetched, 1 failed"), "{said}");
    mail[3] = b"Subject: lonely\n\na\rb\nc\n".to_vec();
    mail.sort();
    assert!(files(home.path()) == mail, "{} files", files(home.path()).len());
    assert!(sync(home.path()).contains("nothing to do"));
    configure("leave-on-server = false");
    let said = sync(home.path());
    assert!(said.contains("306 removed on the server"), "{said}");
    assert!(sync(home.path()).contains("nothing to do"));
    assert!(files(home.path()) == mail);
}
