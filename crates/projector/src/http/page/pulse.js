// What goes on, in numbers and in a few words: the rate of events, the latest of them, and what a screen reader hears.

import { byId, clock, counted, h, number, s, setText } from "./dom.js";
import { COLUMNS } from "./model.js";

/** Over how many seconds the rate is taken. */
const RATE_S = 5;
/** How many seconds the small chart has. */
const SPARK_S = 60;
/** How many of the latest changes are listed. */
const FEED_MAX = 40;
/** The list is painted no more often: it is to be read. */
const FEED_EVERY_MS = 400;
/** A screen reader hears of changes no more often. */
const TOLD_EVERY_MS = 10_000;

const HEADINGS = Object.fromEntries(COLUMNS.map(({ field, heading }) => [field, heading.toLowerCase()]));

export class Pulse {
  /** How many events each of the last seconds had; the last one is not over. */
  #seconds = new Array(SPARK_S + 1).fill(0);
  #feed = [];
  #isFeedDue = false;
  #told = { changed: 0, came: 0, forgotten: 0 };
  #path = s("path", { class: "spark-line", d: "" });

  constructor() {
    byId("spark").append(this.#path);
    setInterval(() => this.#tick(), 1000);
    setInterval(() => this.#tell(), TOLD_EVERY_MS);
  }

  /** Counts an event that came. */
  count() {
    this.#seconds[SPARK_S] += 1;
  }

  /** Notes what an event did. */
  note(change) {
    const { kind, id, row, fields } = change;
    const what = wordsFor(kind, fields);
    const name = (kind !== "forgotten" && row?.name) || `Person ${id}`;
    this.#feed.unshift({ at: new Date(), id, name, what });
    this.#feed.length = Math.min(this.#feed.length, FEED_MAX);
    this.#told[kind === "forgotten" || kind === "came" ? kind : "changed"] += 1;
    if (this.#isFeedDue) return;
    this.#isFeedDue = true;
    setTimeout(() => {
      this.#isFeedDue = false;
      this.#paintFeed();
    }, FEED_EVERY_MS);
  }

  /** A person who was forgotten is not named here any more. */
  forget(id) {
    for (const entry of this.#feed) {
      if (entry.id !== id) continue;
      entry.name = `Person ${id}`;
      if (entry.element) setText(entry.element.querySelector("a"), entry.name);
    }
  }

  clear() {
    this.#feed = [];
    byId("feed").replaceChildren();
    this.#paintFeed();
  }

  /** Says something that a reader must know, by voice too. */
  say(text) {
    setText(byId("announcer"), text);
  }

  #tick() {
    this.#seconds.push(0);
    this.#seconds.shift();
    const over = this.#seconds.slice(SPARK_S - RATE_S, SPARK_S);
    const rate = over.reduce((sum, count) => sum + count, 0) / RATE_S;
    setText(byId("rate"), rate >= 100 ? number(Math.round(rate)) : rate.toFixed(1));
    const high = Math.max(4, ...this.#seconds);
    const points = this.#seconds.slice(0, SPARK_S).map((count, x) => `${x} ${(15 - (14 * count) / high).toFixed(1)}`);
    this.#path.setAttribute("d", `M${points.join("L")}`);
  }

  #tell() {
    const { changed, came, forgotten } = this.#told;
    this.#told = { changed: 0, came: 0, forgotten: 0 };
    const parts = [
      changed > 0 && counted(changed, "change", "changes"),
      came > 0 && counted(came, "new person", "new people"),
      forgotten > 0 && `${number(forgotten)} forgotten`,
    ].filter(Boolean);
    if (parts.length > 0 && !document.hidden) this.say(parts.join(", "));
  }

  /** Adds before the first and removes behind the last alone: what has the focus stays. */
  #paintFeed() {
    const list = byId("feed");
    byId("feed-none").hidden = this.#feed.length > 0;
    list.prepend(...this.#feed.filter((entry) => !entry.element).map((entry) => (entry.element = feedItem(entry))));
    const kept = new Set(this.#feed.map(({ element }) => element));
    for (const item of [...list.children]) {
      if (!kept.has(item) && !item.contains(document.activeElement)) item.remove();
    }
  }
}

function feedItem({ at, id, name, what }) {
  return h("li", {},
    h("time", { datetime: at.toISOString() }, clock(at)),
    h("a", { href: `#users/${id}` }, name),
    h("span", {}, what));
}

function wordsFor(kind, fields) {
  if (kind === "came") return "came to the roll";
  if (kind === "forgotten") return "was forgotten";
  // Of someone who is not among the rows that are here, it is not known what was before.
  if (kind === "elsewhere") return "changed";
  const named = fields.map((field) => HEADINGS[field]);
  return named.length > 0 ? `changed: ${named.join(", ")}` : "changed in no shown field";
}
