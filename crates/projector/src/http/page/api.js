// Requests to this projector, with the reader's token.

/** Where the page is: every route is below it, so that a proxy may serve it at a path of its own. */
const BASE = new URL(".", location.href.split(/[?#]/)[0]);

/** An answer that is not what was asked for. `status` 0: none came. */
export class Refusal extends Error {
  constructor(status, detail, { scope = null, retryAfterMs = null } = {}) {
    super(detail);
    this.status = status;
    this.scope = scope;
    this.retryAfterMs = retryAfterMs;
  }
}

export class Api {
  // In this object alone: not in storage, not in an address, not sent to another tab.
  #token = "";
  /** The latest positions of the stream: no answer may be older. */
  atLeast = null;

  get hasToken() {
    return this.#token !== "";
  }

  set token(token) {
    this.#token = token;
  }

  /** Returns what tabs that may read the same have in common, and nobody can derive the token from; null without the
   *  means to compute it. */
  async shareKey() {
    if (!globalThis.crypto?.subtle || !navigator.locks || !globalThis.BroadcastChannel) return null;
    const bytes = new TextEncoder().encode(`${BASE.href}\n${this.#token}`);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return `rollcall ${Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  }

  /** Returns the answer to a request, if it is one.
   *  Throws a `Refusal` otherwise; an `AbortError` when it was called off. */
  async open(path, { signal, headers = {}, query = {} } = {}) {
    const url = new URL(path, BASE);
    for (const [name, value] of Object.entries(query)) {
      if (value !== "" && value != null) url.searchParams.set(name, value);
    }
    const sent = { accept: "application/json", ...headers };
    if (this.#token) sent.authorization = `Bearer ${this.#token}`;
    let answer;
    try {
      answer = await fetch(url, { headers: sent, signal, cache: "no-store", credentials: "same-origin" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal(0, "The projector does not answer.");
    }
    if (answer.ok) return answer;
    throw await refusalOf(answer);
  }

  /** Returns the body of an answer, and the positions and the time that it is as of. */
  async json(path, options = {}) {
    const answer = await this.open(path, options);
    try {
      const [positions, asOf] = ["rollcall-positions", "rollcall-as-of"].map((name) => answer.headers.get(name));
      return { body: await answer.json(), positions, asOf };
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal(0, "The answer of the projector broke off.");
    }
  }
}

async function refusalOf(answer) {
  const problem = await answer.json().catch(() => ({}));
  const challenge = answer.headers.get("www-authenticate") ?? "";
  const seconds = Number(answer.headers.get("retry-after"));
  return new Refusal(answer.status, problem.detail ?? problem.title ?? `the answer has status ${answer.status}`, {
    scope: /scope="([^"]+)"/.exec(challenge)?.[1] ?? null,
    retryAfterMs: seconds > 0 ? seconds * 1000 : null,
  });
}

const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 15_000;

/** Returns how long to wait before the attempt after `failures` failed ones. Jitter: a projector that comes back is not
 *  met by everybody at once. */
export function pauseMs(failures) {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures);
  return longest / 2 + (Math.random() * longest) / 2;
}

const impatience = new EventTarget();

/** Ends all pauses between attempts. */
export const tryNow = () => impatience.dispatchEvent(new Event("now"));

/** Pauses between attempts: for a time, until the signal, or until the reader wants to try now. */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      impatience.removeEventListener("now", end);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    impatience.addEventListener("now", end);
    signal?.addEventListener("abort", end);
  });
}
