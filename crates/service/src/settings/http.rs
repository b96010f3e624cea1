//! `[http]`: the main listener of a service, its limits and its TLS.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::Faults;
use crate::hosts::{AllowedHosts, host_name};
use crate::secret::check_permissions;
use crate::serve::ServerLimits;
use crate::settings::networks;
use crate::telemetry::chain;
use crate::tls::{self, Files, Tls};

/// `[http]`: the main listener of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// `address:port`. Empty means the service's default.
    pub listen: String,
    pub connections_max: usize,
    pub connections_per_source_max: usize,
    pub connections_reserved: usize,
    /// The networks that the reserve is for, and that have no share: a proxy, a gateway.
    pub preferred_sources: Vec<String>,
    pub header_read_ms: u64,
    pub idle_ms: u64,
    pub header_bytes_max: usize,
    pub close_delay_ms: u64,
    pub drain_ms: u64,
    pub tls_certificate_file: Option<PathBuf>,
    pub tls_key_file: Option<PathBuf>,
    /// The authorities of the certificates that clients must have.
    pub tls_client_ca_file: Option<PathBuf>,
    /// The names in `Host`, without a port, by which the service may be asked. Empty means the service's default.
    pub allowed_hosts: Vec<String>,
}

impl Default for Http {
    fn default() -> Self {
        let limits = ServerLimits::default();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).expect("a default is seconds, not ages");
        Self {
            listen: String::new(),
            connections_max: limits.connections_max,
            connections_per_source_max: limits.connections_per_source_max,
            connections_reserved: limits.connections_reserved,
            preferred_sources: Vec::new(),
            header_read_ms: millis(limits.header_read),
            idle_ms: millis(limits.idle),
            header_bytes_max: limits.header_bytes_max,
            close_delay_ms: millis(Self::CLOSE_DELAY),
            drain_ms: millis(limits.drain),
            tls_certificate_file: None,
            tls_key_file: None,
            tls_client_ca_file: None,
            allowed_hosts: Vec::new(),
        }
    }
}

impl Http {
    /// hyper's minimum for the buffer of a request's head.
    const HEADER_BYTES_MIN: usize = 8192;
    /// Kubernetes takes a pod out of its Service within a second or two; a load balancer that asks `/readyz` every two
    /// seconds needs one answer and its own delay.
    const CLOSE_DELAY: Duration = Duration::from_secs(5);

    /// Returns the limits of the section. Adds a fault for each limit out of range.
    pub fn limits(&self, faults: &mut Faults) -> ServerLimits {
        let at_least_one = [
            ("http.connections_max", self.connections_max as u64),
            ("http.connections_per_source_max", self.connections_per_source_max as u64),
            ("http.header_read_ms", self.header_read_ms),
            ("http.idle_ms", self.idle_ms),
        ];
        for (key, value) in at_least_one {
            if value == 0 {
                faults.push(key, "expected at least 1");
            }
        }
        if self.header_bytes_max < Self::HEADER_BYTES_MIN {
            faults.push("http.header_bytes_max", format!("expected at least {}", Self::HEADER_BYTES_MIN));
        }
        ServerLimits {
            connections_max: self.connections_max.max(1),
            connections_per_source_max: self.connections_per_source_max,
            connections_reserved: self.connections_reserved,
            header_read: Duration::from_millis(self.header_read_ms),
            idle: Duration::from_millis(self.idle_ms),
            header_bytes_max: self.header_bytes_max.max(Self::HEADER_BYTES_MIN),
            close_delay: Duration::from_millis(self.close_delay_ms),
            drain: Duration::from_millis(self.drain_ms),
            ..ServerLimits::default()
        }
    }

    /// Returns the networks that are preferred. Adds a fault for each text that is none.
    pub fn preferred(&self, faults: &mut Faults) -> Vec<IpNet> {
        networks("http.preferred_sources", &self.preferred_sources, faults)
    }

    /// Returns the names by which the service may be asked, or `default` when none are set. Adds a fault for a text
    /// that is no name.
    pub fn hosts(&self, default: AllowedHosts, faults: &mut Faults) -> AllowedHosts {
        let name = |text: &String| {
            let name = host_name(text);
            if name.is_none() {
                faults.push("http.allowed_hosts", "expected names or addresses without a port, as in users.example");
            }
            name
        };
        let names: Vec<String> = self.allowed_hosts.iter().filter_map(name).collect();
        if self.allowed_hosts.is_empty() { default } else { AllowedHosts::Named(names.into()) }
    }

    /// Returns the TLS settings of the section, if present. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`tls::Error`] when the files cannot be used. [`Http::check_tls`] checks that both or neither are named.
    pub fn tls(&self) -> Result<Option<Tls>, tls::Error> {
        self.tls_files().map(|files| Tls::open(files, tls::RELOAD_INTERVAL)).transpose()
    }

    fn tls_files(&self) -> Option<Files> {
        Some(Files {
            certificate: named(self.tls_certificate_file.as_ref())?,
            key: named(self.tls_key_file.as_ref())?,
            client_authorities: named(self.tls_client_ca_file.as_ref()),
        })
    }

    /// Adds a fault when only one of certificate and key is named, and for each file that cannot be used.
    pub fn check_tls(&self, faults: &mut Faults) {
        let is_named = |file: &Option<PathBuf>| named(file.as_ref()).is_some();
        match (is_named(&self.tls_certificate_file), is_named(&self.tls_key_file)) {
            (true, false) => faults.push("http.tls_key_file", "expected beside tls_certificate_file"),
            (false, true) => faults.push("http.tls_certificate_file", "expected beside tls_key_file"),
            (false, false) if is_named(&self.tls_client_ca_file) => {
                faults.push("http.tls_client_ca_file", "expected beside tls_certificate_file and tls_key_file");
            }
            (false, false) | (true, true) => {}
        }
        let [certificate, key, authorities] =
            [&self.tls_certificate_file, &self.tls_key_file, &self.tls_client_ca_file].map(|file| named(file.as_ref()));
        if let Some(key) = &key {
            check_permissions("http.tls_key_file", key, faults);
        }
        for error in Tls::faults(certificate.as_deref(), key.as_deref(), authorities.as_deref()) {
            let at = match &error {
                tls::Error::Key { .. } | tls::Error::OtherKey { .. } | tls::Error::Passphrase { .. } => {
                    "http.tls_key_file"
                }
                tls::Error::Authorities { .. } => "http.tls_client_ca_file",
                tls::Error::File { path, .. } if Some(path) == key.as_ref() => "http.tls_key_file",
                tls::Error::File { path, .. } if Some(path) == authorities.as_ref() => "http.tls_client_ca_file",
                tls::Error::File { .. } | tls::Error::Certificate { .. } | tls::Error::Defaults(_) => {
                    "http.tls_certificate_file"
                }
            };
            faults.push(at, chain(&error));
        }
    }
}

/// Returns the name of a file. An empty one counts as absent, so that the example file can show the key.
fn named(file: Option<&PathBuf>) -> Option<PathBuf> {
    file.filter(|path| !path.as_os_str().is_empty()).cloned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::listen_address;

    #[test]
    fn tls_files_are_loaded_before_they_are_needed() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        let (empty, gone) = (empty.path(), Path::new("/no/such/file.pem"));
        let [certificate, key, authorities] =
            ["http.tls_certificate_file", "http.tls_key_file", "http.tls_client_ca_file"];
        for (files, expected) in [
            ([Some(empty), Some(gone), None], &[(certificate, "not a PEM certificate"), (key, "cannot be read")][..]),
            (
                [Some(empty), Some(empty), None],
                &[(certificate, "not a PEM certificate"), (key, "not a PEM private key")],
            ),
            (
                [Some(gone), Some(Path::new("/no/key")), Some(Path::new("/no/ca"))],
                &[(certificate, "cannot be read"), (key, "cannot be read"), (authorities, "cannot be read")],
            ),
            ([None, Some(gone), None], &[(certificate, "beside tls_key_file"), (key, "cannot be read")]),
            (
                [None, None, Some(empty)],
                &[(authorities, "beside tls_cert"), (authorities, "no certificate authorities")],
            ),
        ] {
            let [tls_certificate_file, tls_key_file, tls_client_ca_file] = files.map(|file| file.map(Path::to_owned));
            let http = Http { tls_certificate_file, tls_key_file, tls_client_ca_file, ..Http::default() };
            let mut faults = Faults::default();
            http.check_tls(&mut faults);
            assert_eq!(faults.iter().count(), expected.len(), "{faults}");
            for (fault, (at, reason)) in faults.iter().zip(expected) {
                assert!(fault.key == *at && fault.reason.contains(reason), "{fault}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_tls_file_is_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let [(certificate, key), (_, other)] = [(); 2].map(|()| testkit::tls::self_signed("localhost"));
        let certificate = certificate.to_pem().unwrap();
        let [key, other] = [key, other].map(|key| key.private_key_to_pem_pkcs8().unwrap());
        let (chain, key, other) = (file("c", &certificate), file("k", &key), file("other", &other));
        let (empty, garbage) = (file("empty", b""), file("garbage", b"garbage\n"));
        let cut = file("cut", &certificate[..certificate.len() / 2]);
        for (certificate, key, reason) in [
            (&chain, &other, "other is not the private key of the certificate in "),
            (&empty, &key, "empty is not a PEM certificate chain: it is empty"),
            (&garbage, &key, "garbage is not a PEM certificate chain: there is no PEM of that kind in it"),
            (&cut, &key, "cut is not a PEM certificate chain: its text is cut off or damaged"),
            (&key, &key, "k is not a PEM certificate chain: it has a private key and no certificate"),
            (&chain, &empty, "empty is not a PEM private key: it is empty"),
            (&chain, &garbage, "garbage is not a PEM private key: there is no PEM of that kind in it"),
            (&chain, &chain, "c is not a PEM private key: it has a certificate and no private key"),
        ] {
            let (tls_certificate_file, tls_key_file) = (Some(certificate.clone()), Some(key.clone()));
            let mut faults = Faults::default();
            Http { tls_certificate_file, tls_key_file, ..Http::default() }.check_tls(&mut faults);
            let told = faults.to_string();
            assert!(told.contains(&format!("/{reason}")) && !told.contains("error:"), "{reason}: {told}");
        }
        for (ca, reason) in [
            (&empty, "empty has no certificate authorities that can be used: it is empty".to_owned()),
            (&key, "k has no certificate authorities that can be used: it has a private key".to_owned()),
            (
                &folder.path().join("none"),
                "none has no certificate authorities that can be used: it cannot be".to_owned(),
            ),
        ] {
            let told = crate::client::check_authorities(ca).unwrap_err();
            assert!(told.to_string().contains(&reason) && std::error::Error::source(&told).is_none(), "{told}");
        }
    }

    #[test]
    fn client_authorities_need_a_certificate_of_the_server() {
        let mut faults = Faults::default();
        Http { tls_client_ca_file: Some("ca.pem".into()), ..Http::default() }.check_tls(&mut faults);
        assert_eq!(faults.iter().next().unwrap().key, "http.tls_client_ca_file");
    }

    #[test]
    fn names_of_the_host_have_no_port() {
        let (mut faults, any) = (Faults::default(), AllowedHosts::Any);
        let of = |names: &[&str]| Http {
            allowed_hosts: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Http::default()
        };
        assert_eq!(of(&[]).hosts(any.clone(), &mut faults), any);
        let named = AllowedHosts::Named(["users.example".to_owned()].into());
        assert_eq!(of(&["Users.example"]).hosts(any.clone(), &mut faults), named);
        assert!(faults.is_empty());
        of(&["users.example:443"]).hosts(any, &mut faults);
        assert_eq!(faults.iter().next().unwrap().key, "http.allowed_hosts");
    }

    #[test]
    fn limits_out_of_range_are_faults() {
        let mut faults = Faults::default();
        let http = Http {
            connections_max: 0,
            header_bytes_max: 1,
            header_read_ms: 0,
            tls_key_file: Some("k".into()),
            ..Http::default()
        };
        http.limits(&mut faults);
        http.check_tls(&mut faults);
        listen_address("http.listen", "nowhere", ([127, 0, 0, 1], 1).into(), &mut faults);
        // That the certificate is not named, and that the key is not there, too.
        assert_eq!(faults.iter().count(), 6, "{faults}");
    }
}
