// The browser's own journal: steps lie here from the moment they are made until the server says that it has them.

const NAME = "sightline";
const STORE = "unsent";
const ANSWER_MS = 300;

/**
 * @typedef {object} Kept
 * @property {string} key
 * @property {number} caseId
 * @property {string} reader
 * @property {string} base name of the newest state the server had confirmed
 * @property {import("./steps.js").Step} step
 */

function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another window holds it"));
  });
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

export class Journal {
  constructor() {
    this.works = typeof indexedDB !== "undefined";
    this.database = this.works ? open() : Promise.reject(new Error("not here"));
    this.database.catch(() => (this.works = false));
  }

  async #store(mode) {
    return (await this.database).transaction(STORE, mode).objectStore(STORE);
  }

  /** Keep a step; resolves when the browser has it. */
  async keep(caseId, reader, base, step) {
    const key = keyOf(caseId, reader, step);
    const store = await this.#store("readwrite");
    const kept = done(store.put({ key, caseId, reader, base, step }));
    store.transaction.commit?.(); // at once: the page may be about to go away
    await kept;
  }

  /** Forget steps that the server has. */
  async forget(caseId, reader, steps) {
    const store = await this.#store("readwrite");
    for (const step of steps) store.delete(keyOf(caseId, reader, step));
  }

  /** Steps of one reading that were never confirmed, by tab, in order. @returns {Promise<Kept[][]>} */
  async unsent(caseId, reader) {
    if (!this.works) return [];
    const store = await this.#store("readonly");
    const all = (await done(store.getAll())).filter((kept) => kept.caseId === caseId && kept.reader === reader);
    const byTab = new Map();
    for (const kept of all) byTab.set(kept.step.client, [...(byTab.get(kept.step.client) ?? []), kept]);
    return [...byTab.values()].map((group) => group.sort((a, b) => a.step.number - b.step.number));
  }
}

const keyOf = (caseId, reader, step) => `${caseId}|${reader}|${step.client}|${step.number}`;

/** Tabs that live answer when their name is called; a dead tab's journal may be taken over. */
export class Tabs {
  /** @param {string} client */
  constructor(client) {
    this.client = client;
    this.channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("sightline-tabs");
    this.waiting = new Map();
    if (this.channel) this.channel.onmessage = ({ data }) => this.#hear(data);
  }

  #hear({ ask, answer }) {
    if (ask === this.client) this.channel.postMessage({ answer: this.client });
    if (answer) this.waiting.get(answer)?.(true);
  }

  /** @returns {Promise<boolean>} whether another tab of that name is open */
  isAlive(client) {
    if (!this.channel || client === this.client) return Promise.resolve(false);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ANSWER_MS);
      this.waiting.set(client, () => {
        clearTimeout(timer);
        resolve(true);
      });
      this.channel.postMessage({ ask: client });
    });
  }

  close() {
    this.channel?.close();
  }
}

/** A name nobody else has. */
export function newClient() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
