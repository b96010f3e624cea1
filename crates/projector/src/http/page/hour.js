// What the projector remembers: its last hour by the minute, and how late deliveries were since it was started.

import { bars, lineChart } from "./chart.js";
import { duration, h } from "./dom.js";

const MINUTE_MS = 60_000;
const MINUTES = 60;

/** Returns the charts of a status: `recent` has the minutes in which anything was seen, the oldest first. */
export function charts({ recent, lateness }) {
  const minutes = new Map(recent.map((minute) => [minuteOf(minute.at), minute]));
  // The clock is the projector's: its last minute is the present one.
  const now = recent.length > 0 ? minuteOf(recent.at(-1).at) : 0;
  const first = recent.length > 0 ? minuteOf(recent[0].at) : 1;
  const of = (name, missing = null) => Array.from({ length: MINUTES }, (_, index) => {
    const number = now - MINUTES + 1 + index;
    return number < first ? null : minutes.get(number)?.[name] ?? missing;
  });
  const ends = { from: "an hour ago", to: "last minute" };
  // The clock of the vendor may be ahead: a delivery is not early.
  const latest = of("latenessMaxMs").map((late) => (late === null ? null : Math.max(0, late)));
  return [
    lineChart("Events a minute", of("events", 0), ends),
    lineChart("Latest delivery of a minute", latest, { ...ends, unit: duration }),
    lineChart("Lag, records", of("lag"), ends),
    lineChart("Subscribers", of("subscribers"), ends),
    histogram(lateness),
  ];
}

const minuteOf = (at) => Math.floor(Date.parse(at) / MINUTE_MS);

function histogram(lateness) {
  const rows = lateness.map(({ upTo, deliveries }) => [upTo === null ? "later" : `within ${upTo}`, deliveries]);
  const isSeen = rows.some(([, deliveries]) => deliveries > 0);
  return h("section", { class: "card full lateness" },
    h("h3", { title: "from when it occurred to when it was received" }, "How late deliveries are"),
    isSeen ? bars(rows) : h("p", { class: "muted" }, "The projector has read no delivery since it was started."));
}
