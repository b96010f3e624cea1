// Whether what is shown is current, in one word, and what is wrong in a sentence.

import { byId, clock, duration, number, setText } from "./dom.js";

const WORDS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  busy: "Waiting for a place",
  "not-ready": "Not ready",
  "started-over": "Starting over",
  denied: "Not live",
  locked: "Locked",
};

export class Connection {
  #pulse;
  #state = { kind: "connecting" };
  #paused = null;

  constructor(pulse) {
    this.#pulse = pulse;
    setInterval(() => this.#paint(), 1000);
  }

  show(state) {
    const before = this.#state.kind;
    this.#state = state;
    this.#paint();
    // By voice only what matters: it is lost, or it is back.
    if (state.kind === before) return;
    if (state.kind !== "live" && state.kind !== "connecting") this.#pulse.say(WORDS[state.kind]);
    else if (state.kind === "live" && before !== "connecting") this.#pulse.say("Live again");
  }

  /** Shows that changes are held back, and of how many people; null when they are not. */
  paused(waiting) {
    this.#paused = waiting;
    this.#paint();
  }

  #paint() {
    const { kind, since, detail, at } = this.#state;
    const isPaused = this.#paused !== null && kind === "live";
    byId("connection").dataset.kind = isPaused ? "paused" : kind;
    const held = this.#paused > 0 ? `: ${number(this.#paused)} changed` : "";
    setText(byId("connection-text"), isPaused ? `Paused${held}` : WORDS[kind]);
    const isTrouble = ["reconnecting", "busy", "not-ready", "denied"].includes(kind) && Boolean(detail);
    byId("trouble").hidden = !isTrouble;
    if (!isTrouble) return;
    const left = at - Date.now();
    const again = at === undefined ? "" : left > 1500 ? ` Next attempt in ${duration(left)}.` : " Trying again now.";
    const shown = since === undefined ? "" : ` What is shown is as of ${clock(new Date(since))}.`;
    setText(byId("trouble"), `${WORDS[kind]}. ${detail}${kind === "not-ready" ? "" : shown}${again}`);
  }
}
