//! What is counted, and its form for Prometheus (text format 0.0.4).
//!
//! Counters begin at 0 with the daemon, as scrapers expect; what is remembered longer is a gauge.

use super::status::{AccountView, Condition};
use crate::worker::{AccountStatus, Kind, Report, Trouble};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What is counted of an account since the daemon began.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Passes that came to their end.
    pub passes: u64,
    /// Those that did not, by the class of what was wrong.
    pub failures: BTreeMap<String, u64>,
    /// Messages, by what was done with them.
    pub messages: BTreeMap<String, u64>,
    /// Octets that came from the server in passes that have ended.
    pub received: u64,
    /// Octets that went to it.
    pub sent: u64,
    /// Connections to the server that are open now, those that fetch beside others not counted.
    pub connections: u64,
    /// How the account stood after the last pass.
    pub standing: Standing,
}

/// How an account stands; it outlives the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Standing {
    /// When a pass last came to its end, in seconds since 1970.
    pub last_success: Option<u64>,
    /// Deletions that wait for a person.
    pub held: u64,
    /// Messages that could not be transferred, and are tried again.
    pub quarantined: u64,
}

impl Standing {
    /// As the status file has it.
    pub fn of(status: &AccountStatus) -> Self {
        let held = status.mailboxes.iter().flat_map(|mailbox| &mailbox.held).map(|set| set.deletions).sum();
        let quarantined = status.mailboxes.iter().map(|mailbox| mailbox.quarantined.len() as u64).sum();
        Self { last_success: status.last_success, held, quarantined }
    }
}

impl Counters {
    /// Takes in how a pass went.
    pub fn passed(&mut self, report: &Report) {
        self.passes += 1;
        for (done, count) in [
            ("fetched", report.fetched),
            ("uploaded", report.appended),
            ("flagged", report.flagged),
            ("moved", report.moved_there + report.moved_here),
            ("copied", report.copied),
            ("removed", report.removed_there + report.removed_here),
        ] {
            *self.messages.entry(done.to_owned()).or_default() += count;
        }
    }

    /// Takes in why a pass failed.
    pub fn failed(&mut self, trouble: &Trouble) {
        let class = match trouble.kind {
            // It was told to.
            Kind::Interrupted => return,
            Kind::Login => "login",
            Kind::Secret => "secret",
            Kind::Certificate { .. } => "certificate",
            Kind::Network => "network",
            Kind::Locked => "locked",
            Kind::Quiet => "quiet",
            Kind::DiskFull => "disk-full",
            Kind::LocalUnavailable => "local-unavailable",
            Kind::Refused | Kind::Other => "other",
        };
        *self.failures.entry(class.to_owned()).or_default() += 1;
    }
}

/// One metric: its name, its type, and what it says.
type Metric = (&'static str, &'static str, &'static str);

const UP: Metric = ("mailtwin_account_up", "gauge", "Whether nothing is wrong with the account.");
const CONDITION: Metric = ("mailtwin_account_condition", "gauge", "1 for the condition that the account is in.");
const LAST: Metric =
    ("mailtwin_last_success_timestamp_seconds", "gauge", "When a pass last came to its end, in seconds since 1970.");
const LAG: Metric = ("mailtwin_lag_seconds", "gauge", "How long ago that was; 0 while changes are told at once.");
const IN_ROW: Metric = ("mailtwin_failures_in_a_row", "gauge", "How often the account has failed in a row.");
const HELD: Metric = ("mailtwin_held_deletions", "gauge", "Deletions that wait for a person.");
const QUARANTINED: Metric =
    ("mailtwin_quarantined_messages", "gauge", "Messages that could not be transferred, and are tried again.");
const CONNECTIONS: Metric = ("mailtwin_connections", "gauge", "Connections to the server that are open.");
const PASSES: Metric = ("mailtwin_passes_total", "counter", "Passes that came to their end.");
const FAILURES: Metric = ("mailtwin_failures_total", "counter", "Passes that failed, by the class of what was wrong.");
const MESSAGES: Metric = ("mailtwin_messages_total", "counter", "Messages, by what was done with them.");
const RECEIVED: Metric = ("mailtwin_received_bytes_total", "counter", "Octets that came from the server.");
const SENT: Metric = ("mailtwin_sent_bytes_total", "counter", "Octets that went to the server.");

/// The names of all metrics of an account.
pub fn names() -> impl Iterator<Item = &'static str> {
    [UP, CONDITION, LAST, LAG, IN_ROW, HELD, QUARANTINED, CONNECTIONS, PASSES, FAILURES, MESSAGES, RECEIVED, SENT]
        .into_iter()
        .map(|(name, ..)| name)
}

/// The text for a scraper. `now` in seconds since 1970.
pub fn text(views: &[AccountView], now: u64) -> String {
    let mut text = String::new();
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(
        text,
        "# HELP mailtwin_build_info The version.\n# TYPE mailtwin_build_info gauge\nmailtwin_build_info{{version=\"{version}\"}} 1"
    );
    let mut one = |metric, value: &dyn Fn(&AccountView) -> Option<u64>| {
        many(&mut text, metric, views, &|view| value(view).map(|value| (String::new(), value)).into_iter().collect());
    };
    one(UP, &|view| Some(u64::from(view.reason.is_none())));
    one(LAST, &|view| view.counters.standing.last_success);
    one(LAG, &|view| {
        let lag = now.saturating_sub(view.counters.standing.last_success?);
        Some(if view.condition == Condition::Live { 0 } else { lag })
    });
    one(IN_ROW, &|view| Some(u64::from(view.failures)));
    one(HELD, &|view| Some(view.counters.standing.held));
    one(QUARANTINED, &|view| Some(view.counters.standing.quarantined));
    one(CONNECTIONS, &|view| Some(view.counters.connections));
    one(PASSES, &|view| Some(view.counters.passes));
    let in_hand =
        |view: &AccountView| view.progress.as_ref().map_or((0, 0), |progress| (progress.received, progress.sent));
    one(RECEIVED, &|view| Some(view.counters.received + in_hand(view).0));
    one(SENT, &|view| Some(view.counters.sent + in_hand(view).1));
    let labelled = |label: &str, values: &BTreeMap<String, u64>| -> Vec<(String, u64)> {
        values.iter().map(|(name, count)| (format!(",{label}=\"{}\"", escaped(name)), *count)).collect()
    };
    many(&mut text, FAILURES, views, &|view| labelled("class", &view.counters.failures));
    many(&mut text, MESSAGES, views, &|view| labelled("done", &view.counters.messages));
    many(&mut text, CONDITION, views, &|view| {
        let condition = serde_json::to_value(view.condition).ok();
        let name = condition.as_ref().and_then(|name| name.as_str()).unwrap_or_default();
        vec![(format!(",condition=\"{}\"", escaped(name)), 1)]
    });
    text
}

fn many(
    text: &mut String,
    (name, kind, help): Metric,
    views: &[AccountView],
    values: &dyn Fn(&AccountView) -> Vec<(String, u64)>,
) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for view in views {
        for (labels, value) in values(view) {
            let _ = writeln!(text, "{name}{{account=\"{}\"{labels}}} {value}", escaped(&view.account));
        }
    }
}

/// As the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::State;

    #[test]
    fn what_is_counted_is_told_as_prometheus_reads_it() {
        let mut counters = Counters { connections: 2, received: 1000, ..Counters::default() };
        counters.passed(&Report { fetched: 3, moved_here: 1, moved_there: 1, ..Report::default() });
        counters.passed(&Report { fetched: 4, ..Report::default() });
        let trouble = |kind| Trouble { state: State::Temporary, kind, what: "x".into(), hint: None };
        counters.failed(&trouble(Kind::Network));
        counters.failed(&trouble(Kind::Interrupted));
        counters.standing = Standing { last_success: Some(940), held: 5, quarantined: 1 };
        let view = AccountView {
            account: "wo\"rk".into(),
            condition: Condition::Waiting,
            reason: Some("no network".into()),
            not_live: None,
            next: None,
            failures: 1,
            progress: None,
            counters,
        };
        let text = text(
            &[view.clone(), AccountView { account: "home".into(), condition: Condition::Live, reason: None, ..view }],
            1000,
        );
        for line in [
            r#"mailtwin_account_up{account="wo\"rk"} 0"#,
            r#"mailtwin_account_up{account="home"} 1"#,
            r#"mailtwin_lag_seconds{account="wo\"rk"} 60"#,
            r#"mailtwin_lag_seconds{account="home"} 0"#,
            r#"mailtwin_messages_total{account="home",done="fetched"} 7"#,
            r#"mailtwin_messages_total{account="home",done="moved"} 2"#,
            r#"mailtwin_failures_total{account="home",class="network"} 1"#,
            r#"mailtwin_account_condition{account="home",condition="live"} 1"#,
            r#"mailtwin_held_deletions{account="home"} 5"#,
            "# TYPE mailtwin_passes_total counter",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        // Each name once with its type, and all its values behind that.
        for name in names() {
            assert_eq!(text.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
        }
        let is_line = |line: &str| {
            line.starts_with("# ") || line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<u64>().is_ok())
        };
        assert!(text.lines().all(is_line) && text.ends_with('\n'));
    }

    #[test]
    fn the_dashboard_shows_metrics_that_there_are() {
        let dashboard = include_str!("../../docs/grafana.json");
        let dashboard: serde_json::Value = serde_json::from_str(dashboard).expect("JSON");
        let texts =
            dashboard["panels"].as_array().expect("panels").iter().flat_map(|panel| panel["targets"].as_array());
        let mut shown = std::collections::BTreeSet::new();
        for expression in texts.flatten().map(|target| target["expr"].as_str().expect("an expression")) {
            let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            shown.extend(words.filter(|word| word.starts_with("mailtwin_")).map(str::to_owned));
        }
        let known: std::collections::BTreeSet<String> = names().map(str::to_owned).collect();
        assert!(shown.is_subset(&known), "{:?}", shown.difference(&known));
        assert_eq!(shown, known, "the dashboard shows all of them");
    }
}
