use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{ResolvesServerCertUsingSni, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

/// An authority, its PEM file, and the options that trust it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    directory: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        Self::named("Test CA")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("written");
        Self { issuer: Issuer::new(params, key), certificate, directory }
    }

    fn options(&self) -> TlsOptions {
        TlsOptions { ca: Some(self.directory.path().join("ca.pem")), ..TlsOptions::default() }
    }

    fn sign(&self, params: &CertificateParams) -> Server {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        Server { certificate, key }
    }
}

/// A server's certificate and key.
struct Server {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Server {
    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    fn config(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key_der())
            .expect("a pair")
    }

    /// What a client with these options gets when it connects to `host`.
    async fn meets(&self, options: &TlsOptions, host: &str) -> Result<(), HandshakeError> {
        meet(self.config(rustls::ALL_VERSIONS), options, host).await
    }

    async fn refused(&self, options: &TlsOptions, host: &str) -> Refused {
        match self.meets(options, host).await {
            Err(HandshakeError::Certificate(refused)) => *refused,
            other => panic!("not refused for its certificate: {other:?}"),
        }
    }
}

/// A handshake, and a word from the server.
async fn meet(server: ServerConfig, options: &TlsOptions, host: &str) -> Result<(), HandshakeError> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        if let Ok(mut stream) = TlsAcceptor::from(Arc::new(server)).accept(far).await {
            let _ = stream.write_all(b"hi").await;
            let _ = stream.shutdown().await;
        }
    });
    let mut stream = Tls::new(options).expect("usable options").connect(host, near).await?;
    let mut word = String::new();
    stream.read_to_string(&mut word).await.map_err(HandshakeError::Io)?;
    assert_eq!(word, "hi");
    Ok(())
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("valid names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "mail.example.org");
    params
}

#[tokio::test]
async fn the_right_certificate_is_accepted_by_name_wildcard_and_address() {
    let authority = Authority::new();
    let server = authority.sign(&params(&["mail.example.org", "*.example.net", "192.0.2.7", "2001:db8::7"]));
    for host in
        ["mail.example.org", "MAIL.example.org", "imap.example.net", "192.0.2.7", "2001:db8::7", "[2001:db8::7]"]
    {
        server.meets(&authority.options(), host).await.expect(host);
    }
}

#[tokio::test]
async fn each_bad_certificate_is_refused_with_its_own_sentence() {
    let authority = Authority::new();
    let good = || params(&["mail.example.org"]);
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = good();
        change(&mut params);
        params
    };
    let self_signed = |params: &CertificateParams| {
        let key = KeyPair::generate().expect("a key");
        Server { certificate: params.self_signed(&key).expect("a certificate").der().clone(), key }
    };
    let ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let cases = [
        (self_signed(&good()), Reason::SelfSigned, "signed by itself"),
        (self_signed(&with(&|it| it.is_ca = ca)), Reason::AuthorityAsServer, "certificate of an authority"),
        (
            authority.sign(&params(&["other.example.org", "192.0.2.7"])),
            Reason::WrongName,
            "for other names; seen: other.example.org, 192.0.2.7",
        ),
        (authority.sign(&params(&[])), Reason::NoNames, "names no host"),
        (
            authority.sign(&with(&|it| it.not_after = date_time_ymd(2020, 1, 2))),
            Reason::Expired,
            "to 2020-01-02 00:00 UTC",
        ),
        (authority.sign(&with(&|it| it.not_before = date_time_ymd(2999, 1, 1))), Reason::NotYetValid, "clock"),
        (
            authority.sign(&with(&|it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth])),
            Reason::WrongPurpose,
            "not meant for servers",
        ),
        (authority.sign(&with(&|it| it.is_ca = ca)), Reason::AuthorityAsServer, "used as a server's own"),
        (Authority::named("Other CA").sign(&good()), Reason::UnknownIssuer, "issued by Other CA"),
        (Authority::new().sign(&good()), Reason::BadSignature, "no more than the name"),
    ];
    let mut sentences = std::collections::BTreeSet::new();
    for (server, reason, part) in &cases {
        let refused = server.refused(&authority.options(), "mail.example.org").await;
        let text = refused.to_string();
        assert_eq!(refused.reason, *reason, "{text}");
        assert!(text.contains(part) && text.contains("certificate of mail.example.org is refused"), "{text}");
        assert!(text.contains(&Pin::of(&server.certificate).to_string()), "{text}");
        sentences.insert(reason.to_string());
        // The remedy that it names works: pinned, the very same certificate is accepted.
        let pinned = TlsOptions { pin: Some(refused.fingerprint), ..TlsOptions::default() };
        server.meets(&pinned, "mail.example.org").await.expect("pinned");
    }
    assert_eq!(sentences.len(), 9);
    let address = authority.sign(&good()).refused(&authority.options(), "192.0.2.7").await;
    assert_eq!(address.reason, Reason::WrongName);
}

#[tokio::test]
async fn a_pin_accepts_no_other_certificate_even_from_an_authority() {
    let authority = Authority::new();
    let pinned = authority.sign(&params(&["mail.example.org"]));
    let other = authority.sign(&params(&["mail.example.org"]));
    let options = TlsOptions { pin: Some(Pin::of(&pinned.certificate)), ..authority.options() };
    let refused = other.refused(&options, "mail.example.org").await;
    assert!(matches!(refused.reason, Reason::OtherThanPinned { .. }));
    for pin in [Pin::of(&pinned.certificate), Pin::of(&other.certificate)] {
        assert!(refused.to_string().contains(&pin.to_string()), "{refused}");
    }
}

#[tokio::test]
async fn a_copied_certificate_without_its_key_is_refused_even_when_pinned() {
    let authority = Authority::new();
    let (owner, thief) = (authority.sign(&params(&["mail.example.org"])), KeyPair::generate().expect("a key"));
    let options = TlsOptions { pin: Some(Pin::of(&owner.certificate)), ..TlsOptions::default() };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let key = PrivatePkcs8KeyDer::from(thief.serialize_der()).into();
        let key = ring::sign::any_supported_type(&key).expect("a key");
        let mut resolver = ResolvesServerCertUsingSni::new();
        resolver
            .add("mail.example.org", CertifiedKey::new(vec![owner.certificate.clone()], key))
            .expect("it names the host");
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        let error = meet(server, &options, "mail.example.org").await.expect_err("the key is missing");
        assert!(matches!(&error, HandshakeError::Failed(rustls::Error::InvalidCertificate(_))), "{error:?}");
    }
}

#[tokio::test]
async fn an_older_version_than_asked_for_is_refused() {
    let authority = Authority::new();
    let server = authority.sign(&params(&["mail.example.org"]));
    let old = || server.config(&[&rustls::version::TLS12]);
    meet(old(), &authority.options(), "mail.example.org").await.expect("1.2 is enough by default");
    let options = TlsOptions { min_version: TlsVersion::Tls13, ..authority.options() };
    let error = meet(old(), &options, "mail.example.org").await.expect_err("too old");
    assert!(error.to_string().contains("set tls-min = \"1.2\""), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks() {
    let authority = Authority::new();
    let server = authority.sign(&params(&["mail.example.org"]));
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).expect("an authority");
    let provider = Arc::new(ring::default_provider());
    let asking = || {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), Arc::clone(&provider));
        ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(vec![server.certificate.clone()], server.key_der())
            .expect("a pair")
    };
    let client = authority.sign(&params(&["me"]));
    let file = |name: &str, text: String| {
        let path = authority.directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let chain = file("client.pem", pem_of("CERTIFICATE", &client.certificate));
    let key = file("client.key", client.key.serialize_pem());
    let options = TlsOptions { client: Some((chain.clone(), key)), ..authority.options() };
    meet(asking(), &options, "mail.example.org").await.expect("shown");
    meet(asking(), &authority.options(), "mail.example.org").await.expect_err("not shown");

    let other = file("other.key", KeyPair::generate().expect("a key").serialize_pem());
    let error = Tls::new(&TlsOptions { client: Some((chain, other)), ..TlsOptions::default() }).expect_err("no pair");
    assert!(error.to_string().contains("does not go with the key"), "{error}");
}

fn pem_of(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

#[tokio::test]
async fn what_is_not_tls_is_said_so() {
    let (near, mut far) = tokio::io::duplex(4096);
    far.write_all(b"* OK IMAP4rev1 ready\r\n").await.expect("written");
    let options = TlsOptions { pin: Some(Pin([0; 32])), ..TlsOptions::default() };
    let tls = Tls::new(&options).expect("usable");
    let error = tls.connect("localhost", near).await.expect_err("not TLS");
    assert!(matches!(error, HandshakeError::NotTls), "{error:?}");
    let (near, far) = tokio::io::duplex(4096);
    drop(far);
    assert!(matches!(tls.connect("localhost", near).await, Err(HandshakeError::Io(_))));
    let (near, _far) = tokio::io::duplex(4096);
    assert!(matches!(tls.connect("not a name", near).await, Err(HandshakeError::Name { .. })));
}

#[tokio::test]
async fn without_authorities_nobody_is_trusted_and_the_remedy_is_named() {
    let tls = Tls { connector: None, min_version: TlsVersion::Tls12 };
    let error = tls.connect("localhost", tokio::io::duplex(64).0).await.expect_err("nothing to trust");
    assert!(error.to_string().contains("install the package ca-certificates"), "{error}");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let empty = authority.directory.path().join("empty.pem");
    std::fs::write(&empty, "no PEM here\n").expect("written");
    let missing = authority.directory.path().join("missing.pem");
    for path in [empty, missing] {
        let ca = TlsOptions { ca: Some(path.clone()), ..TlsOptions::default() };
        let client = TlsOptions { client: Some((path.clone(), path.clone())), ..authority.options() };
        for options in [ca, client] {
            let error = Tls::new(&options).expect_err("unusable").to_string();
            assert!(error.contains(&format!("{path:?}")), "{error}");
        }
    }
}

#[test]
fn nonces_differ_and_fit_into_scram() {
    assert_ne!(nonce(), nonce());
    assert!(nonce().len() == 24 && nonce().bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
}

#[test]
fn what_is_trusted_is_built_once_for_all_that_trust_the_same() {
    let same = |a: &Tls, b: &Tls| {
        let config = |tls: &Tls| tls.connector.as_ref().map(|connector| Arc::as_ptr(connector.config()));
        config(a).is_some() && config(a) == config(b)
    };
    let pinned = |byte: u8| TlsOptions { pin: Some(Pin([byte; 32])), ..TlsOptions::default() };
    let shared = |options: &TlsOptions| Tls::shared(options).expect("built");
    assert!(same(&shared(&pinned(251)), &shared(&pinned(251))));
    assert!(!same(&shared(&pinned(251)), &shared(&pinned(252))));
    assert!(!same(&Tls::new(&pinned(251)).expect("built"), &shared(&pinned(251))));
}
