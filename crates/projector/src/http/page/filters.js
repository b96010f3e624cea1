// Search, filters and order.

import { byId, setText } from "./dom.js";

/** A search begins when nothing was typed for this long. */
const TYPED_MS = 180;
/** What the projector takes of groups. */
const GROUPS_MAX = 100;
const [GROUP_MIN, GROUP_MAX] = [-(2n ** 63n), 2n ** 63n - 1n];
const NAMES = ["q", "state", "isAgent", "privGroup", "sort"];

export class Filters {
  #model;
  #changed;
  #faulty;
  #timer = null;

  /** `changed()` is called when other people are to be shown, `faulty(is)` with whether a field has a fault. */
  constructor(model, changed, faulty) {
    this.#model = model;
    this.#changed = changed;
    this.#faulty = faulty;
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
    const { groups, fault } = groupsOf(filters.privGroup);
    byId("privGroup").setAttribute("aria-invalid", String(fault !== ""));
    setText(byId("group-fault"), fault);
    this.#faulty(fault !== "");
    if (fault !== "") return;
    filters.privGroup = groups;
    if (NAMES.every((name) => this.#model.filters[name] === filters[name])) return;
    this.#model.filters = filters;
    for (const button of byId("headings").querySelectorAll("button")) {
      button.parentElement.ariaSort = button.dataset.sort === filters.sort ? "ascending" : "none";
    }
    this.#changed();
  }
}

/** Returns groups as the projector takes them, and the fault of a text that it would refuse. */
function groupsOf(text) {
  const items = text.split(",").map((item) => item.trim()).filter((item) => item !== "");
  if (!items.every((item) => /^-?\d+$/.test(item))) {
    return { groups: null, fault: "Group takes whole numbers, parted by commas, such as 4,7." };
  }
  const groups = [...new Set(items.map(BigInt))];
  if (groups.some((group) => group < GROUP_MIN || group > GROUP_MAX)) {
    return { groups: null, fault: `Group takes numbers up to ${GROUP_MAX.toLocaleString("en")}.` };
  }
  const fault = groups.length > GROUPS_MAX ? `Group takes up to ${GROUPS_MAX} numbers.` : "";
  return { groups: groups.join(","), fault };
}
