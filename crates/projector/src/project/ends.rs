//! Where the log ends, as far as the cluster has told, and since when it tells nothing.

use domain::{Checkpoint, UnixMillis};

/// What is known of the ends of the log. A table that is cut off from the cluster goes on answering, and would look as if it were
/// up to date: its lag is that of the ends it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogEnds {
    pub(crate) offsets: Checkpoint,
    /// When the cluster last told.
    pub(crate) known_at: Option<UnixMillis>,
    /// Whether it was asked since, and did not tell.
    pub(crate) is_silent: bool,
}

impl LogEnds {
    /// Notes that the cluster has told; returns whether it had been silent.
    pub(super) fn told(&mut self, now: UnixMillis) -> bool {
        self.known_at = Some(now);
        std::mem::take(&mut self.is_silent)
    }

    /// Notes that the cluster has not told; returns whether that is news.
    pub(super) fn not_told(&mut self) -> bool {
        !std::mem::replace(&mut self.is_silent, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_news_once_and_so_is_its_end() {
        let mut ends = LogEnds::default();
        let at = UnixMillis::from_millis;
        assert_eq!((ends.told(at(1)), ends.not_told(), ends.not_told()), (false, true, false));
        assert_eq!((ends.known_at, ends.is_silent), (Some(at(1)), true));
        assert_eq!((ends.told(at(2)), ends.told(at(3)), ends.is_silent), (true, false, false));
    }
}
