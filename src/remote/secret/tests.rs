use super::*;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

const LIMIT: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Secret {
    Secret::Command(vec!["/bin/sh".into(), "-c".into(), script.into()])
}

async fn get(secret: &Secret) -> Result<String, String> {
    match reveal_within(secret, "the password of \"a\"", LIMIT, |_| None).await {
        Ok(secret) => Ok(secret.expose_secret().to_owned()),
        Err(error) => Err(chain(&error)),
    }
}

fn chain(error: &SecretError) -> String {
    format!("{error}: {}", error.problem)
}

fn file(contents: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("secret");
    std::fs::write(&path, contents).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode set");
    (directory, path)
}

#[tokio::test]
async fn a_command_gives_its_first_line() {
    assert_eq!(get(&shell("printf 'hunter2\\nuser: me\\n'")).await, Ok("hunter2".into()));
    assert_eq!(get(&shell("printf 'with space \\r\\n'")).await, Ok("with space ".into()));
    assert_eq!(
        get(&shell("cat")).await.expect_err("nothing on standard input"),
        concat!(
            "the password of \"a\" could not be read: the command \"/bin/sh\" gives nothing; ",
            "let it give the secret in its first line"
        )
    );
}

#[tokio::test]
async fn no_shell_reads_the_list_of_a_command() {
    let secret = Secret::Command(vec!["echo".into(), "$HOME; ls `x`".into()]);
    assert_eq!(get(&secret).await, Ok("$HOME; ls `x`".into()));
}

#[tokio::test]
async fn a_failing_command_says_why_and_never_what_it_printed() {
    let error = get(&shell("echo hunter2; printf 'no key\\033[2J' >&2; exit 3")).await.expect_err("it fails");
    assert!(error.contains("exit status: 3") && error.contains(r#"said "no key\x1b[2J""#), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let error = get(&Secret::Command(vec!["/nonexistent/pass".into(), "hunter2".into()])).await.expect_err("it fails");
    assert!(error.contains("\"/nonexistent/pass\" could not be started") && !error.contains("hunter2"), "{error}");
    assert!(get(&Secret::Command(vec![])).await.is_err());
}

#[tokio::test]
async fn a_command_that_hangs_is_stopped_with_all_that_it_started() {
    let (_directory, pid_file) = file(b"", 0o600);
    // The shell waits for a child of its own, which would hold the pipe open.
    let script = format!("sleep 600 & echo $! > {}; wait", pid_file.display());
    let begun = Instant::now();
    let result = reveal_within(&shell(&script), "it", Duration::from_millis(500), |_| None).await;
    assert!(matches!(result, Err(SecretError { problem: Problem::TimeLimit { .. }, .. })));
    assert!(begun.elapsed() < Duration::from_secs(10));
    let pid = std::fs::read_to_string(&pid_file).expect("the shell wrote it");
    let gone = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ")
    };
    while !gone() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the grandchild lives");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn endless_output_is_refused() {
    let error = get(&shell("head -c 200000 /dev/zero | tr '\\0' x")).await.expect_err("too long");
    assert!(error.contains("more than 64 KiB"), "{error}");
}

#[tokio::test]
async fn a_file_gives_all_but_its_last_line_end() {
    let (_directory, path) = file(b" p\xc3\xa4ss \r\n", 0o600);
    assert_eq!(get(&Secret::File(path)).await, Ok(" päss ".into()));
    let (_directory, path) = file(b"p\n\n", 0o400);
    assert_eq!(get(&Secret::File(path)).await, Ok("p\n".into()));
}

#[tokio::test]
async fn a_file_that_others_can_read_is_refused_with_the_remedy() {
    for mode in [0o640, 0o604, 0o620, 0o644] {
        let (_directory, path) = file(b"hunter2\n", mode);
        let error = get(&Secret::File(path.clone())).await.expect_err("exposed");
        assert!(error.ends_with(&format!("(mode {mode:03o}); run: chmod 600 {path:?}")), "{error}");
        assert!(!error.contains("hunter2"));
    }
}

#[tokio::test]
async fn what_is_no_secret_file_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let get = async |path: &Path| get(&Secret::File(path.to_owned())).await.expect_err("refused");
    assert!(get(directory.path()).await.contains("not a plain file"));
    assert!(get(&directory.path().join("none")).await.contains("cannot be read"));
    let (_keep, path) = file(b"\r\n", 0o600);
    assert!(get(&path).await.contains("gives nothing"));
    let (_keep, path) = file(b"\xff\n", 0o600);
    assert!(get(&path).await.contains("not UTF-8"));
    let (_keep, path) = file(&[b'x'; MAX_SECRET + 1], 0o600);
    assert!(get(&path).await.contains("more than 64 KiB"));
}

#[tokio::test]
async fn a_variable_and_a_credential_are_found_where_they_should_be() {
    let (directory, _) = file(b"hunter2\n", 0o440);
    let path = directory.path().to_owned();
    let environment = move |name: &str| match name {
        "CREDENTIALS_DIRECTORY" => Some(path.clone().into_os_string()),
        "MAIL_PASSWORD" => Some("from env".into()),
        _ => None,
    };
    let get = async |secret: Secret| match reveal_within(&secret, "it", LIMIT, &environment).await {
        Ok(secret) => secret.expose_secret().to_owned(),
        Err(error) => chain(&error),
    };
    assert_eq!(get(Secret::Credential("secret".into())).await, "hunter2");
    assert_eq!(get(Secret::Environment("MAIL_PASSWORD".into())).await, "from env");
    assert!(get(Secret::Environment("OTHER".into())).await.contains("variable OTHER is not set"));
    for name in ["", ".", "..", "../secret", "/etc/passwd", "a/b"] {
        assert!(get(Secret::Credential(name.into())).await.contains("without slashes"), "{name}");
    }
    let error =
        reveal_within(&Secret::Credential("imap".into()), "it", LIMIT, |_| None).await.expect_err("no directory");
    assert!(chain(&error).contains("LoadCredential=imap:"), "{error}");
}

#[tokio::test]
async fn a_literal_is_itself_and_never_shown() {
    let secret = Secret::Literal("hunter2".to_owned().into());
    assert!(!format!("{secret:?}").contains("hunter2"));
    assert_eq!(get(&secret).await, Ok("hunter2".into()));
}
