//! How long the permission of a request stands: a stream ends with it.

use std::sync::Arc;
use std::time::Duration;

use domain::UnixMillis;
use tokio::sync::watch;

use super::table::TokenTable;
use super::token::TokenDigest;
use crate::scopes::Principal;

/// How often the clock is looked at while a token runs out: it may be set meanwhile.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// How long the permission of a request stands; an extension of the request.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// Everybody may read.
    Open,
    /// As long as the file of tokens says the same of the token.
    Listed {
        tokens: watch::Receiver<Arc<TokenTable>>,
        digest: TokenDigest,
        principal: Principal,
    },
    Until(UnixMillis),
}

impl Standing {
    /// Waits until the permission has ended, and returns why. Cancel-safe.
    pub(crate) async fn ended(&mut self, clock: fn() -> UnixMillis) -> &'static str {
        match self {
            Self::Open => std::future::pending().await,
            Self::Listed { tokens, digest, principal } => {
                let stands = |table: &Arc<TokenTable>| {
                    let listed = table.principal(digest);
                    listed.is_some_and(|listed| listed.name == principal.name && listed.scopes == principal.scopes)
                };
                // Without a sender the service is ending, and the stream with it.
                if tokens.wait_for(|table| !stands(table)).await.is_err() {
                    std::future::pending::<()>().await;
                }
                "the permission of the token was taken back or changed"
            }
            Self::Until(until) => loop {
                let left = until.millis().saturating_sub(clock().millis());
                let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else {
                    return "the token has expired";
                };
                tokio::time::sleep(Duration::from_millis(left).min(LOOK_MAX)).await;
            },
        }
    }
}
