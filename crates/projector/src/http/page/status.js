// How the system is: `/status`, asked for at intervals, by one hand for the whole tab, while the tab is in sight.

import { Refusal } from "./api.js";

/** How often the state is asked for while it is looked at, and while all that counts is whether the table is kept up. */
const WATCHED_EVERY_MS = 2_000;
const EVERY_MS = 5_000;

export class StatusPoll {
  #api;
  #tells;
  #timer = null;
  /** Present between `begin` and `end`. */
  #run = null;
  /** The run in which a question is under way. */
  #asking = null;
  #isWatched = false;
  #maySee = true;
  /** The positions of the last state: none older follows. */
  #known = null;

  /** `tells` has each answer: `{ status }`; `{ refusal }`; or, with a token that may not see the state, `{ asOf }`. */
  constructor(api, tells) {
    this.#api = api;
    this.#tells = tells;
    document.addEventListener("visibilitychange", () => this.#ask());
  }

  /** Begins anew, with the present token. */
  begin() {
    this.end();
    this.#run = new AbortController();
    [this.#maySee, this.#known] = [true, null];
    this.#ask();
  }

  end() {
    clearTimeout(this.#timer);
    this.#run?.abort();
    this.#run = null;
  }

  /** Asks at once, and more often while the state is looked at. */
  watch(isWatched) {
    if (isWatched === this.#isWatched) return;
    this.#isWatched = isWatched;
    if (isWatched) this.#ask();
  }

  async #ask() {
    const run = this.#run;
    clearTimeout(this.#timer);
    // Who turns to the tab is answered at once.
    if (run === null || document.hidden || this.#asking === run) return;
    this.#asking = run;
    try {
      await this.#once(run.signal);
    } finally {
      if (this.#asking === run) this.#asking = null;
      if (this.#run === run) {
        this.#timer = setTimeout(() => this.#ask(), this.#isWatched ? WATCHED_EVERY_MS : EVERY_MS);
      }
    }
  }

  async #once(signal) {
    try {
      if (this.#maySee) {
        const { body } = await this.#api.json("status", { signal, query: { at_least: this.#known } });
        this.#known = body.checkpoint;
        this.#tells({ status: body });
      } else {
        // Any answer has the time that it is as of.
        const { asOf } = await this.#api.json("users", { signal, query: { limit: 1, fields: "name" } });
        this.#tells({ asOf });
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Refusal)) throw error;
      // What else is refused, the stream and the list are too, and they say so.
      if (!this.#maySee) return error.status === 403 ? this.end() : undefined;
      if (error.status === 409) this.#known = null;
      this.#tells({ refusal: error });
      if (error.status !== 403) return;
      this.#maySee = false;
      await this.#once(signal);
    }
  }
}
