//! The clock and the environment of the process. No other file of a service reads either.

use domain::UnixMillis;

/// Returns the current time. It is the clock of both services.
pub(crate) fn now() -> UnixMillis {
    UnixMillis::from_millis(jiff::Timestamp::now().as_millisecond())
}

/// Returns the environment for the configuration. A variable that is not UTF-8 is not Rollcall's and is skipped.
pub(crate) fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
