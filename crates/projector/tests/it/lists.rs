//! Lists by name, of several groups and by e-mail address, and their cursors.

use domain::User;
use testkit::Answer;
use testkit::broker::Log;
use testkit::event::{event, user};

use crate::support::{Service, get};

/// In the order of names, by identifiers.
const NAMES: [(i64, &str); 7] = [
    (9, "Ágnes Kovács"),
    (2, "agnes KOVACS-Nagy"),
    (6, "Đorđe Ilić"),
    (3, "İpek Yıldız"),
    (8, "Søren Ørsted"),
    (1, "Straße"),
    (5, "Straße"),
];

fn ids(answer: &Answer) -> Vec<i64> {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["users"].as_array().unwrap().iter().map(|user| user["userId"].as_i64().unwrap()).collect()
}

async fn service(kafka: &Log, store: &tempfile::TempDir) -> Service {
    for (id, name) in NAMES {
        kafka.event(&event(None, user(id, name), id)).await;
    }
    kafka.event(&event(None, User { name: None, state: None, ..user(4, "") }, 4)).await;
    let service = Service::start(kafka, store).await;
    service.ready().await;
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_sorted_by_name_and_searched_without_accents() {
    let (kafka, store) = (Log::start(2), tempfile::tempdir().unwrap());
    let service = service(&kafka, &store).await;
    let sorted: Vec<i64> = [4].into_iter().chain(NAMES.map(|(id, _)| id)).collect();
    for limit in [1, 2, 3, 7, 8, 9] {
        let (mut found, mut next) = (Vec::new(), Some(format!("/users?sort=name&limit={limit}")));
        while let Some(path) = next {
            let answer = service.get(&path).await;
            found.extend(ids(&answer));
            next = answer.json()["next"].as_str().map(|next| format!("/{next}"));
        }
        assert_eq!(found, sorted, "pages of {limit}");
    }
    let lines = get(service.http, "/users?sort=name&state=active&limit=3", &[("accept", "application/x-ndjson")]).await;
    let listed = lines.body_text().lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert_eq!(listed.map(|user| user["userId"].as_i64().unwrap()).collect::<Vec<_>>(), [9, 2, 6]);
    for (asked, found) in [
        ("q=KOV%C3%81CS", vec![2, 9]),
        ("q=kovacs&sort=name", vec![9, 2]),
        ("q=strasse", vec![1, 5]),
        ("q=yildiz", vec![3]),
        ("q=rsted", vec![8]),
        ("q=zz", vec![]),
        ("sort=userId", vec![1, 2, 3, 4, 5, 6, 8, 9]),
        ("privGroup=1,3", vec![1, 3, 6, 8]),
        ("privGroup=3,1,1&sort=name", vec![6, 3, 8, 1]),
        ("privGroup=1&isAgent=true&state=active", vec![6]),
        ("email=USER8@example.com", vec![8]),
        ("email=user8@example.com&isAgent=false", vec![]),
    ] {
        assert_eq!(ids(&service.get(&format!("/users?{asked}")).await), found, "{asked}");
    }
    for bad in ["sort=state", "sort=", "privGroup=", "privGroup=1,x", "privGroup=1.5", "sort=name&after=3"] {
        assert_eq!(service.get(&format!("/users?{bad}")).await.status, 400, "{bad}");
    }
    for (bad, detail) in [
        ("/users?limit=0", "limit: expected 1 to 1000, or more with NDJSON"),
        ("/users?limit=abc", "limit: expected 1 to 1000, or more with NDJSON"),
        ("/users/abc", "userId: expected a whole number from 0 to 9007199254740991, as in /users/180"),
        ("/changes?privGroup=x", "privGroup: expected a whole number"),
        ("/changes?userId=x", "userId: expected whole numbers from 0 to 9007199254740991, parted by commas"),
    ] {
        let answer = service.get(bad).await;
        assert_eq!((answer.status.as_u16(), answer.json()["detail"].as_str()), (400, Some(detail)), "{bad}");
    }
    let without_host = "GET /users HTTP/1.1\r\nhost: a b/c\r\nconnection: close\r\n\r\n";
    assert_eq!(testkit::Http::to(service.http).exchange(without_host).await.status, 400);
    let many = (0..101).map(|group| group.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(service.get(&format!("/users?privGroup={many}")).await.status, 400);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_of_one_query() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = service(&kafka, &store).await;
    let cursor = async |asked: &str| -> String {
        let page = service.get(&format!("/users?limit=1&{asked}")).await.json();
        page["next"].as_str().unwrap().split_once("after=").unwrap().1.to_owned()
    };
    let queries = ["", "sort=name", "state=active", "privGroup=1,3", "q=a", "q=a&sort=name", "isAgent=true"];
    for asked in queries {
        let cursor = cursor(asked).await;
        for other in queries {
            let answer = service.get(&format!("/users?{other}&after={cursor}")).await;
            assert_eq!(answer.status == 200, other == asked, "{other}, a cursor of {asked}");
            assert!(answer.status == 200 || answer.body_text().contains("another query"), "{answer:?}");
        }
    }
    let cursor = cursor("privGroup=1,3").await;
    assert_eq!(service.get(&format!("/users?privGroup=3,1&after={cursor}")).await.status, 200, "the same groups");
    assert_eq!(ids(&service.get("/users?state=active&after=8").await), [9], "an identifier is of every query");
    service.stop().await;
}
