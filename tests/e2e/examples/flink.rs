//! Flink SQL: the topic as a table.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::tools::{CLASS_PATH, JAVA, built, run};
use super::topic::Topic;
use crate::support::broker::{Broker, on_kafka};
use crate::support::engine::leave_out_of_ecosystem;

/// The columns that the statement selects after the key.
const COLUMNS: [&str; 4] = ["name", "username", "state", "privGroup"];

#[test]
#[ignore = "slow: .ci/full runs it"]
fn flink_reads_the_topic_as_a_table() {
    on_kafka("examples::flink_reads_the_topic_as_a_table", flink);
}

async fn flink(broker: &Broker) {
    let ready = async {
        let dir = built("flink", JAVA)?;
        Ok::<_, String>((dir, Topic::framed(broker).await?))
    };
    let (dir, topic) = match ready.await {
        Ok(ready) => ready,
        Err(why) => return leave_out_of_ecosystem("examples::flink_reads_the_topic_as_a_table", &why),
    };
    let statements = fs::read_to_string(dir.join("users.sql")).expect("the example has statements");
    let statements = statements.replace("'vcc.users'", &format!("'{}'", topic.names.users));
    fs::write(dir.join("run.sql"), statements).expect("the folder can be written");
    let (bootstrap, registry) = (format!("bootstrap={}", topic.bootstrap), format!("registry={}", topic.registry));
    let command = ["java", "-cp", CLASS_PATH, "example.RunSql", "run.sql", &bootstrap, &registry];
    let printed = run(&dir, &command).unwrap_or_else(|why| panic!("{why}"));

    let mut table = BTreeMap::new();
    for line in printed.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match (cells[0], cells[1].parse::<i64>()) {
            ("+I" | "+U", Ok(id)) => drop(table.insert(id, cells[2..].iter().map(|cell| (*cell).to_owned()).collect())),
            ("-D", Ok(id)) => drop(table.remove(&id)),
            _ => {}
        }
    }
    let cell = |value: &Value| match value {
        Value::Null => "<NULL>".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let expected = topic.users.iter().map(|(id, user)| (*id, COLUMNS.map(|name| cell(&user[name])).to_vec()));
    assert_eq!(table, expected.collect::<BTreeMap<_, Vec<String>>>(), "{printed}");
}
