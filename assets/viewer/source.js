// The pixels of one image in this tab: slices as stored, the one in view first, the rest nearest first.

import { packing } from "./api.js";
import { NearestFirst } from "./queue.js";
import { PLANE_AXES, planeSize } from "./geometry.js";

const BLOCK = 8; // slices of one request
const BYTES = { uint8: 1, int16: 2, uint16: 2, int32: 4, float32: 4 };
export const IMAGE_BUDGET = 320 * 2 ** 20;
const ACROSS_KEPT = 24;

export class ImageSource {
  /**
   * @param {import("./window.js").Facts} facts
   * @param {import("./api.js").Api} api
   * @param {number} [budget] bytes of slices kept
   */
  constructor(facts, api, budget = IMAGE_BUDGET) {
    this.facts = facts;
    this.api = api;
    this.sliceBytes = facts.rows * facts.columns * facts.channels * BYTES[facts.wire];
    this.capacity = Math.max(3, Math.floor(budget / this.sliceBytes));
    this.planes = new Array(facts.slices).fill(null);
    this.loaded = 0;
    this.focus = 0;
    this.across = new Map(); // planes of other axes of volumes too large to keep
    this.listeners = new Set();
    this.error = null;
    this.queue = new NearestFirst(3, (block) => this.#blockDistance(block), (block) => this.#loadBlock(block));
    this.queue.onError = (error) => this.#fail(error);
    this.first = null;
  }

  get whole() {
    return this.capacity >= this.facts.slices;
  }

  /** Called with the index of each slice that has come, or null when something else is news. */
  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  #tell(index) {
    for (const listener of this.listeners) listener(index);
  }

  #fail(error) {
    this.error = error;
    this.#tell(null);
  }

  /** Say which slice is looked at; it comes first. */
  async want(index) {
    this.focus = index;
    if (this.planes[index] === null && this.first !== index) {
      this.first = index;
      try {
        await this.#load(`${index}`);
      } catch (error) {
        this.#fail(error);
      }
      this.first = null;
    }
    const last = Math.floor((this.facts.slices - 1) / BLOCK);
    const missing = [];
    for (let block = 0; block <= last; block++) if (!this.#blockLoaded(block)) missing.push(block);
    this.queue.add(missing);
  }

  #distance(index) {
    return Math.abs(index - this.focus);
  }

  #blockDistance(block) {
    const start = block * BLOCK;
    const end = Math.min(start + BLOCK, this.facts.slices) - 1;
    const nearest = Math.min(Math.max(this.focus, start), end);
    if (this.#blockLoaded(block)) return Infinity;
    return this.whole || this.#distance(nearest) < this.capacity / 2 - BLOCK ? this.#distance(nearest) : Infinity;
  }

  #blockLoaded(block) {
    const end = Math.min((block + 1) * BLOCK, this.facts.slices);
    for (let i = block * BLOCK; i < end; i++) if (this.planes[i] === null) return false;
    return true;
  }

  #loadBlock(block) {
    const start = block * BLOCK;
    return this.#load(`${start}-${Math.min(start + BLOCK, this.facts.slices) - 1}`);
  }

  async #load(which) {
    for await (const frame of this.api.frames(`images/${this.facts.id}/slices/${which}${packing()}`)) {
      if (this.planes[frame.index] === null) this.loaded += 1;
      this.planes[frame.index] = frame.values;
      this.error = null;
      this.#evict();
      this.#tell(frame.index);
    }
  }

  #evict() {
    while (this.loaded > this.capacity) {
      let far = -1;
      for (let i = 0; i < this.planes.length; i++) {
        if (this.planes[i] !== null && (far < 0 || this.#distance(i) > this.#distance(far))) far = i;
      }
      this.planes[far] = null;
      this.loaded -= 1;
    }
  }

  /**
   * Values of a plane; null while they are on their way.
   * @param {import("./geometry.js").Axis} axis
   */
  plane(axis, index) {
    if (axis === "z") return this.planes[index];
    return this.whole ? this.#gather(axis, index) : this.#fetched(axis, index);
  }

  #gather(axis, index) {
    const key = `${axis}${index} ${this.loaded}`;
    if (this.across.has(key)) return this.across.get(key);
    const { columns, rows } = planeSize(this.facts, axis);
    const channels = this.facts.channels;
    const sample = this.planes.find((plane) => plane !== null);
    if (!sample) return null;
    const out = new sample.constructor(columns * rows * channels);
    const width = this.facts.columns;
    for (let z = 0; z < this.facts.slices; z++) {
      const plane = this.planes[z];
      if (plane === null) continue;
      if (axis === "y") {
        out.set(plane.subarray(index * width * channels, (index + 1) * width * channels), z * columns * channels);
      } else {
        for (let y = 0; y < columns; y++) {
          for (let c = 0; c < channels; c++) {
            out[(z * columns + y) * channels + c] = plane[(y * width + index) * channels + c];
          }
        }
      }
    }
    this.#keepAcross(key, out);
    return out;
  }

  #fetched(axis, index) {
    const key = `${axis}${index}`;
    if (this.across.has(key)) return this.across.get(key);
    this.#keepAcross(key, null);
    (async () => {
      const path = `images/${this.facts.id}/planes/${axis}/${index}${packing()}`;
      for await (const frame of this.api.frames(path)) this.#keepAcross(key, frame.values);
      this.#tell(null);
    })().catch((error) => {
      this.across.delete(key);
      this.#fail(error);
    });
    return null;
  }

  #keepAcross(key, values) {
    this.across.delete(key);
    this.across.set(key, values);
    if (this.across.size > ACROSS_KEPT) this.across.delete(this.across.keys().next().value);
  }

  /** Value, or values of the channels, of a voxel; null where it is not here. */
  value([x, y, z]) {
    const { columns, rows, slices, channels } = this.facts;
    const [i, j, k] = [Math.floor(x), Math.floor(y), Math.floor(z)];
    if (i < 0 || j < 0 || k < 0 || i >= columns || j >= rows || k >= slices) return null;
    const plane = this.planes[k];
    if (plane === null) return null;
    const at = (j * columns + i) * channels;
    return channels === 1 ? plane[at] : Array.from(plane.subarray(at, at + channels));
  }

  /** Test whether pixels of a slice, by their number, lie within a range of values (colour: the mean). */
  within(z, [low, high]) {
    const plane = this.planes[z];
    if (plane === null) return () => false;
    const channels = this.facts.channels;
    if (channels === 1) return (at) => plane[at] >= low && plane[at] <= high;
    const used = Math.min(channels, 3);
    return (at) => {
      let sum = 0;
      for (let c = 0; c < used; c++) sum += plane[at * channels + c];
      return sum >= low * used && sum <= high * used;
    };
  }

  get bytes() {
    let sum = this.loaded * this.sliceBytes;
    for (const plane of this.across.values()) sum += plane ? plane.byteLength : 0;
    return sum;
  }

  close() {
    this.queue.close();
    this.listeners.clear();
    this.planes = [];
    this.across.clear();
  }
}

/**
 * Largest, smallest or mean value over a slab of planes.
 * @param {ImageSource} source
 * @param {import("./geometry.js").Axis} axis
 * @param {number} index of the plane in the middle
 * @param {{mode: "max"|"min"|"mean", planes: number}} slab
 */
export function slabPlane(source, axis, index, slab) {
  const count = [source.facts.columns, source.facts.rows, source.facts.slices][PLANE_AXES[axis][2]];
  const half = Math.floor(slab.planes / 2);
  const found = [];
  for (let i = Math.max(0, index - half); i <= Math.min(count - 1, index + half); i++) {
    const plane = source.plane(axis, i);
    if (plane) found.push(plane);
  }
  if (!found.length) return null;
  const out = slab.mode === "mean" ? Float64Array.from(found[0]) : found[0].slice();
  for (const plane of found.slice(1)) {
    if (slab.mode === "max") for (let i = 0; i < out.length; i++) out[i] = plane[i] > out[i] ? plane[i] : out[i];
    else if (slab.mode === "min") for (let i = 0; i < out.length; i++) out[i] = plane[i] < out[i] ? plane[i] : out[i];
    else for (let i = 0; i < out.length; i++) out[i] += plane[i];
  }
  if (slab.mode !== "mean") return out;
  const round = found[0] instanceof Float32Array ? (x) => x : Math.round;
  return found[0].map((_, i) => round(out[i] / found.length));
}
