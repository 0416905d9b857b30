// Steps on their way to the server: kept in the browser first, sent in order, one request at a time, until confirmed.

import { packPlain, packSteps } from "./steps.js";

const MOST_STEPS = 40;
const PAUSES_MS = [500, 1000, 2000, 4000, 8000];
const KEEPALIVE_BYTES = 60_000;

/**
 * @typedef {"saved"|"saving"|"offline"|"refused"|"gone"} State
 * saved: the server has everything; saving: on its way; offline: kept in this browser, tried again; refused: the
 * server cannot take it; gone: the case was deleted.
 */

export class Saver {
  /**
   * @param {object} place
   * @param {import("./api.js").Api} place.api
   * @param {number} place.caseId
   * @param {string} place.reader
   * @param {string[]} place.names of the state the browser has
   * @param {import("./journal.js").Journal} place.journal
   * @param {import("./activity.js").Activity} place.activity
   * @param {(state: State, sentence: string) => void} onState
   * @param {(head: {reader: string, token: string}) => void} onFork
   */
  constructor({ api, caseId, reader, names, journal, activity }, onState, onFork) {
    Object.assign(this, { api, caseId, reader, names, journal, activity, onState, onFork });
    this.unsent = [];
    this.sending = false;
    this.failures = 0;
    this.timer = 0;
    this.forking = false;
    this.stopped = false;
    this.savedAt = null;
    this.keepFailed = false;
    this.online = () => this.pump();
    window.addEventListener("online", this.online);
  }

  get state() {
    return this.unsent.length ? "saving" : "saved";
  }

  /** Take a step: into the browser's journal, then to the server. */
  add(step) {
    this.unsent.push(step);
    this.journal.keep(this.caseId, this.reader, this.names[0], step).catch(() => (this.keepFailed = true));
    this.onState("saving", "");
    this.pump();
  }

  /** Take over steps of a tab that died; they lie in the journal already. */
  adopt(steps, base) {
    this.unsent.push(...steps);
    this.names = [base];
    this.pump();
  }

  async pump() {
    if (this.sending || this.stopped || !this.unsent.length) return;
    clearTimeout(this.timer);
    this.sending = true;
    const batch = sameTab(this.unsent).slice(0, MOST_STEPS);
    try {
      const head = await this.#send(batch);
      this.unsent.splice(0, batch.length);
      await this.journal.forget(this.caseId, this.reader, batch).catch(() => {});
      this.names = head.names;
      this.failures = 0;
      this.savedAt = new Date();
      this.sending = false;
      if (head.token) this.#forked(head);
      if (this.unsent.length) this.pump();
      else this.onState("saved", "");
    } catch (error) {
      this.sending = false;
      this.#fail(error);
    }
  }

  async #send(batch) {
    const body = await packSteps(batch);
    const query = new URLSearchParams({ based_on: this.names[0] });
    if (this.forking) query.set("fork", "1");
    const work = this.activity.take();
    for (const [name, value] of Object.entries(work)) query.set(name, String(value));
    try {
      const response = await this.api.fetch(`cases/${this.caseId}/reading?${query}`, { method: "PUT", body });
      return response.json();
    } catch (error) {
      this.activity.giveBack(work);
      throw error;
    }
  }

  #forked(head) {
    this.forking = false;
    this.journal.forget(this.caseId, this.reader, this.unsent).catch(() => {});
    this.reader = head.reader;
    for (const step of this.unsent) this.journal.keep(this.caseId, this.reader, this.names[0], step).catch(() => {});
    this.onFork(head);
  }

  #fail(error) {
    if (error.status === 409 && !this.forking) {
      this.forking = true; // a reading of one's own, and at once
      this.pump();
      return;
    }
    if (error.status === 404 || error.status === 422) {
      this.stopped = true;
      this.onState(error.status === 404 ? "gone" : "refused", error.message);
      return;
    }
    const pause = PAUSES_MS[Math.min(this.failures, PAUSES_MS.length - 1)];
    this.failures += 1;
    this.onState("offline", error.message);
    this.timer = setTimeout(() => this.pump(), pause);
  }

  /** The page goes away: send what fits into a request that outlives it, without waiting for anything. */
  flush() {
    if (!this.unsent.length || this.stopped) return;
    const batch = sameTab(this.unsent).slice(0, MOST_STEPS);
    const body = packPlain(batch);
    if (body.length > KEEPALIVE_BYTES) return; // it lies in the journal; the next tab sends it
    const query = new URLSearchParams({ based_on: this.names[0] });
    this.api.fetch(`cases/${this.caseId}/reading?${query}`, { method: "PUT", body, keepalive: true }).catch(() => {});
  }

  close() {
    this.stopped = true;
    clearTimeout(this.timer);
    window.removeEventListener("online", this.online);
  }
}

/** Steps from the front that one tab made: the server takes one tab's at a time. */
function sameTab(steps) {
  const end = steps.findIndex((step) => step.client !== steps[0].client);
  return end < 0 ? steps : steps.slice(0, end);
}
