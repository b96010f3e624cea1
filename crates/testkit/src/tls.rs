//! A TLS server, and its certificate that is its own authority.

use std::path::{Path, PathBuf};
use std::pin::Pin;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_openssl::SslStream;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

/// Returns a certificate of the host `name` for a day, signed by its own key.
pub fn self_signed(name: &str) -> (X509, PKey<Private>) {
    let pair = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&pair).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    let alternative = SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(alternative).unwrap();
    builder.sign(&pair, MessageDigest::sha256()).unwrap();
    (builder.build(), pair)
}

/// Writes both as PEM files into `folder`, and returns their paths.
pub fn write(folder: &Path, (certificate, key): &(X509, PKey<Private>)) -> [PathBuf; 2] {
    let paths = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
    std::fs::write(&paths[0], certificate.to_pem().unwrap()).unwrap();
    std::fs::write(&paths[1], key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    paths
}

/// Answers every request with 200 and `{}` on a port, which it returns.
pub async fn serve((certificate, key): &(X509, PKey<Private>)) -> u16 {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    builder.set_certificate(certificate).unwrap();
    builder.set_private_key(key).unwrap();
    let (acceptor, listener) = (builder.build(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = SslStream::new(Ssl::new(acceptor.context()).unwrap(), stream).unwrap();
            // A client that does not trust the server ends the handshake.
            if Pin::new(&mut stream).accept().await.is_ok() {
                let _request = stream.read(&mut [0; 4096]).await;
                let _sent = stream.write_all(ANSWER).await;
                let _ended = stream.shutdown().await;
            }
        }
    });
    port
}
