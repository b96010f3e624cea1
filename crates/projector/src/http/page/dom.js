// Elements by calls. Text is always a text node: a name with markup in it is shown as it is written.

const SVG = "http://www.w3.org/2000/svg";

/** Returns an element with attributes, listeners (`onclick`), and children (elements and text; null is left out). */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same in a drawing. */
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

/** Sets a text only where it differs, so that nothing is painted, or read out, for nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Replaces what is in an element. What has the focus, and where the reader has scrolled to, stays. */
export function refill(element, content) {
  const stops = () => [...element.querySelectorAll("a[href], button, [tabindex]")];
  const nameOf = (stop) => stop.getAttribute("href") ?? stop.getAttribute("aria-label") ?? stop.id;
  const focused = element.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  const top = element.scrollTop;
  const lefts = new Map(stops().map((stop) => [nameOf(stop), stop.scrollLeft]));
  element.replaceChildren(...content.flat(Infinity).filter((child) => child != null && child !== false));
  element.scrollTop = top;
  for (const stop of stops()) stop.scrollLeft = lefts.get(nameOf(stop)) ?? 0;
  if (focused) stops().find((stop) => nameOf(stop) === focused)?.focus({ preventScroll: true });
}

/** Returns the element with this identifier. */
export const byId = (id) => document.getElementById(id);

const WHOLE = new Intl.NumberFormat("en");
export const number = (value) => (value == null ? "unknown" : WHOLE.format(value));

/** Returns a count with its noun: `1 person`, `2 people`. */
export const counted = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;

/** Returns a text of the projector as a sentence, with its times in the reader's zone. */
export function sentence(text) {
  const told = localTimes(text);
  return `${told[0].toUpperCase()}${told.slice(1)}${/[.…!?]$/.test(told) ? "" : "."}`;
}

/** Returns a text with its times in the reader's zone. */
export const localTimes = (text) =>
  text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, (time) => when(time).textContent);

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** Returns an element with a time of the vendor or the projector, in the reader's zone; the exact one is its title. */
export function when(text) {
  if (!text) return h("span", { class: "muted" }, "unknown");
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return h("span", {}, String(text));
  return h("time", { datetime: text, title: text }, `${DAY.format(at)}, ${CLOCK.format(at)}`);
}

export const clock = (date) => CLOCK.format(date);

/** Returns the reader's zone, in which all times of the page are. */
export const zone = () =>
  new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" }).formatToParts().find(({ type }) => type === "timeZoneName").value;

/** Returns a duration in words, with one unit. */
export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = ms / 1000;
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * size) return `${Math.round(seconds / size)} ${unit}`;
  }
  return `${Math.round(seconds)} s`;
}

/** Copies a text; where the page is not served securely, by the older way. */
export async function copy(text, near) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = h("textarea", { class: "offscreen", readonly: true, "aria-hidden": "true" });
  field.value = text;
  near.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
