// The system: how far the table is, what is missing, and what to do.

import { lacking } from "./access.js";
import { judge } from "./advice.js";
import { byId, counted, duration, h, localTimes, number, refill, sentence, when } from "./dom.js";
import { charts } from "./hour.js";
import { labelOf } from "./labels.js";

export class SystemView {
  #root = byId("system");
  #isShown = false;
  /** The last state that is known, and when it was heard of. */
  #last = null;
  /** Why there is no newer one; null when the last one is the present one. */
  #refusal = null;

  show(isShown) {
    if (isShown === this.#isShown) return;
    this.#isShown = isShown;
    this.#paint();
  }

  /** Forgets all, for another token. */
  clear() {
    [this.#last, this.#refusal] = [null, null];
    this.#root.replaceChildren();
    this.#paint();
  }

  hears({ status, refusal }) {
    if (status) [this.#last, this.#refusal] = [{ status, at: new Date() }, null];
    else if (refusal) this.#refusal = refusal;
    else return;
    // What was known is of another log, or nobody's here.
    if ([403, 409].includes(refusal?.status)) this.#last = null;
    this.#paint();
  }

  #paint() {
    const { isCollapsed, anchorNode } = getSelection();
    // What is being selected, to copy it, stays.
    if (!this.#isShown || (!isCollapsed && this.#root.contains(anchorNode))) return;
    refill(this.#root, [heading(), this.#content()]);
  }

  #content() {
    const [last, refusal] = [this.#last, this.#refusal];
    if (refusal?.status === 403) {
      return h("div", { class: "card" },
        h("p", {}, h("strong", {}, "You may not see the system here.")), h("p", {}, lacking(refusal)));
    }
    if (refusal === null) {
      if (last === null) return h("p", { class: "muted" }, "Loading…");
      const { level, verdict: text, advice } = judge(last.status);
      return [verdict(level, text, advice), cards(last.status)];
    }
    const away = verdict("bad", refusal.status === 0 ? "Away" : "Not ready", [whyAway(refusal)]);
    if (last === null) return away;
    return [away, h("section", { class: "stale", "aria-label": "The last known state" },
      h("p", { class: "muted" }, "The last known state, as of ", when(last.at.toISOString()), "."), cards(last.status))];
  }
}

function whyAway({ status, message }) {
  if (status !== 0) {
    return [`The projector is not ready: ${sentence(message)}`, "Wait: this page asks again. Its log says what it waits for."];
  }
  return ["The projector does not answer.",
    "It may be starting again: this page asks until it is back. If it stays so, check that it runs, and its log."];
}

function cards(status) {
  return h("div", { class: "cards" },
    rebuild(status),
    now(status),
    indexes(status),
    charts(status),
    partitions(status),
    gaps(status.gaps),
    records("Unreadable records", status.unreadable.records, status.unreadable.listed,
      ({ position, reason }) => [h("code", {}, position), reason]),
    records("People of a later release", status.unknown.users, status.unknown.listed,
      ({ userId, name, since }) => [person(userId, name), when(since)]));
}

const heading = () => h("h2", { class: "offscreen" }, "System");

/** Shows what the probes say in words, each with what to do. */
function verdict(level, text, advice) {
  return h("section", { class: "card verdict-card", "aria-label": "Verdict" },
    h("p", { class: "verdict" }, h("span", { class: `tag ${level}` }, level === "good" ? "ready" : level === "warn" ? "look" : "act"),
      h("strong", {}, text)),
    advice.map(([what, todo]) => h("p", { class: "advice" }, what, " ", h("span", { class: "muted" }, code(todo)))));
}

/** Returns a text with what stands between backquotes as code. */
const code = (text) => text.split("`").map((part, index) => (index % 2 === 1 ? h("code", {}, part) : part));

function now(status) {
  const behind = status.asOf ? Date.now() - Date.parse(status.asOf) : null;
  const lag = status.partitions.some(({ lag }) => lag === null)
    ? "unknown"
    : number(status.partitions.reduce((sum, { lag }) => sum + lag, 0));
  const figures = [
    ["People", number(status.users)],
    ["Forgotten", number(status.forgotten)],
    ["Lag, records", lag],
    ["As of", behind === null ? "never" : `${duration(behind)} ago`],
    ["Gaps awaited", number(status.gaps.awaited)],
    ["Gaps lost", number(status.gaps.lost)],
    ["Unreadable", number(status.unreadable.records)],
    ["Unknown", number(status.unknown.users)],
    ["Subscribers", `${number(status.subscribers.now)} of ${number(status.subscribers.max)}`],
    ["Cut off as slow", number(status.subscribers.cutOff)],
    ["Found no place", number(status.subscribers.refused)],
  ];
  return h("section", { class: "card full" }, h("h3", {}, "Now"),
    h("dl", { class: "figures" }, figures.map(([title, value]) => h("div", {}, h("dt", {}, title), h("dd", {}, value)))),
    h("p", { class: "muted advice" }, `${sentence(status.phaseDetail)} Topic ${status.topic}, `, h("code", {}, status.topicId)));
}

/** Shows how far a rebuild is. */
function rebuild({ rebuild }) {
  if (rebuild === null) return null;
  const { stage, pass, share, records, users, elapsedMs } = rebuild;
  const isReading = stage === "reading";
  // How long loading takes, nobody knows: a bar without a value.
  return h("section", { class: "card full", id: "rebuild" }, h("h3", {}, "Rebuild from the log"),
    h("div", { class: "bars" }, h("div", { class: "bar-row" },
      h("span", { class: "muted" }, `${stage}${pass > 1 ? `, pass ${pass}` : ""}`),
      h("progress", { max: 1, value: isReading ? share : null, "aria-label": "The rebuild" }),
      h("span", { class: "figure" }, isReading ? `${Math.floor(share * 100)} %` : ""))),
    h("p", { class: "muted advice" },
      `${counted(records, "record", "records")} read, ${counted(users, "person", "people")} loaded, ` +
      `in ${duration(elapsedMs)}.`));
}

/** Shows how far the indexes are, while they are made. */
function indexes({ indexes }) {
  if (indexes.every(({ share }) => share >= 1)) return null;
  return h("section", { class: "card full" }, h("h3", {}, "Indexes"),
    h("div", { class: "bars" }, indexes.map(({ index, share }) => h("div", { class: "bar-row" },
      h("span", { class: "muted" }, index),
      h("progress", { max: 1, value: share, "aria-label": `The index ${index}` }),
      h("span", { class: "figure" }, `${Math.floor(share * 100)} %`)))));
}

function partitions({ partitions, cluster }) {
  const gone = h("span", { class: "tag bad" }, "leader gone");
  const rows = partitions.map(({ partition, nextOffset, endOffset, lag, heldBack, erasedUpTo }) => [
    partition, number(nextOffset), endOffset === null && cluster.answers ? gone.cloneNode(true) : number(endOffset),
    number(lag), heldBack === null ? "no" : localTimes(heldBack), erasedUpTo === nextOffset ? "all" : `up to ${number(erasedUpTo)}`,
  ]);
  return h("section", { class: "card full" }, h("h3", {}, "Partitions"),
    table(["Partition", "Read up to", "End of the log", "Lag", "Held back", "Erased"], rows, 4));
}

function gaps({ awaited, lost, listed, redacted }) {
  if (awaited + lost === 0) return null;
  const rows = listed.map(({ userId, name, state, awaitedUntil, fields }) => [
    person(userId, name), h("span", { class: `tag ${state === "lost" ? "bad" : "warn"}` }, state), when(awaitedUntil),
    fields.length > 0 ? fields.map(labelOf).join(", ") : redacted?.length > 0 ? "hidden fields" : "none",
  ]);
  return h("section", { class: "card full" }, h("h3", {}, "Missing deliveries"),
    table(["Person", "State", "Awaited until", "Fields that differ"], rows),
    listed.length < awaited + lost && h("p", { class: "muted" }, `The first ${number(listed.length)} are listed.`));
}

function records(title, count, listed, row) {
  if (count === 0) return null;
  return h("section", { class: "card full" }, h("h3", {}, `${title}: ${number(count)}`),
    table(["Which", "Why"], listed.map(row)));
}

/** Returns a table whose first `figures` columns are numbers. */
function table(headings, rows, figures = 0) {
  const kind = (place) => (place < figures ? { class: "figure" } : {});
  return h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": headings.join(", ") },
    h("table", { class: "plain" },
      h("thead", {}, h("tr", {}, headings.map((text, place) => h("th", { scope: "col", ...kind(place) }, text)))),
      h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, place) => h("td", kind(place), cell)))))));
}

const person = (id, name) => h("a", { href: `#users/${id}` }, name || `Person ${id}`);
