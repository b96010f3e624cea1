//! Lists in the order of names.
//!
//! Where everybody or most of them are let through, an index has the users in that order, and is walked until the page
//! is full. Where few are, their names are read with the texts that `q` is searched in, and the first of them are kept:
//! the walk over the index would be a search for each user. Which of the two it is shows by trying the first.

use std::collections::BinaryHeap;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::matches::Matches;
use super::{Place, UserFilter};

/// How many users of the index are looked at before the other way is gone.
const WALK_MAX: usize = 2_000;

/// Returns the names and identifiers of up to `wanted` users that the filter lets through, those after `after`, in the
/// order of names.
pub(super) fn sorted(
    connection: &Connection,
    filter: &UserFilter,
    after: Option<&Place>,
    wanted: usize,
) -> rusqlite::Result<Vec<(String, i64)>> {
    let after = after.map_or(("", -1), |after| (after.sort_name.as_deref().unwrap_or_default(), after.user_id.get()));
    let UserFilter { contains, username, email, extension, .. } = filter;
    if [contains, username, email, extension].into_iter().all(Option::is_none)
        && let Some(found) = walked(connection, filter, after, wanted)?
    {
        return Ok(found);
    }
    let mut matches = Matches::new(connection, filter, true)?;
    // The greatest of those that are kept is on top.
    let (mut kept, mut from) = (BinaryHeap::<(String, i64)>::new(), 0);
    while let Some(user_id) = matches.seek(from)? {
        from = user_id + 1;
        let sort_name = matches.sort_name(user_id);
        let (this, after) = ((sort_name, user_id), (after.0.as_bytes(), after.1));
        let is_kept = |(name, user_id): &(String, i64)| this < (name.as_bytes(), *user_id);
        if this <= after || (kept.len() == wanted && !kept.peek().is_some_and(is_kept)) {
            continue;
        }
        if kept.len() == wanted {
            kept.pop();
        }
        kept.push((String::from_utf8_lossy(sort_name).into_owned(), user_id));
    }
    Ok(kept.into_sorted_vec())
}

/// Walks the index of names; `None` when the users that are let through are too far apart.
fn walked(
    connection: &Connection,
    filter: &UserFilter,
    after: (&str, i64),
    wanted: usize,
) -> rusqlite::Result<Option<Vec<(String, i64)>>> {
    let (sql, mut values) = walk(filter);
    values.extend([Value::Text(after.0.to_owned()), Value::Integer(after.1)]);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let (mut found, mut passed_over) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if row.get(2)? {
            found.push((row.get(0)?, row.get(1)?));
        } else {
            passed_over += 1;
        }
        if found.len() == wanted {
            break;
        }
        if passed_over == WALK_MAX {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// Returns the statement of the walk, and the values of its conditions.
pub(super) fn walk(filter: &UserFilter) -> (String, Vec<Value>) {
    let UserFilter { state, is_agent, priv_groups, .. } = filter;
    let (mut conditions, mut values) = (vec!["1".to_owned()], Vec::new());
    let equal = [
        ("state", state.clone().map(Value::Text)),
        ("is_agent", is_agent.map(|is_agent| Value::Integer(is_agent.into()))),
    ];
    for (column, value) in equal {
        if let Some(value) = value {
            conditions.push(format!("{column} IS ?"));
            values.push(value);
        }
    }
    if !priv_groups.is_empty() {
        conditions.push(format!("ifnull(priv_group IN ({}), 0)", vec!["?"; priv_groups.len()].join(", ")));
        values.extend(priv_groups.iter().copied().map(Value::Integer));
    }
    let sql = format!(
        "SELECT sort_name, user_id, {} FROM users INDEXED BY users_by_name WHERE (sort_name, user_id) > (?, ?) \
         ORDER BY sort_name, user_id",
        conditions.join(" AND ")
    );
    (sql, values)
}
