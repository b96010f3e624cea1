// Search, filters and order.

import { byId } from "./dom.js";

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
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && event.target.id === "q") {
        byId("q").value = "";
        this.#take();
      }
    });
  }

  clear() {
    for (const name of ["q", "state", "isAgent", "privGroup"]) byId(name).value = "";
    this.#take();
    byId("q").focus();
  }

  #take() {
    clearTimeout(this.#timer);
    const filters = Object.fromEntries(NAMES.map((name) => [name, byId(name).value.trim()]));
    if (!/^-?\d*$/.test(filters.privGroup) || filters.privGroup === "-") {
      byId("privGroup").setAttribute("aria-invalid", "true");
      return;
    }
    byId("privGroup").removeAttribute("aria-invalid");
    if (NAMES.every((name) => this.#model.filters[name] === filters[name])) return;
    this.#model.filters = filters;
    this.#changed();
  }
}
