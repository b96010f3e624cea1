//! Files that change, and clients that take part without a cluster.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use domain::{PasswordError, PasswordSource};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use tempfile::TempDir;

use super::*;
use crate::Fault;
use crate::client::Renewable;

/// A client that counts how often it is renewed.
#[derive(Default)]
struct Counting(AtomicU32);

impl Renewable for Counting {
    fn renew(&self) -> Result<(), Fault> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[derive(Debug)]
struct PasswordFile(PathBuf);

impl PasswordSource for PasswordFile {
    fn password(&self) -> Result<String, PasswordError> {
        std::fs::read_to_string(&self.0).map_err(|error| Arc::new(error) as PasswordError)
    }
}

fn registered(options: &ClientOptions) -> Arc<Counting> {
    let counting = Arc::<Counting>::default();
    let weak: std::sync::Weak<Counting> = Arc::downgrade(&counting);
    options.credentials.register(weak);
    counting
}

fn options(properties: &[(&str, &str)], credentials: Credentials) -> ClientOptions {
    let mut options = ClientOptions::new("localhost:9092");
    options.properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    options.credentials = credentials;
    options
}

#[test]
fn a_new_password_is_for_clients_that_are_there_and_for_new_ones() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "first").unwrap();
    let credentials = Credentials::open(Some(Arc::new(PasswordFile(path.clone())))).unwrap();
    let login =
        [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "SCRAM-SHA-256"), ("sasl.username", "rollcall")];
    let options = options(&login, credentials);
    assert_eq!(options.validate(), []);
    let (counting, mut watch) = (registered(&options), CredentialsWatch::begin(&options));
    let password = || options.producer().get("sasl.password").map(str::to_owned);

    assert_eq!(watch.look(), Found::Same);
    // Written again with the same content.
    std::fs::write(&path, "first").unwrap();
    assert_eq!((watch.look(), password().as_deref()), (Found::Same, Some("first")));
    std::fs::write(&path, "second").unwrap();
    assert_eq!((password().as_deref(), options.credentials.revision()), (Some("first"), 0), "nobody has looked");
    assert_eq!(watch.look(), Found::Changed(vec!["sasl_password_file"]));
    assert_eq!((password().as_deref(), options.credentials.revision()), (Some("second"), 1));
    assert_eq!(watch.look(), Found::Same);
    assert_eq!(counting.0.load(Ordering::Relaxed), 1);
    assert_eq!(options.context().redact("it is second"), "it is [redacted]");

    std::fs::remove_file(&path).unwrap();
    let Found::Unusable(reason) = watch.look() else { panic!("there is no file") };
    assert!(reason.starts_with("sasl_password_file: "), "{reason}");
    assert_eq!((password().as_deref(), counting.0.load(Ordering::Relaxed)), (Some("second"), 1));
    std::fs::write(&path, "second").unwrap();
    assert_eq!(watch.look(), Found::Same);
    assert!(!format!("{options:?}").contains("second"));
}

#[test]
fn a_certificate_is_used_once_its_key_is_there_too() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [certificate, key, authority] = [path("certificate.pem"), path("key.pem"), path("authority.pem")];
    let write = |files: &[(&String, &Vec<u8>)]| {
        for (path, content) in files {
            std::fs::write(path, content).unwrap();
        }
    };
    let ([first, first_key], [second, second_key]) = (pair(), pair());
    write(&[(&certificate, &first), (&key, &first_key), (&authority, &first)]);
    let tls = [
        ("security.protocol", "SSL"),
        ("ssl.certificate.location", certificate.as_str()),
        ("ssl.key.location", &key),
        ("ssl.ca.location", &authority),
    ];
    let options = options(&tls, Credentials::default());
    assert_eq!(options.validate(), []);
    let (counting, mut watch) = (registered(&options), CredentialsWatch::begin(&options));

    assert_eq!(watch.look(), Found::Same);
    write(&[(&certificate, &second)]);
    let Found::Unusable(_) = watch.look() else { panic!("the key is of another certificate") };
    assert_eq!(counting.0.load(Ordering::Relaxed), 0);
    write(&[(&key, &second_key)]);
    assert_eq!(watch.look(), Found::Changed(vec!["ssl.certificate.location", "ssl.key.location"]));
    write(&[(&authority, &second)]);
    assert_eq!(watch.look(), Found::Changed(vec!["ssl.ca.location"]));
    write(&[(&authority, &Vec::new())]);
    let Found::Unusable(_) = watch.look() else { panic!("there is no authority in the file") };
    assert_eq!(counting.0.load(Ordering::Relaxed), 2);
}

#[test]
fn authorities_can_be_the_files_of_a_folder() {
    let folder = TempDir::new().unwrap();
    let hash = || hash_of(folder.path()).unwrap();
    let empty = hash();
    std::fs::write(folder.path().join("a.pem"), "x").unwrap();
    let one = hash();
    std::fs::write(folder.path().join("a.pem"), "y").unwrap();
    assert!(empty != one && one != hash());
    std::fs::write(folder.path().join("a.pem"), "x").unwrap();
    assert_eq!(hash(), one);
}

/// Returns a certificate and its key, as PEM.
fn pair() -> [Vec<u8>; 2] {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "rollcall").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    [builder.build().to_pem().unwrap(), key.private_key_to_pem_pkcs8().unwrap()]
}
