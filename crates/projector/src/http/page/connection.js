// Whether what is shown is current, in one word, and what is wrong in a sentence.

import { byId, clock, duration, number, sentence, setText, when } from "./dom.js";

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

/** The time that answers are as of moves with each look at the log; after this long it stands still. */
const STILL_MS = 20_000;

export class Connection {
  #pulse;
  #state = { kind: "connecting" };
  #paused = null;
  /** What the projector says that it lacks to answer; null of one that answers. */
  #lacks = null;
  /** Why what is shown is not current although the stream is: `{ asOf, why }`. */
  #trouble = null;

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

  /** Whether the projector answers nothing, as far as is known. */
  get isAway() {
    return ["reconnecting", "not-ready"].includes(this.#state.kind);
  }

  /** Takes what the projector says that it lacks to answer; null of one that answers, or says nothing. */
  lacks(reason) {
    this.#lacks = reason;
    this.#paint();
  }

  /** Returns in words why no answer comes; nothing where all is well. */
  why() {
    const { kind, detail } = this.#told();
    return this.isAway && detail ? `${WORDS[kind]}. ${sentence(detail)}` : "";
  }

  /** Returns how the stream is. Of a projector that is back, but not ready, its own reason says more than the end of
   *  the connection to it. */
  #told() {
    return this.#lacks !== null && this.isAway ? { ...this.#state, kind: "not-ready", detail: this.#lacks } : this.#state;
  }

  /** Shows that changes are held back, and of how many people; null when they are not. */
  paused(waiting) {
    this.#paused = waiting;
    this.#paint();
  }

  /** Takes why the table is not kept up; null when it is. */
  kept(trouble) {
    const before = this.#trouble;
    this.#trouble = trouble;
    this.#paint();
    if (trouble?.why !== before?.why && this.#state.kind === "live") this.#pulse.say(trouble?.why ?? "Live again");
  }

  #paint() {
    const { kind, since, detail, at } = this.#told();
    const isBehind = kind === "live" && this.#trouble !== null;
    const isPaused = this.#paused !== null && kind === "live";
    byId("connection").dataset.kind = isPaused ? "paused" : isBehind ? "behind" : kind;
    const held = this.#paused > 0 ? `: ${number(this.#paused)} changed` : "";
    const word = isBehind ? `As of ${clock(new Date(this.#trouble.asOf))}` : WORDS[kind];
    setText(byId("connection-text"), isPaused ? `Paused${held}` : word);
    const isTrouble = ["reconnecting", "busy", "not-ready", "denied"].includes(kind) && Boolean(detail);
    byId("trouble").hidden = !isTrouble && !isBehind;
    const left = at === undefined ? 0 : at - Date.now();
    byId("try-now").hidden = !isTrouble || left <= 0;
    if (isBehind) {
      const { asOf, why } = this.#trouble;
      setText(byId("trouble-text"), `As of ${when(asOf).textContent}: ${why}. What changed since is not shown yet.`);
    }
    if (!isTrouble) return;
    const next = left > 0 ? ` Next attempt in ${duration(Math.max(1000, left))}.` : " Trying again now.";
    const again = at === undefined ? "" : next;
    const shown = since === undefined ? "" : ` What is shown is as of ${clock(new Date(since))}.`;
    setText(byId("trouble-text"), `${WORDS[kind]}. ${sentence(detail)}${shown}${again}`);
  }
}

/** Judges whether the table is kept up with the log: of a projector that Kafka does not answer, the stream alone is as if
 *  nothing happened. */
export class Upkeep {
  #asOf = null;
  /** Since when this page knows that time. */
  #since = 0;

  /** Returns why what is shown is not current although the stream is, `{ asOf, why }`; null when it is. */
  judge({ asOf, cluster, trouble }) {
    if (asOf !== this.#asOf) [this.#asOf, this.#since] = [asOf, performance.now()];
    const isStill = performance.now() - this.#since > STILL_MS;
    const isSilent = cluster?.answers === false;
    const why = isSilent ? "Kafka does not answer" : isStill ? trouble ?? "the table is not kept up with the log" : null;
    return why && asOf ? { asOf, why } : null;
  }
}
