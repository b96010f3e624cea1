//! What `rollcall --version` prints: the release, its commit, and the C libraries that are linked.

use std::sync::LazyLock;

/// Returns the version with the commit and the libraries, a line each.
pub(crate) fn long() -> &'static str {
    static LONG: LazyLock<String> = LazyLock::new(|| {
        format!(
            "{}\ncommit      {}\nlibrdkafka  {}\nOpenSSL     {}",
            env!("CARGO_PKG_VERSION"),
            env!("BUILD_COMMIT"),
            kafka::client::library_version(),
            openssl::version::version().trim_start_matches("OpenSSL "),
        )
    });
    &LONG
}
