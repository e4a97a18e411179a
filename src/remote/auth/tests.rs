use super::*;
use Mechanism::{CramMd5, External, Login, OauthBearer, Plain, ScramSha256, Xoauth2};

const PASSWORD: Have = Have { password: true, token: false, certificate: false };
const TOKEN: Have = Have { password: false, token: true, certificate: false };

fn exchange(mechanism: Mechanism, user: &str, secret: &str, nonce: &str) -> Result<Exchange, String> {
    let secret = Some(SecretString::from(secret));
    Exchange::new(
        mechanism,
        &Identity { user: user.into(), secret, host: "server.example.com".into(), port: 143 },
        nonce,
    )
}

fn offered(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn says(exchange: &mut Exchange, challenge: &str) -> String {
    String::from_utf8(exchange.respond(challenge.as_bytes()).expect("an answer")).expect("text")
}

#[test]
fn plain_answers_as_in_rfc_4616() {
    let mut plain = exchange(Plain, "tim", "tanstaaftanstaaf", "").expect("valid");
    assert_eq!(plain.name(), "PLAIN");
    assert_eq!(says(&mut plain, ""), "\0tim\0tanstaaftanstaaf");
    assert!(plain.respond(b"more?").is_err());
}

#[test]
fn login_gives_the_name_then_the_password_whatever_the_prompts_say() {
    for prompts in [["User Name\0", "Password\0"], ["", ""]] {
        let mut login = exchange(Login, "me", "päss", "").expect("valid");
        assert_eq!(prompts.map(|prompt| says(&mut login, prompt)), ["me", "päss"]);
        assert!(login.respond(b"again").is_err());
    }
}

#[test]
fn external_gives_the_name_alone() {
    let identity = Identity { user: "me".into(), secret: None, host: "h".into(), port: 993 };
    let mut external = Exchange::new(External, &identity, "").expect("valid");
    assert_eq!(says(&mut external, ""), "me");
    assert!(Exchange::new(Plain, &identity, "").is_err());
}

#[test]
fn cram_md5_answers_as_in_rfc_2195() {
    let mut cram = exchange(CramMd5, "tim", "tanstaaftanstaaf", "").expect("valid");
    assert!(cram.respond(b"").is_err());
    assert_eq!(says(&mut cram, "<1896.697170952@postoffice.reston.mci.net>"), "tim b913a602c7eda7a495b4e6e7334d3890");
}

#[test]
fn xoauth2_and_oauthbearer_answer_as_documented_and_keep_the_complaint() {
    let token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
    let mut xoauth2 = exchange(Xoauth2, "someuser@example.com", token, "").expect("valid");
    assert_eq!(says(&mut xoauth2, ""), format!("user=someuser@example.com\x01auth=Bearer {token}\x01\x01"));
    assert_eq!(says(&mut xoauth2, "{\"status\":\"400\"}\x1b"), "");
    assert_eq!(xoauth2.complaint(), Some("{\"status\":\"400\"}\\x1b"));
    assert!(xoauth2.respond(b"{}").is_err());

    // RFC 7628, section 4.1
    let mut bearer = exchange(OauthBearer, "user@example.com", token, "").expect("valid");
    let expected = "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer ";
    assert_eq!(says(&mut bearer, ""), format!("{expected}{token}\x01\x01"));
    assert_eq!(bearer.complaint(), None);
    assert_eq!(says(&mut bearer, "{\"status\":\"invalid_token\"}"), "\x01");
    assert!(bearer.complaint().expect("kept").contains("invalid_token"));
}

/// The example of RFC 7677, section 3.
const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn scram_after_first() -> Exchange {
    let mut scram = exchange(ScramSha256, "user", "pencil", NONCE).expect("valid");
    assert_eq!(says(&mut scram, ""), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    scram
}

#[test]
fn scram_speaks_as_in_rfc_7677() {
    let mut scram = scram_after_first();
    assert_eq!(
        says(&mut scram, SERVER_FIRST),
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    assert!(!scram.server_is_proven());
    assert_eq!(says(&mut scram, SERVER_FINAL), "");
    assert!(scram.server_is_proven());
    assert!(scram.respond(b"v=").is_err());
}

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    for last in ["v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=", "v=", "", "v=6rriTRBi", "x", "e=other-error", "v=*"]
    {
        let mut scram = scram_after_first();
        says(&mut scram, SERVER_FIRST);
        assert!(scram.respond(last.as_bytes()).is_err(), "{last}");
        assert!(!scram.server_is_proven());
    }
}

#[test]
fn a_malformed_or_greedy_scram_server_is_refused() {
    let salt = "s=W22ZaJ0SNY7soEsUEjb6gQ==";
    for (first, because) in [
        (format!("r={NONCE}x,{salt},i=4095"), "4095 SCRAM iterations"),
        (format!("r={NONCE}x,{salt},i=1000001"), "iterations"),
        (format!("r={NONCE}x,{salt},i=4294967296"), "malformed"),
        (format!("r={NONCE}x,{salt},i=-1"), "malformed"),
        (format!("r={NONCE},{salt},i=4096"), "nonce"),
        (format!("r=other,{salt},i=4096"), "nonce"),
        (format!("r={NONCE}x,s=!!,i=4096"), "malformed"),
        (format!("m=ext,r={NONCE}x,{salt},i=4096"), "malformed"),
        (format!("r={NONCE}x,{salt}"), "malformed"),
        (String::new(), "malformed"),
    ] {
        let error = scram_after_first().respond(first.as_bytes()).expect_err("refused");
        assert!(error.contains(because), "{first}: {error}");
    }
    assert!(scram_after_first().respond(&[0xff]).is_err());
}

#[test]
fn names_that_end_a_field_are_escaped_or_refused() {
    let mut scram = exchange(ScramSha256, "a=b,c", "p", "n").expect("valid");
    assert_eq!(says(&mut scram, ""), "n,,n=a=3Db=2Cc,r=n");
    for mechanism in [Plain, Login, ScramSha256, CramMd5, Xoauth2, OauthBearer, External] {
        assert!(exchange(mechanism, "a\0b", "p", "n").is_err(), "{mechanism}");
    }
    for mechanism in [Plain, Login, ScramSha256, Xoauth2, OauthBearer] {
        assert!(exchange(mechanism, "a", "hun\0ter2", "n").is_err(), "{mechanism}");
    }
    assert!(exchange(Xoauth2, "a", "tok\x01auth=Bearer x", "n").is_err());
    assert!(exchange(ScramSha256, "a", "p", "n,m").is_err());
}

#[test]
fn the_best_that_both_offer_is_chosen() {
    let all = offered(&["PLAIN", "LOGIN", "SCRAM-SHA-256", "CRAM-MD5", "EXTERNAL", "XOAUTH2", "OAUTHBEARER"]);
    assert_eq!(choose(&[], &all, true, true, PASSWORD), Ok(ScramSha256));
    assert_eq!(choose(&[], &offered(&["PLAIN", "LOGIN"]), true, true, PASSWORD), Ok(Plain));
    assert_eq!(choose(&[], &offered(&["LOGIN"]), true, true, PASSWORD), Ok(Login));
    assert_eq!(choose(&[], &all, true, true, TOKEN), Ok(OauthBearer));
    assert_eq!(choose(&[], &offered(&["XOAUTH2", "PLAIN"]), true, true, TOKEN), Ok(Xoauth2));
    assert_eq!(choose(&[Plain, ScramSha256], &all, true, true, PASSWORD), Ok(Plain));
    assert_eq!(choose(&[External, Plain], &all, true, true, PASSWORD), Ok(Plain));
    assert_eq!(choose(&[CramMd5], &all, true, false, PASSWORD), Ok(CramMd5));
    assert_eq!(choose(&[External], &all, true, true, Have { certificate: true, ..Have::default() }), Ok(External));
}

#[test]
fn external_and_cram_md5_are_used_only_by_name() {
    let have = Have { password: true, token: false, certificate: true };
    assert!(choose(&[], &offered(&["EXTERNAL", "CRAM-MD5"]), true, true, have).is_err());
}

#[test]
fn logindisabled_forbids_the_login_command_only() {
    assert_eq!(choose(&[], &offered(&[]), false, true, PASSWORD), Ok(Login));
    assert_eq!(choose(&[Login], &offered(&["LOGIN"]), true, true, PASSWORD), Ok(Login));
    let error = choose(&[], &offered(&["X\x1b"]), true, true, PASSWORD).expect_err("disabled");
    assert!(error.contains("LOGIN is disabled by the server") && error.contains(r"offers X\x1b"), "{error}");
}

#[test]
fn no_secret_is_shown_on_an_open_wire() {
    let all = offered(&["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"]);
    for configured in [&[][..], &[Plain], &[Login]] {
        let error = choose(configured, &all, false, false, PASSWORD).expect_err("in clear");
        assert!(error.contains("use TLS"), "{error}");
    }
    assert!(choose(&[], &all, false, false, TOKEN).is_err());
    assert_eq!(choose(&[], &offered(&["PLAIN", "SCRAM-SHA-256"]), false, false, PASSWORD), Ok(ScramSha256));
}

#[test]
fn nothing_to_log_in_with_is_said_so() {
    let error = choose(&[], &offered(&["PLAIN"]), false, true, Have::default()).expect_err("nothing");
    assert!(error.contains("set a password"), "{error}");
    let error = choose(&[Xoauth2], &offered(&["XOAUTH2"]), false, true, PASSWORD).expect_err("no token");
    assert!(error.contains("oauth2.token-command"), "{error}");
}

#[test]
fn secrets_are_never_in_debug_output() {
    let exchange = exchange(Plain, "me", "hunter2", "").expect("valid");
    assert!(!format!("{exchange:?}").contains("hunter2"));
}
