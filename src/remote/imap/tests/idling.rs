//! IDLE: what counts as news, how it is ended, and what becomes of silence.

use super::*;

const NOTIFY: &str = "C: A0002 NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange)) \
                      (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))";

/// Waits so long for news, and counts them.
async fn idle(imap: &mut Imap, most: Duration) -> (Result<(), Error>, usize) {
    let mut count = 0;
    let done = imap.idle(most, &mut |_| count += 1).await;
    (done, count)
}

#[tokio::test(start_paused = true)]
async fn news_of_the_mailbox_are_heard_and_other_words_are_not() {
    let script = [
        "C: A0002 IDLE",
        "S: * 5 EXISTS",
        "S: + idling",
        "S: * OK Still here",
        "S: * 0 RECENT",
        "S: * 6 EXISTS",
        "S: * 2 FETCH (UID 12 FLAGS (\\Seen))",
        "S: * VANISHED 3",
        "S: * 4 EXPUNGE",
        "C: DONE",
        "S: * 7 EXISTS",
        "S: A0002 OK done",
        "C: A0003 NOOP",
        "S: A0003 OK",
    ];
    let (mut imap, server) = session(FULL, &script).await;
    let (done, heard) = idle(&mut imap, Duration::from_secs(600)).await;
    done.expect("it waited");
    assert_eq!(heard, 6);
    imap.noop().await.expect("alive");
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn silence_is_as_it_should_be_while_waiting_and_only_then() {
    let began = Instant::now();
    let script = ["C: A0002 IDLE", "S: + idling", "C: DONE", "S: A0002 OK", "C: A0003 IDLE", "HOLD"];
    let (mut imap, _server) = session(FULL, &script).await;
    let (done, heard) = idle(&mut imap, 30 * TIMEOUT).await;
    done.expect("it waited");
    assert_eq!((began.elapsed(), heard), (30 * TIMEOUT, 0));
    // Whether the server waits at all, it has to say in time.
    let error = error(idle(&mut imap, 30 * TIMEOUT).await.0);
    assert!(error.to_string().contains("silent for 20 s"), "{error}");
    assert_eq!(began.elapsed(), 31 * TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_the_end_is_not_waited_for_long() {
    let began = Instant::now();
    let (mut imap, _server) = session(FULL, &["C: A0002 IDLE", "S: + idling", "C: DONE", "HOLD"]).await;
    error(idle(&mut imap, 30 * TIMEOUT).await.0);
    assert_eq!(began.elapsed(), 31 * TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_waiting_is_an_error() {
    let (mut imap, server) =
        session(FULL, &["C: A0002 IDLE", "S: A0002 BAD what?", "C: A0003 NOOP", "S: A0003 OK"]).await;
    let refused = error(idle(&mut imap, TIMEOUT).await.0);
    assert!(refused.refusal().is_some_and(|refusal| refusal.bad), "{refused}");
    imap.noop().await.expect("alive");
    server.finish().await;
    let ends: [&[&str]; 5] = [
        // By itself: it would be asked again at once, for ever.
        &["C: A0002 IDLE", "S: + idling", "S: A0002 OK done"],
        &["C: A0002 IDLE", "S: + idling", "S: * BYE going down"],
        &["C: A0002 IDLE", "S: + idling", "S: + more"],
        &["C: A0002 IDLE", "S: + idling", "S: A0001 OK"],
        &["C: A0002 IDLE", "S: + idling"],
    ];
    for script in ends {
        let (mut imap, _server) = session(FULL, script).await;
        error(idle(&mut imap, TIMEOUT).await.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_can_tells_of_every_mailbox() {
    let script = [
        NOTIFY,
        "S: A0002 OK",
        "C: A0003 IDLE",
        "S: + idling",
        "S: * STATUS lists.rust (MESSAGES 3 UIDNEXT 9 UIDVALIDITY 1)",
        "S: * STATUS \"\" (MESSAGES 3)",
        "S: * LIST () \".\" new",
        "S: * 2 EXISTS",
        "S: * OK [HIGHESTMODSEQ 7] ok",
        "S: * OK [NOTIFICATIONOVERFLOW] too much",
    ];
    let (mut imap, _server) = session(&format!("{FULL} NOTIFY"), &script).await;
    assert!(imap.notify().await.expect("asked"));
    let mut heard = Vec::new();
    let error = error(imap.idle(TIMEOUT, &mut |tidings| heard.push(tidings)).await);
    assert!(error.to_string().contains("too much to tell"), "{error}");
    assert_eq!(heard, [Tidings::Of(name("lists.rust")), Tidings::Names, Tidings::Open, Tidings::Overflow]);
}

#[tokio::test]
async fn a_server_that_cannot_or_will_not_tells_of_the_open_mailbox_alone() {
    let (mut imap, server) = session(FULL, &[]).await;
    assert!(!imap.notify().await.expect("not asked"));
    server.finish().await;
    let script = [NOTIFY, "S: A0002 NO [BADEVENT (FlagChange)] no"];
    let (mut imap, _server) = session(&format!("{FULL} NOTIFY"), &script).await;
    assert!(!imap.notify().await.expect("asked"));
}
