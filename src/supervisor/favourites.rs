//! Which mailboxes of an account are used most: those are worth a connection that listens to them alone.
//!
//! A mailbox in which the server changed something was used. It takes a place that is free at once, and that of another only
//! when it was used far more, so that connections are not closed and opened for every message.

use super::schedule::Now;
use std::collections::BTreeMap;
use std::time::Duration;

/// What changes within so long is one use: a hundred messages at once are no reason to expect more.
const ONE_USE: Duration = Duration::from_secs(60);
/// After so long a use counts half.
const HALF_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// So many times as much as another a mailbox has to be used to take its place.
const FAR_MORE: f64 = 2.0;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Favourites {
    places: usize,
    uses: BTreeMap<String, Uses>,
    chosen: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Uses {
    /// The number of uses, each counted by its age, as it was then.
    number: f64,
    /// When the last one began.
    last: Now,
}

impl Uses {
    fn at(self, now: Now) -> f64 {
        self.number * (-now.saturating_sub(self.last).div_duration_f64(HALF_LIFE)).exp2()
    }
}

impl Favourites {
    /// None, of at most so many.
    pub fn new(places: usize) -> Self {
        Self { places, uses: BTreeMap::new(), chosen: Vec::new() }
    }

    /// Notes that a mailbox is used; whether others are chosen since.
    pub fn used(&mut self, mailbox: &str, now: Now) -> bool {
        if self.places == 0 {
            return false;
        }
        match self.uses.get_mut(mailbox) {
            Some(uses) if now < uses.last + ONE_USE => return false,
            Some(uses) => *uses = Uses { number: uses.at(now) + 1.0, last: now },
            None => drop(self.uses.insert(mailbox.to_owned(), Uses { number: 1.0, last: now })),
        }
        if self.chosen.iter().any(|chosen| chosen == mailbox) {
            return false;
        }
        if self.chosen.len() < self.places {
            self.chosen.push(mailbox.to_owned());
            return true;
        }
        let number = |mailbox: &str| self.uses.get(mailbox).map_or(0.0, |uses| uses.at(now));
        let least = (0..self.chosen.len()).min_by(|a, b| number(&self.chosen[*a]).total_cmp(&number(&self.chosen[*b])));
        let least = least.filter(|least| number(mailbox) > FAR_MORE * number(&self.chosen[*least]));
        if let Some(least) = least {
            mailbox.clone_into(&mut self.chosen[least]);
        }
        least.is_some()
    }

    /// Those that are chosen.
    pub fn chosen(&self) -> &[String] {
        &self.chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[test]
    fn who_is_used_first_takes_a_free_place_and_who_is_used_far_more_takes_another_s() {
        let mut favourites = Favourites::new(2);
        assert!(favourites.used("a", HOUR));
        assert!(favourites.used("b", HOUR));
        assert!(!favourites.used("b", 2 * HOUR));
        assert!(!favourites.used("c", 3 * HOUR));
        assert_eq!(favourites.chosen(), ["a", "b"], "as much is not far more");
        assert!(favourites.used("c", 4 * HOUR) || favourites.used("c", 5 * HOUR));
        assert_eq!(favourites.chosen(), ["c", "b"]);
        assert!(!favourites.used("a", 6 * HOUR));
    }

    #[test]
    fn much_at_once_is_one_use() {
        let mut favourites = Favourites::new(1);
        assert!(favourites.used("a", HOUR));
        for second in 0..59 {
            assert!(!favourites.used("flood", HOUR + Duration::from_secs(second)));
        }
        assert_eq!(favourites.chosen(), ["a"]);
    }

    #[test]
    fn what_was_used_long_ago_gives_way() {
        let mut favourites = Favourites::new(1);
        for hour in 0..48 {
            favourites.used("project", hour * HOUR);
        }
        let later = 48 * HOUR + 14 * HALF_LIFE;
        assert!(favourites.used("other", later), "{favourites:?}");
        assert!(!favourites.used("project", later + HOUR));
    }

    #[test]
    fn where_there_is_no_place_nothing_is_kept() {
        let mut favourites = Favourites::new(0);
        assert!(!favourites.used("a", HOUR));
        assert!(favourites.chosen().is_empty() && favourites.uses.is_empty());
    }
}
