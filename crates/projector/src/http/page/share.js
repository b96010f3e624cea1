// One stream for all tabs that may read the same: a browser opens six connections to a host over HTTP/1.1, and each
// stream holds one. The tab that has the lock reads, and passes on what it reads. The name of lock and channel is a
// digest of the token, so a tab with another token hears nothing; the token itself is never sent.

import { tryNow } from "./api.js";
import { follow } from "./stream.js";

/** The stream, whichever tab reads it. Tells its owner:
 *  - `load(atLeast)`: load the table anew, at least as of these positions (null: as it is); in the tab that reads it
 *    returns the positions, from which the stream goes on;
 *  - `hears(event)`, `tells(state)`: as `follow`;
 *  - `denied(refusal)`: the stream was refused for good. */
export class SharedStream {
  #api;
  #owner;
  #ended = new AbortController();
  #channel = null;
  #lastId = null;
  #state = { kind: "connecting" };
  /** Of the tab that reads, and how many messages it has sent: a hole means that some were lost. */
  #reader = null;
  #sent = 0;
  /** Whether another tab was heard of, as each says hello: to nobody nothing is sent. */
  #hasOthers = false;
  /** What this tab is called in messages. */
  #name = Math.random().toString(36).slice(2);
  leads = false;

  constructor(api, owner) {
    this.#api = api;
    this.#owner = owner;
  }

  async start() {
    const key = await this.#api.shareKey();
    if (this.#ended.signal.aborted) return;
    if (key === null) return this.#lead();
    this.#channel = new BroadcastChannel(key);
    this.#channel.onmessage = ({ data }) => this.#receive(data);
    this.#channel.postMessage({ kind: "hello" });
    try {
      await navigator.locks.request(key, { signal: this.#ended.signal }, () => this.#lead());
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  }

  /** Ends the pause before the next attempt, in whichever tab reads. */
  tryNow() {
    tryNow();
    this.#channel?.postMessage({ kind: "try-now" });
  }

  end() {
    this.#ended.abort();
    this.#channel?.close();
  }

  /** Reads until the end; the lock is held as long. */
  async #lead() {
    this.leads = true;
    this.#reader = this.#name;
    const { signal } = this.#ended;
    while (!signal.aborted) {
      if (this.#lastId === null) {
        const positions = await this.#owner.load(null);
        if (signal.aborted || positions === null) return;
        this.#lastId = positions;
        this.#post({ kind: "began", id: positions });
      }
      const ended = await follow(this.#api, this.#lastId, {
        signal,
        hears: (event) => {
          if (event.id !== null) this.#lastId = event.id;
          this.#owner.hears(event);
          this.#post({ kind: "event", event, id: this.#lastId });
        },
        tells: (state) => this.#tell(state),
      });
      if (ended === null) return;
      if (ended !== "started-over") {
        this.#post({ kind: "denied" });
        this.#owner.denied(ended);
        return;
      }
      this.#lastId = null;
      this.#tell({ kind: "started-over" });
    }
  }

  #tell(state) {
    this.#state = state;
    this.#owner.tells(state);
    this.#post({ kind: "state", state });
  }

  #post(message) {
    if (!this.#hasOthers) return;
    this.#sent += 1;
    this.#channel.postMessage({ ...message, from: this.#name, number: this.#sent });
  }

  /** Takes a message of another tab. */
  #receive(message) {
    this.#hasOthers = true;
    if (message.kind === "hello") {
      // Without an id the table is being loaded: `began` follows for everybody.
      if (!this.leads || this.#lastId === null) return;
      this.#post({ kind: "began", id: this.#lastId });
      this.#post({ kind: "state", state: this.#state });
      return;
    }
    if (message.kind === "try-now") return tryNow();
    if (this.leads) return;
    const isNext = this.#reader === message.from && this.#sent + 1 === message.number;
    const isKnown = this.#reader === message.from;
    [this.#reader, this.#sent] = [message.from, message.number];
    if (message.kind === "state") {
      this.#state = message.state;
      if (message.state.kind === "started-over") this.#lastId = null;
      this.#owner.tells(message.state);
    } else if (message.kind === "began") {
      // Said to whoever is new; the others have what was before it.
      const isNews = this.#lastId === null;
      this.#lastId = message.id;
      if (isNews || (isKnown && !isNext)) this.#owner.load(message.id);
    } else if (message.kind === "event") {
      if (this.#lastId === null) return;
      this.#lastId = message.id;
      if (isKnown && !isNext) this.#owner.load(message.id);
      else this.#owner.hears(message.event);
    }
  }
}
