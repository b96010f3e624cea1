use std::io::{self, Cursor};

use proptest::prelude::*;

use super::*;

fn rows(file: &[u8]) -> anyhow::Result<Vec<Row>> {
    // A small buffer, so that every border between two reads is met.
    Rows::of(Box::new(io::BufReader::with_capacity(3, Cursor::new(file.to_vec()))))?.collect()
}

fn check(file: &str, expected: &[(u64, &str)]) {
    let read: Vec<(u64, String)> = rows(file.as_bytes())
        .unwrap()
        .into_iter()
        .map(|row| (row.number, row.user.map_or_else(|reason| reason, |user| String::from_utf8(user).unwrap())))
        .collect();
    let expected: Vec<(u64, String)> = expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
    assert_eq!(read, expected, "{file:?}");
}

fn refused(file: &[u8]) -> String {
    format!("{:#}", rows(file).unwrap_err())
}

#[test]
fn ndjson_has_one_user_a_line() {
    check(
        "{\"userId\":1}\n\n  {\"userId\":2}\r\nnonsense",
        &[(1, "{\"userId\":1}"), (3, "{\"userId\":2}"), (4, "nonsense")],
    );
    check("\u{feff}{\"userId\":1}", &[(1, "{\"userId\":1}")]);
}

#[test]
fn csv_becomes_json_by_the_type_of_its_column() {
    check(
        "userId,name,isAgent,hourly,messageLists,age\n\
         1,\"S, \"\"R\"\"\",TRUE,12.5,\"[\"\"a\"\",\"\"b\"\"]\",4\n\
         2,,,,,\n\
         3,\"two\nlines\",0,007,technical,\n",
        &[
            (2, r#"{"userId":1,"name":"S, \"R\"","isAgent":"true","hourly":12.5,"messageLists":["a","b"],"age":"4"}"#),
            (3, r#"{"userId":2}"#),
            (4, r#"{"userId":3,"name":"two\nlines","isAgent":"0","hourly":"007","messageLists":"technical"}"#),
        ],
    );
}

#[test]
fn csv_of_spreadsheets_is_read() {
    check("\u{feff}userId;name\r\n1;Ősz, Éva\r\n", &[(2, r#"{"userId":1,"name":"Ősz, Éva"}"#)]);
    check("\"userid\"\tname\n1\ta", &[(2, r#"{"userid":1,"name":"a"}"#)]);
    check("userId,name,Name\n7,a,\n", &[(2, r#"{"userId":7,"name":"a"}"#)]);
    check("userId\n7\n", &[(2, r#"{"userId":7}"#)]);
}

#[test]
fn a_cell_cannot_add_a_member() {
    check(
        "userId,messageLists\n1,\"[],\"\"userId\"\":2\"\n",
        &[(2, r#"{"userId":1,"messageLists":"[],\"userId\":2"}"#)],
    );
}

#[test]
fn a_row_of_another_length_is_named() {
    check("userId,name\n1\n2,b\n", &[(2, "it has 1 columns, the first row has 2"), (3, r#"{"userId":2,"name":"b"}"#)]);
}

#[test]
fn a_file_without_users_is_refused() {
    for (file, reason) in [
        (&b""[..], "it is empty"),
        (b" \n", "it is empty"),
        (b"[{\"userId\":1}]", "it is one JSON array; one user a line is expected: jq -c '.[]'"),
        (b"name,email\na,b\n", "it is no NDJSON, and as CSV its first row names no column userId"),
        (b"userId,name,name\n1,a,b\n", "its first row names the column name twice"),
        (b"userId,,name\n1,a,b\n", "column 2 has no name in its first row"),
        (
            b"userId,Name,EMAIL,age\n1,a,b,4\n",
            "its first row has names in another case than the vendor's: expected name for Name, email for EMAIL",
        ),
        (
            b"USERID,name\n1,a\n",
            "its first row has names in another case than the vendor's: expected userId for USERID",
        ),
        (
            b"{\"userId\":1,\"Name\":\"a\"}\n",
            "its first row has names in another case than the vendor's: expected name",
        ),
        (b"userId,\xff\n1,a\n", "its first row is not UTF-8"),
        (b"\xef\xbbuserId\n1\n", "it is neither NDJSON nor CSV in UTF-8"),
    ] {
        let found = refused(file);
        assert!(found.starts_with(reason), "{file:?}: {found}");
    }
}

#[test]
fn a_row_has_a_limit() {
    let long = "a".repeat(ROW_BYTES_MAX + 1);
    let reason = format!("it is longer than {ROW_BYTES_MAX} bytes");
    let read = rows(format!("{{\"a\":\"{long}\"}}\n{{\"userId\":2}}\n").as_bytes()).unwrap();
    assert_eq!(read[0], Row { number: 1, user: Err(reason) });
    assert_eq!(read[1], Row { number: 2, user: Ok(b"{\"userId\":2}".to_vec()) });
    let open = refused(format!("userId,name\n1,\"{long}\n").as_bytes());
    assert!(open.ends_with("the quote that opens in line 2 is not closed"), "{open}");
    let endless = refused(format!("userId,name\n1,a\n2,{long}{long}\n").as_bytes());
    assert!(endless.ends_with(&format!("line 3 is longer than {ROW_BYTES_MAX} bytes")), "{endless}");
}

#[test]
fn a_quote_that_hides_rows_is_an_error_that_names_its_line() {
    let before = "userId,name\n1,\"a\nb\"\n";
    for (rest, reason) in [
        ("2,\"b\n3,c\n", "the quote that opens in line 4 is not closed"),
        ("2,\"", "the quote that opens in line 4 is not closed"),
        ("2,b\n\"3,c", "the quote that opens in line 5 is not closed"),
        ("2,\"b\n3,\"c\"\n", "a text follows the quote that opens in line 4"),
        ("2,\"b\"c\n", "a text follows the quote that opens in line 4: inside quotes, a quote is written twice"),
    ] {
        let file = format!("{before}{rest}");
        let read: Vec<_> = Rows::of(Box::new(Cursor::new(file.into_bytes()))).unwrap().take(4).collect();
        assert!(read[0].as_ref().is_ok_and(|row| row.user.is_ok()), "what comes before is read: {rest:?}");
        let fault = read.iter().find_map(|row| row.as_ref().err()).expect("the quote is noticed");
        assert!(format!("{fault:#}").contains(reason), "{rest:?}: {fault:#}");
    }
    check("userId,name\n1,5\" wide\n2,\"\"\n", &[(2, r#"{"userId":1,"name":"5\" wide"}"#), (3, r#"{"userId":2}"#)]);
}

proptest! {
    #[test]
    fn what_a_csv_writer_writes_is_read_back(
        texts in prop::collection::vec(("[ -~\u{e9}\u{151}\r\n\t]{1,12}", "[^\0]{1,12}"), 1..8),
        delimiter in prop::sample::select(DELIMITERS.to_vec()),
    ) {
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
        writer.write_record(["userId", "name", "username"]).unwrap();
        for (name, username) in &texts {
            writer.write_record(["1", name, username]).unwrap();
        }
        let read = rows(&writer.into_inner().unwrap()).unwrap();
        let read: Vec<serde_json::Value> =
            read.into_iter().map(|row| serde_json::from_slice(&row.user.unwrap()).unwrap()).collect();
        let expected: Vec<serde_json::Value> = texts
            .iter()
            .map(|(name, username)| serde_json::json!({ "userId": 1, "name": name, "username": username }))
            .collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn any_bytes_end(file in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(rows) = rows(&file) {
            prop_assert!(rows.len() <= file.len());
        }
    }
}
