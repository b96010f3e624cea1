//! The users that a filter lets through, in the order of their identifiers, by searches of indexes alone.
//!
//! Two indexes serve every set of filters: `users_by_state` (state, is_agent) and `users_by_priv_group` (priv_group,
//! state, is_agent). Behind equal columns an index has the users in order. Where a filter leaves a column open, there
//! is an *arm* for each of its values, which are few, and the arms are merged. Conditions of different indexes, and the
//! search for a text, are walked side by side: each is asked for its next user from where the others are, so that what
//! lies between is passed over.

use rusqlite::types::{ToSql, Value};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params_from_iter};

use super::UserFilter;
use super::search::Search;
use crate::fold::fold;

/// How many identifiers an arm reads at first, and at most.
const BATCH_FIRST: usize = 16;
const BATCH_MAX: usize = 512;

const BY_STATE: &str = "SELECT user_id FROM users INDEXED BY users_by_state \
    WHERE state IS ? AND is_agent IS ? AND user_id >= ? ORDER BY user_id LIMIT ?";
const BY_PRIV_GROUP: &str = "SELECT user_id FROM users INDEXED BY users_by_priv_group \
    WHERE priv_group = ? AND state IS ? AND is_agent IS ? AND user_id >= ? ORDER BY user_id LIMIT ?";
/// The state that follows another one, of all users or of those of a group.
const NEXT_STATE: &str = "SELECT state FROM users INDEXED BY users_by_state WHERE state > ? ORDER BY state LIMIT 1";
const NEXT_STATE_OF_PRIV_GROUP: &str = "SELECT state FROM users INDEXED BY users_by_priv_group \
    WHERE priv_group = ? AND state > ? ORDER BY state LIMIT 1";

/// The users that a filter lets through.
pub(super) struct Matches<'c> {
    conditions: Vec<Arms<'c>>,
    search: Option<Search<'c>>,
}

/// The users of one condition, by one statement.
struct Arms<'c> {
    statement: CachedStatement<'c>,
    arms: Vec<Arm>,
}

/// The users with equal values in the columns that an index begins with.
struct Arm {
    values: Vec<Value>,
    /// Those that were read, and which of them comes next.
    ids: Vec<i64>,
    next: usize,
    batch: usize,
    has_ended: bool,
}

impl UserFilter {
    /// Returns the indexes without which the answer would be a walk over the whole table.
    pub(super) fn needs(&self) -> Vec<&'static str> {
        let by_priv_group = !self.priv_groups.is_empty();
        [
            (self.username.is_some(), "users_by_username"),
            (self.email.is_some(), "users_by_email"),
            (self.extension.is_some(), "users_by_extension"),
            (by_priv_group, "users_by_priv_group"),
            (!by_priv_group && (self.state.is_some() || self.is_agent.is_some()), "users_by_state"),
            (self.is_by_name(), "users_by_name"),
        ]
        .into_iter()
        .filter_map(|(needs, name)| needs.then_some(name))
        .collect()
    }
}

impl<'c> Matches<'c> {
    /// Prepares to find the users. They are found in the search also if it is `for_sort`.
    pub(super) fn new(connection: &'c Connection, filter: &UserFilter, for_sort: bool) -> rusqlite::Result<Self> {
        let mut conditions = Vec::new();
        let equal = [("username", &filter.username), ("email", &filter.email), ("extension", &filter.extension)];
        for (column, value) in equal {
            if let Some(value) = value {
                let arm = Arm::new(vec![Value::Text(value.clone())]);
                conditions.push(Arms { statement: connection.prepare_cached(&by_text(column))?, arms: vec![arm] });
            }
        }
        if !filter.priv_groups.is_empty() {
            let statement = connection.prepare_cached(BY_PRIV_GROUP)?;
            let mut arms = Vec::new();
            for priv_group in &filter.priv_groups {
                for [state, is_agent] in combinations(connection, filter, Some(*priv_group))? {
                    arms.push(Arm::new(vec![Value::Integer(*priv_group), state, is_agent]));
                }
            }
            conditions.push(Arms { statement, arms });
        } else if filter.state.is_some() || filter.is_agent.is_some() {
            let statement = connection.prepare_cached(BY_STATE)?;
            let arms = combinations(connection, filter, None)?.into_iter().map(|values| Arm::new(values.to_vec()));
            conditions.push(Arms { statement, arms: arms.collect() });
        }
        let search = match (&filter.contains, for_sort) {
            (None, false) => None,
            (sought, _) => {
                let sought = sought.as_deref().map(fold).unwrap_or_default();
                Some(Search::new(connection, &sought, !filter.without_email, for_sort)?)
            }
        };
        Ok(Self { conditions, search })
    }

    /// Returns whether there is no condition: everybody is let through.
    pub(super) fn is_everybody(&self) -> bool {
        self.conditions.is_empty() && self.search.is_none()
    }

    /// Returns the first user from `from` on that all conditions let through. Each call must ask for the same or a
    /// later one.
    pub(super) fn seek(&mut self, mut from: i64) -> rusqlite::Result<Option<i64>> {
        loop {
            let begin = from;
            for condition in &mut self.conditions {
                let Some(id) = condition.seek(from)? else { return Ok(None) };
                from = id;
            }
            if let Some(search) = &mut self.search {
                let Some(id) = search.seek(from)? else { return Ok(None) };
                from = id;
            }
            // One that moved on may have left the others behind.
            let walks = self.conditions.len() + usize::from(self.search.is_some());
            if from == begin || walks == 1 {
                return Ok(Some(from));
            }
        }
    }

    /// Returns the name by which the user that was found last is sorted, if it was found for that.
    pub(super) fn sort_name(&self, user_id: i64) -> &[u8] {
        self.search.as_ref().map_or(&[], |search| search.sort_name(user_id))
    }
}

impl Arms<'_> {
    fn seek(&mut self, from: i64) -> rusqlite::Result<Option<i64>> {
        let mut least: Option<i64> = None;
        for arm in &mut self.arms {
            let found = arm.seek(&mut self.statement, from)?;
            least = [least, found].into_iter().flatten().min();
        }
        Ok(least)
    }
}

impl Arm {
    fn new(values: Vec<Value>) -> Self {
        Self { values, ids: Vec::new(), next: 0, batch: BATCH_FIRST, has_ended: false }
    }

    fn seek(&mut self, statement: &mut CachedStatement<'_>, from: i64) -> rusqlite::Result<Option<i64>> {
        // Mostly the next one, or the one behind it.
        while let Some(id) = self.ids.get(self.next) {
            if *id >= from {
                return Ok(Some(*id));
            }
            let is_behind = self.ids.last().is_some_and(|last| *last < from);
            self.next = if is_behind { self.ids.len() } else { self.next + 1 };
        }
        if !self.has_ended {
            self.read(statement, from)?;
        }
        Ok(self.ids.get(self.next).copied())
    }

    fn read(&mut self, statement: &mut CachedStatement<'_>, from: i64) -> rusqlite::Result<()> {
        let limit = i64::try_from(self.batch).unwrap_or(i64::MAX);
        let values = self.values.iter().map(|value| value as &dyn ToSql).chain([&from as &dyn ToSql, &limit]);
        self.ids.clear();
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            self.ids.push(row.get(0)?);
        }
        (self.next, self.has_ended) = (0, self.ids.len() < self.batch);
        self.batch = BATCH_MAX.min(self.batch * 2);
        Ok(())
    }
}

fn by_text(column: &str) -> String {
    format!(
        "SELECT user_id FROM users INDEXED BY users_by_{column} WHERE {column} = ? AND user_id >= ? \
         ORDER BY user_id LIMIT ?"
    )
}

/// Returns the states and marks of agents that the filter lets through, of a group or of everybody.
fn combinations(
    connection: &Connection,
    filter: &UserFilter,
    priv_group: Option<i64>,
) -> rusqlite::Result<Vec<[Value; 2]>> {
    let states = match &filter.state {
        Some(state) => vec![Value::Text(state.clone())],
        None => states(connection, priv_group)?,
    };
    let agents = match filter.is_agent {
        Some(is_agent) => vec![Value::Integer(is_agent.into())],
        None => vec![Value::Null, Value::Integer(0), Value::Integer(1)],
    };
    Ok(states.iter().flat_map(|state| agents.iter().map(|agent| [state.clone(), agent.clone()])).collect())
}

/// Returns every state that there is, and none: one search of the index for each.
fn states(connection: &Connection, priv_group: Option<i64>) -> rusqlite::Result<Vec<Value>> {
    let sql = if priv_group.is_some() { NEXT_STATE_OF_PRIV_GROUP } else { NEXT_STATE };
    let mut statement = connection.prepare_cached(sql)?;
    let (mut states, mut last) = (vec![Value::Null, Value::Text(String::new())], String::new());
    loop {
        let values = priv_group.map(Value::Integer).into_iter().chain([Value::Text(last)]);
        let next: Option<String> = statement.query_row(params_from_iter(values), |row| row.get(0)).optional()?;
        let Some(next) = next else { return Ok(states) };
        states.push(Value::Text(next.clone()));
        last = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::names::walk;
    use crate::store::{Order, create_indexes, create_secondary, create_tables};

    fn empty() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        create_tables(&connection).unwrap();
        create_indexes(&connection).unwrap();
        create_secondary(&connection).unwrap();
        connection
    }

    /// Returns every set of conditions.
    fn filters() -> impl Iterator<Item = UserFilter> {
        (0..1_u32 << 8).map(|set| {
            let is_there = |bit: u32| set & 1 << bit != 0;
            let text = |bit| is_there(bit).then(|| "x".to_owned());
            UserFilter {
                state: text(0),
                is_agent: is_there(1).then_some(true),
                priv_groups: if is_there(2) { vec![1, 2] } else { Vec::new() },
                contains: text(3),
                username: text(4),
                email: text(5),
                extension: text(6),
                order: if is_there(7) { Order::Name } else { Order::UserId },
                without_email: false,
            }
        })
    }

    /// Asserts that SQLite answers a statement by searches alone.
    fn assert_searches(connection: &Connection, sql: &str, why: &dyn std::fmt::Debug) {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3)).collect::<Result<Vec<_>, _>>().unwrap();
        assert!(!steps.is_empty());
        for step in steps {
            assert!(step.starts_with("SEARCH users USING"), "{step} in {sql}: {why:?}");
        }
    }

    #[test]
    fn every_condition_is_a_search_of_an_index_that_it_needs() {
        let connection = empty();
        connection.execute_batch("INSERT INTO users VALUES (1, 0, 0, 0, '', '', '', '', 'a', 1, 1, '', x'')").unwrap();
        for filter in filters() {
            let matches = Matches::new(&connection, &filter, filter.is_by_name()).unwrap();
            for Arms { statement, .. } in &matches.conditions {
                let sql = statement.expanded_sql().unwrap();
                assert_searches(&connection, &sql, &filter);
                assert!(filter.needs().iter().any(|index| sql.contains(index)), "{filter:?} has not said: {sql}");
            }
            assert_eq!(matches.search.is_some(), filter.contains.is_some() || filter.is_by_name(), "{filter:?}");
            if filter.is_by_name() {
                assert_searches(&connection, &walk(&filter).0, &filter);
            }
        }
        assert_searches(&connection, NEXT_STATE, &"");
        assert_searches(&connection, NEXT_STATE_OF_PRIV_GROUP, &"");
    }

    #[test]
    fn an_index_that_is_not_needed_is_not_asked_for() {
        let needed: std::collections::BTreeSet<_> = filters().flat_map(|filter| filter.needs()).collect();
        let connection = empty();
        for index in needed {
            connection.execute_batch(&format!("DROP INDEX {index}")).unwrap();
        }
        assert!(UserFilter::default().needs().is_empty());
        let everybody = UserFilter { contains: Some("x".to_owned()), ..UserFilter::default() };
        assert!(everybody.needs().is_empty() && Matches::new(&connection, &everybody, false).is_ok());
    }
}
