// Steps of marking: what one stroke changed, block by block, with before and after. core/readings/steps.py reads them.

import { deflate, inflate } from "./frames.js";
import { decodeRuns, encodeRuns } from "./runs.js";

const BLOCK = 256; // pixels; a patch never reaches further, so that a long stroke costs what it touches
const MAGIC = 0x314d4c53; // "SLM1", little endian

/**
 * @typedef {object} MaskPatch
 * @property {"mask"} on
 * @property {number} z
 * @property {number} y
 * @property {number} x
 * @property {number} rows
 * @property {number} columns
 * @property {Uint32Array} before
 * @property {Uint32Array} after
 *
 * @typedef {{on: "item", id: string, before: object|null, after: object|null}} ItemPatch
 * @typedef {MaskPatch|ItemPatch} Patch
 *
 * @typedef {object} Step
 * @property {string} client
 * @property {number} number
 * @property {"do"|"undo"|"redo"} kind
 * @property {string} name
 * @property {Patch[]} patches
 */

/** Remembers what blocks of a label map held before they are painted over. */
export class Recorder {
  /** @param {import("./labels.js").LabelVolume} volume */
  constructor(volume) {
    this.volume = volume;
    this.blocks = new Map();
  }

  /** Call before changing pixels of slice z in [left, right) x [top, bottom). */
  keep(z, left, top, right, bottom) {
    const { columns, rows } = this.volume;
    const [x0, y0] = [Math.max(0, left), Math.max(0, top)].map((at) => Math.floor(at / BLOCK));
    const x1 = Math.floor((Math.min(columns, right) - 1) / BLOCK);
    const y1 = Math.floor((Math.min(rows, bottom) - 1) / BLOCK);
    for (let by = y0; by <= y1; by++) for (let bx = x0; bx <= x1; bx++) this.#keepBlock(z, bx, by);
  }

  #keepBlock(z, bx, by) {
    const key = `${z} ${bx} ${by}`;
    if (this.blocks.has(key)) return;
    const { columns, rows } = this.volume;
    const place = { z, x: bx * BLOCK, y: by * BLOCK };
    place.columns = Math.min(BLOCK, columns - place.x);
    place.rows = Math.min(BLOCK, rows - place.y);
    this.blocks.set(key, { ...place, before: copyBlock(this.volume, place) });
  }

  /** @returns {MaskPatch[]} of blocks that differ now */
  patches() {
    const found = [];
    for (const { before, ...place } of this.blocks.values()) {
      const after = copyBlock(this.volume, place);
      if (before.every((value, i) => value === after[i])) continue;
      found.push({ on: "mask", ...place, before: encodeRuns(before), after: encodeRuns(after) });
    }
    return found;
  }

  /** Put everything back. */
  restore() {
    for (const { before, ...place } of this.blocks.values()) pasteBlock(this.volume, place, before);
  }
}

function copyBlock(volume, { z, x, y, rows, columns }) {
  const out = new volume.Type(rows * columns);
  const plane = volume.plane(z);
  if (plane) {
    for (let row = 0; row < rows; row++) {
      const start = (y + row) * volume.columns + x;
      out.set(plane.subarray(start, start + columns), row * columns);
    }
  }
  return out;
}

function pasteBlock(volume, { z, x, y, rows, columns }, values) {
  const plane = volume.writable(z);
  for (let row = 0; row < rows; row++) {
    plane.set(values.subarray(row * columns, (row + 1) * columns), (y + row) * volume.columns + x);
  }
  volume.touched(z);
}

/** Write one side of a patch into the label map. */
export function pastePatch(volume, patch, side) {
  const values = new volume.Type(patch.rows * patch.columns);
  decodeRuns(patch[side], values);
  pasteBlock(volume, patch, values);
}

/** True when the label map holds what a patch found when it was made. */
export function fitsPatch(volume, patch) {
  const now = encodeRuns(copyBlock(volume, patch));
  return now.length === patch.before.length && now.every((value, i) => value === patch.before[i]);
}

/** The patches that take others back, in the order to apply them. @param {Patch[]} patches @returns {Patch[]} */
export const reversed = (patches) =>
  [...patches].reverse().map((patch) => ({ ...patch, before: patch.after, after: patch.before }));

/** @param {Step[]} steps @returns {Promise<Uint8Array>} deflated */
export const packSteps = (steps) => deflate(packPlain(steps));

/** The same as it is, for a page that goes away and cannot wait. @param {Step[]} steps @returns {Uint8Array} */
export function packPlain(steps) {
  const blobs = [];
  let place = 0;
  const keep = (runs) => {
    blobs.push(runs);
    place += runs.length;
    return [place - runs.length, runs.length];
  };
  const entries = steps.map((step) => ({
    ...step,
    patches: step.patches.map((patch) =>
      patch.on === "item" ? patch : { ...patch, before: keep(patch.before), after: keep(patch.after) },
    ),
  }));
  let header = JSON.stringify({ steps: entries });
  let bytes = new TextEncoder().encode(header);
  header += " ".repeat((4 - (bytes.length % 4)) % 4);
  bytes = new TextEncoder().encode(header);
  const out = new Uint8Array(8 + bytes.length + 4 * place);
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, bytes.length, true);
  out.set(bytes, 8);
  const numbers = new Uint32Array(out.buffer, 8 + bytes.length, place);
  let at = 0;
  for (const blob of blobs) {
    numbers.set(blob, at);
    at += blob.length;
  }
  return out;
}

/** @param {Uint8Array} packed @returns {Promise<Step[]>} */
export async function unpackSteps(packed) {
  const bytes = await inflate(packed);
  const view = new DataView(bytes.buffer);
  if (view.getUint32(0, true) !== MAGIC) throw new Error("These are no marks.");
  const length = view.getUint32(4, true);
  const { steps } = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const numbers = new Uint32Array(bytes.buffer, 8 + length);
  const runs = ([first, count]) => numbers.slice(first, first + count);
  return steps.map((step) => ({
    ...step,
    patches: step.patches.map((patch) =>
      patch.on === "item" ? patch : { ...patch, before: runs(patch.before), after: runs(patch.after) },
    ),
  }));
}
