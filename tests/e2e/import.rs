//! The users of a list are imported: those whom no webhook has told of, and nobody else, however often.

use std::path::Path;
use std::time::Duration;

use domain::UnixMillis;
use hyper::StatusCode;
use kafka::publish::Outgoing;
use serde_json::json;
use testkit::broker::{publisher, read_all};
use testkit::deliveries::{delivery, name};
use testkit::event::user_id;
use testkit::eventually;

use crate::support::broker::{Broker, on_both_brokers};
use crate::support::process::{Finished, Process, cluster_arguments};
use crate::support::system::{System, now};

on_both_brokers!(a_list_adds_the_users_of_whom_no_webhook_has_told);

const PARTITIONS: i32 = 3;
/// After every delivery of the test but one.
const AS_OF: &str = "2025-03-01T00:00:00+01:00";
/// Before `AS_OF`, and yet it forgets for good.
const FORGOTTEN_AT: UnixMillis = UnixMillis::from_millis(1_600_000_000_000);
const PASSWORD: &str = "hunter2-on-the-list";
/// How long the projector may need to answer for what was imported.
const ANSWERED_MAX: Duration = Duration::from_secs(60);

async fn a_list_adds_the_users_of_whom_no_webhook_has_told(broker: &Broker) {
    let system = System::start(broker, PARTITIONS).await;
    let (folder, publisher) = (tempfile::tempdir().expect("a folder can be made"), publisher(&system.options));
    let delivered = system.ingest.post(delivery(1, 0)).await;
    assert_eq!(system.user_after(1, &delivered).await.status, StatusCode::OK);
    let tombstone = Outgoing::forgotten(user_id(2), &system.names.users, FORGOTTEN_AT, now());
    publisher.publish(tombstone).await.expect("it is stored");

    let list = folder.path().join("users.csv");
    let rows = format!(
        "userId;name;password;messageLists\r\n1;Old Name;{PASSWORD};\r\n2;Nobody;{PASSWORD};\r\n\
         3;Ősz Éva;{PASSWORD};\"[\"\"sales\"\"]\"\r\nx;No User;{PASSWORD};\r\n4;;;\r\n"
    );
    std::fs::write(&list, rows).expect("the folder takes a file");
    let before = read_all(&system.options, &system.names.users).await.len();
    let tried = import(&system, &list, &["--dry-run"]).await;
    assert_eq!(tried.status.code(), Some(1), "{tried:?}");
    assert!(tried.stdout.contains("5 users as of 2025-02-28T23:00:00Z: 2 would be stored, 0 known"), "{tried:?}");
    assert_eq!(read_all(&system.options, &system.names.users).await.len(), before, "nothing was written");
    assert!(read_all(&system.options, &system.names.dead_letter).await.is_empty());

    for outcome in ["2 stored, 0 known already,", "0 stored, 2 known already,"] {
        let imported = import(&system, &list, &[]).await;
        assert_eq!(imported.status.code(), Some(1), "{imported:?}");
        for part in [outcome, "1 superseded by newer events, 1 of forgotten users, 1 refused", "row 5 refused: "] {
            assert!(imported.stdout.contains(part), "{part:?} is missing in {imported:?}");
        }
    }
    let eva = answered(&system, 3, StatusCode::OK).await;
    assert_eq!((&eva["name"], &eva["messageLists"]), (&json!("Ősz Éva"), &json!(["sales"])));
    assert_eq!(answered(&system, 1, StatusCode::OK).await["name"], name(1, 0));
    answered(&system, 2, StatusCode::GONE).await;
    exported_users_are_known(&system, folder.path()).await;

    // A webhook of any time is better than the list.
    let webhook = system.ingest.post(delivery(3, 0)).await;
    assert_eq!(webhook.text("/status"), "stored");
    assert_eq!(system.user_after(3, &webhook).await.json()["name"], name(3, 0));
    for topic in [&system.names.users, &system.names.late, &system.names.dead_letter] {
        for record in read_all(&system.options, topic).await {
            assert!(!format!("{record:?}").contains(PASSWORD), "{topic}");
            let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
            assert!(!value.contains(PASSWORD), "{topic}: {value}");
        }
    }
    assert_eq!(read_all(&system.options, &system.names.dead_letter).await.len(), 2, "of one key");
    system.stop().await;
}

/// Exports the users, and imports the file: its rows are users.
async fn exported_users_are_known(system: &System, folder: &Path) {
    for (form, lines) in [(None, 3), (Some("--csv"), 4)] {
        let url = system.projector.url();
        let export = ["export", "--projector", &url].into_iter().chain(form).collect::<Vec<_>>();
        let exported = Process::start(&export).finished().await;
        assert!(exported.status.success(), "{exported:?}");
        assert_eq!(exported.stdout.lines().count(), lines, "{exported:?}");
        let file = folder.join("exported");
        std::fs::write(&file, &exported.stdout).expect("the folder takes a file");
        let imported = import(system, &file, &["--dry-run"]).await;
        assert!(imported.status.success(), "{imported:?}");
        assert!(
            imported.stdout.contains("1 superseded by newer events, 0 of forgotten users, 0 refused"),
            "{imported:?}"
        );
    }
}

async fn import(system: &System, file: &Path, more: &[&str]) -> Finished {
    let file = file.to_str().expect("the folder's name is text");
    let own = ["import", file, "--as-of", AS_OF];
    let arguments = own.iter().chain(more).map(|argument| (*argument).to_owned());
    let arguments: Vec<String> = arguments.chain(cluster_arguments(&system.options, &system.names)).collect();
    Process::start(&arguments).finished().await
}

/// Waits until the projector answers for a user with this status, and returns the answer.
async fn answered(system: &System, user: u64, status: StatusCode) -> serde_json::Value {
    eventually("the projector answers so", ANSWERED_MAX, async || {
        let answer = system.projector.http.get(&format!("/users/{user}")).await;
        (answer.status == status).then(|| answer.json())
    })
    .await
}
