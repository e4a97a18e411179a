//! The server against clients that mean no good.

use super::*;
use crate::control::Client;
use crate::monitor::{Bounds, Notify};
use crate::supervisor::{Outside, Supervisor};
use std::io::{BufRead as _, Read as _, Write as _};

/// A daemon without accounts, on a socket.
struct Bench {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
        let bench = Self { dir, runtime };
        let (supervisor, handle) = Supervisor::new(
            Vec::new(),
            Outside {
                load: Box::new(|| Err("no".into())),
                notify: Notify::default(),
                bounds: Bounds::default(),
                paused: Vec::new(),
            },
            1,
        );
        let mut listener = Listener::bind(&bench.socket()).expect("bound");
        listener.link(bench.dir.path()).expect("linked");
        let hello = Hello {
            mailtwin: "0".into(),
            protocol: crate::control::PROTOCOL,
            pid: std::process::id(),
            state_dir: bench.dir.path().to_string_lossy().into_owned(),
            config: "/c".into(),
        };
        bench.runtime.spawn(async move { supervisor.run().await.expect("it runs") });
        bench.runtime.spawn(async move { listener.serve(handle, hello).await.expect("it serves") });
        bench
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/control.sock")
    }

    fn client(&self) -> Client {
        Client::find(&[self.dir.path().join(LINK)], self.dir.path()).expect("it answers").expect("it is there")
    }

    fn raw(&self) -> io::BufReader<std_net::UnixStream> {
        let stream = std_net::UnixStream::connect(self.socket()).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        io::BufReader::new(stream)
    }
}

fn ask(client: &Client, request: &Request) -> Reply {
    client.ask(request).expect("asked").reply().expect("a line").expect("a reply")
}

#[test]
fn a_client_is_greeted_and_answered() {
    let bench = Bench::new();
    let client = bench.client();
    assert_eq!(ask(&client, &Request::Status { watch: false }), Reply::Status(vec![]));
    assert_eq!(ask(&client, &Request::Reload), Reply::Refused("no".into()));
    assert_eq!(ask(&client, &Request::Pause { accounts: vec![] }), Reply::Done);
    let unknown = Request::Pause { accounts: vec!["x".into()] };
    assert_eq!(ask(&client, &unknown), Reply::Refused("the daemon knows no account x".into()));
}

#[test]
fn nobody_but_the_user_and_root_is_served_and_root_borrows_nothing() {
    assert_eq!(User::of(1000, 1000), Some(User::Ours(1000)));
    assert_eq!(User::of(0, 1000), Some(User::Root(1000)));
    assert_eq!(User::of(0, 0), Some(User::Ours(0)));
    assert_eq!(User::of(1001, 1000), None);
    assert!(User::Root(7).obstacle(&Work::Lend).is_some_and(|why| why.contains("sudo -u '#7'")));
    let sync = Work::Sync { mailboxes: vec![], dry_run: false };
    assert_eq!((User::Root(7).obstacle(&sync), User::Ours(7).obstacle(&Work::Lend)), (None, None));
}

#[test]
fn the_socket_is_for_its_user_alone() {
    let bench = Bench::new();
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&bench.socket()), mode(bench.socket().parent().expect("a directory"))), (0o600, 0o700));
}

#[test]
fn a_socket_that_was_left_behind_is_replaced_and_one_that_is_in_use_is_not() {
    let bench = Bench::new();
    let error = Listener::bind(&bench.socket()).expect_err("in use");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let stale = bench.dir.path().join("stale.sock");
    drop(std_net::UnixListener::bind(&stale).expect("bound"));
    Listener::bind(&stale).expect("replaced");
    assert!(!stale.exists(), "it goes with its listener");
    std::fs::write(&stale, "mail").expect("written");
    Listener::bind(&stale).expect_err("no socket");
    assert_eq!(std::fs::read(&stale).expect("still there"), b"mail");
}

#[test]
fn a_request_without_end_ends_the_connection_and_nothing_else() {
    let bench = Bench::new();
    let mut peer = bench.raw();
    let mut line = String::new();
    peer.read_line(&mut line).expect("a greeting");
    // It may be cut off before all is written.
    let _ = peer.get_mut().write_all(&vec![b'x'; 4 * LONGEST_REQUEST]);
    let mut rest = Vec::new();
    let ended = peer.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{ended:?}");
    assert_eq!(ask(&bench.client(), &Request::Status { watch: false }), Reply::Status(vec![]));
}

#[test]
fn nonsense_is_refused_with_a_clause() {
    let bench = Bench::new();
    for nonsense in ["\n", "{}\n", "\x00\n", "[1,2]\n", "{\"protocol\":1}\n"] {
        let mut peer = bench.raw();
        let mut line = String::new();
        peer.read_line(&mut line).expect("a greeting");
        peer.get_mut().write_all(nonsense.as_bytes()).expect("written");
        line.clear();
        peer.read_line(&mut line).expect("a refusal");
        assert!(line.starts_with("{\"reply\":\"refused\""), "{nonsense:?}: {line}");
    }
}

#[test]
fn clients_that_fill_all_places_are_not_waited_for_by_the_daemon() {
    let bench = Bench::new();
    let mut silent: Vec<_> = (0..CLIENTS).map(|_| bench.raw()).collect();
    for peer in &mut silent {
        let mut line = String::new();
        peer.read_line(&mut line).expect("a greeting");
    }
    let mut line = String::new();
    assert_eq!(bench.raw().read_line(&mut line).expect("the end"), 0, "there is no room for one more");
    drop(silent);
    // The places are free as soon as it is seen that their clients went.
    let asked = std::iter::repeat_with(|| Client::find(&[bench.socket()], bench.dir.path())).take(2000);
    let mut found = asked.inspect(|_| std::thread::sleep(Duration::from_millis(5)));
    assert!(found.any(|client| client.is_ok_and(|client| client.is_some())));
}

#[test]
fn a_daemon_of_another_state_is_not_ours() {
    let bench = Bench::new();
    let elsewhere = tempfile::tempdir().expect("a directory");
    assert!(Client::find(&[bench.socket()], elsewhere.path()).expect("it answers").is_none());
    assert!(Client::find(&[elsewhere.path().join("nobody")], elsewhere.path()).expect("nobody").is_none());
}

#[test]
fn who_watches_hears_again_and_who_wants_events_hears_them() {
    let bench = Bench::new();
    let client = bench.client();
    let mut events = client.ask(&Request::Events).expect("asked");
    let heard = std::thread::spawn(move || events.reply().expect("a line").expect("a reply"));
    // It listens a moment after it asked; whoever reloads again and again is heard.
    while !heard.is_finished() {
        ask(&client, &Request::Reload);
    }
    match heard.join().expect("no panic") {
        Reply::Event(Happened { what: What::ReloadFailed, text, .. }) => assert_eq!(text, "no"),
        other => panic!("{other:?}"),
    }
}
