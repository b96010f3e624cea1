//! Each fault of a connection has its reason and its remedy, against listeners that have the fault.

use std::time::Duration;

use kafka::client::connect;
use kafka::embedded::EmbeddedBroker;
use kafka::{ClientOptions, Kind};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod, SslVerifyMode};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Name};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::broker::TOPIC;
use crate::proxy::Proxy;

/// Bounds a failing test: a reason is told as soon as the client library knows it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a listener does with a connection.
enum Listener {
    /// Nothing listens on the port.
    None,
    /// Accepts and says nothing.
    Mute,
    /// Answers as a listener of another protocol does, and closes.
    Closing,
    /// Answers the first line as an HTTP server does, and waits for it.
    Patient,
    /// Speaks TLS with this acceptor, and closes.
    Tls(SslAcceptor),
    /// Answers each line as an HTTP server does, over TLS if there is an acceptor, and closes at any other byte.
    Http(Option<SslAcceptor>),
}

impl Listener {
    /// Listens in the background of the set. Returns the port.
    async fn start(self, tasks: &mut JoinSet<()>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        if matches!(self, Self::None) {
            return port;
        }
        tasks.spawn(async move {
            let (mut kept, mut answering) = (Vec::new(), JoinSet::new());
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                match &self {
                    Self::None | Self::Closing => drop(stream),
                    Self::Mute => kept.push(stream),
                    Self::Patient => drop(answering.spawn(answer_a_line(stream))),
                    Self::Http(None) => drop(answering.spawn(answer_http(stream))),
                    Self::Http(Some(acceptor)) => {
                        let ssl = openssl::ssl::Ssl::new(acceptor.context()).unwrap();
                        let mut stream = tokio_openssl::SslStream::new(ssl, stream).unwrap();
                        answering.spawn(async move {
                            if std::pin::Pin::new(&mut stream).accept().await.is_ok() {
                                answer_http(stream).await;
                            }
                        });
                    }
                    Self::Tls(acceptor) => {
                        let ssl = openssl::ssl::Ssl::new(acceptor.context()).unwrap();
                        let mut stream = tokio_openssl::SslStream::new(ssl, stream).unwrap();
                        // A client that refuses the certificate, or has none, is the point of the test.
                        drop(std::pin::Pin::new(&mut stream).accept().await);
                    }
                }
            }
        });
        port
    }
}

/// Answers a request; closes a connection that begins otherwise, as many servers do.
async fn answer_http(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut first = [0; 4];
    if stream.read_exact(&mut first).await.is_ok() && first == *b"GET " {
        // The peer may be gone.
        drop(stream.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n").await);
    }
    drop(stream.shutdown().await);
}

/// Waits for the end of a line, and answers as an HTTP server does.
async fn answer_a_line(mut stream: TcpStream) {
    while stream.read_u8().await.is_ok_and(|byte| byte != b'\n') {}
    // The peer may be gone.
    drop(stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await);
}

/// A certificate for a name, which is its own authority.
fn certificate(name: &str, days: i32) -> (X509, PKey<Private>) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let subject = subject.build();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    let names = SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
    let end =
        if days > 0 { Asn1Time::days_from_now(days.unsigned_abs()).unwrap() } else { Asn1Time::from_unix(1).unwrap() };
    builder.set_not_after(&end).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}

fn tls((certificate, key): &(X509, PKey<Private>), asks: bool) -> Listener {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate(certificate).unwrap();
    acceptor.set_private_key(key).unwrap();
    if asks {
        acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }
    Listener::Tls(acceptor.build())
}

fn with(mut options: ClientOptions, properties: &[(&str, &str)]) -> ClientOptions {
    for (name, value) in properties {
        options.properties.insert((*name).to_owned(), (*value).to_owned());
    }
    options
}

fn pem(certificate: &X509) -> String {
    String::from_utf8(certificate.to_pem().unwrap()).unwrap()
}

async fn check(what: &str, options: &ClientOptions, kind: Kind, said: &[&str]) {
    let fault = connect(options, PATIENCE).await.expect_err(what);
    let text = fault.to_string();
    assert_eq!(fault.trouble().map(|trouble| trouble.kind), Some(kind), "{what}: {text}");
    for part in said {
        assert!(text.contains(part), "{what}: {part} is missing in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_has_its_reason_and_its_remedy() {
    let mut tasks = JoinSet::new();
    let local = |port: u16| ClientOptions::new(format!("localhost:{port}"));
    const SSL: (&str, &str) = ("security.protocol", "SSL");
    let no_host = ClientOptions::new("broker.invalid:9092");
    check("no such host", &no_host, Kind::NoSuchHost, &["broker.invalid:9092", "check the spelling and the DNS"]).await;

    let port = Listener::None.start(&mut tasks).await;
    check("refused", &local(port), Kind::Refused, &["no broker listens there", "that the broker runs"]).await;

    let port = Listener::Closing.start(&mut tasks).await;
    check("plaintext, closed", &local(port), Kind::TlsExpected, &["expect TLS", "set `security.protocol` to SSL"])
        .await;

    let (own, expired) = (certificate("localhost", 1), certificate("localhost", 0));
    let port = tls(&own, false).start(&mut tasks).await;
    check("plaintext against TLS", &local(port), Kind::TlsExpected, &["expect TLS"]).await;
    let unknown = with(local(port), &[SSL]);
    check("unknown authority", &unknown, Kind::UnknownAuthority, &["not trusted here", "set `ssl.ca.location`"]).await;

    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let reverse = with(broker.client_options(), &[SSL]);
    let said = ["expects plaintext", "set `security.protocol` to PLAINTEXT"];
    check("TLS against plaintext", &reverse, Kind::PlaintextExpected, &said).await;

    let other = certificate("another.example", 1);
    let port = tls(&other, false).start(&mut tasks).await;
    let other = with(local(port), &[SSL, ("ssl.ca.pem", &pem(&other.0))]);
    check("another name", &other, Kind::OtherName, &["of another host", "use a name that is in the certificate"]).await;

    let port = tls(&expired, false).start(&mut tasks).await;
    let expired = with(local(port), &[SSL, ("ssl.ca.pem", &pem(&expired.0))]);
    check("expired", &expired, Kind::CertificateExpired, &["not valid now", "check the clocks"]).await;

    let port = tls(&own, true).start(&mut tasks).await;
    let own_ca = pem(&own.0);
    let without = with(local(port), &[SSL, ("ssl.ca.pem", &own_ca)]);
    let said = ["asks for a client certificate", "set `ssl.certificate.location`"];
    check("no client certificate", &without, Kind::CertificateWanted, &said).await;
    let key = String::from_utf8(own.1.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let stranger = with(without, &[("ssl.certificate.pem", &own_ca), ("ssl.key.pem", &key)]);
    check("client certificate refused", &stranger, Kind::CertificateRefused, &["that the broker trusts"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_no_broker_is_told_by_what_it_speaks() {
    let mut tasks = JoinSet::new();
    let local = |port: u16| ClientOptions::new(format!("localhost:{port}"));
    const SSL: (&str, &str) = ("security.protocol", "SSL");
    let port = Listener::Http(None).start(&mut tasks).await;
    let said = ["does not answer as Kafka does (it speaks HTTP)", "check the port"];
    check("plaintext to HTTP", &local(port), Kind::NotKafka, &said).await;
    check("TLS to HTTP", &with(local(port), &[SSL]), Kind::NotKafka, &said).await;

    let port = Listener::Patient.start(&mut tasks).await;
    check("plaintext to HTTP that waits", &local(port), Kind::NotKafka, &said).await;

    let own = certificate("localhost", 1);
    let Listener::Tls(acceptor) = tls(&own, false) else { panic!("it speaks TLS") };
    let port = Listener::Http(Some(acceptor)).start(&mut tasks).await;
    let trusting = with(local(port), &[SSL, ("ssl.ca.pem", &pem(&own.0))]);
    check("TLS to HTTPS", &trusting, Kind::NotKafka, &["it speaks HTTP over TLS", "check the port"]).await;

    let port = tls(&own, false).start(&mut tasks).await;
    let trusting = with(local(port), &[SSL, ("ssl.ca.pem", &pem(&own.0))]);
    check("TLS to a stranger", &trusting, Kind::NotKafka, &["it speaks another protocol over TLS"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advertised_address_that_is_wrong_is_told_apart() {
    let mut tasks = JoinSet::new();
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let address = broker.bootstrap();
    let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let advertised = [b"127.0.0.1".as_slice(), &u32::from(port).to_be_bytes()].concat();
    let closed = Listener::None.start(&mut tasks).await;
    let wrong_port = [b"127.0.0.1".as_slice(), &u32::from(closed).to_be_bytes()].concat();
    let wrong_name = [b"x.invalid".as_slice(), &u32::from(port).to_be_bytes()].concat();
    for (by, kind, named) in [
        (wrong_port, Kind::Refused, format!("127.0.0.1:{closed}, refuses")),
        (wrong_name, Kind::NoSuchHost, format!("x.invalid:{port}, has a host name")),
    ] {
        let proxy = Proxy::bind().await;
        let options = ClientOptions::new(format!("127.0.0.1:{}", proxy.port));
        proxy.run(&mut tasks, address.clone(), advertised.clone(), by);
        let said = ["the cluster answers, but the address that it advertises", &named, "`advertised.listeners`"];
        check("wrong advertised address", &options, kind, &said).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_says_nothing_is_told_at_the_deadline() {
    let mut tasks = JoinSet::new();
    let port = Listener::Mute.start(&mut tasks).await;
    let options = ClientOptions::new(format!("127.0.0.1:{port}"));
    let fault = connect(&options, Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(fault.trouble().unwrap().kind, Kind::Silent, "{fault}");
    assert!(fault.to_string().contains("accepts the connection and does not answer; check that the broker"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_answers_is_connected() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    connect(&broker.client_options(), PATIENCE).await.unwrap();
    let port = broker.bootstrap().rsplit_once(':').unwrap().1.to_owned();
    // Another name of the same broker, and a first address that is wrong.
    let options = with(broker.client_options(), &[]);
    let options = ClientOptions { bootstrap: format!("127.0.0.1:1,localhost:{port}"), ..options };
    connect(&options, PATIENCE).await.unwrap();
    broker.go_down().unwrap();
    let fault = connect(&broker.client_options(), PATIENCE).await.unwrap_err();
    assert_eq!(fault.trouble().unwrap().kind, Kind::Refused, "{fault}");
}
