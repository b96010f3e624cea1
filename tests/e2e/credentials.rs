//! Credentials that are changed on the cluster while the services run: they use the new ones from the files, without a
//! restart, and nothing that was acknowledged is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use domain::topics::Names;
use hyper::StatusCode;
use kafka::ClientOptions;
use tempfile::TempDir;
use testkit::deliveries::{delivery, name};
use testkit::{eventually, tls};

use crate::support::broker::{make_topics, where_kafka_runs};
use crate::support::kafka::Kafka;
use crate::support::system::{Ingest, Projector};

/// Bounds a failing test: the interval of looks at the files, and librdkafka's pauses between attempts.
const WAIT_MAX: Duration = Duration::from_secs(120);
const USER: u64 = 180;
const PARTITIONS: i32 = 2;
/// Server properties: the clients' listener takes names and passwords, and asks for them again every few seconds.
const SCRAM: [(&str, &str); 4] = [
    ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT,BROKERS:PLAINTEXT"),
    ("KAFKA_SASL_ENABLED_MECHANISMS", "SCRAM-SHA-256"),
    (
        "KAFKA_LISTENER_NAME_CLIENTS_SCRAM___SHA___256_SASL_JAAS_CONFIG",
        "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    ),
    ("KAFKA_CONNECTIONS_MAX_REAUTH_MS", "5000"),
];
/// Server properties: the clients' listener takes certificates that are listed in a file.
const TLS: [(&str, &str); 6] = [
    ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "CLIENTS:SSL,CONTROLLER:PLAINTEXT,BROKERS:PLAINTEXT"),
    ("KAFKA_LISTENER_NAME_CLIENTS_SSL_CLIENT_AUTH", "required"),
    ("KAFKA_LISTENER_NAME_CLIENTS_SSL_KEYSTORE_TYPE", "PEM"),
    ("KAFKA_LISTENER_NAME_CLIENTS_SSL_KEYSTORE_LOCATION", "/tls/broker.pem"),
    ("KAFKA_LISTENER_NAME_CLIENTS_SSL_TRUSTSTORE_TYPE", "PEM"),
    ("KAFKA_LISTENER_NAME_CLIENTS_SSL_TRUSTSTORE_LOCATION", "/tls/clients.pem"),
];

#[test]
fn a_changed_password_is_used_without_a_restart() {
    where_kafka_runs("credentials::a_changed_password_is_used_without_a_restart", async || {
        let kafka = Kafka::start(&SCRAM).await;
        let folder = TempDir::new().expect("a folder can be made");
        let file = folder.path().join("password");
        let set_on_cluster = async |password: &str| {
            let entry = format!("SCRAM-SHA-256=[password={password}]");
            let user = ["--entity-type", "users", "--entity-name", "rollcall"];
            let arguments = [&["--alter", "--add-config", &entry][..], &user].concat();
            kafka.tool("kafka-configs", &arguments).await.expect("a user can be made");
        };
        let write = |password: &str| fs::write(&file, format!("{password}\n")).expect("a file can be written");
        set_on_cluster("the first").await;
        write("the first");
        let properties = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.username", "rollcall"),
        ];
        let options = with(&kafka, &properties);
        let maker = with(&kafka, &[&properties[..], &[("sasl.password", "the first")]].concat());

        let running = Running::start(&options, &maker, Some(&file)).await;
        running.delivers(0).await;
        set_on_cluster("the second").await;
        running.is_refused(1).await;
        write("the second");
        running.delivers(2).await;
        running.stop().await;
    });
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart() {
    where_kafka_runs("credentials::a_renewed_certificate_is_used_without_a_restart", async || {
        let (of_broker, of_client) = (open_folder(), open_folder());
        let [broker, first, second] = ["localhost", "rollcall", "rollcall"].map(tls::self_signed);
        let [certificate, key] = tls::write(of_client.path(), &first);
        let pem = |certificate: &openssl::x509::X509| certificate.to_pem().expect("a certificate is PEM");
        let private = broker.1.private_key_to_pem_pkcs8().expect("a key is PEM");
        let trusted = of_broker.path().join("clients.pem");
        put(&of_broker.path().join("broker.pem"), &[private, pem(&broker.0)].concat());
        put(&trusted, &pem(&first.0));
        let authority = of_client.path().join("authority.pem");
        put(&authority, &pem(&broker.0));
        let kafka = Kafka::start_with_folder(&TLS, of_broker.path(), "/tls").await;
        let [certificate_name, key_name, authority_name] =
            [&certificate, &key, &authority].map(|path| path.display().to_string());
        let options = with(
            &kafka,
            &[
                ("security.protocol", "SSL"),
                ("ssl.ca.location", &authority_name),
                ("ssl.certificate.location", &certificate_name),
                ("ssl.key.location", &key_name),
                ("ssl.endpoint.identification.algorithm", "none"),
            ],
        );

        let running = Running::start(&options, &options, None).await;
        running.delivers(0).await;
        put(&trusted, &pem(&second.0));
        kafka.kill().await;
        kafka.start_again().await;
        running.is_refused(1).await;
        tls::write(of_client.path(), &second);
        running.delivers(2).await;
        running.stop().await;
    });
}

/// Both services, and the place of the last event that ingest has acknowledged.
struct Running {
    ingest: Ingest,
    projector: Projector,
    _store: TempDir,
}

impl Running {
    async fn start(options: &ClientOptions, maker: &ClientOptions, password: Option<&Path>) -> Self {
        let names = Names::default();
        make_topics(maker, &names, PARTITIONS, 1).await;
        let store = TempDir::new().expect("a folder can be made");
        let with_password = |kafka: &mut service::settings::Kafka| {
            kafka.sasl_password_file = password.map(Path::to_owned).unwrap_or_default();
        };
        let ingest = Ingest::start(options, &names, |raw| with_password(&mut raw.kafka)).await;
        let projector = Projector::start(options, &names, store.path(), |raw| with_password(&mut raw.kafka)).await;
        ingest.ready().await;
        projector.ready().await;
        Self { ingest, projector, _store: store }
    }

    /// Delivers a change until it is stored, and waits until the projector answers with it, both services are ready,
    /// and the keeper has its partitions.
    async fn delivers(&self, change: u64) {
        let position = eventually("an event is stored", WAIT_MAX, async || {
            let answer = self.post(change).await?;
            Some(answer.text("/position").to_owned())
        })
        .await;
        eventually("the projector has the event", WAIT_MAX, async || {
            let path = format!("/users/{USER}?at_least={position}");
            let answer = self.projector.http.get(&path).await;
            (answer.status == StatusCode::OK).then(|| assert_eq!(answer.text("/name"), name(USER, change)))
        })
        .await;
        let owned = format!("rollcall_keeper_partitions {PARTITIONS}\n");
        eventually("the keeper has its partitions", WAIT_MAX, async || {
            self.ingest.metrics().await.contains(&owned).then_some(())
        })
        .await;
        self.ingest.ready().await;
        self.projector.ready().await;
    }

    /// Delivers a change until the cluster takes nothing more.
    async fn is_refused(&self, change: u64) {
        eventually("the former credentials are refused", WAIT_MAX, async || {
            self.post(change).await.is_none().then_some(())
        })
        .await;
    }

    /// Returns the answer to a delivery that was stored. Any other is 503: the vendor sends it again.
    async fn post(&self, change: u64) -> Option<testkit::Answer> {
        let answer = self.ingest.post(delivery(USER, change)).await;
        assert!([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status), "{answer:?}");
        (answer.status == StatusCode::OK).then_some(answer)
    }

    async fn stop(self) {
        self.ingest.stop().await.expect("ingest ends well");
        self.projector.stop().await.expect("the projector ends well");
    }
}

fn with(kafka: &Kafka, properties: &[(&str, &str)]) -> ClientOptions {
    let mut options = ClientOptions::new(kafka.bootstrap());
    options.properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    options
}

/// Returns a folder that the user of a container can read.
fn open_folder() -> TempDir {
    let folder = TempDir::new().expect("a folder can be made");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is ours");
    folder
}

fn put(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("a file can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("the file is ours");
}
