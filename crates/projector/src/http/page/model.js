// The people that the table has: pages of the projector's list, kept current by the stream. No element is touched here.

import { fold } from "./fold.js";
import { isOlder, parsePosition } from "./position.js";

/** How many people a page has: a few screens. */
const PAGE = 300;
/** Of how many people the newest state that was shown is remembered. */
const SEEN_MAX = 200_000;
/** How many people a search asks about one by one; of more it is made again. */
const ASKED_MAX = 20;

/** The columns, in their order: member, heading, whether the projector sorts by it, and how a value is written. */
export const COLUMNS = [
  { field: "name", heading: "Name", isSorted: true, text: (row) => row.name ?? "" },
  { field: "username", heading: "Username", text: (row) => row.username ?? "" },
  { field: "extension", heading: "Extension", text: (row) => row.extension ?? "" },
  { field: "state", heading: "State", text: (row) => row.state ?? "" },
  { field: "privGroup", heading: "Group", text: (row) => (row.privGroup == null ? "" : String(row.privGroup)) },
  { field: "isAgent", heading: "Type", text: (row) => typeText(row.isAgent) },
];
const FIELDS = COLUMNS.map((column) => column.field).join(",");

const typeText = (isAgent) => (isAgent == null ? "" : isAgent ? "Agent" : "Not an agent");

export class Model {
  #api;
  /** In the order of the list. */
  rows = [];
  #byId = new Map();
  /** The newest state of a person that was shown; `row` is null of one who is forgotten. */
  #seen = new Map();
  #next = null;
  #loading = null;
  #asked = new Set();
  /** Whether there has been a list: none of nobody is shown before. */
  isKnown = false;
  /** How many people there are, as far as this token may know. */
  total = null;
  filters = { q: "", state: "", isAgent: "", privGroup: "", sort: "userId" };

  constructor(api) {
    this.#api = api;
  }

  get hasMore() {
    return this.#next !== null;
  }

  get isLoading() {
    return this.#loading !== null;
  }

  get isFiltered() {
    const { q, state, isAgent, privGroup } = this.filters;
    return [q, state, isAgent, privGroup].some((value) => value !== "");
  }

  get(id) {
    return this.#byId.get(id);
  }

  /** Drops all, for another log: what was seen was of the old one. */
  clear() {
    this.drop();
    this.#seen.clear();
    this.isKnown = false;
    this.total = null;
  }

  /** Drops the list. */
  drop() {
    this.rows = [];
    this.#byId.clear();
    this.#next = null;
  }

  /** Loads the first page; what was there stays until it comes. Returns its positions; null if another load came in
   *  between. */
  async load(atLeast) {
    this.#loading?.abort();
    const mine = (this.#loading = new AbortController());
    try {
      const query = { ...this.filters, sort: this.#sort(), fields: FIELDS, limit: PAGE, at_least: atLeast };
      const { body, positions } = await this.#api.json("users", { signal: mine.signal, query });
      if (this.#loading !== mine) return null;
      this.drop();
      this.#take(body);
      this.isKnown = true;
      // A log without records has no positions yet.
      return positions ?? "";
    } catch (error) {
      if (error.name === "AbortError") return null;
      throw error;
    } finally {
      if (this.#loading === mine) this.#loading = null;
    }
  }

  /** Loads the page after the last; returns whether there was one. */
  async more() {
    if (this.#next === null || this.#loading) return false;
    const mine = (this.#loading = new AbortController());
    try {
      const { body } = await this.#api.json(this.#next, { signal: mine.signal, query: { at_least: this.#api.atLeast } });
      if (this.#loading !== mine) return false;
      this.#take(body);
      return true;
    } catch (error) {
      if (error.name === "AbortError") return false;
      throw error;
    } finally {
      if (this.#loading === mine) this.#loading = null;
    }
  }

  #sort() {
    return this.filters.sort === "userId" ? null : this.filters.sort;
  }

  #take({ users, next }) {
    for (const user of users) {
      const row = this.#newest(rowOf(user));
      if (row && !this.#byId.has(row.id) && this.#fits(row)) {
        this.rows.push(row);
        this.#byId.set(row.id, row);
      }
    }
    this.#next = next;
  }

  /** Returns the state to show of a person: never one older than was shown. */
  #newest(row) {
    const seen = this.#seen.get(row.id);
    if (seen && isOlder(row.position, seen.position)) return seen.row;
    this.#see(row.id, row.position, row);
    return row;
  }

  #see(id, position, row) {
    this.#seen.delete(id);
    this.#seen.set(id, { position, row });
    if (this.#seen.size > SEEN_MAX) this.#seen.delete(this.#seen.keys().next().value);
  }

  /** Returns the position of the newest state that was shown of a person. */
  seenAt(id) {
    return this.#seen.get(id)?.position?.text ?? null;
  }

  /** Takes an event of the stream. Returns what it did: `{ kind, id, row, fields }`, or null where it is old news.
   *  `kind` is `came`, `changed`, `left` (does not match any more), `forgotten`, or `elsewhere`. */
  apply(event) {
    const user = JSON.parse(event.data);
    if (event.name === "forgotten") return this.#forget(user);
    const row = rowOf(user);
    const seen = this.#seen.get(row.id);
    if (seen && isOlder(row.position, seen.position)) return null;
    this.#see(row.id, row.position, row);
    const before = this.#byId.get(row.id);
    const fits = this.#fits(row);
    if (before) {
      const fields = COLUMNS.map(({ field }) => field).filter((field) => before[field] !== row[field]);
      this.#replace(before, row);
      if (!fits) return { kind: "left", id: row.id, row, fields };
      this.#askAfter(row.id, fields);
      return { kind: "changed", id: row.id, row, fields };
    }
    if (!fits || this.filters.q !== "") {
      if (fits) this.#askAfter(row.id, ["name"]);
      return { kind: "elsewhere", id: row.id, row, fields: [] };
    }
    return this.#insert(row)
      ? { kind: "came", id: row.id, row, fields: [] }
      : { kind: "elsewhere", id: row.id, row, fields: [] };
  }

  #forget({ userId, _meta }) {
    const position = parsePosition(_meta?.position);
    const seen = this.#seen.get(userId);
    if (seen && isOlder(position, seen.position)) return null;
    const row = this.#byId.get(userId) ?? null;
    this.#see(userId, position, null);
    return { kind: "forgotten", id: userId, row, fields: [] };
  }

  /** Takes a row out of the list, once it has been seen to go. */
  remove(id) {
    if (this.#byId.delete(id)) this.rows = this.rows.filter((row) => row.id !== id);
  }

  /** Puts a row where the order has it. Returns whether that is in the part of the list that is here. */
  #insert(row) {
    const order = ORDERS[this.filters.sort];
    let [low, high] = [0, this.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (order(this.rows[middle], row) < 0) low = middle + 1;
      else high = middle;
    }
    if (low === this.rows.length && this.#next !== null) return false;
    this.rows.splice(low, 0, row);
    this.#byId.set(row.id, row);
    return true;
  }

  #replace(before, row) {
    this.#byId.set(row.id, row);
    if (ORDERS[this.filters.sort](before, row) === 0) {
      this.rows[this.rows.indexOf(before)] = row;
      return;
    }
    this.rows.splice(this.rows.indexOf(before), 1);
    if (!this.#insert(row)) this.#byId.delete(row.id);
  }

  /** Whether a row passes the filters that the page can judge itself. */
  #fits(row) {
    const { state, isAgent, privGroup } = this.filters;
    return (
      (state === "" || row.state === state) &&
      (isAgent === "" || String(row.isAgent) === isAgent) &&
      (privGroup === "" || privGroup.split(",").includes(String(row.privGroup)))
    );
  }

  /** Notes that the projector must say whether a person is found by the search. */
  #askAfter(id, fields) {
    if (this.filters.q !== "" && fields.length > 0) this.#asked.add(id);
  }

  /** Asks the projector who of those that changed is found. Returns what to do: `"load"` the search anew, or the
   *  identifiers of those who left. Those who came are in. */
  async settle(atLeast) {
    const asked = [...this.#asked];
    this.#asked.clear();
    if (this.filters.q === "" || asked.length === 0) return [];
    if (asked.length > ASKED_MAX) return "load";
    const left = [];
    for (const id of asked) {
      const query = { ...this.filters, sort: null, fields: FIELDS, limit: 1, at_least: atLeast };
      if (id > 0) query.after = id - 1;
      const { body } = await this.#api.json("users", { query });
      const found = body.users[0]?.userId === id ? this.#newest(rowOf(body.users[0])) : null;
      if (!found) left.push(id);
      else if (!this.#byId.has(id)) this.#insert(found);
    }
    return left.filter((id) => this.#byId.has(id));
  }
}

const ORDERS = {
  userId: (a, b) => a.id - b.id,
  name: (a, b) => compare(a.sorted, b.sorted) || a.id - b.id,
};

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

function rowOf(user) {
  return {
    id: user.userId,
    name: user.name,
    sorted: fold(user.name ?? ""),
    username: user.username,
    extension: user.extension,
    state: user.state,
    privGroup: user.privGroup,
    isAgent: user.isAgent,
    hidden: user._meta?.redacted ?? [],
    position: parsePosition(user._meta?.position),
  };
}
