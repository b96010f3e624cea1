//! Drops warnings and errors that only repeat others: an attempt that is made each second fails each second.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The shortest time between two lines of the same text.
const INTERVAL: Duration = Duration::from_secs(60);
/// The most texts that are remembered. With more, the oldest are forgotten, and may be written again.
const TEXTS_MAX: usize = 256;

/// Lets each warning and error through once a minute, by its place and the text of all its fields.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<HashMap<u64, Instant>>);

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::WARN {
            return true;
        }
        let mut text = Text(DefaultHasher::new());
        event.metadata().callsite().hash(&mut text.0);
        event.record(&mut text);
        self.is_due(text.0.finish(), Instant::now())
    }
}

impl Repeats {
    fn is_due(&self, text: u64, now: Instant) -> bool {
        let mut written = self.0.lock();
        if written.get(&text).is_some_and(|at| now < *at + INTERVAL) {
            return false;
        }
        if written.len() >= TEXTS_MAX
            && let Some(oldest) = written.iter().min_by_key(|(_, at)| **at).map(|(text, _)| *text)
        {
            written.remove(&oldest);
        }
        written.insert(text, now);
        true
    }
}

/// Takes in the fields of an event.
struct Text(DefaultHasher);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        field.name().hash(&mut self.0);
        write!(self, "{value:?}").expect("a hasher takes every text");
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        field.name().hash(&mut self.0);
        super::chain(value).hash(&mut self.0);
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_text_is_due_once_a_minute_and_others_at_once() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let due = |text, seconds| repeats.is_due(text, start + Duration::from_secs(seconds));
        assert_eq!([due(1, 0), due(1, 59), due(2, 59), due(1, 60)], [true, false, true, true]);
        for text in 0..10_000 {
            due(text, 61);
        }
        assert_eq!(repeats.0.lock().len(), TEXTS_MAX);
    }

    /// Counts the events that reach it.
    struct Count(Arc<Mutex<usize>>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            *self.0.lock() += 1;
        }
    }

    #[test]
    fn only_what_repeats_is_dropped() {
        let count = Arc::new(Mutex::new(0));
        let subscriber = tracing_subscriber::registry().with(Count(Arc::clone(&count))).with(Repeats::default());
        let _guard = tracing::subscriber::set_default(subscriber);
        let count_of = |say: &dyn Fn()| {
            *count.lock() = 0;
            say();
            *count.lock()
        };
        assert_eq!(count_of(&|| (0..5).for_each(|_| tracing::warn!(reason = "refused", "no answer"))), 1);
        assert_eq!(count_of(&|| (0..5).for_each(|offset| tracing::warn!(offset, "unreadable"))), 5);
        assert_eq!(count_of(&|| (0..5).for_each(|_| tracing::info!("a request"))), 5);
    }
}
