//! The keys that say where a server is and how it wants to be spoken to.
//!
//! An account with a `tunnel` of its own pays no heed to a host in `[defaults]`, and the other way round.

use super::account::optional;
use super::environment::Environment;
use super::keys;
use super::path;
use super::problem::{Fault, Faults};
use super::raw::{Section, Value};
use crate::remote::{Endpoint, Mechanism, Overrides, Pin, Protocol, Secret, Security, Target, TlsOptions, TlsVersion};
use secrecy::SecretString;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(60);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60 * 60);
const COMMAND: &str = "[\"pass\", \"show\", \"mail/work\"]";
const MECHANISMS: &[(&str, Mechanism)] = &[
    ("scram-sha-256", Mechanism::ScramSha256),
    ("plain", Mechanism::Plain),
    ("login", Mechanism::Login),
    ("external", Mechanism::External),
    ("cram-md5", Mechanism::CramMd5),
    ("apop", Mechanism::Apop),
    ("xoauth2", Mechanism::Xoauth2),
    ("oauthbearer", Mechanism::OauthBearer),
];

/// How the bytes travel, before the name of the host is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protection {
    Implicit,
    StartTls,
    None,
}

/// Reads the endpoint of an account; `None` if something is wrong, which is then in `faults`.
pub(super) fn read(
    section: &Section<'_>,
    protocol: Protocol,
    environment: &Environment,
    faults: &mut Faults,
) -> Option<Endpoint> {
    let way = way(section, protocol, faults);
    let tls = tls_options(section, environment, faults);
    let timeout =
        optional(section, "timeout", faults, |value| value.duration(Duration::from_secs(1)..=LONGEST_TIMEOUT));
    let disabled_extensions = optional(section, "disable-extensions", faults, extensions);
    let quirks = section.get("quirks").map_or(Some(Overrides::default()), |value| quirks(&value, faults));
    let mechanisms = optional(section, "auth", faults, |value| mechanisms(value, protocol));
    let token_command = token_command(section, faults);
    let password = optional(section, "password", faults, |value| Ok(value.clone()));
    let password =
        password.and_then(|value| value.map_or(Some(None), |value| secret(&value, environment, faults).map(Some)));
    let user = optional(section, "user", faults, |value| value.text("the login name, such as \"me@example.org\""));

    let (target, security) = way?;
    let (mut mechanisms, token_command, password) = (mechanisms?.unwrap_or_default(), token_command?, password?);
    let is_tunnel = matches!(target, Target::Tunnel(_));
    if mechanisms.is_empty() && token_command.is_some() && password.is_none() {
        mechanisms = vec![Mechanism::OauthBearer, Mechanism::Xoauth2];
    }
    let proof = Proof { mechanisms: &mechanisms, password: password.is_some(), token: token_command.is_some() };
    let tls = tls?;
    if let Err(fault) = proof.suffices(section, is_tunnel, tls.client.is_some()) {
        faults.push(fault);
        return None;
    }
    let user = match user? {
        Some(user) => user.to_owned(),
        None if is_tunnel => String::new(),
        None => {
            faults.push(section.lacks("user", "add the login name, such as user = \"me@example.org\""));
            return None;
        }
    };
    Some(Endpoint {
        target,
        security,
        tls,
        user,
        password,
        token_command,
        mechanisms,
        timeout: timeout?.unwrap_or(TIMEOUT),
        disabled_extensions: disabled_extensions?.unwrap_or_default(),
        quirks: quirks?,
    })
}

/// What the owner says of the server's oddities.
fn quirks(value: &Value<'_>, faults: &mut Faults) -> Option<Overrides> {
    let section = faults.sift(value.table("a table such as { keywords = true }"))?;
    section.refuse_others(keys::QUIRKS, &[], faults);
    let labels = optional(&section, "labels", faults, Value::truth);
    let keywords = optional(&section, "keywords", faults, Value::truth);
    let windowed = optional(&section, "windowed", faults, Value::truth);
    Some(Overrides { labels: labels?, keywords: keywords?, windowed: windowed? })
}

/// Where the server is and how the connection is protected.
fn way(section: &Section<'_>, protocol: Protocol, faults: &mut Faults) -> Option<(Target, Security)> {
    let may_tunnel = protocol == Protocol::Imap;
    if let (true, Some(tunnel), Some(_)) = (may_tunnel, section.own("tunnel"), section.own("host")) {
        faults.push(tunnel.fault("`tunnel` and `host` exclude each other", "take one of them out"));
        return None;
    }
    let tunnel = section.own("tunnel").or_else(|| section.get("tunnel").filter(|_| section.own("host").is_none()));
    // For a drop the key is refused, and one in [defaults] is not meant for it.
    let tunnel = tunnel.filter(|_| may_tunnel);
    if let Some(tunnel) = tunnel {
        let command = faults.sift(tunnel.words("[\"ssh\", \"host\", \"imapd\"]"))?;
        for key in ["port", "tls"] {
            if let Some(value) = section.own(key) {
                faults.push(value.fault(
                    format!("`{key}` has no meaning with `tunnel`"),
                    "take it out: the command's input and output are used as they are",
                ));
            }
        }
        // The command is on this machine, whatever it does with the bytes.
        return Some((Target::Tunnel(command), Security::Plaintext { allowed_anywhere: true }));
    }
    let tls = optional(section, "tls", faults, |value| {
        value.choice(&[
            ("implicit", Protection::Implicit),
            ("starttls", Protection::StartTls),
            ("none", Protection::None),
        ])
    });
    let allow = optional(section, "allow-plaintext", faults, Value::truth);
    let port = optional(section, "port", faults, |value| value.number(1..=u32::from(u16::MAX)));
    let host = match section.get("host") {
        Some(value) => faults.sift(host(&value)),
        None => {
            let example = protocol.name().trim_end_matches('3').to_lowercase();
            let remedy = format!("add the server's name, such as host = \"{example}.example.org\"");
            faults.push(section.lacks("host", &remedy));
            None
        }
    };
    let tls = tls?.unwrap_or(Protection::Implicit);
    let usual = if tls == Protection::Implicit { protocol.tls_port() } else { protocol.port() };
    let port = port?.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual);
    let security = match tls {
        Protection::Implicit => Security::Implicit,
        Protection::StartTls => Security::StartTls,
        Protection::None => Security::Plaintext { allowed_anywhere: allow?.unwrap_or(false) },
    };
    Some((Target::Host { host: host?, port }, security))
}

fn host(value: &Value<'_>) -> Result<String, Fault> {
    let expected = "a host name or an IP address alone, such as \"imap.example.org\"";
    let host = value.text(expected)?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let is_address = bare.parse::<std::net::IpAddr>().is_ok();
    let is_name = host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if is_address || is_name { Ok(bare.to_owned()) } else { Err(value.wrong(expected)) }
}

fn tls_options(section: &Section<'_>, environment: &Environment, faults: &mut Faults) -> Option<TlsOptions> {
    let ca = optional(section, "tls-ca", faults, |value| path::read(value, environment));
    let pin = optional(section, "tls-fingerprint", faults, pin);
    let cert = optional(section, "tls-client-cert", faults, |value| path::read(value, environment));
    let key = optional(section, "tls-client-key", faults, |value| path::read(value, environment));
    let min_version = optional(section, "tls-min", faults, |value| {
        value.choice(&[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)])
    });
    let client = match (cert?, key?) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (cert, _) => {
            let lacking = if cert.is_some() { "tls-client-key" } else { "tls-client-cert" };
            faults.push(section.lacks(lacking, "a client certificate needs both tls-client-cert and tls-client-key"));
            return None;
        }
    };
    Some(TlsOptions { ca: ca?, pin: pin?, client, min_version: min_version?.unwrap_or_default() })
}

/// Reads `sha256:` and 64 hexadecimal digits, colons between them allowed.
fn pin(value: &Value<'_>) -> Result<Pin, Fault> {
    let expected =
        "\"sha256:\" and 64 hexadecimal digits; `mailtwin check` shows those of the certificate that it sees";
    let wrong = || value.wrong(expected);
    let digits = value.text(expected)?.strip_prefix("sha256:").ok_or_else(wrong)?;
    let digits: Vec<u8> = digits.chars().filter(|c| *c != ':').map_while(|c| c.to_digit(16)).map(|d| d as u8).collect();
    let written = value.as_text().unwrap_or_default().trim_start_matches("sha256:");
    let complete = written.chars().filter(|c| *c != ':').count() == digits.len();
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    match <[u8; 32]>::try_from(bytes) {
        Ok(bytes) if complete && digits.len() == 64 => Ok(Pin(bytes)),
        _ => Err(wrong()),
    }
}

fn extensions(value: &Value<'_>) -> Result<Vec<String>, Fault> {
    let example = "[\"QRESYNC\", \"MOVE\"]";
    let items = value.items(example)?;
    // The characters of a capability name (RFC 9051, section 9) that are in use.
    let legal = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-=+._".contains(c));
    match items.iter().find(|item| !legal(item.text)) {
        Some(item) => {
            Err(Fault::new(item.span.clone(), "this is no capability", format!("write a list such as {example}")))
        }
        None => Ok(items.iter().map(|item| item.text.to_ascii_uppercase()).collect()),
    }
}

fn mechanisms(value: &Value<'_>, protocol: Protocol) -> Result<Vec<Mechanism>, Fault> {
    let items = value.items("[\"scram-sha-256\", \"plain\"]")?;
    let known =
        || MECHANISMS.iter().filter(|(_, mechanism)| *mechanism != Mechanism::Apop || protocol == Protocol::Pop3);
    let names: Vec<&str> = known().map(|(name, _)| *name).collect();
    let mechanism = |item: &super::raw::Item<'_>| {
        let found = known().find(|(name, _)| *name == item.text).map(|(_, mechanism)| *mechanism);
        found.ok_or_else(|| {
            let remedy = match keys::nearest(item.text, &names) {
                Some(name) => format!("did you mean \"{name}\"?"),
                None => format!("the mechanisms are {}", names.join(", ")),
            };
            Fault::new(item.span.clone(), "unknown mechanism in `auth`", remedy)
        })
    };
    items.iter().map(mechanism).collect()
}

fn token_command(section: &Section<'_>, faults: &mut Faults) -> Option<Option<Vec<String>>> {
    let Some(value) = section.get("oauth2") else { return Some(None) };
    let example = "[\"oama\", \"access\", \"me@example.org\"]";
    let oauth2 = faults.sift(value.table(&format!("oauth2.token-command = {example}")))?;
    oauth2.refuse_others(keys::OAUTH2, keys::OAUTH2_LATER, faults);
    optional(&oauth2, "token-command", faults, |value| value.words(example))
}

/// Reads where a secret is. A literal one is taken as it is; whether the file may hold it is for the caller to judge.
fn secret(value: &Value<'_>, environment: &Environment, faults: &mut Faults) -> Option<Secret> {
    if let Some(literal) = value.as_text() {
        let fault = || value.wrong("a password, or where it is: password.command, .file, .credential or .env");
        let usable = !literal.is_empty() && !literal.contains('\0');
        return faults.sift(usable.then(|| Secret::Literal(SecretString::from(literal))).ok_or_else(fault));
    }
    let ways = "one of password.command, .file, .credential, .env, or a text";
    let section = faults.sift(value.table(ways))?;
    section.refuse_others(keys::PASSWORD, &[], faults);
    let mut sources = keys::PASSWORD.iter().filter_map(|key| Some((*key, section.own(key)?)));
    let (Some((key, value)), None) = (sources.next(), sources.next()) else {
        faults.push(value.wrong(ways));
        return None;
    };
    let secret = match key {
        "command" => value.words(COMMAND).map(Secret::Command),
        "file" => path::read(&value, environment).map(Secret::File),
        "credential" => credential(&value).map(Secret::Credential),
        _ => value.text("the name of an environment variable").map(|name| Secret::Environment(name.to_owned())),
    };
    faults.sift(secret)
}

/// A credential is a file in a directory of systemd's: its name is no path.
fn credential(value: &Value<'_>) -> Result<String, Fault> {
    let expected = "the name of a systemd credential, such as \"work-password\"";
    let name = value.text(expected)?;
    if name.contains('/') || name.starts_with('.') { Err(value.wrong(expected)) } else { Ok(name.to_owned()) }
}

/// What we have to prove who we are.
struct Proof<'a> {
    mechanisms: &'a [Mechanism],
    password: bool,
    token: bool,
}

impl Proof<'_> {
    /// Refuses what could never log in.
    fn suffices(&self, section: &Section<'_>, is_tunnel: bool, certificate: bool) -> Result<(), Fault> {
        for mechanism in self.mechanisms {
            match mechanism {
                Mechanism::Xoauth2 | Mechanism::OauthBearer if !self.token => {
                    return Err(section.lacks("oauth2", "add oauth2.token-command, which prints an access token"));
                }
                Mechanism::External if !certificate && !is_tunnel => {
                    return Err(
                        section.lacks("tls-client-cert", "\"external\" proves who you are by a client certificate")
                    );
                }
                Mechanism::ScramSha256 | Mechanism::Plain | Mechanism::Login | Mechanism::CramMd5 | Mechanism::Apop
                    if !self.password =>
                {
                    return Err(section.lacks("password", &format!("add password.command = {COMMAND}, or .file, .env")));
                }
                _ => {}
            }
        }
        if self.mechanisms.is_empty() && !self.password && !is_tunnel {
            return Err(section
                .lacks("password", &format!("add password.command = {COMMAND}, or password.file, .credential, .env")));
        }
        Ok(())
    }
}
