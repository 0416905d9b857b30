// A label map in memory: one array per slice, made only for slices that hold marks.

import { decodeRuns } from "./runs.js";

export class LabelVolume {
  /**
   * @param {import("./window.js").Facts} facts of the image it lies on
   * @param {number} largest label value that may come
   */
  constructor(facts, largest) {
    this.columns = facts.columns;
    this.rows = facts.rows;
    this.count = facts.slices;
    this.Type = largest < 256 ? Uint8Array : Uint16Array;
    /** @type {(Uint8Array|Uint16Array|null)[]} */
    this.planes = new Array(this.count).fill(null);
    this.changes = 0; // grows with every change, so that derived pictures know their age
    this.marked = new Array(this.count).fill(0); // roughly how much each slice holds
  }

  /** @returns {Uint8Array|Uint16Array|null} a slice to look at; null when it holds nothing */
  plane(z) {
    return this.planes[z];
  }

  /** @returns {Uint8Array|Uint16Array} a slice to write to */
  writable(z) {
    if (!this.planes[z]) this.planes[z] = new this.Type(this.columns * this.rows);
    return this.planes[z];
  }

  /** Take a slice over from runs. */
  setRuns(z, runs) {
    if (runs.length === 2 && runs[0] === 0) this.planes[z] = null;
    else decodeRuns(runs, this.writable(z));
    this.touched(z);
  }

  /** Note that a slice has changed. */
  touched(z) {
    this.changes++;
    this.marked[z] = -1;
  }

  /** Number of marked pixels of a slice. */
  countOf(z) {
    if (this.marked[z] < 0) {
      const plane = this.planes[z];
      let count = 0;
      if (plane) for (let i = 0; i < plane.length; i++) if (plane[i]) count++;
      this.marked[z] = count;
    }
    return this.marked[z];
  }

  value(x, y, z) {
    const plane = this.planes[z];
    return plane ? plane[y * this.columns + x] : 0;
  }

  /**
   * A plane of any axis; stored slices as they are, others gathered.
   * @param {import("./geometry.js").Axis} axis
   * @param {number} index
   */
  across(axis, index) {
    if (axis === "z") return this.planes[index];
    const width = axis === "y" ? this.columns : this.rows;
    const out = new this.Type(width * this.count);
    for (let z = 0; z < this.count; z++) {
      const plane = this.planes[z];
      if (!plane) continue;
      if (axis === "y") out.set(plane.subarray(index * width, (index + 1) * width), z * width);
      else for (let y = 0; y < width; y++) out[z * width + y] = plane[y * this.columns + index];
    }
    return out;
  }

  get bytes() {
    return this.planes.reduce((sum, plane) => sum + (plane ? plane.byteLength : 0), 0);
  }
}
