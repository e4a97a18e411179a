//! A server that says something else once, anything at all: what is believed then is still true.

use super::*;
use proptest::prelude::*;

/// What a server says in a session of two messages, from the greeting to the goodbye.
const REPLIES: [&str; 16] = [
    "+OK\r\n",
    "-ERR\r\n",
    "+OK\r\n",
    "+OK\r\n",
    "-ERR\r\n",
    "+OK 2 20\r\n",
    "+OK\r\n1 10\r\n2 10\r\n.\r\n",
    "+OK\r\n1 a\r\n2 b\r\n.\r\n",
    "+OK\r\none\r\n.\r\n",
    "+OK\r\ntwo\r\n.\r\n",
    "+OK 2 b\r\n",
    "+OK 1 a\r\n",
    "+OK 2 b\r\n",
    "+OK\r\n",
    "+OK\r\n",
    "+OK\r\n",
];
/// The replies to RETR.
const BODIES: [usize; 2] = [8, 9];
/// The reply to QUIT.
const GOODBYE: usize = 15;

/// The replies to CAPA, of a server that takes several commands at once.
const CAPABLE: &str = "+OK\r\nPIPELINING\r\n.\r\n";

/// Gives each reply in answer to a line, one of them spoilt; returns what the client said.
async fn answer(mut stream: BufReader<DuplexStream>, pipelining: bool, spoilt: usize, babble: String) -> String {
    let mut said = String::new();
    for (number, reply) in REPLIES.into_iter().enumerate() {
        let reply = match number {
            number if number == spoilt => &babble,
            1 | 4 if pipelining => CAPABLE,
            _ => reply,
        };
        let _ = stream.write_all(reply.as_bytes()).await;
        if number < GOODBYE && stream.read_line(&mut said).await.unwrap_or(0) == 0 {
            break;
        }
    }
    let _ = stream.shutdown().await;
    let _ = stream.read_to_string(&mut said).await;
    said
}

/// A session from end to end, as far as it goes: what landed, and what is gone.
async fn talk(stream: DuplexStream) -> (BTreeMap<u32, Vec<u8>>, Vec<Message>) {
    let (landed, gone) = (BTreeMap::new(), Vec::new());
    let Ok(greeted) = Authorization::greet(stream, false, TIMEOUT, &[]).await else { return (landed, gone) };
    let Ok(mut transaction) = greeted.login("u", "p").await else { return (landed, gone) };
    let Ok(listing) = transaction.list().await else { return (landed, gone) };
    let fetched = fetch(&mut transaction, &listing.messages).await;
    let body = |number: u32| fetched.bodies[&u64::from(number)].0.clone();
    let landed = fetched.landed.iter().map(|(number, _)| (*number, body(*number))).collect();
    let Ok(marked) = transaction.delete(&listing.messages).await else { return (landed, gone) };
    (landed, marked.commit().await.unwrap_or_default())
}

fn fragment() -> impl Strategy<Value = String> {
    let known = [
        "+OK\r\n",
        "-ERR\r\n",
        ".\r\n",
        "+OK 1 a\r\n",
        "+OK 2 b\r\n",
        "1 a\r\n",
        "2 b\r\n",
        "+ \r\n",
        "one\r\n",
        "",
        "\n",
        "\0",
    ];
    prop_oneof![
        3 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => prop::sample::select(REPLIES.to_vec()).prop_map(str::to_owned),
        1 => "[ -~\r\n]{0,9}",
    ]
}

/// Plays a session in which one reply is another one: what landed, what is gone, what the client said.
fn play(pipelining: bool, spoilt: usize, babble: &str) -> (BTreeMap<u32, Vec<u8>>, Vec<Message>, String) {
    let babble = babble.to_owned();
    // Silence costs no time here.
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async move {
        let (ours, theirs) = duplex(1 << 16);
        let server = tokio::spawn(answer(BufReader::new(theirs), pipelining, spoilt, babble));
        let (landed, gone) = talk(ours).await;
        (landed, gone, server.await.expect("no panic"))
    })
}

#[test]
fn what_nobody_spoils_goes_through() {
    for pipelining in [false, true] {
        let (landed, gone, _) = play(pipelining, 0, REPLIES[0]);
        assert_eq!(landed.into_values().collect::<Vec<_>>(), [b"one\r\n", b"two\r\n"]);
        assert_eq!(gone, [message(1), message(2)]);
    }
}

proptest! {
    #[test]
    fn what_is_believed_is_true_whatever_a_server_says_once(
        spoilt in 0..REPLIES.len(),
        babble in prop::collection::vec(fragment(), 0..5),
    ) {
        let babble = babble.concat();
        let (landed, gone, said) = play(false, spoilt, &babble);
        for (number, body) in &landed {
            // A server may always send another message.
            let place = *number as usize - 1;
            let honest = BODIES.get(place).is_none_or(|reply| *reply != spoilt);
            let sent: &[u8] = if place == 0 { b"one\r\n" } else { b"two\r\n" };
            prop_assert!(!honest || body == sent, "message {number} is {body:?}");
        }
        let deleted = |message: &Message| said.contains(&format!("DELE {}\r\n", message.number));
        prop_assert!(gone.iter().all(deleted), "{said}");
        prop_assert!(gone.is_empty() || said.ends_with("QUIT\r\n"), "{said}");
        let farewell = spoilt != GOODBYE || babble.to_ascii_uppercase().starts_with("+OK") && babble.matches('\n').count() == 1;
        prop_assert!(gone.is_empty() || farewell, "gone by {babble:?}");
    }
    #[test]
    fn a_mail_whose_dots_are_not_doubled_is_taken_for_no_other(
        pipelining: bool,
        text in prop::collection::vec(fragment(), 0..8),
    ) {
        // It reads as replies, but it cannot take back the dot that ends it.
        let reply = format!("+OK\r\n{}\r\n.\r\n", text.concat());
        let (landed, gone, said) = play(pipelining, BODIES[0], &reply);
        prop_assert!(landed.get(&2).is_none_or(|body| body == b"two\r\n"), "{landed:?}");
        prop_assert!(gone.is_empty() || landed.len() == 2, "{said}");
    }
}
