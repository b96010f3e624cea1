use std::borrow::Cow;

use super::*;
use crate::store::create_tables;

fn texts(name: &str, username: &str, email: &str) -> Texts {
    let text = |text| Some(Cow::Borrowed(text));
    Texts::of(&Facets { name: text(name), username: text(username), email: text(email), ..Facets::default() })
}

fn table() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    create_tables(&connection).unwrap();
    connection
}

fn all(connection: &Connection, sought: &str, with_email: bool) -> Vec<i64> {
    let mut search = Search::new(connection, sought, with_email, false).unwrap();
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(user_id) = search.seek(from).unwrap() {
        found.push(user_id);
        from = user_id + 1;
    }
    found
}

#[test]
fn a_text_is_found_within_one_text_and_not_across_two() {
    let connection = table();
    let (first, last) = (UserId::MIN, UserId::new(domain::SAFE_INTEGER_MAX).unwrap());
    put(&connection, first, &texts("Ann", "Bea", "ann@example.com")).unwrap();
    put(&connection, UserId::new(1).unwrap(), &texts("Anna", "", "")).unwrap();
    put(&connection, last, &texts("Bea Anna", "", "annanna@example.com")).unwrap();
    assert_eq!(all(&connection, "ann", false), [0, 1, last.get()]);
    assert_eq!(all(&connection, "", false), [0, 1, last.get()]);
    assert_eq!(all(&connection, "anna", false), [1, last.get()]);
    assert_eq!(all(&connection, "bea", false), [0, last.get()]);
    for nobody in ["nb", "ab", "annan", "0", "\u{1}", "example"] {
        assert!(all(&connection, nobody, false).is_empty(), "{nobody:?}");
    }
    assert_eq!(all(&connection, "example", true), [0, last.get()]);
    assert_eq!(all(&connection, "annan", true), [last.get()]);
}

#[test]
fn one_who_goes_leaves_nothing() {
    let (connection, user_id) = (table(), UserId::new(70).unwrap());
    put(&connection, user_id, &texts("Ann", "", "ann@example.com")).unwrap();
    put(&connection, user_id, &texts("Bea", "", "")).unwrap();
    assert!(all(&connection, "ann", true).is_empty());
    remove(&connection, user_id).unwrap();
    let rows: i64 = connection.query_row("SELECT count(*) FROM search", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
    remove(&connection, user_id).unwrap();
}

#[test]
fn what_is_filled_in_order_is_what_is_put_one_by_one() {
    let (filled, single) = (table(), table());
    let rows = |connection: &Connection| -> Vec<(i64, Vec<u8>, Vec<u8>)> {
        let mut statement = connection.prepare("SELECT * FROM search ORDER BY block").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    // A load in several passes goes on within a row.
    for ids in [0..100, 100..130, 4_000..4_003] {
        let (mut gather, mut gathered) = (GatherSearch::default(), Vec::new());
        for id in ids {
            let (user_id, texts) = (UserId::new(id).unwrap(), texts(&format!("Name {id}"), "", "e"));
            gathered.extend(gather.put(user_id, &texts));
            put(&single, user_id, &texts).unwrap();
        }
        gathered.extend(gather.take());
        gathered.iter().for_each(|row| append(&filled, row).unwrap());
    }
    assert_eq!(rows(&filled), rows(&single));
    assert_eq!(rows(&filled).len(), 4);
}

#[test]
fn a_name_is_cut_between_letters() {
    for (name, kept) in [("x".repeat(70), 64), (format!("x{}", "ж".repeat(40)), 63), ("Ann".to_owned(), 3)] {
        assert_eq!(texts(&name, "u", "").sort_name().len(), kept, "{name}");
    }
    assert_eq!(Texts::of(&Facets::default()).sort_name(), "");
}

#[test]
fn a_damaged_row_is_noticed() {
    let connection = table();
    put(&connection, UserId::MIN, &texts("Ann", "", "")).unwrap();
    for damaged in ["x''", "x'0200'", "x'0100090000004e'", "x'01400100000041'"] {
        connection.execute_batch(&format!("UPDATE search SET names = {damaged}")).unwrap();
        let mut search = Search::new(&connection, "a", false, false).unwrap();
        assert!(search.seek(0).is_err(), "{damaged}");
        assert!(remove(&connection, UserId::MIN).is_err(), "{damaged}");
    }
}
