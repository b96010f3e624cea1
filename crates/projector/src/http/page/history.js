// What is missing of a person's history.

import { h, when } from "./dom.js";
import { labelOf } from "./labels.js";

/** Returns what is said of missing deliveries. */
export function gapsList({ gaps }) {
  if (gaps.length === 0) return h("p", {}, "No delivery about this person is missing.");
  return [
    h("p", {}, "The person is shown whole all the same: each event carries all fields. Missing is the step in between."),
    h("ul", { class: "gaps" }, gaps.map(({ state, awaitedUntil, fields, position }) => h("li", {},
      h("span", { class: `tag ${state === "lost" ? "bad" : "warn"}` }, state),
      state === "lost" ? " VCC Live gave up on " : " VCC Live tries again until ", when(awaitedUntil),
      fields.length > 0 ? `. What differs: ${fields.map(labelOf).join(", ")}. ` : ". ",
      h("code", { class: "muted" }, position)))),
  ];
}
