// The table of people: the rows that are in sight, and what happens to them.

import { byId, counted, h, number, setText } from "./dom.js";
import { COLUMNS } from "./model.js";

/** Rows above and below those in sight, so that a scroll meets no hole. */
const MARGIN = 12;
/** The next page is asked for this many rows before the end of those that are here. */
const AHEAD = 60;
/** How long a row that goes stays to be seen going. */
const LEAVING_MS = 420;
const FALLBACK_ROW_PX = 36;

export class RollView {
  #model;
  #wantsMore;
  #scroll = byId("scroll");
  #body = byId("rows");
  #above = spacer();
  #below = spacer();
  #shown = new Map();
  #height = FALLBACK_ROW_PX;
  #isMeasured = false;
  #scheduled = false;
  #leaving = new Set();
  /** Who came since the last frame. */
  #coming = new Set();
  /** Why the rows are not what was asked for; empty when they are. */
  #stale = "";
  /** The person whose row takes the keys, and the link in it. */
  #active = null;
  #stop = null;
  /** Where the list is scrolled to, and how much of it is in sight. In a frame they are not read: the browser would work
   *  out all styles for the answer, and once more for what is rendered then. */
  #sight = { top: 0, height: 0 };

  /** `wantsMore()` is called when the end of what is here comes near. */
  constructor(model, wantsMore) {
    this.#model = model;
    this.#wantsMore = wantsMore;
    byId("headings").append(...COLUMNS.map(heading));
    this.#body.append(this.#above, this.#below);
    this.#scroll.addEventListener("scroll", () => this.#look(), { passive: true });
    this.#scroll.addEventListener("keydown", (event) => this.#key(event));
    this.#body.addEventListener("click", (event) => this.#click(event));
    this.#body.addEventListener("focusin", (event) => {
      const row = event.target.closest("tr[data-id]");
      if (row && this.#shown.has(Number(row.dataset.id))) this.#activate(Number(row.dataset.id));
    });
    new ResizeObserver(() => this.#measure()).observe(this.#scroll);
  }

  /** Shows the list from its beginning. */
  reset() {
    this.#leaving.clear();
    this.#coming.clear();
    this.#scroll.scrollTop = 0;
    this.#look();
  }

  /** Shows the rows as not being what was asked for, and why; an empty text: as what was asked for. */
  stale(why) {
    if (why === this.#stale) return;
    this.#stale = why;
    this.#scroll.toggleAttribute("data-stale", why !== "");
    this.tellCount();
  }

  /** Ends what lights up: it is not to begin anew when the table is shown again. */
  calm() {
    for (const element of this.#shown.values()) {
      delete element.dataset.coming;
      for (const cell of element.children) delete cell.dataset.lit;
    }
  }

  /** Takes what an event did; the next render shows it. */
  show({ kind, id }) {
    if (kind === "came") {
      this.#coming.add(id);
    } else if (kind === "left" || kind === "forgotten") {
      this.leave(id);
    } else if (kind === "changed") {
      this.#leaving.delete(id);
    }
  }

  /** Lets a row go before eyes, then takes it out. */
  leave(id) {
    if (!this.#model.get(id)) return;
    this.#leaving.add(id);
    this.schedule();
    setTimeout(() => {
      // Who came back in between stays.
      if (!this.#leaving.delete(id)) return;
      this.#model.remove(id);
      this.schedule();
    }, LEAVING_MS);
  }

  /** Notes what is in sight, and renders it. */
  #look() {
    this.#sight = { top: this.#scroll.scrollTop, height: this.#scroll.clientHeight };
    this.schedule();
  }

  /** Renders before the next frame; where no frame comes (the tab is hidden), soon. */
  schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const render = () => {
      this.#scheduled = false;
      this.render();
    };
    if (document.hidden) setTimeout(render, 100);
    else requestAnimationFrame(render);
  }

  render() {
    const { rows } = this.#model;
    const { top, height } = this.#sight;
    const first = Math.max(0, Math.min(rows.length, Math.floor(top / this.#height) - MARGIN));
    const last = Math.min(rows.length, Math.ceil((top + height) / this.#height) + MARGIN);
    this.#drop(new Set(rows.slice(first, last).map((row) => row.id)));
    let next = this.#above.nextSibling;
    for (let index = first; index < last; index += 1) {
      const element = this.#element(rows[index], index);
      if (element === next) next = next.nextSibling;
      else this.#body.insertBefore(element, next);
    }
    // Whoever came out of sight is nobody new when scrolled to.
    this.#coming.clear();
    setHeight(this.#above, first * this.#height);
    setHeight(this.#below, (rows.length - last) * this.#height);
    setAttribute(byId("people"), "aria-rowcount", this.#model.hasMore ? -1 : rows.length + 1);
    this.#tabStop(first, last);
    this.tellCount();
    if (this.#model.hasMore && last > rows.length - AHEAD) this.#wantsMore();
    if (!this.#isMeasured && last > first) this.#measure();
  }

  /** Takes out the rows that are not kept; the focus stays in the table. */
  #drop(kept) {
    for (const [id, element] of this.#shown) {
      if (kept.has(id)) continue;
      if (element.contains(document.activeElement)) this.#scroll.focus({ preventScroll: true });
      element.remove();
      this.#shown.delete(id);
    }
  }

  #element(row, index) {
    let element = this.#shown.get(row.id);
    if (!element) {
      element = h("tr", { role: "row", "data-id": row.id }, COLUMNS.map(() => h("td", { role: "cell" })));
      element.firstChild.append(h("a", { href: `#users/${row.id}`, tabindex: "-1" }));
      element.state = null;
      this.#shown.set(row.id, element);
      if (this.#coming.delete(row.id)) element.dataset.coming = "";
    }
    setAttribute(element, "aria-rowindex", index + 2);
    element.toggleAttribute("data-leaving", this.#leaving.has(row.id));
    if (element.state !== row) this.#fill(element, row);
    return element;
  }

  #fill(element, row) {
    const before = element.state;
    element.state = row;
    COLUMNS.forEach(({ field, text }, place) => {
      const cell = element.children[place];
      if (before && before[field] === row[field]) return;
      const isHidden = row.hidden.includes(field);
      const value = isHidden ? "hidden" : text(row);
      setText(place === 0 ? cell.firstChild : cell, place === 0 && !value ? `Person ${row.id}` : value);
      cell.title = value;
      cell.dataset.field = field;
      cell.toggleAttribute("data-hidden", isHidden);
      if (field === "state") cell.dataset.value = row.state === "active" || row.state === "inactive" ? row.state : "";
      // Two names of one animation: it begins anew when the name changes.
      if (before) cell.dataset.lit = cell.dataset.lit === "a" ? "b" : "a";
    });
  }

  /** Tells how many people there are; of a list with more pages, how many are here. */
  tellCount() {
    const { rows, hasMore, isFiltered, isKnown, total } = this.#model;
    const [here, all] = [number(rows.length), number(Math.max(total, rows.length))];
    const more = isFiltered || total === null ? `first ${here} shown, more below` : `${here} of ${all} loaded`;
    const count = !isKnown ? "" : hasMore ? more : counted(rows.length, "person", "people");
    setText(byId("count"), this.#stale || count);
  }

  #measure() {
    const row = this.#body.querySelector("tr[data-id]");
    const height = row?.getBoundingClientRect().height;
    if (height) this.#isMeasured = true;
    if (height && height !== this.#height) {
      const top = this.#scroll.scrollTop / this.#height;
      this.#height = height;
      this.#scroll.scrollTop = top * height;
    }
    this.#look();
  }

  #click(event) {
    const row = event.target.closest("tr[data-id]");
    if (row && !event.target.closest("a") && getSelection().isCollapsed) location.hash = `users/${row.dataset.id}`;
  }

  #activate(id) {
    this.#active = id;
    const stop = this.#shown.get(id).querySelector("a");
    if (stop === this.#stop) return;
    this.#stop?.setAttribute("tabindex", "-1");
    stop.setAttribute("tabindex", "0");
    this.#stop = stop;
  }

  /** One row is reached by Tab: the active one, or the first in sight. */
  #tabStop(first, last) {
    if (this.#active !== null && this.#shown.has(this.#active)) return this.#activate(this.#active);
    const { rows } = this.#model;
    const top = Math.max(first, Math.ceil(this.#sight.top / this.#height));
    if (last > first) this.#activate(rows[Math.min(top, last - 1)].id);
  }

  #key(event) {
    const { rows } = this.#model;
    if (event.altKey || event.ctrlKey || event.metaKey || rows.length === 0) return;
    const page = Math.max(1, Math.floor(this.#scroll.clientHeight / this.#height) - 2);
    const at = Math.max(0, rows.findIndex((row) => row.id === this.#active));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: rows.length }[
      event.key
    ];
    if (to === undefined) return;
    event.preventDefault();
    const isSure = this.#body.contains(document.activeElement) || event.key === "Home" || event.key === "End";
    this.focus(isSure ? Math.max(0, Math.min(rows.length - 1, to)) : at);
  }

  /** Brings a row into sight and gives it the focus. */
  focus(index) {
    const row = this.#model.rows[index];
    if (!row) return;
    const head = byId("headings").getBoundingClientRect().height;
    const [top, bottom] = [index * this.#height, (index + 1) * this.#height + head];
    if (top < this.#scroll.scrollTop) this.#scroll.scrollTop = top;
    else if (bottom > this.#scroll.scrollTop + this.#scroll.clientHeight) {
      this.#scroll.scrollTop = bottom - this.#scroll.clientHeight;
    }
    this.#active = row.id;
    this.#look();
    this.render();
    this.#shown.get(row.id)?.querySelector("a").focus({ preventScroll: true });
  }

  /** Gives the focus back to the row of a person, after the dialog. */
  focusOn(id) {
    const index = this.#model.rows.findIndex((row) => row.id === id);
    if (index >= 0) this.focus(index);
  }
}

function heading({ field, heading: text, isSorted }) {
  const attributes = { role: "columnheader", scope: "col", "data-field": field };
  if (!isSorted) {
    const title = "The list cannot be ordered by this; its filters and the search can choose by it.";
    return h("th", { ...attributes, title }, text);
  }
  const button = h("button", { type: "button", "data-sort": field }, text);
  return h("th", { ...attributes, "aria-sort": "none" }, button);
}

function spacer() {
  return h("tr", { class: "spacer", "aria-hidden": "true", role: "presentation" }, h("td", { colspan: COLUMNS.length }));
}

function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** By the object model, which the policy of the page allows; a `style` attribute it forbids. */
function setHeight(element, px) {
  const height = `${px}px`;
  if (element.style.height !== height) element.style.height = height;
  element.hidden = px === 0;
}
