// Small charts, made of elements: the policy of the page allows no drawing by a library's styles.

import { h, number, s } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 80;

/** Returns a chart of values over time, the oldest first; null where nothing is known. `unit(value)` writes a value. */
export function lineChart(title, values, { from, to, unit = number }) {
  const known = values.filter((value) => value !== null);
  const high = Math.max(...known, 0);
  const last = values.at(-1) === null ? "last" : "last minute";
  const summary = known.length === 0 ? "nothing known yet" : `${last} ${unit(known.at(-1))}, at most ${unit(high)}`;
  const x = (index) => ((index / Math.max(1, values.length - 1)) * WIDTH).toFixed(1);
  const y = (value) => (HEIGHT - (high === 0 ? 0 : (value / high) * (HEIGHT - 4))).toFixed(1);
  const drawing = s("svg", {
    class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `${title}: ${summary}`,
  }, s("path", { class: "axis", d: `M0 ${HEIGHT}H${WIDTH}` }));
  for (const [begin, end] of runs(values)) {
    const points = values.slice(begin, end).map((value, offset) => `${x(begin + offset)} ${y(value)}`);
    drawing.append(
      s("path", { class: "area", d: `M${x(begin)} ${HEIGHT}L${points.join("L")}L${x(end - 1)} ${HEIGHT}Z` }),
      // One point alone is a dot: a line of no length, with round ends.
      s("path", { class: end - begin === 1 ? "line dot" : "line", d: `M${points.join("L")}h0` }));
  }
  return h("section", { class: "card chart-card" }, h("h3", {}, title), drawing,
    h("p", { class: "legend" }, h("span", {}, from), h("span", {}, summary), h("span", {}, to)));
}

/** Returns the stretches of known values. */
function runs(values) {
  const found = [];
  let begin = null;
  values.forEach((value, index) => {
    if (value !== null && begin === null) begin = index;
    if (value === null && begin !== null) {
      found.push([begin, index]);
      begin = null;
    }
  });
  if (begin !== null) found.push([begin, values.length]);
  return found;
}

/** Returns bars, each with its label and count: `[[label, count], …]`. */
export function bars(rows) {
  const high = Math.max(1, ...rows.map(([, count]) => count));
  const all = Math.max(1, rows.reduce((sum, [, count]) => sum + count, 0));
  return h("div", { class: "bars", role: "list" }, rows.map(([label, count]) => {
    // A bar of a few among many is to be seen all the same.
    const width = count === 0 ? 0 : Math.max(0.6, (count / high) * 100);
    const share = `${((count / all) * 100).toFixed(count * 100 < all * 10 ? 1 : 0)} %`;
    return h("div", { class: "bar-row", role: "listitem" },
      h("span", { class: "muted" }, label),
      s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
        s("rect", { class: "pole", width: width.toFixed(2), height: 10, rx: 0.5 })),
      h("span", { class: "figure", title: share }, number(count)));
  }));
}
