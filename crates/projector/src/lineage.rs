//! Lineage of one user: which deliveries never came. The same for the live table and for a rebuild.

use domain::Position;
use domain::fold::{Effect, RecordHead};
use domain::{gap, wire};

use crate::store::GapRow;

/// How many gaps of one user are remembered, the newest: more tells nobody more.
pub(crate) const GAPS_PER_USER_MAX: usize = 16;

/// Brings `gaps` up to date with what the record at `position` did. Returns whether they changed.
///
/// `held` is the value of the record that won before; `value` the value of this record.
pub(crate) fn follow(
    gaps: &mut Vec<GapRow>,
    effect: Effect,
    position: Position,
    head: &RecordHead,
    held: Option<&[u8]>,
    value: Option<&[u8]>,
) -> bool {
    match effect {
        Effect::Newer { gap: Some(gap) } => {
            let fields = differing_fields(held, value);
            if fields.is_empty() {
                return false;
            }
            if gaps.len() == GAPS_PER_USER_MAX {
                gaps.remove(0);
            }
            gaps.push(GapRow { position, gap, fields });
            true
        }
        Effect::Stale => narrow(gaps, head),
        Effect::Forgotten => !std::mem::take(gaps).is_empty(),
        Effect::Newer { gap: None } | Effect::Duplicate => false,
    }
}

/// A suspected gap is one if the state held and the state that the event was built on differ in a field that we know.
fn differing_fields(held: Option<&[u8]>, value: Option<&[u8]>) -> Vec<String> {
    let (Some(held), Some(value)) = (held, value) else { return Vec::new() };
    let (Ok(held), Ok(next)) = (wire::decode(held), wire::decode(value)) else { return Vec::new() };
    next.old.map(|old| gap::changed_fields(&held.new, &old)).unwrap_or_default()
}

/// Narrows the gaps by an event that came late, and removes those that it closes. Returns whether they changed.
pub(crate) fn narrow(gaps: &mut Vec<GapRow>, late: &RecordHead) -> bool {
    let RecordHead::Event(late) = late else { return false };
    let mut changed = false;
    gaps.retain_mut(|row| match row.gap.narrow(late) {
        Some(rest) => {
            changed |= rest != row.gap;
            row.gap = rest;
            true
        }
        None => {
            changed = true;
            false
        }
    });
    changed
}
