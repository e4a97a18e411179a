//! The schedule on a virtual clock: hours in microseconds.

use super::account::{BURST, OTHERWISE, QUIET, RETURN, STUCK};
use super::*;
use crate::sync::Side;
use std::collections::BTreeSet;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const EVERY: Duration = Duration::from_secs(300);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn good() -> Ending {
    Ending::Passed { health: Health::Good, whole: true, hint: None }
}

fn failed(health: Health) -> Ending {
    Ending::Passed { health, whole: false, hint: None }
}

/// A world whose clock goes where it is told, and in which work ends by itself after a while.
struct World {
    schedule: Schedule,
    now: Now,
    /// How long work takes, and how it ends, by account; without one it goes on until it is told to end.
    ends: BTreeMap<String, (Duration, Ending)>,
    /// When what runs now ends.
    running: BTreeMap<String, (Now, Ending)>,
    /// What obeys when it is told to finish, when it is cut, or never.
    obeys: Obeys,
    log: Vec<(Now, Command)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Obeys {
    Finish,
    Cut,
    Nothing,
}

impl World {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self {
            schedule: Schedule::new(limits, 7),
            now: Duration::ZERO,
            ends: BTreeMap::new(),
            running: BTreeMap::new(),
            obeys: Obeys::Finish,
            log: Vec::new(),
        }
    }

    /// Adds an account whose passes end like this.
    fn add(&mut self, name: &str, takes: Duration, ending: Ending) {
        self.ends.insert(name.into(), (takes, ending));
        self.on(name, Event::Added(Setup { every: EVERY, known: true, paused: false }));
    }

    fn on(&mut self, account: &str, event: Event) {
        let commands = self.schedule.on(account, event, self.now);
        self.obey(commands);
    }

    fn stop(&mut self) {
        let commands = self.schedule.stop(self.now);
        self.obey(commands);
    }

    fn obey(&mut self, commands: Vec<Command>) {
        let mut ended = Vec::new();
        for command in commands {
            match &command {
                Command::Run { account, .. } => {
                    assert!(!self.running.contains_key(account), "{account} does two things at once");
                    let (takes, ending) = self.ends.get(account).copied().unwrap_or((Duration::MAX, good()));
                    self.running.insert(account.clone(), (self.now.saturating_add(takes), ending));
                }
                Command::Finish(account) if self.obeys == Obeys::Finish => {
                    ended.push((account.clone(), Ending::Interrupted));
                }
                Command::Cut(account) if self.obeys != Obeys::Nothing => {
                    ended.push((account.clone(), Ending::Interrupted));
                }
                Command::GiveUp(account) if self.obeys != Obeys::Nothing => {
                    ended.push((account.clone(), Ending::Broke));
                }
                _ => {}
            }
            self.log.push((self.now, command));
        }
        for (account, ending) in ended {
            self.end(&account, ending);
        }
    }

    fn end(&mut self, account: &str, ending: Ending) {
        assert!(self.running.remove(account).is_some(), "{account} does nothing");
        self.on(account, Event::Ended(ending));
    }

    /// Lets time pass, from one thing that happens to the next.
    fn until(&mut self, end: Now) {
        let mut turns = 0;
        loop {
            turns += 1;
            assert!(turns < 1_000_000, "it turns without end");
            let ends = self.running.iter().map(|(name, (at, _))| (*at, name.clone())).min();
            let deadline = self.schedule.next_deadline(self.now);
            assert!(deadline.is_none_or(|at| at > self.now));
            match (ends, deadline) {
                (Some((at, name)), deadline) if at <= end && deadline.is_none_or(|deadline| at <= deadline) => {
                    self.now = at.max(self.now);
                    let (_, ending) = self.running[&name];
                    self.end(&name, ending);
                }
                (_, Some(at)) if at <= end => {
                    self.now = at;
                    let commands = self.schedule.tick(at);
                    self.obey(commands);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn after(&mut self, time: Duration) {
        self.until(self.now + time);
    }

    /// When an account was begun, and with what.
    fn runs(&self, name: &str) -> Vec<(Now, Task)> {
        let of = |(at, command): &(Now, Command)| match command {
            Command::Run { account, task } if account == name => Some((*at, task.clone())),
            _ => None,
        };
        self.log.iter().filter_map(of).collect()
    }

    fn count(&self, name: &str) -> usize {
        self.runs(name).len()
    }

    fn condition(&self, name: &str) -> Condition {
        let all = self.schedule.conditions(self.now);
        all.into_iter().find(|(account, ..)| *account == name).map(|(_, condition, ..)| condition).expect("an account")
    }

    fn told(&self, wanted: &Command) -> Vec<Now> {
        self.log.iter().filter(|(_, command)| command == wanted).map(|(at, _)| *at).collect()
    }
}

fn whole() -> Task {
    Task::Pass(vec![])
}

fn ticket(number: u64) -> Event {
    Event::Asked(Ticket { number, patient: false })
}

fn woken(side: Side, mailbox: &str) -> Event {
    Event::Woken { side, mailbox: Some(mailbox.into()) }
}

#[test]
fn an_account_is_looked_at_when_it_appears_and_then_every_so_often() {
    let mut world = World::new();
    world.add("work", ms(100), good());
    world.after(HOUR);
    let runs = world.runs("work");
    assert_eq!(runs[0], (Duration::ZERO, whole()));
    assert!((11..=13).contains(&runs.len()), "{runs:?}");
    for pair in runs.windows(2) {
        let between = pair[1].0 - pair[0].0;
        assert!(between >= EVERY.mul_f64(0.95) && between <= EVERY.mul_f64(1.06), "{between:?}");
    }
}

#[test]
fn a_server_that_is_away_is_tried_less_and_less_often() {
    let mut world = World::new();
    world.add("work", ms(100), failed(Health::Passing));
    world.after(24 * HOUR);
    let runs = world.runs("work");
    let between: Vec<Duration> = runs.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(between[0] <= ms(5_100), "{between:?}");
    assert!(between[10..].iter().all(|time| *time > 7 * MINUTE && *time <= 15 * MINUTE + ms(100)), "{between:?}");
    assert_eq!(world.condition("work"), Condition::Waiting);
}

#[test]
fn a_server_that_is_back_is_looked_at_as_before() {
    let mut world = World::new();
    world.add("work", ms(100), failed(Health::Passing));
    world.after(24 * HOUR);
    world.ends.insert("work".into(), (ms(100), good()));
    let before = world.count("work");
    world.after(24 * HOUR);
    assert!(world.count("work") - before > 250);
    assert_eq!(world.condition("work"), Condition::Idle);
}

#[test]
fn a_machine_that_is_somewhere_else_tries_again_what_failed_and_not_all_in_one_instant() {
    let mut world = World::new();
    let names: Vec<String> = (0..40).map(|n| format!("a{n}")).collect();
    names.iter().for_each(|name| world.add(name, ms(100), failed(Health::Passing)));
    world.after(24 * HOUR);
    let before: usize = names.iter().map(|name| world.count(name)).sum();
    world.ends.extend(names.iter().map(|name| (name.clone(), (ms(100), good()))));
    names.iter().for_each(|name| world.on(name, Event::Moved));
    let begun = |world: &World| names.iter().map(|name| world.count(name)).sum::<usize>() - before;
    world.after(ms(500));
    assert!((1..names.len()).contains(&begun(&world)), "{}", begun(&world));
    world.after(ms(2_000));
    assert_eq!(begun(&world), names.len());
    assert!(names.iter().all(|name| world.condition(name) == Condition::Idle));
    world.add("refused", ms(100), failed(Health::Login));
    world.after(HOUR);
    world.on("refused", Event::Moved);
    world.after(HOUR);
    assert_eq!(world.count("refused"), 1);
}

#[test]
fn a_server_that_asks_for_time_gets_it() {
    let mut world = World::new();
    let hint = Some(20 * MINUTE);
    world.add("work", ms(0), Ending::Passed { health: Health::Passing, whole: false, hint });
    world.after(19 * MINUTE);
    assert_eq!(world.count("work"), 1);
    world.after(2 * MINUTE);
    assert_eq!(world.count("work"), 2);
}

#[test]
fn a_refused_password_is_not_tried_again_until_it_is_another_one() {
    let mut world = World::new();
    world.add("work", ms(100), failed(Health::Login));
    for _ in 0..24 {
        world.after(HOUR);
        world.on("work", Event::Compared { changed: false });
        world.on("work", Event::Now);
        world.on("work", Event::LostLink);
        world.on("work", woken(Side::Local, "INBOX"));
    }
    assert_eq!(world.count("work"), 1);
    assert_eq!(world.condition("work"), Condition::NeedsLogin);
    assert!(world.told(&Command::CompareSecret("work".into())).len() >= 24);
    world.ends.insert("work".into(), (ms(100), good()));
    world.on("work", Event::Compared { changed: true });
    world.after(MINUTE);
    assert_eq!((world.count("work"), world.condition("work")), (2, Condition::Idle));
}

#[test]
fn a_refused_password_is_tried_when_the_configuration_changes_and_when_a_person_asks() {
    let mut world = World::new();
    world.add("work", ms(100), failed(Health::Login));
    world.after(HOUR);
    world.on("work", Event::Changed(Setup { every: EVERY, known: true, paused: false }));
    world.after(HOUR);
    assert_eq!(world.count("work"), 2);
    world.on("work", ticket(1));
    world.after(HOUR);
    assert_eq!(world.count("work"), 3);
}

#[test]
fn tokens_that_are_new_each_time_are_tried_less_and_less_often() {
    let mut world = World::new();
    world.add("work", ms(100), failed(Health::Login));
    for _ in 0..24 * 60 {
        let asked = world.told(&Command::CompareSecret("work".into())).len();
        world.after(MINUTE);
        if world.told(&Command::CompareSecret("work".into())).len() > asked {
            world.on("work", Event::Compared { changed: true });
        }
    }
    assert!((20..70).contains(&world.count("work")), "{}", world.count("work"));
}

#[test]
fn a_comparison_that_comes_late_disturbs_nothing() {
    let mut world = World::new();
    world.add("work", ms(100), good());
    world.after(MINUTE);
    world.on("work", Event::Compared { changed: false });
    world.after(HOUR);
    assert!(world.told(&Command::CompareSecret("work".into())).is_empty());
    assert_eq!(world.condition("work"), Condition::Idle);
}

#[test]
fn the_trouble_of_one_account_is_never_anothers() {
    let troubles = [
        (ms(60_000), failed(Health::Passing)),
        (ms(100), failed(Health::Login)),
        (ms(100), failed(Health::Attention)),
        (ms(100), failed(Health::DiskFull)),
        (ms(100), failed(Health::LocalUnavailable)),
        (ms(1), Ending::Broke),
        (ms(1), Ending::Locked),
        (Duration::MAX, good()),
    ];
    let mut alone = World::new();
    alone.add("well", ms(100), good());
    alone.after(6 * HOUR);
    let mut world = World::new();
    for (number, (takes, ending)) in troubles.into_iter().enumerate() {
        world.add(&format!("ill{number}"), takes, ending);
    }
    world.add("well", ms(100), good());
    world.after(6 * HOUR);
    assert!(world.count("well").abs_diff(alone.count("well")) <= 2);
    assert_eq!(world.condition("well"), Condition::Idle);
}

#[test]
fn each_trouble_has_its_name() {
    for (health, condition) in [
        (Health::Passing, Condition::Waiting),
        (Health::Login, Condition::NeedsLogin),
        (Health::LocalUnavailable, Condition::LocalUnavailable),
        (Health::DiskFull, Condition::DiskFull),
        (Health::Attention, Condition::NeedsAttention),
    ] {
        let mut world = World::new();
        world.add("work", ms(100), failed(health));
        world.after(ms(200));
        assert_eq!(world.condition("work"), condition);
    }
}

#[test]
fn what_waits_for_a_person_does_not_stop_the_rest() {
    let mut world = World::new();
    world.add("work", ms(100), Ending::Passed { health: Health::Held, whole: true, hint: None });
    world.after(HOUR);
    assert!(world.count("work") >= 11);
    assert_eq!(world.condition("work"), Condition::Held);
}

#[test]
fn a_maildir_that_is_away_is_looked_for_as_often_as_mail() {
    let mut world = World::new();
    world.add("work", ms(0), failed(Health::LocalUnavailable));
    world.after(6 * HOUR);
    let runs = world.runs("work");
    assert!(runs.windows(2).all(|pair| pair[1].0 - pair[0].0 <= EVERY.mul_f64(1.05)), "{runs:?}");
}

#[test]
fn a_burst_of_changes_here_is_one_look_a_moment_after_its_end() {
    let mut world = World::new();
    world.add("work", ms(10), good());
    world.after(MINUTE);
    for _ in 0..5 {
        world.on("work", woken(Side::Local, "INBOX"));
        world.after(ms(100));
    }
    world.after(ms(500));
    let runs = world.runs("work");
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[1], (MINUTE + ms(400) + QUIET, Task::Pass(vec!["INBOX".into()])));
}

#[test]
fn a_burst_that_does_not_end_is_looked_at_after_two_seconds() {
    let mut world = World::new();
    world.add("work", ms(10), good());
    world.after(MINUTE);
    for _ in 0..40 {
        world.on("work", woken(Side::Local, "INBOX"));
        world.after(ms(100));
    }
    let runs = world.runs("work");
    assert_eq!(runs[1].0, MINUTE + BURST);
}

#[test]
fn news_of_the_server_is_looked_at_at_once_and_names_its_mailbox() {
    let mut world = World::new();
    world.add("work", ms(10), good());
    world.after(MINUTE);
    world.on("work", woken(Side::Remote, "Lists"));
    assert_eq!(world.runs("work")[1], (MINUTE, Task::Pass(vec!["Lists".into()])));
}

#[test]
fn a_wake_that_names_nothing_is_a_look_at_everything() {
    let mut world = World::new();
    world.add("work", ms(10), good());
    world.after(MINUTE);
    world.on("work", woken(Side::Local, "Lists"));
    world.on("work", Event::Woken { side: Side::Remote, mailbox: None });
    world.after(ms(10));
    assert_eq!(world.runs("work")[1].1, whole());
    world.after(MINUTE);
    assert_eq!(world.count("work"), 2, "both were answered by it");
}

#[test]
fn wakes_during_a_pass_are_one_look_after_it() {
    let mut world = World::new();
    world.add("work", ms(1000), good());
    for mailbox in ["b", "a", "b"] {
        world.after(ms(100));
        world.on("work", woken(Side::Remote, mailbox));
    }
    world.after(MINUTE);
    let runs = world.runs("work");
    assert_eq!(runs[1..], [(ms(1000), Task::Pass(vec!["a".into(), "b".into()]))]);
}

#[test]
fn a_look_at_a_part_does_not_put_off_the_look_at_the_whole() {
    let mut world = World::new();
    world.add("work", ms(10), good());
    for _ in 0..HOUR.as_secs() / 30 {
        world.after(ms(30_000));
        world.on("work", woken(Side::Remote, "INBOX"));
    }
    let looks = world.runs("work").into_iter().filter(|(_, task)| *task == whole()).count();
    assert!(looks >= 11, "{looks}");
}

#[test]
fn changes_here_do_not_make_a_server_that_is_away_tried_sooner() {
    let mut world = World::new();
    world.add("work", ms(10), failed(Health::Passing));
    world.after(6 * HOUR);
    let before = world.count("work");
    for _ in 0..60 {
        world.after(ms(1000));
        world.on("work", woken(Side::Local, "INBOX"));
    }
    assert!(world.count("work") - before <= 1);
}

#[test]
fn accounts_that_lost_their_link_in_one_instant_return_soon_and_not_in_one_instant() {
    let mut world = World::with(Limits { passes: 1000, ..Limits::default() });
    let names: Vec<String> = (0..100).map(|n| format!("a{n}")).collect();
    for name in &names {
        world.add(name, ms(10), good());
        world.on(name, Event::Listening);
    }
    world.after(ms(20));
    assert_eq!(world.condition("a7"), Condition::Live);
    world.after(MINUTE - ms(20));
    names.iter().for_each(|name| world.on(name, Event::LostLink));
    assert_eq!(world.count("a7"), 1);
    world.after(RETURN);
    let at: BTreeSet<Now> = names.iter().map(|name| world.runs(name)[1].0).collect();
    assert!(at.len() > 90 && at.iter().all(|at| *at <= MINUTE + RETURN), "{}", at.len());
}

#[test]
fn no_more_passes_go_on_at_once_than_may_and_every_account_has_its_turn() {
    let limits = Limits { passes: 5, first: 1, reserve: 1 };
    let mut world = World::with(limits);
    for number in 0..200 {
        world.add(&format!("a{number}"), ms(500), good());
        assert!(world.running.len() <= 5);
    }
    for _ in 0..120 {
        world.after(ms(1000));
        assert!(world.running.len() <= 5);
    }
    assert!((0..200).all(|number| world.count(&format!("a{number}")) > 0));
}

#[test]
fn first_passes_leave_room_for_new_mail() {
    let mut world = World::with(Limits { passes: 4, first: 2, reserve: 0 });
    for number in 0..10 {
        world.ends.insert(format!("new{number}"), (10 * HOUR, good()));
        world.on(&format!("new{number}"), Event::Added(Setup { every: EVERY, known: false, paused: false }));
    }
    world.add("work", ms(100), good());
    // Ten hours of a first pass are not ten minutes without a move.
    for _ in 0..12 {
        (0..10).for_each(|number| world.on(&format!("new{number}"), Event::Progressed));
        world.after(5 * MINUTE);
    }
    assert!(world.count("work") >= 11);
    assert_eq!((0..10).filter(|number| world.count(&format!("new{number}")) > 0).count(), 2);
    assert_eq!((world.condition("new0"), world.condition("new9")), (Condition::Syncing, Condition::Queued));
}

#[test]
fn an_account_is_known_after_its_first_pass() {
    let mut world = World::with(Limits { passes: 4, first: 1, reserve: 0 });
    for name in ["a", "b"] {
        world.ends.insert(name.into(), (ms(1000), good()));
        world.on(name, Event::Added(Setup { every: EVERY, known: false, paused: false }));
    }
    world.after(ms(2500));
    assert_eq!((world.runs("a")[0].0, world.runs("b")[0].0), (ms(0), ms(1000)));
    ["a", "b"].iter().for_each(|name| world.on(name, Event::Now));
    assert_eq!((world.count("a"), world.count("b")), (2, 2));
}

#[test]
fn a_person_finds_room_where_there_is_none_left_and_goes_first() {
    let mut world = World::with(Limits { passes: 1, first: 1, reserve: 1 });
    world.add("busy", HOUR, good());
    world.add("waits", ms(10), good());
    world.add("asked", ms(10), good());
    world.on("asked", ticket(5));
    assert_eq!(world.runs("asked"), [(Duration::ZERO, Task::Ticket(5))]);
    assert_eq!(world.count("waits"), 0);
}

#[test]
fn what_persons_ask_for_is_done_in_turn_one_thing_at_a_time() {
    let mut world = World::new();
    world.add("work", ms(1000), good());
    world.on("work", ticket(1));
    world.on("work", ticket(2));
    world.on("work", ticket(3));
    world.after(MINUTE);
    let tasks: Vec<Task> = world.runs("work").into_iter().map(|(_, task)| task).collect();
    assert_eq!(tasks, [whole(), Task::Ticket(1), Task::Ticket(2), Task::Ticket(3)]);
}

#[test]
fn a_decision_is_followed_by_a_look() {
    let mut world = World::new();
    world.add("work", ms(10), good());
    world.after(MINUTE);
    for (look, looks) in [(false, 0), (true, 1)] {
        world.ends.insert("work".into(), (ms(10), Ending::Aside { look }));
        let before = world.count("work");
        world.on("work", ticket(1));
        world.ends.insert("work".into(), (ms(10), good()));
        world.after(ms(50));
        assert_eq!(world.count("work") - before, 1 + looks);
    }
}

#[test]
fn a_paused_account_is_left_alone_unless_a_person_asks() {
    let mut world = World::new();
    world.add("work", ms(10), good());
    world.after(MINUTE);
    world.on("work", Event::Paused);
    world.on("work", woken(Side::Remote, "INBOX"));
    world.after(6 * HOUR);
    assert_eq!((world.count("work"), world.condition("work")), (1, Condition::Paused));
    world.on("work", ticket(1));
    world.after(HOUR);
    assert_eq!(world.count("work"), 2);
    world.on("work", Event::Resumed);
    world.after(ms(100));
    assert_eq!(world.runs("work")[2].1, whole());
    assert_eq!(world.condition("work"), Condition::Idle);
}

#[test]
fn another_process_at_work_is_waited_for() {
    let mut world = World::new();
    world.add("work", ms(0), Ending::Locked);
    world.after(ms(2000));
    assert!(world.count("work") >= 2);
    world.after(10 * MINUTE);
    world.ends.insert("work".into(), (ms(0), good()));
    world.after(ms(30_000));
    assert_eq!(world.condition("work"), Condition::Idle);
}

#[test]
fn a_worker_that_breaks_is_begun_again_later_and_later() {
    let mut world = World::new();
    world.add("work", ms(0), Ending::Broke);
    world.after(HOUR);
    assert!((8..20).contains(&world.count("work")), "{}", world.count("work"));
}

#[test]
fn what_moves_is_not_stuck_however_long_it_takes() {
    let mut world = World::new();
    world.add("work", 13 * HOUR, good());
    for _ in 0..12 * 12 {
        world.after(5 * MINUTE);
        world.on("work", Event::Progressed);
    }
    assert!(world.told(&Command::Finish("work".into())).is_empty());
    assert_eq!(world.count("work"), 1);
}

#[test]
fn what_is_stuck_is_told_to_end_then_cut_then_given_up() {
    let command = |f: fn(String) -> Command| f("work".to_owned());
    for obeys in [Obeys::Finish, Obeys::Cut, Obeys::Nothing] {
        let mut world = World::new();
        world.obeys = obeys;
        world.add("work", Duration::MAX, good());
        world.after(STUCK + 2 * MINUTE);
        assert_eq!(world.told(&command(Command::Finish))[..], [STUCK]);
        let cut = world.told(&command(Command::Cut));
        let given_up = world.told(&command(Command::GiveUp));
        match obeys {
            Obeys::Finish => assert!(cut.is_empty() && given_up.is_empty()),
            Obeys::Cut => assert!(cut == [STUCK + OTHERWISE.cut] && given_up.is_empty()),
            Obeys::Nothing => assert!(cut.len() == 1 && given_up == [STUCK + OTHERWISE.give_up]),
        }
        assert_eq!(world.schedule.is_alive(), obeys != Obeys::Nothing);
        let stuck = world.condition("work") == Condition::Stuck;
        assert_eq!(stuck, obeys == Obeys::Nothing);
    }
}

#[test]
fn a_person_at_work_is_never_stuck() {
    let mut world = World::new();
    world.add("work", ms(10), good());
    world.after(MINUTE);
    world.ends.insert("work".into(), (Duration::MAX, good()));
    world.on("work", Event::Asked(Ticket { number: 1, patient: true }));
    world.after(48 * HOUR);
    assert!(world.told(&Command::Finish("work".into())).is_empty());
    assert!(world.schedule.is_alive());
}

#[test]
fn at_the_end_everything_is_over_within_three_seconds() {
    for (obeys, limit) in [(Obeys::Finish, ms(0)), (Obeys::Cut, ms(1200)), (Obeys::Nothing, ms(2400))] {
        let mut world = World::new();
        world.obeys = obeys;
        for name in ["a", "b", "c"] {
            world.add(name, Duration::MAX, good());
        }
        world.after(MINUTE);
        world.stop();
        let began = world.now;
        world.after(limit);
        match obeys {
            Obeys::Nothing => assert_eq!(world.told(&Command::GiveUp("b".into())), [began + limit]),
            _ => assert!(world.schedule.is_idle()),
        }
        world.after(HOUR);
        assert_eq!(world.count("a"), 1, "nothing is begun any more");
    }
}

#[test]
fn the_end_hurries_what_was_ending_slowly() {
    let mut world = World::new();
    world.obeys = Obeys::Nothing;
    world.add("work", Duration::MAX, good());
    world.after(MINUTE);
    world.on("work", Event::Removed);
    world.after(ms(100));
    world.stop();
    world.after(ms(2400));
    assert_eq!(world.told(&Command::GiveUp("work".into())).len(), 1);
}

#[test]
fn an_account_that_changed_is_begun_anew_and_others_are_not() {
    let mut world = World::new();
    world.add("changed", Duration::MAX, good());
    world.add("same", Duration::MAX, good());
    world.after(MINUTE);
    world.on("changed", Event::Changed(Setup { every: HOUR, known: true, paused: false }));
    world.after(MINUTE);
    assert_eq!((world.count("changed"), world.count("same")), (2, 1));
    assert_eq!(world.told(&Command::Finish("changed".into())), [MINUTE]);
}

#[test]
fn an_account_that_is_removed_ends_and_may_come_back() {
    let mut world = World::new();
    world.add("work", Duration::MAX, good());
    world.after(MINUTE);
    world.obeys = Obeys::Nothing;
    world.on("work", Event::Removed);
    assert!(!world.schedule.knows("work"));
    assert_eq!(world.schedule.conditions(world.now).count(), 0);
    world.on("work", Event::Added(Setup { every: EVERY, known: true, paused: false }));
    assert!(world.schedule.knows("work"));
    world.end("work", Ending::Interrupted);
    world.after(ms(10));
    assert_eq!(world.count("work"), 2);
    world.end("work", good());
    world.on("work", Event::Removed);
    world.after(24 * HOUR);
    assert_eq!(world.count("work"), 2);
}

#[test]
fn a_clock_that_jumps_by_a_night_is_one_look_and_not_a_hundred() {
    let mut world = World::new();
    world.add("work", ms(10), good());
    world.after(MINUTE);
    // The machine slept; nobody called.
    world.now += 8 * HOUR;
    let commands = world.schedule.tick(world.now);
    world.obey(commands);
    world.after(ms(100));
    assert_eq!(world.count("work"), 2);
}

#[test]
fn a_thousand_accounts_have_their_turns() {
    let mut world = World::new();
    for number in 0..1000u64 {
        let ending = match number % 10 {
            0 => failed(Health::Passing),
            1 => failed(Health::Login),
            _ => good(),
        };
        world.add(&format!("a{number}"), ms(200 + number), ending);
    }
    world.after(11 * MINUTE);
    let well = (0..1000).filter(|n| n % 10 > 1).map(|n| world.count(&format!("a{n}"))).min().expect("some");
    assert!(well >= 3, "{well}");
}
