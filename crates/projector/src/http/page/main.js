// The page: which view is shown, who asks, and what the stream brings.
//
//   share.js ─ stream.js ─ sse.js     one stream of /changes for all tabs
//        │ events
//   main.js ─▶ model.js ─▶ roll.js    the people, and the rows that are in sight
//        ├──▶ person.js ─ history.js  one person
//        ├──▶ system.js ─ hour.js     the system, and its last hour: what status.js hears
//        └──▶ pulse.js, access.js     rate, latest changes, live region; token

import { askForToken, hideAccess, lacking } from "./access.js";
import { Api, pauseMs, Refusal, sleep, tryNow } from "./api.js";
import { Connection, Upkeep } from "./connection.js";
import { byId, counted, h, sentence, setText, zone } from "./dom.js";
import { Filters } from "./filters.js";
import { Model } from "./model.js";
import { PersonView } from "./person.js";
import { Pulse } from "./pulse.js";
import { RollView } from "./roll.js";
import { SharedStream } from "./share.js";
import { StatusPoll } from "./status.js";
import { SystemView } from "./system.js";

/** Of more people with changes that wait the table is loaded anew. */
const WAITING_MAX = 2_000;
/** How often the projector is asked who of those that changed is found by a search. */
const SETTLE_MS = 600;

class Page {
  api = new Api();
  model = new Model(this.api);
  pulse = new Pulse();
  connection = new Connection(this.pulse);
  roll = new RollView(this.model, () => this.more());
  filters = new Filters(this.model, () => this.filtered(), (is) => this.faulty(is));
  person = new PersonView(this.api, this.model, {
    closed: (id) => this.closed(id),
    trouble: () => this.connection.why(),
  });
  system = new SystemView();
  upkeep = new Upkeep();
  status = new StatusPoll(this.api, (heard) => this.knows(heard));
  stream = null;
  isPaused = false;
  /** Events that are not applied yet: the latest of each person. */
  waiting = new Map();
  isLoaded = false;
  isApplying = false;
  hasFault = false;
  /** Present while a list by new filters is asked for. */
  filtering = null;

  start() {
    addEventListener("hashchange", () => this.route());
    byId("pause").addEventListener("click", () => this.pause(!this.isPaused));
    byId("try-now").addEventListener("click", () => this.stream.tryNow());
    setText(byId("zone"), `Times in ${zone()}`);
    byId("leave").addEventListener("click", () => this.enter(""));
    addEventListener("keydown", (event) => this.key(event));
    setInterval(() => this.settle(), SETTLE_MS);
    this.route();
    this.connect();
  }

  route() {
    const [, view, id] = /^#?(roll|system|users)?(?:\/(\d+))?$/.exec(location.hash) ?? [];
    const isSystem = view === "system";
    const isAway = isSystem || !byId("access").hidden;
    // What has lit up does not light up again when the table is shown again.
    if (byId("roll").hidden !== isAway) this.roll.calm();
    byId("roll").hidden = isAway;
    byId("system").hidden = !isSystem || !byId("access").hidden;
    byId(isSystem ? "to-system" : "to-roll").setAttribute("aria-current", "page");
    byId(isSystem ? "to-roll" : "to-system").removeAttribute("aria-current");
    if (!byId("access").hidden) return;
    this.system.show(isSystem);
    this.status.watch(isSystem);
    if (view === "users" && id !== undefined) this.person.open(Number(id));
    else this.person.close();
    if (!isSystem) this.roll.schedule();
  }

  closed(id) {
    // Whoever is shown after a token has been given stays in the address.
    if (!byId("access").hidden) return;
    if (location.hash.startsWith("#users/")) history.replaceState(null, "", "#roll");
    this.roll.focusOn(id);
  }

  key(event) {
    const isTyping = event.target.closest?.("input, select, textarea, dialog");
    if (event.key === "/" && !isTyping && !byId("roll").hidden) {
      event.preventDefault();
      byId("q").focus();
    }
  }

  /** Begins with the present token. */
  connect() {
    this.stream?.end();
    [this.isLoaded, this.filtering] = [false, null];
    this.tellStale();
    this.waiting.clear();
    const stream = new SharedStream(this.api, {
      load: (atLeast) => (this.stream === stream ? this.load(stream, atLeast) : null),
      hears: (event) => this.stream === stream && this.hears(event),
      tells: (state) => this.stream === stream && this.tells(state),
      denied: (refusal) => this.stream === stream && this.denied(refusal),
    });
    this.stream = stream;
    this.tells({ kind: "connecting" });
    this.notice(h("p", {}, "Loading people…"));
    stream.start();
    this.system.clear();
    this.kept(null, null);
    this.status.begin();
  }

  /** Takes an answer about the system. */
  knows(heard) {
    const { status, asOf, refusal } = heard;
    if (refusal?.status === 401) return this.unauthorised(refusal);
    this.system.hears(heard);
    this.connection.lacks(refusal?.status === 503 ? refusal.message : null);
    if (!refusal) this.kept(this.upkeep.judge(status ?? { asOf }), status?.users ?? null);
  }

  /** Takes why the table is not kept up, and how many people are in it; each may be null. */
  kept(trouble, users) {
    this.connection.kept(trouble);
    if (users === this.model.total) return;
    this.model.total = users;
    if (this.isLoaded) this.roll.tellCount();
  }

  enter(token) {
    this.api.token = token;
    this.api.atLeast = null;
    byId("leave").hidden = token === "";
    this.forgetAll();
    hideAccess();
    this.route();
    this.connect();
    if (token !== "") byId("scroll").focus({ preventScroll: true });
  }

  /** Drops everything about people: it is of another log, or for the eyes of somebody else. */
  forgetAll() {
    this.waiting.clear();
    this.model.clear();
    this.pulse.clear();
    this.roll.reset();
  }

  unauthorised(refusal) {
    if (!byId("access").hidden) return;
    this.stream?.end();
    this.status.end();
    this.person.close();
    this.forgetAll();
    const reason = this.api.hasToken
      ? `The projector does not accept this token: ${refusal.message}.`
      : "This projector shows the roll to those who have a token.";
    this.system.show(false);
    this.system.clear();
    this.connection.show({ kind: "locked" });
    askForToken(reason, (token) => this.enter(token));
    this.route();
  }

  denied(refusal) {
    if (refusal.status === 401) return this.unauthorised(refusal);
    this.connection.show({ kind: "denied", detail: lacking(refusal) });
  }

  /** Loads the table until it is there. Returns its positions; null when nobody waits for them any more. */
  async load(stream, atLeast) {
    const since = Date.now();
    let from = atLeast;
    for (let failures = 0; this.stream === stream; failures += 1) {
      try {
        const positions = await this.model.load(from);
        if (this.stream !== stream) return null;
        if (positions === null) continue;
        this.loaded();
        return positions;
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (this.stream !== stream || this.final(error)) return null;
        if (error.status === 409) [from, this.api.atLeast] = [null, null];
        const pause = Math.max(error.retryAfterMs ?? 0, pauseMs(failures));
        const kind = error.status === 503 ? "not-ready" : "reconnecting";
        const shown = this.model.isKnown ? since : undefined;
        this.tells({ kind, since: shown, detail: sentence(error.message), at: Date.now() + pause });
        if (this.model.rows.length === 0) this.notice(h("p", {}, "No people to show yet. "), h("p", {}, sentence(error.message)));
        await sleep(pause);
      }
    }
    return null;
  }

  /** Shows a refusal that no waiting changes, and returns whether it is one. */
  final(error) {
    if (error.status === 401) this.unauthorised(error);
    else if (error.status === 403) {
      this.connection.show({ kind: "denied", detail: lacking(error) });
      this.notice(h("p", {}, h("strong", {}, "You may not see people here.")), h("p", {}, lacking(error)));
    } else if (error.status === 400) {
      // The rows of another question are no answer to this one.
      this.isLoaded = false;
      this.model.drop();
      this.model.isKnown = false;
      this.roll.reset();
      this.notice(h("p", {}, sentence(error.message)));
    } else return false;
    return true;
  }

  loaded() {
    this.isLoaded = true;
    this.filtering = null;
    this.tellStale();
    this.empty();
    this.roll.reset();
    this.schedule();
  }

  /** Says why there is nobody in the table, if there is nobody. */
  empty() {
    if (this.model.rows.length > 0) return this.notice();
    if (this.model.isLoading) return;
    if (this.model.isFiltered) {
      const clear = h("button", { type: "button", onclick: () => this.filters.clear() }, "Show everybody");
      return this.notice(h("p", {}, "Nobody matches."), clear);
    }
    this.notice(h("p", {}, h("strong", {}, "Nobody is on the roll yet.")),
      h("p", {}, "People appear here as soon as VCC Live delivers a webhook about them, or a list is imported."));
  }

  notice(...content) {
    byId("notice").hidden = content.length === 0;
    byId("notice").replaceChildren(...content);
  }

  /** Takes whether a field of the filters has a fault: what is shown is of those before. */
  faulty(hasFault) {
    this.hasFault = hasFault;
    this.tellStale();
  }

  tellStale() {
    const isUnapplied = this.filtering !== null && (this.filtering.hasFailed || this.connection.isAway);
    this.roll.stale(this.hasFault ? "not applied" : isUnapplied ? "not applied until connected" : "");
  }

  /** Loads the list by the present filters; without an answer, again until there is one. */
  async filtered() {
    const mine = (this.filtering = { hasFailed: false });
    this.tellStale();
    byId("scroll").setAttribute("aria-busy", "true");
    for (let failures = 0; this.filtering === mine; failures += 1) {
      try {
        if ((await this.model.load(this.api.atLeast)) === null) break;
        this.loaded();
        this.pulse.say(this.model.hasMore ? "many people found" : `${counted(this.model.rows.length, "person", "people")} found`);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (this.filtering !== mine || this.final(error)) break;
        mine.hasFailed = true;
        this.tellStale();
        // That nobody matches was said of those before.
        if (this.model.rows.length === 0) this.notice(h("p", {}, sentence(error.message)));
        byId("scroll").removeAttribute("aria-busy");
        await sleep(Math.max(error.retryAfterMs ?? 0, pauseMs(failures)));
      }
    }
    if (this.filtering === mine) this.filtering = null;
    if (this.filtering !== null) return;
    byId("scroll").removeAttribute("aria-busy");
    this.tellStale();
  }

  async more() {
    if (this.isAskingMore || this.filtering !== null) return;
    this.isAskingMore = true;
    try {
      if (await this.model.more()) this.roll.schedule();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      // The next scroll asks again.
      if (!this.final(error)) await sleep(error.retryAfterMs ?? 1000);
    } finally {
      this.isAskingMore = false;
      this.schedule();
    }
  }

  tells(state) {
    this.connection.show(state);
    if (state.kind === "started-over") {
      this.api.atLeast = null;
      this.isLoaded = false;
      this.forgetAll();
      this.notice(h("p", {}, "The log was started over. Loading people…"));
    } else if (state.kind === "live") {
      this.person.refresh();
      // A list that could not be had is asked for at once.
      if (this.filtering !== null) tryNow();
    }
  }

  /** Takes an event of the stream; it is applied before the next frame. */
  hears(event) {
    if (event.id !== null) this.api.atLeast = event.id;
    if (!["user", "changed", "forgotten"].includes(event.name)) return;
    this.pulse.count();
    const { userId: id } = JSON.parse(event.data);
    // Two changes of one person in a frame are one to the eye.
    this.waiting.delete(id);
    this.waiting.set(id, event);
    if (this.isPaused) this.connection.paused(this.waiting.size);
    else this.schedule();
  }

  schedule() {
    if (this.isApplying || this.waiting.size === 0) return;
    this.isApplying = true;
    const apply = () => {
      this.isApplying = false;
      this.apply();
    };
    if (document.hidden) setTimeout(apply, 100);
    else requestAnimationFrame(apply);
  }

  apply() {
    // What comes while a page is on its way is applied to it.
    if (this.isPaused || !this.isLoaded || this.model.isLoading) return;
    const events = [...this.waiting.values()];
    this.waiting.clear();
    const wasEmpty = this.model.rows.length === 0;
    for (const event of events) {
      const change = this.model.apply(event);
      if (!change) continue;
      if (change.kind === "forgotten") this.pulse.forget(change.id);
      this.roll.show(change);
      this.pulse.note(change);
      this.person.hears(change.id);
    }
    this.roll.render();
    if (wasEmpty) this.empty();
  }

  async settle() {
    if (this.isPaused || !this.isLoaded || this.model.isLoading || this.filtering !== null) return;
    try {
      const left = await this.model.settle(this.api.atLeast);
      if (this.filtering !== null) return;
      if (left === "load") await this.model.load(this.api.atLeast);
      else for (const id of left) this.roll.leave(id);
      if (this.model.filters.q !== "") this.roll.schedule();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    setText(byId("pause"), isPaused ? "Resume" : "Pause");
    this.connection.paused(isPaused ? this.waiting.size : null);
    if (isPaused) return;
    if (this.waiting.size > WAITING_MAX) {
      this.waiting.clear();
      this.filtered();
    } else {
      this.schedule();
    }
  }
}

new Page().start();
