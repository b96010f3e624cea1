// Server-Sent Events from a body that is read as it comes. `EventSource` cannot send a token in a header.

/** Parses the format of https://html.spec.whatwg.org/multipage/server-sent-events.html from pieces of text. */
export class EventParser {
  #rest = "";
  #id = null;
  #name = "";
  #data = [];
  #hears;
  #retries;

  /** `hears({id, name, data})` has each event (`data` is null of one that only moves the id), `retries(ms)` each pause. */
  constructor(hears, retries) {
    this.#hears = hears;
    this.#retries = retries;
  }

  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") return this.#end();
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#name = value;
    else if (field === "id") this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.#retries(Number(value));
  }

  #end() {
    const data = this.#data.length > 0 ? this.#data.join("\n") : null;
    if (data !== null || this.#id !== null) this.#hears({ id: this.#id, name: this.#name, data });
    this.#id = null;
    this.#name = "";
    this.#data = [];
  }
}
