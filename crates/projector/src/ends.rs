//! Where the log ends, as far as the cluster has answered, and since when it is silent.

use domain::{Checkpoint, UnixMillis};

/// The known ends of the log. A table that is cut off from the cluster goes on answering, and would look as if it were
/// up to date: its lag is that of the ends it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogEnds {
    pub(crate) offsets: Checkpoint,
    /// When the cluster last answered.
    pub(crate) known_at: Option<UnixMillis>,
    /// Whether it was asked since, and did not answer.
    pub(crate) is_silent: bool,
}

impl LogEnds {
    /// Notes that the cluster has answered; returns whether it had been silent.
    pub(crate) fn answered(&mut self, now: UnixMillis) -> bool {
        self.known_at = Some(now);
        std::mem::take(&mut self.is_silent)
    }

    /// Notes that the cluster has not answered; returns whether that is news.
    pub(crate) fn unanswered(&mut self) -> bool {
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
        assert_eq!((ends.answered(at(1)), ends.unanswered(), ends.unanswered()), (false, true, false));
        assert_eq!((ends.known_at, ends.is_silent), (Some(at(1)), true));
        assert_eq!((ends.answered(at(2)), ends.answered(at(3)), ends.is_silent), (true, false, false));
    }
}
