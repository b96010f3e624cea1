//! Many subscribers at once.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Outcome;
use crate::load::histogram;
use crate::records::{GROUPS, Records};
use crate::stream::{Dues, Heard, Stream};

/// So many subscribers share a histogram.
const SHARDS: usize = 16;
/// How many connect at once.
const ARRIVING: usize = 64;
/// A crowd that has been sent nothing for so long is not sent any more.
const QUIET_MAX: Duration = Duration::from_secs(60);
/// The same where some were cut off: what is due to those does not come.
const QUIET_MAX_AFTER_CUT_OFF: Duration = Duration::from_secs(5);
/// What has not been sent so long after the last change counts as not sent.
const SENT_WAIT_MAX: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What a subscriber wants to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    All,
    /// The users of one group of [`GROUPS`].
    Group,
}

impl Wish {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "subscribers of everything",
            Self::Group => "subscribers of a fiftieth",
        }
    }

    pub(super) fn query(self, nth: usize) -> String {
        match self {
            Self::All => String::new(),
            Self::Group => format!("?privGroup={}", nth as u64 % GROUPS),
        }
    }
}

/// The subscribers, each read by a task of its own.
#[derive(Debug)]
pub(super) struct Crowd {
    wish: Wish,
    readers: JoinSet<Outcome<()>>,
    leaves: watch::Sender<bool>,
    heard: Arc<Ears>,
    subscribers: usize,
}

#[derive(Debug)]
struct Ears {
    delays: Vec<Mutex<Histogram<u64>>>,
    sent: AtomicU64,
    cut_off: AtomicU64,
}

impl Crowd {
    /// Opens so many streams that go on from an id.
    pub(super) async fn gather(
        server: SocketAddr,
        subscribers: usize,
        wish: Wish,
        from: &str,
        dues: &Arc<Dues>,
    ) -> Outcome<Self> {
        let delays = (0..SHARDS).map(|_| Ok(Mutex::new(histogram()?))).collect::<Outcome<_>>()?;
        let heard = Arc::new(Ears { delays, sent: AtomicU64::new(0), cut_off: AtomicU64::new(0) });
        let (leaves, left) = watch::channel(false);
        let (mut readers, mut arriving, mut nth) = (JoinSet::new(), JoinSet::new(), 0);
        while nth < subscribers || !arriving.is_empty() {
            while nth < subscribers && arriving.len() < ARRIVING {
                let (query, from) = (wish.query(nth), from.to_owned());
                arriving.spawn(async move {
                    let mut stream = Stream::open(server, &query, &from).await?;
                    stream.caught_up().await?;
                    Outcome::Ok((nth, stream))
                });
                nth += 1;
            }
            if let Some(arrived) = arriving.join_next().await {
                let (nth, stream) = arrived??;
                readers.spawn(heard.clone().follow(nth % SHARDS, stream, Arc::clone(dues), left.clone()));
            }
        }
        Ok(Self { wish, readers, leaves, heard, subscribers })
    }

    /// Returns how many events all of them together are to be sent of these changes.
    pub(super) fn due(&self, records: &Records, numbers: Range<u64>) -> u64 {
        let subscribers = self.subscribers as u64;
        let wanting = |number: u64| match self.wish {
            Wish::All => subscribers,
            Wish::Group => {
                let group = records.group(number);
                subscribers / GROUPS + u64::from(group < subscribers % GROUPS)
            }
        };
        numbers.map(wanting).sum()
    }

    /// Waits until all have been sent what is due, or nothing is sent any more, or it takes too long.
    pub(super) async fn until_served(&self, due: u64) {
        let (mut last, mut quiet, mut quiet_max) = (0, Duration::ZERO, QUIET_MAX);
        let until = Instant::now() + SENT_WAIT_MAX;
        while last < due && quiet < quiet_max && Instant::now() < until {
            if self.heard.cut_off.load(Ordering::Relaxed) > 0 {
                quiet_max = QUIET_MAX_AFTER_CUT_OFF;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
            let sent = self.heard.sent.load(Ordering::Relaxed);
            quiet = if sent > last { Duration::ZERO } else { quiet + LOOK_INTERVAL };
            last = sent;
        }
    }

    /// Closes all streams, and returns the delays of all events and how many streams had been cut off.
    pub(super) async fn leave(mut self) -> Outcome<(Histogram<u64>, u64)> {
        self.leaves.send_replace(true);
        while let Some(read) = self.readers.join_next().await {
            read??;
        }
        let mut sum = histogram()?;
        for delays in &self.heard.delays {
            sum.add(&*delays.lock().map_err(|_| "a reader panicked")?)?;
        }
        Ok((sum, self.heard.cut_off.load(Ordering::Relaxed)))
    }
}

impl Ears {
    /// Reads a stream until its reader leaves or it is cut off.
    async fn follow(
        self: Arc<Self>,
        shard: usize,
        mut stream: Stream,
        dues: Arc<Dues>,
        mut left: watch::Receiver<bool>,
    ) -> Outcome<()> {
        let reading = async {
            loop {
                let mut heard = Vec::new();
                let goes_on = stream.read(|event| heard.push(event)).await?;
                self.note(shard, &heard, &dues);
                if !goes_on || heard.contains(&Heard::CutOff) {
                    self.cut_off.fetch_add(1, Ordering::Relaxed);
                    return Outcome::Ok(());
                }
            }
        };
        tokio::select! {
            read = reading => read,
            _ = left.wait_for(|left| *left) => Ok(()),
        }
    }

    fn note(&self, shard: usize, heard: &[Heard], dues: &Dues) {
        if let Ok(mut delays) = self.delays[shard].lock() {
            let before = delays.len();
            heard.iter().for_each(|event| dues.record(*event, &mut delays));
            self.sent.fetch_add(delays.len() - before, Ordering::Relaxed);
        }
    }
}
