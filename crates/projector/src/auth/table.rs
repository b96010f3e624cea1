//! The file of tokens: a line for each, `NAME SHA-256 SCOPE,SCOPE`. A name may have several, so that a token is renewed
//! without a gap.

use std::collections::BTreeSet;
use std::sync::Arc;

use openssl::memcmp;

use super::follow::Followed;
use super::token::{PrincipalName, TokenDigest, digest};
use crate::scopes::{Principal, Scope, Scopes};

/// The most tokens of a file: a request is compared with each.
const TOKENS_MAX: usize = 1_000;

/// The tokens of a file.
#[derive(Debug, Default)]
pub(crate) struct TokenTable(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    digest: TokenDigest,
    principal: Principal,
}

/// The first fault of a file. It quotes nothing: a token could stand where its digest belongs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TableFault {
    #[error("line {line}: {reason}")]
    Line { line: usize, reason: String },
    #[error("it has more than {TOKENS_MAX} tokens")]
    TooMany,
    #[error("it is not UTF-8")]
    NotText,
}

impl Followed for TokenTable {
    type Fault = TableFault;
    const SOURCE: &'static str = "token_file";
    const BYTES_MAX: usize = 1 << 20;

    /// Reads the lines. Empty ones and those that begin with `#` are skipped.
    fn of(bytes: &[u8]) -> Result<Self, TableFault> {
        let text = std::str::from_utf8(bytes).map_err(|_| TableFault::NotText)?;
        let (mut entries, mut seen) = (Vec::new(), BTreeSet::new());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fault = |reason: String| TableFault::Line { line: index + 1, reason };
            let entry = entry(line).map_err(fault)?;
            if !seen.insert(entry.digest) {
                return Err(fault("the token has a line already".to_owned()));
            }
            entries.push(entry);
        }
        if entries.len() > TOKENS_MAX { Err(TableFault::TooMany) } else { Ok(Self(entries)) }
    }
}

impl TokenTable {
    /// Returns the principal of a token. The time depends on the number of tokens alone: each is compared, whole.
    pub(super) fn principal(&self, token: &TokenDigest) -> Option<&Principal> {
        self.0.iter().fold(None, |found, entry| {
            let is_it = memcmp::eq(&entry.digest, token);
            if is_it { Some(&entry.principal) } else { found }
        })
    }

    /// Returns the principal of a token as sent.
    pub(super) fn bearer(&self, token: &[u8]) -> Option<(TokenDigest, &Principal)> {
        let digest = digest(token);
        self.principal(&digest).map(|principal| (digest, principal))
    }
}

fn entry(line: &str) -> Result<Entry, String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [name, digest, scopes] = words[..] else {
        return Err("expected a name, the SHA-256 of a token in hex, and scopes separated by commas".to_owned());
    };
    let name: PrincipalName = name.parse().map_err(|error| format!("{error}"))?;
    let mut bytes = TokenDigest::default();
    let expected = |_| "expected the SHA-256 of a token, 64 hexadecimal digits, as `rollcall token new` prints it";
    hex::decode_to_slice(digest, &mut bytes).map_err(expected)?;
    let scopes: Result<Scopes, _> = scopes.split(',').map(str::parse::<Scope>).collect();
    let scopes = scopes.map_err(|error| error.to_string())?;
    Ok(Entry { digest: bytes, principal: Principal { name: Arc::from(name.as_str()), scopes, until: None } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::NewToken;

    #[test]
    fn a_token_is_found_by_its_digest() {
        let (desk, payroll) = (NewToken::from_random([1; 32]), NewToken::from_random([2; 32]));
        let text = format!(
            "# readers\n\n{}\r\n  {}\n",
            desk.line(&"desk".parse().unwrap(), [Scope::UsersRead].into_iter().collect()),
            payroll.line(&"payroll".parse().unwrap(), Scopes::ALL)
        );
        let table = TokenTable::of(text.as_bytes()).unwrap();
        let found =
            |token: &str| table.bearer(token.as_bytes()).map(|(_, found)| (found.name.to_string(), found.scopes));
        assert_eq!(found(desk.expose()), Some(("desk".to_owned(), [Scope::UsersRead].into_iter().collect())));
        assert_eq!(found(payroll.expose()), Some(("payroll".to_owned(), Scopes::ALL)));
        for wrong in ["", "rollcall_", &hex::encode(digest(desk.expose().as_bytes())), desk.expose().get(..72).unwrap()]
        {
            assert_eq!(found(wrong), None, "{wrong}");
        }
        assert!(TokenTable::of(b"").unwrap().bearer(b"").is_none());
    }

    #[test]
    fn a_fault_names_its_line_and_quotes_nothing() {
        let digest = "0".repeat(64);
        for (text, line, part) in [
            ("desk hunter2 users:read".to_owned(), 1, "64 hexadecimal digits"),
            (format!("\ndesk {digest}"), 2, "expected a name"),
            (format!("desk {digest} users:read hunter2"), 1, "expected a name"),
            (format!("desk {digest} users:hunter2"), 1, "users:contact"),
            (format!("hunter2! {digest} users:read"), 1, "letters"),
            (format!("a {digest} users:read\nb {digest} users:read"), 2, "already"),
        ] {
            let fault = TokenTable::of(text.as_bytes()).unwrap_err().to_string();
            assert!(fault.starts_with(&format!("line {line}: ")) && fault.contains(part), "{fault}");
            assert!(!fault.contains("hunter2"), "{fault}");
        }
        let many: String = (0..=TOKENS_MAX).map(|index| format!("a {index:064} users:read\n")).collect();
        assert_eq!(TokenTable::of(many.as_bytes()).unwrap_err(), TableFault::TooMany);
    }
}
