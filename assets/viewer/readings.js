// Readings of a case as they lie on the server: label maps, boxes, notes, probabilities.

import { LabelVolume } from "./labels.js";
import { NearestFirst } from "./queue.js";

const BLOCK = 16;
const PROBABILITY_BUDGET = 96 * 2 ** 20;

/** One version of a reading; its slices come nearest first. */
export class StoredReading {
  /**
   * @param {number} version id in the database
   * @param {import("./window.js").Facts} facts of the image
   * @param {number} largest label value
   * @param {import("./api.js").Api} api
   */
  constructor(version, facts, largest, api) {
    this.version = version;
    this.facts = facts;
    this.api = api;
    this.volume = new LabelVolume(facts, largest);
    this.items = new Map();
    this.kind = "mask";
    this.counts = [];
    this.loaded = new Array(facts.slices).fill(false);
    this.listeners = new Set();
    this.focus = 0;
    this.error = null;
    this.queue = new NearestFirst(2, (block) => this.#distance(block), (block) => this.#load(block));
    this.queue.onError = (error) => {
      this.error = error;
      this.#tell();
    };
    this.ready = this.#open();
    this.ready.catch((error) => this.queue.onError(error));
    this.complete = new Promise((resolve) => {
      this.finish = resolve;
    });
  }

  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  #tell() {
    for (const listener of this.listeners) listener();
  }

  async #open() {
    const summary = await this.api.json(`readings/${this.version}/summary`);
    this.kind = summary.kind;
    this.counts = summary.planes;
    for (const [id, note] of Object.entries(summary.notes)) this.items.set(id, note);
    if (this.kind === "boxes") {
      const { items, threshold } = await this.api.json(`readings/${this.version}/boxes`);
      for (const [id, item] of Object.entries(items)) {
        if (threshold !== null && item.score < threshold) item.weak = true; // does not count by the reader's own rule
        if (!this.items.has(id)) this.items.set(id, item);
      }
    } else {
      this.volume.marked = [...summary.planes];
      const blocks = [];
      for (let block = 0; block * BLOCK < this.facts.slices; block++) {
        const planes = summary.planes.slice(block * BLOCK, (block + 1) * BLOCK);
        if (planes.some((count) => count > 0)) blocks.push(block);
        else planes.forEach((_, i) => (this.loaded[block * BLOCK + i] = true));
      }
      this.queue.add(blocks);
    }
    this.#checkComplete();
    this.#tell();
  }

  #distance(block) {
    const end = Math.min((block + 1) * BLOCK, this.facts.slices) - 1;
    return Math.abs(Math.min(Math.max(this.focus, block * BLOCK), end) - this.focus);
  }

  async #load(block) {
    const end = Math.min((block + 1) * BLOCK, this.facts.slices) - 1;
    const path = `readings/${this.version}/slices/${block * BLOCK}-${end}`;
    for await (const frame of this.api.frames(path)) {
      this.volume.setRuns(frame.index, frame.values);
      this.volume.marked[frame.index] = this.counts[frame.index];
      this.loaded[frame.index] = true;
    }
    this.error = null;
    this.#checkComplete();
    this.#tell();
  }

  #checkComplete() {
    if (this.kind === "boxes" || this.loaded.every(Boolean)) this.finish();
  }

  want(index) {
    this.focus = index;
    this.queue.pump();
  }

  /** The slice that holds most; null when nothing is marked. */
  get fullest() {
    const most = Math.max(0, ...this.counts);
    return most > 0 ? this.counts.indexOf(most) : null;
  }

  close() {
    this.queue.close();
    this.listeners.clear();
  }
}

/** Probabilities of a model's reading, slice by slice when they are looked at. */
export class Probabilities {
  /** @param {number} version @param {number|null} label null: foreground and likeliest label */
  constructor(version, facts, label, api) {
    this.version = version;
    this.facts = facts;
    this.label = label;
    this.api = api;
    this.slices = new Map();
    this.asked = new Set();
    this.listeners = new Set();
    this.bytes = 0;
  }

  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Values of a slice; null while they are on their way. */
  slice(index) {
    this.#ask(index);
    for (const near of [index + 1, index - 1]) if (near >= 0 && near < this.facts.slices) this.#ask(near);
    return this.slices.get(index) ?? null;
  }

  async #ask(index) {
    if (this.asked.has(index)) return;
    this.asked.add(index);
    const which = this.label === null ? "" : `?label=${this.label}`;
    try {
      for await (const frame of this.api.frames(`readings/${this.version}/probabilities/${index}${which}`)) {
        this.slices.set(index, frame.values);
        this.bytes += frame.values.byteLength;
      }
      this.#evict(index);
    } catch {
      setTimeout(() => this.asked.delete(index), 2000);
    }
    for (const listener of this.listeners) listener();
  }

  #evict(kept) {
    for (const [index, values] of this.slices) {
      if (this.bytes <= PROBABILITY_BUDGET || index === kept) return;
      this.slices.delete(index);
      this.asked.delete(index);
      this.bytes -= values.byteLength;
    }
  }

  want() {}

  close() {
    this.listeners.clear();
    this.slices.clear();
  }
}
