//! What a hook is told at once.

use super::News;

/// More than this is counted only: a first run brings a hundred thousand messages, and no hook wants them one by one.
const MOST: usize = 500;

/// News for one run of a hook.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Batch {
    pub news: Vec<News>,
    /// So many more there were.
    pub more: u64,
}

impl Batch {
    pub fn push(&mut self, news: News) {
        if self.news.len() < MOST {
            self.news.push(news);
        } else {
            self.more += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.news.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted() {
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        for n in 0..MOST + 7 {
            batch.push(News::Trouble(n.to_string()));
        }
        assert_eq!((batch.news.len(), batch.more), (MOST, 7));
        assert_eq!(batch.news[0], News::Trouble("0".into()));
    }
}
