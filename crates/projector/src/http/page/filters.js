// Search, filters and order.

import { byId, setText } from "./dom.js";

/** A search begins when nothing was typed for this long. */
const TYPED_MS = 180;
const NAMES = ["q", "state", "isAgent", "privGroup", "sort"];

export class Filters {
  #model;
  #changed;
  #timer = null;

  constructor(model, changed) {
    this.#model = model;
    this.#changed = changed;
    const form = byId("filters");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#take();
    });
    form.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#take(), TYPED_MS);
    });
    // Who fills in a form for the reader may send this one alone.
    form.addEventListener("change", () => this.#take());
    byId("headings").addEventListener("click", ({ target }) => {
      const column = target.closest("button")?.dataset.sort;
      if (column) this.#sort(column);
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && event.target.id === "q") {
        byId("q").value = "";
        this.#take();
      }
    });
  }

  /** Orders by a column, or by number again. */
  #sort(column) {
    byId("sort").value = byId("sort").value === column ? "userId" : column;
    this.#take();
  }

  clear() {
    for (const name of ["q", "state", "isAgent", "privGroup"]) byId(name).value = "";
    this.#take();
    byId("q").focus();
  }

  #take() {
    clearTimeout(this.#timer);
    const filters = Object.fromEntries(NAMES.map((name) => [name, byId(name).value.trim()]));
    const groups = groupsOf(filters.privGroup);
    byId("privGroup").setAttribute("aria-invalid", String(groups === null));
    setText(byId("group-fault"), groups === null ? "Group takes whole numbers, parted by commas, such as 4,7." : "");
    if (groups === null) return;
    filters.privGroup = groups;
    if (NAMES.every((name) => this.#model.filters[name] === filters[name])) return;
    this.#model.filters = filters;
    for (const button of byId("headings").querySelectorAll("button")) {
      button.parentElement.ariaSort = button.dataset.sort === filters.sort ? "ascending" : "none";
    }
    this.#changed();
  }
}

/** Returns groups as the projector takes them; null where the text is no list of whole numbers. */
function groupsOf(text) {
  const items = text.split(",").map((item) => item.trim()).filter((item) => item !== "");
  return items.every((item) => /^-?\d+$/.test(item)) ? items.map((item) => String(BigInt(item))).join(",") : null;
}
