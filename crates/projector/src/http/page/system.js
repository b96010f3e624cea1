// The system: how far the table is, what is missing, and what to do.

import { lacking } from "./access.js";
import { judge } from "./advice.js";
import { Refusal } from "./api.js";
import { byId, counted, duration, h, number, sentence, when } from "./dom.js";
import { charts } from "./hour.js";

/** How often the state is asked for while it is looked at. */
const EVERY_MS = 2_000;

export class SystemView {
  #api;
  #unauthorised;
  #root = byId("system");
  #timer = null;
  #asking = null;
  /** The positions of the state that is shown: none older follows. */
  #shown = null;

  constructor(api, unauthorised) {
    this.#api = api;
    this.#unauthorised = unauthorised;
  }

  show(isShown) {
    if (isShown === (this.#asking !== null)) return;
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.#asking = isShown ? new AbortController() : null;
    if (!isShown) return;
    this.#root.replaceChildren(h("p", { class: "muted" }, "Loading…"));
    this.#ask();
  }

  async #ask() {
    const asking = this.#asking;
    try {
      const { body } = await this.#api.json("status", { signal: asking.signal, query: { at_least: this.#shown } });
      this.#shown = body.checkpoint;
      this.#paint(body);
    } catch (error) {
      if (!(error instanceof Refusal)) {
        if (error.name === "AbortError") return;
        throw error;
      }
      if (error.status === 401) return this.#unauthorised(error);
      if (error.status === 409) this.#shown = null;
      this.#refused(error);
      if (error.status === 403) return;
    }
    if (this.#asking === asking) this.#timer = setTimeout(() => this.#ask(), EVERY_MS);
  }

  #refused(error) {
    if (error.status === 403) {
      this.#root.replaceChildren(heading(), h("div", { class: "card" },
        h("p", {}, h("strong", {}, "You may not see the system here.")), h("p", {}, lacking(error))));
      return;
    }
    const [what, todo] = error.status === 0
      ? ["The projector does not answer.", "It may be starting again: this page asks until it is back. If it stays so, " +
        "check that it runs, and its log."]
      : [`The projector is not ready: ${error.message}.`, "Wait: this page asks again. Its log says what it waits for."];
    this.#root.replaceChildren(heading(), verdict("bad", "Not ready", [[what, todo]]));
  }

  #paint(status) {
    const top = this.#root.scrollTop;
    const { level, verdict: text, advice } = judge(status);
    this.#root.replaceChildren(
      heading(),
      verdict(level, text, advice),
      h("div", { class: "cards" },
        rebuild(status),
        now(status),
        indexes(status),
        charts(status),
        partitions(status),
        gaps(status.gaps),
        records("Unreadable records", status.unreadable.records, status.unreadable.listed,
          ({ position, reason }) => [h("code", {}, position), reason]),
        records("People of a later release", status.unknown.users, status.unknown.listed,
          ({ userId, since }) => [person(userId), when(since)])));
    this.#root.scrollTop = top;
  }
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

function partitions({ partitions }) {
  const rows = partitions.map(({ partition, nextOffset, endOffset, lag, heldBack, erasedUpTo }) => [
    partition, number(nextOffset), number(endOffset), number(lag),
    heldBack ?? "no", erasedUpTo === nextOffset ? "all" : `up to ${number(erasedUpTo)}`,
  ]);
  return h("section", { class: "card full" }, h("h3", {}, "Partitions"),
    table(["Partition", "Read up to", "End of the log", "Lag", "Held back", "Erased"], rows, 4));
}

function gaps({ awaited, lost, listed, redacted }) {
  if (awaited + lost === 0) return null;
  const rows = listed.map(({ userId, state, awaitedUntil, fields }) => [
    person(userId), h("span", { class: `tag ${state === "lost" ? "bad" : "warn"}` }, state), when(awaitedUntil),
    fields.length > 0 ? fields.join(", ") : redacted?.length > 0 ? "hidden fields" : "none",
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

const person = (id) => h("a", { href: `#users/${id}` }, `Person ${id}`);
