//! Who may read: the principal of a request, by its field `Authorization` alone.

use std::net::SocketAddr;
use std::sync::Arc;

use domain::UnixMillis;
use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use service::Shutdown;
use tokio::sync::watch;

use super::denied::{Denials, Denied};
use super::follow::{Followed, follow};
use super::jwt;
use super::keys::Keys;
use super::remote_keys::RemoteKeys;
use super::settings::{Access, Expected, KeySource};
use super::standing::Standing;
use super::table::TokenTable;
use crate::scopes::Principal;

/// The scheme of `Authorization` (RFC 6750). Its case does not matter.
const BEARER: &[u8] = b"bearer ";

/// Those who may read, by a token of the file or by a JWT.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    tokens: Option<watch::Receiver<Arc<TokenTable>>>,
    issuer: Option<(Expected, IssuerKeys)>,
    clock: fn() -> UnixMillis,
}

#[derive(Clone, Debug)]
enum IssuerKeys {
    Listed(watch::Receiver<Arc<Keys>>),
    Remote(RemoteKeys),
}

/// A principal that was admitted, and how long.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) principal: Principal,
    pub(crate) standing: Standing,
}

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("auth.token_file cannot be used")]
    Tokens(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("auth.jwt.jwks_file cannot be used")]
    Keys(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(
        "{0} is reached from other machines, and nothing says who may read: set auth.token_file or [auth.jwt], or \
         auth.allow_anonymous = true"
    )]
    Open(SocketAddr),
}

/// The parts that keep tokens and keys true to their files and servers.
pub(crate) type Parts = Vec<BoxFuture<'static, ()>>;

impl Readers {
    /// Reads tokens and keys once. The parts that are returned read them again until `stop`.
    ///
    /// # Errors
    /// [`Error`] when a file cannot be used. An issuer that does not answer is asked again.
    pub(crate) fn open(
        access: Access,
        clock: fn() -> UnixMillis,
        denials: &Denials,
        stop: &Shutdown,
    ) -> Result<(Self, Parts), Error> {
        let mut parts: Parts = Vec::new();
        let mut tokens = None;
        if let Some(path) = access.token_file {
            let (to, held) =
                watch::channel(Arc::new(TokenTable::read(&path).map_err(|fault| Error::Tokens(fault.into()))?));
            parts.push(Box::pin(follow(path, to, denials.clone(), stop.clone())));
            tokens = Some(held);
        }
        let mut issuer = None;
        if let Some(found) = access.issuer {
            let keys = match found.keys {
                KeySource::File(path) => {
                    let (to, held) =
                        watch::channel(Arc::new(Keys::read(&path).map_err(|fault| Error::Keys(fault.into()))?));
                    parts.push(Box::pin(follow(path, to, denials.clone(), stop.clone())));
                    IssuerKeys::Listed(held)
                }
                KeySource::Url(endpoint) => {
                    let (keys, fetching) = RemoteKeys::of(endpoint, denials.clone(), stop.clone());
                    parts.push(Box::pin(fetching));
                    IssuerKeys::Remote(keys)
                }
            };
            issuer = Some((found.expected, keys));
        }
        Ok((Self { tokens, issuer, clock }, parts))
    }

    /// Returns the principal of a request.
    ///
    /// # Errors
    /// The first fault. After [`Denied::UnknownKey`] a judgement of [`Readers::judge_again`] may differ.
    pub(crate) fn judge(&self, headers: &HeaderMap) -> Result<Admitted, Denied> {
        let token = bearer(headers)?;
        if let Some(tokens) = &self.tokens
            && let Some((digest, principal)) = tokens.borrow().bearer(token)
        {
            let principal = principal.clone();
            let standing = Standing::Listed { tokens: tokens.clone(), digest, principal: principal.clone() };
            return Ok(Admitted { principal, standing });
        }
        let Some((expected, keys)) = &self.issuer else { return Err(Denied::UnknownToken) };
        let token = std::str::from_utf8(token).map_err(|_| Denied::UnknownToken)?;
        let principal = jwt::principal(token, &keys.now(), expected, (self.clock)())?;
        let standing = principal.until.map_or(Standing::Open, Standing::Until);
        Ok(Admitted { principal, standing })
    }

    /// Returns the principal of a request whose key was not known, after the keys were fetched again.
    ///
    /// # Errors
    /// As [`Readers::judge`].
    pub(crate) async fn judge_again(&self, headers: &HeaderMap) -> Result<Admitted, Denied> {
        let Some((_, IssuerKeys::Remote(keys))) = &self.issuer else { return self.judge(headers) };
        keys.refresh().await;
        match self.judge(headers) {
            Err(Denied::UnknownKey) if keys.are_unavailable() => Err(Denied::KeysUnavailable),
            judged => judged,
        }
    }
}

impl IssuerKeys {
    fn now(&self) -> Arc<Keys> {
        match self {
            Self::Listed(keys) => Arc::clone(&keys.borrow()),
            Self::Remote(keys) => Arc::clone(&keys.fetched.borrow().keys),
        }
    }
}

/// Returns the token of a request. Another place, such as the query, has none.
fn bearer(headers: &HeaderMap) -> Result<&[u8], Denied> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    match (fields.next().map(HeaderValue::as_bytes), fields.next()) {
        (_, Some(_)) => Err(Denied::SeveralTokens),
        (Some(field), None) => {
            let (scheme, token) = field.split_at_checked(BEARER.len()).ok_or(Denied::NoToken)?;
            if scheme.eq_ignore_ascii_case(BEARER) { Ok(token.trim_ascii()) } else { Err(Denied::NoToken) }
        }
        (None, None) => Err(Denied::NoToken),
    }
}
