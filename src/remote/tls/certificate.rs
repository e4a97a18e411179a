//! What a certificate says of itself, for people: names, issuer, dates (X.509, RFC 5280).
//!
//! What surprises: nothing is decided by this. The verification is done by the TLS library; this reads the certificate
//! once more, only when it was refused, and what it cannot read it leaves out.

use crate::mail::escape;
use std::fmt;
use std::net::IpAddr;

/// The readable part of a certificate; all text is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The host names and IP addresses that it is for.
    pub names: Vec<String>,
    /// The common name of its subject.
    pub subject: Option<String>,
    /// The common name of its issuer.
    pub issuer: Option<String>,
    /// Its first and last moment, as `2026-11-23 19:06`, UTC.
    pub validity: Option<(String, String)>,
    /// Subject and issuer are the same.
    pub self_signed: bool,
    /// It says that it is an authority's.
    pub authority: bool,
}

impl Seen {
    /// Reads a certificate in DER form; of a malformed one, as much as can be read.
    pub fn read(der: &[u8]) -> Self {
        let mut seen = Self::default();
        // Only the filling stops early.
        let _ = seen.fill(der);
        seen
    }

    fn fill(&mut self, der: &[u8]) -> Option<()> {
        let certificate = Der(der).enter(SEQUENCE)?;
        let mut fields = Der(certificate).enter(SEQUENCE).map(Der)?;
        let (mut tag, _) = fields.next()?;
        if tag == VERSION {
            tag = fields.next()?.0;
        }
        (tag == INTEGER).then_some(())?;
        fields.enter(SEQUENCE)?; // the algorithm of the signature
        let issuer = fields.enter(SEQUENCE)?;
        let mut validity = Der(fields.enter(SEQUENCE)?);
        let subject = fields.enter(SEQUENCE)?;
        self.issuer = common_name(issuer);
        self.subject = common_name(subject);
        self.self_signed = issuer == subject;
        self.validity = time(validity.next()?).zip(time(validity.next()?));
        let extensions = fields.find(|(tag, _)| *tag == EXTENSIONS)?.1;
        for (_, extension) in Der(Der(extensions).enter(SEQUENCE)?) {
            let mut parts = Der(extension);
            let id = parts.enter(OBJECT_ID)?;
            let value = parts.find(|(tag, _)| *tag == OCTET_STRING)?.1;
            match id {
                SUBJECT_ALT_NAME => self.names = Der(Der(value).enter(SEQUENCE)?).filter_map(name).collect(),
                BASIC_CONSTRAINTS => {
                    self.authority = Der(Der(value).enter(SEQUENCE)?).next() == Some((BOOLEAN, &[0xff]));
                }
                _ => {}
            }
        }
        Some(())
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.names.as_slice(), &self.subject) {
            ([], None) => f.write_str("no names")?,
            ([], Some(subject)) => write!(f, "the common name {subject}, no host names")?,
            (names, _) => {
                let shown = names.len().min(MAX_SHOWN);
                write!(f, "{}", names[..shown].join(", "))?;
                if names.len() > shown {
                    write!(f, " and {} more names", names.len() - shown)?;
                }
            }
        }
        if let Some(issuer) = &self.issuer {
            write!(f, ", issued by {}", if self.self_signed { "itself" } else { issuer })?;
        }
        if let Some((first, last)) = &self.validity {
            write!(f, ", valid from {first} to {last} UTC")?;
        }
        Ok(())
    }
}

/// The names that an error shows; a certificate of a big host has hundreds.
const MAX_SHOWN: usize = 8;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 29, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 29, 19];

/// Elements of DER, one after the other, each as its tag and its contents; ends at the first malformed one.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The contents of the next element, if it has this tag.
    fn enter(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().and_then(|(tag, contents)| (tag == wanted).then_some(contents))
    }
}

impl<'a> Iterator for Der<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [tag, first, rest @ ..] = self.0 else { return None };
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, contents))
    }
}

fn common_name(name: &[u8]) -> Option<String> {
    Der(name).filter(|(tag, _)| *tag == SET).flat_map(|(_, set)| Der(set)).find_map(|(_, attribute)| {
        let mut parts = Der(attribute);
        (parts.enter(OBJECT_ID)? == COMMON_NAME).then_some(())?;
        parts.next().map(|(_, value)| escape(value))
    })
}

fn name((tag, value): (u8, &[u8])) -> Option<String> {
    match (tag, value.len()) {
        (DNS_NAME, _) => Some(escape(value)),
        (IP_ADDRESS, 4) => <[u8; 4]>::try_from(value).ok().map(|ip| IpAddr::from(ip).to_string()),
        (IP_ADDRESS, 16) => <[u8; 16]>::try_from(value).ok().map(|ip| IpAddr::from(ip).to_string()),
        _ => None,
    }
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5) for people.
fn time((tag, value): (u8, &[u8])) -> Option<String> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.is_ascii())?.strip_suffix('Z')?;
    let full = match (tag, digits.len()) {
        (UTC_TIME, 12) => format!("{}{digits}", if digits < "50" { "20" } else { "19" }),
        (GENERALIZED_TIME, 14) => digits.to_owned(),
        _ => return None,
    };
    full.bytes()
        .all(|digit| digit.is_ascii_digit())
        .then(|| format!("{}-{}-{} {}:{}", &full[..4], &full[4..6], &full[6..8], &full[8..10], &full[10..12]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_certificate_says_is_read() {
        let mut params =
            rcgen::CertificateParams::new(vec!["mail.example.org".into(), "127.0.0.1".into(), "::1".into()])
                .expect("valid names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "mail\u{1b}[2J");
        params.not_before = rcgen::date_time_ymd(1999, 12, 31);
        params.not_after = rcgen::date_time_ymd(2060, 2, 3);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let seen = Seen::read(params.self_signed(&key).expect("a certificate").der());
        assert_eq!(seen.names, ["mail.example.org", "127.0.0.1", "::1"]);
        assert_eq!(seen.subject.as_deref(), Some(r"mail\x1b[2J"));
        assert_eq!(seen.validity, Some(("1999-12-31 00:00".into(), "2060-02-03 00:00".into())));
        assert!(seen.self_signed && seen.authority);
    }

    #[test]
    fn a_damaged_certificate_never_panics() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("a valid name");
        let whole = params.self_signed(&key).expect("a certificate").der().to_vec();
        for cut in 0..whole.len() {
            Seen::read(&whole[..cut]);
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut damaged = whole.clone();
                damaged[cut] = byte;
                let _ = Seen::read(&damaged).to_string();
            }
        }
    }
}
