//! Why there is no TLS with a server: the reason and the remedy.

use std::ffi::c_int;
use std::fmt;

use openssl::x509::X509VerifyResult;

// OpenSSL's reasons for which a certificate is refused (`X509_V_ERR_…`).
const NOT_YET_VALID: c_int = 9;
const HAS_EXPIRED: c_int = 10;
/// The authority is unknown, or the certificate is its own.
const OF_NO_AUTHORITY: [c_int; 5] = [2, 18, 19, 20, 21];
const HOSTNAME_MISMATCH: c_int = 62;
const IP_ADDRESS_MISMATCH: c_int = 64;

/// The reason why there is no TLS with a server.
#[derive(Debug)]
pub struct NoTls {
    verified: X509VerifyResult,
    error: openssl::ssl::Error,
}

impl NoTls {
    pub(super) fn new(verified: X509VerifyResult, error: openssl::ssl::Error) -> Self {
        Self { verified, error }
    }

    /// Returns whether the server has shown a certificate that is refused.
    pub fn is_untrusted(&self) -> bool {
        self.verified != X509VerifyResult::OK
    }

    /// Returns whether the server answers in another protocol.
    pub fn is_other_protocol(&self) -> bool {
        let errors = self.error.ssl_error().map(openssl::error::ErrorStack::errors).unwrap_or_default();
        let is_other =
            |reason: &str| ["wrong version number", "packet length too long", "http request"].contains(&reason);
        errors.iter().filter_map(|error| error.reason()).any(is_other)
    }
}

impl fmt::Display for NoTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code: c_int = self.verified.as_raw();
        match code {
            _ if OF_NO_AUTHORITY.contains(&code) => write!(
                f,
                "its certificate comes from an authority that is not trusted here ({}); name a file with that \
                 authority's certificate: --ca-file of a command, ca_file in a configuration",
                self.verified.error_string()
            ),
            HOSTNAME_MISMATCH | IP_ADDRESS_MISMATCH => f.write_str(
                "its certificate is of another host; use a name that the certificate has, or a certificate that has \
                 this one",
            ),
            HAS_EXPIRED => f.write_str("its certificate has expired; renew it, or set the clock of this machine"),
            NOT_YET_VALID => f.write_str("its certificate is not valid yet; set the clock of this machine"),
            _ if self.is_untrusted() => {
                write!(f, "its certificate is refused: {}", self.verified.error_string())
            }
            _ if self.is_other_protocol() => {
                f.write_str("it does not speak TLS on this port; use http:// or its port for https")
            }
            _ => write!(f, "{}", self.error),
        }
    }
}

impl std::error::Error for NoTls {}
