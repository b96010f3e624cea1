//! What each principal takes of the service: requests in flight, and streams.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::denied::Denied;

/// The share of one principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShareLimits {
    pub(crate) requests_max: usize,
    pub(crate) streams_max: usize,
}

/// The places that principals hold. Only those who hold one are known.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    limits: ShareLimits,
    held: Arc<Mutex<FxHashMap<Arc<str>, Held>>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    requests: usize,
    streams: usize,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shares: Shares,
    principal: Arc<str>,
    is_stream: bool,
}

impl Shares {
    pub(crate) fn new(limits: ShareLimits) -> Self {
        Self { limits, held: Arc::default() }
    }

    /// Takes the place of a request.
    ///
    /// # Errors
    /// [`Denied::Requests`] when the principal holds its share.
    pub(crate) fn request(&self, principal: &Arc<str>) -> Result<Place, Denied> {
        let mut held = self.held.lock();
        let of_it = held.entry(Arc::clone(principal)).or_default();
        if of_it.requests >= self.limits.requests_max {
            return Err(Denied::Requests);
        }
        of_it.requests += 1;
        Ok(Place { shares: self.clone(), principal: Arc::clone(principal), is_stream: false })
    }

    #[cfg(test)]
    fn principals(&self) -> usize {
        self.held.lock().len()
    }
}

impl Place {
    /// Turns the place of a request into that of a stream.
    ///
    /// # Errors
    /// [`Denied::Streams`] when the principal holds its share.
    pub(crate) fn into_stream(mut self) -> Result<Self, Denied> {
        {
            let mut held = self.shares.held.lock();
            let of_it = held.entry(Arc::clone(&self.principal)).or_default();
            if of_it.streams >= self.shares.limits.streams_max {
                return Err(Denied::Streams);
            }
            (of_it.requests, of_it.streams) = (of_it.requests.saturating_sub(1), of_it.streams + 1);
        }
        self.is_stream = true;
        Ok(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.shares.held.lock();
        if let Some(of_it) = held.get_mut(&self.principal) {
            let count = if self.is_stream { &mut of_it.streams } else { &mut of_it.requests };
            *count = count.saturating_sub(1);
            if of_it.requests == 0 && of_it.streams == 0 {
                held.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_at_its_share_takes_nothing_from_another() {
        let shares = Shares::new(ShareLimits { requests_max: 2, streams_max: 1 });
        let (desk, payroll): (Arc<str>, Arc<str>) = (Arc::from("desk"), Arc::from("payroll"));
        let (first, second) = (shares.request(&desk).unwrap(), shares.request(&desk).unwrap());
        assert_eq!(shares.request(&desk).unwrap_err(), Denied::Requests);
        drop(shares.request(&payroll).unwrap());
        let stream = first.into_stream().unwrap();
        let third = shares.request(&desk).unwrap();
        assert_eq!(third.into_stream().unwrap_err(), Denied::Streams);
        drop(second);
        assert_eq!(shares.principals(), 1);
        drop(stream);
        assert_eq!(shares.principals(), 0, "who holds nothing is not known");
    }
}
