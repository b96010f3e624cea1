//! The trail (target `audit`): who asked which route, and what the answer was. Neither path nor query is in it: they
//! name users.
//!
//! Requests of one second that are alike share a line with their number. A line for each would take a tenth of the
//! time of an answer, and a stranger without a token could fill the disk.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::MatchedPath;
use http::StatusCode;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use service::Shutdown;

use crate::auth::Denied;

/// How long a request may wait for its line.
const INTERVAL: Duration = Duration::from_secs(1);
/// With so many different lines, they are written before the interval is over.
const LINES_MAX: usize = 1_000;

/// Requests whose lines are not written yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    requests: FxHashMap<Line, u64>,
    is_stopping: bool,
}

/// What a line says of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Line {
    pub(super) principal: Option<Arc<str>>,
    pub(super) route: Option<Route>,
    pub(super) status: StatusCode,
    pub(super) denied: Option<Denied>,
}

/// The pattern of a route.
#[derive(Clone, Debug)]
pub(super) struct Route(pub(super) MatchedPath);

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

impl Trail {
    /// Notes a request.
    pub(super) fn note(&self, line: Line) {
        let is_due = {
            let mut noted = self.0.lock();
            *noted.requests.entry(line).or_default() += 1;
            noted.is_stopping || noted.requests.len() >= LINES_MAX
        };
        if is_due {
            self.write();
        }
    }

    /// Writes the lines until `stop`; from then on each request has a line at once.
    pub(crate) async fn follow(self, stop: Shutdown) {
        while tokio::time::timeout(INTERVAL, stop.requested()).await.is_err() {
            self.write();
        }
        self.stop();
    }

    fn stop(&self) {
        self.0.lock().is_stopping = true;
        self.write();
    }

    fn write(&self) {
        let noted = std::mem::take(&mut self.0.lock().requests);
        for (line, requests) in noted {
            tracing::info!(
                target: "audit",
                principal = line.principal.as_deref(),
                http.route = line.route.as_ref().map(|route| route.0.as_str()),
                http.response.status_code = line.status.as_u16(),
                denied = line.denied.map(Denied::label),
                requests,
                "requests"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(principal: &str, status: StatusCode) -> Line {
        Line { principal: Some(Arc::from(principal)), route: None, status, denied: None }
    }

    #[test]
    fn requests_that_are_alike_share_a_line() {
        let trail = Trail::default();
        for (principal, status) in [
            ("desk", StatusCode::OK),
            ("desk", StatusCode::OK),
            ("desk", StatusCode::FORBIDDEN),
            ("other", StatusCode::OK),
        ] {
            trail.note(line(principal, status));
        }
        let noted = trail.0.lock().requests.clone();
        assert_eq!(noted.len(), 3);
        assert_eq!(noted[&line("desk", StatusCode::OK)], 2);
    }

    #[test]
    fn lines_do_not_pile_up_nor_wait_for_the_end() {
        let trail = Trail::default();
        for principal in 0..LINES_MAX {
            assert!(trail.0.lock().requests.len() < LINES_MAX);
            trail.note(line(&principal.to_string(), StatusCode::OK));
        }
        assert_eq!(trail.0.lock().requests.len(), 0);
        trail.note(line("desk", StatusCode::OK));
        trail.stop();
        assert_eq!(trail.0.lock().requests.len(), 0);
        trail.note(line("desk", StatusCode::OK));
        assert_eq!(trail.0.lock().requests.len(), 0, "while it stops, nothing waits");
    }
}
