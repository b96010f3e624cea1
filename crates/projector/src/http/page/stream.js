// One stream of `/changes`, which goes on across whatever ends it.

import { pauseMs, Refusal, sleep } from "./api.js";
import { EventParser } from "./sse.js";

/** The projector sends something every 15 seconds: after this long the connection is dead, whatever TCP thinks. */
const SILENCE_MAX_MS = 40_000;
/** A projector that has opened a stream and says nothing for this long makes its table ready. */
const OPENED_MS = 1_000;
/** A stream that lasted this long was a good one: the next failure is the first. */
const GOOD_MS = 10_000;

/** The members of a user that a row shows, and the e-mail address, by which the search also finds. */
const ROW_FIELDS = "name,username,extension,state,isAgent,privGroup,email";

/** Reads from the id on until the signal. `hears(event)` has each event, `tells(state)` how the stream is. Returns
 *  what ended it for good: `"started-over"`, a `Refusal` of 401 or 403, or null after the signal. */
export async function follow(api, fromId, { hears, tells, signal }) {
  let [id, failures, since] = [fromId, 0, null];
  while (!signal.aborted) {
    const began = performance.now();
    const opened = () => {
      since ??= Date.now();
      tells({ kind: "not-ready", since, detail: "The projector answers, and makes its table ready." });
    };
    const outcome = await once(api, id, signal, opened, (event) => {
      if (event.id !== null) id = event.id;
      if (event.name === "caught-up") {
        since = null;
        tells({ kind: "live" });
      }
      if (event.name !== "started-over" && event.name !== "cut-off" && event.name !== "busy") hears(event);
    });
    if (signal.aborted) return null;
    if (outcome.startedOver) return "started-over";
    if (outcome.refusal && [401, 403].includes(outcome.refusal.status)) return outcome.refusal;
    failures = performance.now() - began > GOOD_MS ? 0 : failures + 1;
    since ??= Date.now();
    const pause = Math.max(outcome.retryMs ?? 0, pauseMs(failures));
    tells({ kind: outcome.busy ? "busy" : "reconnecting", since, detail: outcome.detail, at: Date.now() + pause });
    await sleep(pause, signal);
  }
  return null;
}

/** Reads one connection to its end. `opened()` is called when it is open, and nothing comes. */
async function once(api, id, outerSignal, opened, hears) {
  const outcome = { detail: "The connection ended.", retryMs: null, busy: false, startedOver: false, refusal: null };
  const controller = new AbortController();
  const stop = () => controller.abort();
  outerSignal.addEventListener("abort", stop, { once: true });
  let watchdog = setTimeout(stop, SILENCE_MAX_MS);
  let quiet;
  const parser = new EventParser(
    (event) => {
      clearTimeout(quiet);
      if (event.name === "started-over") {
        outcome.startedOver = true;
        stop();
      } else if (event.name === "busy" || event.name === "cut-off") {
        outcome.busy ||= event.name === "busy";
        outcome.detail = reasonOf(event.data);
      }
      hears(event);
    },
    // What a stream that opens says is for an `EventSource`; of a busy one it is the time to come again.
    (ms) => (outcome.retryMs = ms),
  );
  try {
    const headers = { accept: "text/event-stream", ...(id ? { "last-event-id": id } : {}) };
    const answer = await api.open("changes", { signal: controller.signal, headers, query: { fields: ROW_FIELDS } });
    quiet = setTimeout(opened, OPENED_MS);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      clearTimeout(watchdog);
      watchdog = setTimeout(stop, SILENCE_MAX_MS);
      parser.push(value);
    }
  } catch (error) {
    if (error instanceof Refusal) {
      outcome.refusal = error;
      outcome.detail = error.message;
      outcome.retryMs = error.retryAfterMs;
    }
  } finally {
    clearTimeout(watchdog);
    clearTimeout(quiet);
    outerSignal.removeEventListener("abort", stop);
  }
  if (!outcome.busy && !outcome.refusal) outcome.retryMs = null;
  return outcome;
}

function reasonOf(data) {
  try {
    const { reason } = JSON.parse(data);
    return typeof reason === "string" ? `${reason[0].toUpperCase()}${reason.slice(1)}.` : "The stream ended.";
  } catch {
    return "The stream ended.";
  }
}
