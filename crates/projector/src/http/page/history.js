// What changed of a person and when, and what is missing of that.

import { lacking } from "./access.js";
import { Refusal } from "./api.js";
import { h, when, zone } from "./dom.js";
import { labelOf, valueText } from "./labels.js";

/** Each kind of entry: a word, how it is coloured, and what it means. */
const KINDS = {
  changed: ["changed", "", null],
  forgotten: ["forgotten", "warn", "The person was forgotten; the entries before were erased."],
  unknown: ["later release", "warn", "The record is of a later release; the person is shown as last known."],
  known: ["readable again", "good", null],
  late: ["late", "warn", "It came after a newer one, and changed nothing."],
  superseded: ["late", "warn", "It came after a newer one, was set aside by ingest, and changed nothing."],
  tied: ["same second", "warn", "It is of the same second as another change, which counts."],
  repeated: ["repeated", "warn", "It was delivered before."],
};
const TYPES = { created: "created", imported: "imported" };
const GAP_COLOURS = { awaited: "warn", lost: "bad", closed: "good" };

/** Returns the section about changes, of the history or of the refusal that came instead. */
export function changesList(history) {
  if (history instanceof Refusal) {
    const why = history.status === 403 ? lacking(history) : `The changes cannot be shown now: ${history.message}.`;
    return [h("p", { class: "muted" }, why)];
  }
  const isRedacted = history._meta.redacted?.length > 0;
  const since = ["Since ", when(history.historySince), history.beginsWith === "table"
    ? ", when this table was made from the log. What was before is not known here."
    : ". Older changes are no longer kept."];
  return [
    history.changes.length > 0 && h("ol", { class: "changes" }, history.changes.map((change) => entry(change, isRedacted))),
    h("p", { class: "muted" }, history.hasMore ? `Older changes than these ${history.changes.length} are not listed. ` : null,
      since, isRedacted ? " What changed in hidden fields is not listed." : null, ` Times are in ${zone()}.`),
  ];
}

function entry(change, isRedacted) {
  const [word, colour, meaning] = KINDS[change.kind] ?? [change.kind, "", null];
  return h("li", {},
    h("p", { class: "entry" },
      h("span", { class: `tag ${colour}` }, change.kind === "changed" ? TYPES[change.type] ?? word : word),
      h("span", {}, "occurred ", occurred(change)),
      change.receivedAt && h("span", { class: "muted" }, "received ", when(change.receivedAt))),
    meaning && h("p", { class: "muted" }, meaning),
    fieldsOf(change),
    isRedacted && change.kind === "changed" && change.fields.length === 0 &&
      h("p", { class: "muted" }, "The change is in fields hidden from this token, if in any."),
    change.gapOpened && gapOpened(change.gapOpened),
    change.gapsClosed?.length > 0 && h("p", {}, h("span", { class: "tag good" }, "gap closed"),
      " It is the delivery that was missing."));
}

/** Returns when an event occurred; of one that was received before that, by whose clock. */
export function occurred({ occurredAt, receivedAt }) {
  const isAhead = Date.parse(occurredAt) > Date.parse(receivedAt);
  return [when(occurredAt), isAhead && h("span", { class: "muted" }, " (by the sender's clock)")];
}

function fieldsOf({ kind, comparedWith, fields }) {
  if (fields.length === 0) return null;
  const isFirst = comparedWith === "nothing";
  const headings = isFirst ? ["Field", "Value"] : ["Field", "Before", "After"];
  const rows = fields.map(({ name, before, after }) => {
    const cells = isFirst ? [after] : [before, after];
    return h("tr", {}, h("th", { scope: "row", title: name }, labelOf(name)),
      cells.map((value, place) => h("td", {}, written(name, value, !isFirst && place === 0))));
  });
  return h("table", { class: "plain values" },
    h("thead", {}, h("tr", {}, headings.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows));
}

function written(name, value, isBefore) {
  const text = valueText(name, value);
  return h(isBefore ? "del" : "ins", {}, text ?? "not set");
}

function gapOpened({ state, awaitedUntil, fields }) {
  const end = { awaited: " VCC Live tries again until ", lost: " VCC Live gave up on " }[state];
  return h("p", {}, h("span", { class: `tag ${GAP_COLOURS[state]}` }, `gap ${state}`),
    " A delivery before it is missing", state === "closed" ? ", or was; it has come, or newer gaps took its place." : ".",
    end && awaitedUntil ? [end, when(awaitedUntil), "."] : null,
    fields.length > 0 ? ` What differs: ${fields.map(labelOf).join(", ")}.` : null);
}

/** Returns the section about missing deliveries. */
export function gapsList({ gaps }) {
  if (gaps.length === 0) return h("p", {}, "No delivery about this person is missing.");
  return [
    h("p", {}, "The person is shown whole all the same: each event carries all fields. Missing is the step in between."),
    h("ul", { class: "gaps" }, gaps.map(({ state, awaitedUntil, fields, position }) => h("li", {},
      h("span", { class: `tag ${GAP_COLOURS[state]}` }, state),
      state === "lost" ? " VCC Live gave up on " : " VCC Live tries again until ", when(awaitedUntil),
      fields.length > 0 ? `. What differs: ${fields.map(labelOf).join(", ")}. ` : ". ",
      h("code", { class: "muted" }, position)))),
  ];
}
