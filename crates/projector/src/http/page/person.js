// One person: all that is known, what changed when, and what is missing.

import { lacking } from "./access.js";
import { Refusal } from "./api.js";
import { byId, copy, h, sentence, setText, when } from "./dom.js";
import { labelOf, LABELS, valueText } from "./labels.js";
import { changesList, gapsList, occurred } from "./history.js";
import { isOlder, parsePosition } from "./position.js";

/** Changes in quick succession are asked for together. */
const AGAIN_AFTER_MS = 120;

export class PersonView {
  #api;
  #model;
  #trouble;
  #dialog = byId("person");
  #id = null;
  #asking = null;
  #timer = null;
  /** The position of the state that is shown. */
  #shown = null;

  /** `closed(id)` is called when the dialog was closed; `trouble()` says why an answer may be long in coming. */
  constructor(api, model, { closed, trouble }) {
    this.#api = api;
    this.#model = model;
    this.#trouble = trouble;
    this.#dialog.addEventListener("close", () => {
      const id = this.#id;
      this.#stop();
      closed(id);
    });
    // A click beside the panel closes it.
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
  }

  open(id) {
    if (this.#id === id && this.#dialog.open) return;
    this.#stop();
    this.#id = id;
    this.#paint(`Person ${id}`, [h("p", { class: "muted" }, "Loading…"), h("p", {}, this.#trouble())]);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#load();
  }

  close() {
    if (this.#dialog.open) this.#dialog.close();
  }

  /** Hears of an event of the stream. */
  hears(id) {
    if (id !== this.#id || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#load();
    }, AGAIN_AFTER_MS);
  }

  /** Asks again, for example after the projector came back. */
  refresh() {
    if (this.#id !== null) this.hears(this.#id);
  }

  #stop() {
    this.#asking?.abort();
    clearTimeout(this.#timer);
    [this.#id, this.#asking, this.#timer, this.#shown] = [null, null, null, null];
  }

  async #load() {
    this.#asking?.abort();
    const { signal } = (this.#asking = new AbortController());
    const id = this.#id;
    // Not older than what a row has shown.
    const query = { at_least: this.#model.seenAt(id) };
    try {
      const [{ body: user }, changes] = await Promise.all([
        this.#api.json(`users/${id}`, { signal, query }),
        this.#api.json(`users/${id}/history`, { signal, query }).then(({ body }) => body, unlessAborted),
      ]);
      const position = parsePosition(user._meta.position);
      if (signal.aborted || isOlder(position, this.#shown)) return;
      this.#shown = position;
      this.#show(user, changes);
    } catch (error) {
      if (error.name !== "AbortError") this.#refused(error);
    }
  }

  #refused(error) {
    if (!(error instanceof Refusal)) throw error;
    const id = this.#id;
    if (error.status === 410) {
      this.#paint(`Person ${id}`, [
        h("p", { class: "forgotten" }, h("strong", {}, "This person was forgotten.")),
        h("p", {}, "The person is not kept in this projector; the log removes the events at its next compaction. A " +
          "later change at the vendor would bring the person back to the roll."),
      ]);
    } else if (error.status === 404) {
      this.#paint(`Person ${id}`, [h("p", {}, "Nobody with this number is on this roll.")]);
    } else if (error.status === 400) {
      this.#paint(`Person ${id}`, [h("p", {}, sentence(error.message))]);
    } else if (error.status === 403) {
      this.#paint(`Person ${id}`, [h("p", {}, lacking(error))]);
    } else if (error.status === 409) {
      this.#paint(`Person ${id}`, [h("p", {}, "The log was started over. Close this and look again.")]);
    } else {
      // What is shown stays, and is asked for again.
      if (this.#shown === null) this.#paint(`Person ${id}`, [h("p", {}, sentence(error.message)), h("p", {}, "Trying again…")]);
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.#load();
      }, error.retryAfterMs ?? 2000);
    }
  }

  #show(user, changes) {
    const { _meta: meta, ...members } = user;
    const hidden = new Set(meta.redacted ?? []);
    const known = Object.keys(LABELS);
    const extra = Object.keys(members).filter((field) => !known.includes(field));
    if (hidden.has("extra")) extra.push("extra");
    this.#paint(user.name || `Person ${user.userId}`, [
      meta.unknownSince && h("p", { class: "warning" }, "The latest records of this person are of a later release, since ",
        when(meta.unknownSince), ". The person is shown as last known."),
      section("Fields", fields([...known, ...extra], members, hidden)),
      section("Changes", changesList(changes)),
      section("Missing deliveries", gapsList(meta.continuity)),
      section("Source", source(meta)),
    ]);
  }

  /** Paints the panel; where the reader has scrolled to, and what has the focus, stays. */
  #paint(title, content) {
    const body = this.#dialog.querySelector(".person-body");
    if (!body) {
      const close = h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => this.close() }, "✕");
      this.#dialog.replaceChildren(
        h("header", {}, h("h2", { id: "person-name" }, title), h("span", { class: "muted" }, `#${this.#id}`), close),
        h("div", { class: "person-body", tabindex: "0", role: "group", "aria-label": "Details" }, content),
      );
      return;
    }
    setText(byId("person-name"), title);
    setText(this.#dialog.querySelector("header .muted"), `#${this.#id}`);
    const focused = body.contains(document.activeElement) ? document.activeElement.id : "";
    body.replaceChildren(...content.filter(Boolean));
    if (focused) byId(focused)?.focus({ preventScroll: true });
  }
}

/** Returns a refusal; the person is shown without what was refused. */
function unlessAborted(error) {
  if (error instanceof Refusal) return error;
  throw error;
}

function section(title, ...content) {
  return h("section", {}, h("h3", {}, title), content);
}

function fields(names, members, hidden) {
  return h("dl", { class: "fields" }, names.map((field) => {
    if (hidden.has(field)) return pair(field, h("span", { class: "hidden-value" }, "hidden from this token"));
    const text = valueText(field, members[field]);
    return pair(field, text === null ? h("span", { class: "muted" }, "not set") : text);
  }));
}

function pair(field, value) {
  return h("div", { "data-field": field }, h("dt", { title: field }, labelOf(field)), h("dd", {}, value));
}

function source(meta) {
  return h("dl", { class: "fields single" },
    line("Occurred", occurred(meta)),
    line("Received", when(meta.receivedAt)),
    line("Position", copied("position", meta.position)),
    line("Event", copied("event", meta.eventId)),
    meta.asOf && line("As of", when(meta.asOf)));
}

const line = (title, value) => h("div", {}, h("dt", {}, title), h("dd", {}, value));

function copied(what, text) {
  const button = h("button", {
    type: "button", id: `copy-${what}`, class: "small", "aria-label": `Copy the ${what}`,
    onclick: async () => {
      await copy(text, button.parentElement);
      setText(button, "Copied");
      setTimeout(() => setText(button, "Copy"), 1500);
    },
  }, "Copy");
  return [h("code", {}, text), " ", button];
}
