// The last hour, as this tab has seen it: how many events came in each minute, how far the table was behind, and how
// late deliveries were. Kept in memory, by the minute.

import { bars, lineChart } from "./chart.js";
import { duration, h } from "./dom.js";

const MINUTE_MS = 60_000;
const MINUTES = 60;
/** How late a delivery was: the bounds of the bars, and their words. */
const LATENESS = [
  [1_000, "under 1 s"], [10_000, "under 10 s"], [MINUTE_MS, "under 1 min"], [10 * MINUTE_MS, "under 10 min"],
  [60 * MINUTE_MS, "under 1 h"], [24 * 60 * MINUTE_MS, "under 1 d"], [Infinity, "1 d or more"],
];

export class Hour {
  #began = Date.now();
  /** By the number of the minute: `{ events, lag, behindMs, late }`. */
  #minutes = new Map();

  /** Counts an event of the stream, with the times of its user where it has one. */
  hears({ occurredAt, receivedAt } = {}) {
    const minute = this.#minute();
    minute.events += 1;
    const late = Date.parse(receivedAt) - Date.parse(occurredAt);
    if (!Number.isNaN(late)) minute.late[LATENESS.findIndex(([bound]) => late < bound)] += 1;
  }

  /** Notes the state of the system. Of a minute the worst is kept. */
  asked({ partitions, asOf }) {
    const minute = this.#minute();
    const lag = partitions.reduce((sum, { lag }) => (sum === null || lag === null ? null : sum + lag), 0);
    if (lag !== null) minute.lag = Math.max(minute.lag ?? 0, lag);
    if (asOf) minute.behindMs = Math.max(minute.behindMs ?? 0, Date.now() - Date.parse(asOf));
  }

  /** Begins anew, for another reader. */
  clear() {
    this.#began = Date.now();
    this.#minutes.clear();
  }

  #minute() {
    const now = Math.floor(Date.now() / MINUTE_MS);
    let minute = this.#minutes.get(now);
    if (!minute) {
      minute = { events: 0, lag: null, behindMs: null, late: LATENESS.map(() => 0) };
      this.#minutes.set(now, minute);
      for (const number of this.#minutes.keys()) if (number <= now - MINUTES) this.#minutes.delete(number);
    }
    return minute;
  }

  /** Returns the charts. */
  charts() {
    const now = Math.floor(Date.now() / MINUTE_MS);
    const first = Math.floor(this.#began / MINUTE_MS);
    const of = (name, missing) => Array.from({ length: MINUTES }, (_, index) => {
      const number = now - MINUTES + 1 + index;
      return number < first ? null : this.#minutes.get(number)?.[name] ?? missing;
    });
    const ends = { from: "an hour ago", to: "now" };
    const late = LATENESS.map(([, word], place) =>
      [word, [...this.#minutes.values()].reduce((sum, minute) => sum + minute.late[place], 0)]);
    const isSeen = late.some(([, count]) => count > 0);
    return [
      lineChart("Events a minute", of("events", 0), ends),
      lineChart("Lag, records", of("lag", null), ends),
      lineChart("Behind the log", of("behindMs", null), { ...ends, unit: duration }),
      h("section", { class: "card" }, h("h3", { title: "from when it occurred to when it was received" }, "How late deliveries are"),
        isSeen ? bars(late) : h("p", { class: "muted" }, "No delivery has come since this page was opened.")),
    ];
  }
}
