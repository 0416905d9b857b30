// One click, many pixels: between slices, islands, holes, copies, whole readings. Each is one step.

import { shapesBetween } from "./between.js";
import { norm, voxelSteps } from "./geometry.js";
import { connectedParts } from "./parts.js";

/**
 * Run a change over pixels of slices, keeping what locked labels hold.
 * @param {import("./history.js").Marks} marks
 * @param {string} name
 * @param {Uint8Array} closed labels that stay
 * @param {(put: (z: number, at: number, value: number) => void) => void} change
 */
function change(marks, name, closed, work) {
  const { volume } = marks;
  return marks.act(name, (recorder) => {
    let touched = new Set();
    work((z, at, value) => {
      const old = volume.plane(z)?.[at] ?? 0;
      if (old === value || closed[old] || closed[value]) return;
      const column = at % volume.columns;
      const row = (at - column) / volume.columns;
      recorder.keep(z, column, row, column + 1, row + 1);
      volume.writable(z)[at] = value;
      touched.add(z);
    });
    for (const z of touched) volume.touched(z);
  });
}

/** Fill the gaps between slices that hold a label. @returns {number} slices filled */
export function fillBetween(marks, label, closed, facts) {
  const { volume } = marks;
  const found = [];
  for (let z = 0; z < volume.count; z++) if (volume.plane(z)?.includes(label)) found.push(z);
  const steps = voxelSteps(facts);
  const size = { u: norm(steps[0]), v: norm(steps[1]) };
  let filled = 0;
  change(marks, "between slices", closed, (put) => {
    for (let i = 0; i + 1 < found.length; i++) {
      const [z0, z1] = [found[i], found[i + 1]];
      if (z1 - z0 < 2) continue;
      const box = boundingBox(volume, label, [z0, z1]);
      const masks = [z0, z1].map((z) => cut(volume.plane(z), volume.columns, box, label));
      const grid = { columns: box.width, rows: box.height, size };
      shapesBetween(masks[0], masks[1], z1 - z0 - 1, grid).forEach((shape, k) => {
        filled += 1;
        shape.forEach((inside, at) => {
          if (!inside) return;
          const row = Math.floor(at / box.width);
          put(z0 + 1 + k, (box.top + row) * volume.columns + box.left + (at - row * box.width), label);
        });
      });
    }
  });
  return filled;
}

function boundingBox(volume, label, slices) {
  let [left, top, right, bottom] = [volume.columns, volume.rows, -1, -1];
  for (const z of slices) {
    const plane = volume.plane(z);
    for (let at = plane.indexOf(label); at >= 0; at = plane.indexOf(label, at + 1)) {
      const column = at % volume.columns;
      const row = (at - column) / volume.columns;
      if (column < left) left = column;
      if (column > right) right = column;
      if (row < top) top = row;
      if (row > bottom) bottom = row;
    }
  }
  // One pixel of outside all around, where the image has it: distances need a border.
  left = Math.max(0, left - 1);
  top = Math.max(0, top - 1);
  right = Math.min(volume.columns - 1, right + 1);
  bottom = Math.min(volume.rows - 1, bottom + 1);
  return { left, top, width: right - left + 1, height: bottom - top + 1 };
}

function cut(plane, columns, { left, top, width, height }, label) {
  const out = new Uint8Array(width * height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      out[row * width + column] = plane[(top + row) * columns + left + column] === label ? 1 : 0;
    }
  }
  return out;
}

/**
 * Remove parts of a label that are smaller than a size; never the largest one.
 * @param {number[]} slices those to look at: one, or all (parts then reach through slices)
 * @returns {number} parts removed
 */
export function removeIslands(marks, label, closed, slices, size) {
  const parts = partsOf(marks.volume, slices, (value) => value === label);
  const largest = Math.max(0, ...parts.sizes);
  const small = parts.sizes.map((pixels) => pixels < size && pixels < largest);
  putParts(marks, "islands", closed, parts, slices, small, 0);
  return small.filter(Boolean).length;
}

/** Fill holes within a label that are smaller than a size. @returns {number} holes filled */
export function fillHoles(marks, label, closed, slices, size) {
  const parts = partsOf(marks.volume, slices, (value) => value !== label);
  const holes = parts.sizes.map((pixels, i) => pixels < size && !parts.open[i]);
  putParts(marks, "holes", closed, parts, slices, holes, label);
  return holes.filter(Boolean).length;
}

function partsOf(volume, slices, inside) {
  return connectedParts(volume.columns, volume.rows, slices.length, (i) => volume.plane(slices[i]), inside);
}

function putParts(marks, name, closed, parts, slices, chosen, value) {
  if (!chosen.some(Boolean)) return;
  const { columns } = marks.volume;
  change(marks, name, closed, (put) => {
    for (let i = 0; i < parts.part.length; i++) {
      if (!chosen[parts.part[i]]) continue;
      const [z, row, left, right] = parts.runs.subarray(4 * i, 4 * i + 4);
      for (let column = left; column < right; column++) put(slices[z], row * columns + column, value);
    }
  });
}

/** Replace the marks of a slice by those of another one. */
export function copySlice(marks, closed, from, to) {
  const { volume } = marks;
  const source = volume.plane(from);
  return change(marks, `copied slice ${from + 1}`, closed, (put) => {
    const pixels = volume.columns * volume.rows;
    for (let at = 0; at < pixels; at++) put(to, at, source ? source[at] : 0);
  });
}

/** Remove the marks of a slice. */
export function clearSlice(marks, closed, z) {
  return change(marks, "cleared", closed, (put) => {
    const plane = marks.volume.plane(z);
    if (plane) for (let at = 0; at < plane.length; at++) put(z, at, 0);
  });
}

/** Lay label maps over the reading: what was proposed becomes part of it. @param {Map<number, Uint16Array>} planes */
export function layOver(marks, name, closed, planes) {
  return change(marks, name, closed, (put) => {
    for (const [z, plane] of planes) for (let at = 0; at < plane.length; at++) if (plane[at]) put(z, at, plane[at]);
  });
}

/**
 * Take another reading over as it is, in one step.
 * @param {import("./readings.js").StoredReading} other completely loaded
 */
export function takeOver(marks, name, other) {
  const { volume } = marks;
  return marks.act(name, (recorder) => {
    if (volume && other.kind === "mask") {
      for (let z = 0; z < volume.count; z++) {
        const plane = other.volume.plane(z);
        if (!plane && !volume.plane(z)) continue;
        recorder.keep(z, 0, 0, volume.columns, volume.rows);
        if (plane) volume.writable(z).set(plane);
        else volume.writable(z).fill(0);
        volume.touched(z);
      }
    }
    const taken = new Map([...other.items].filter(([, item]) => !item.weak));
    const gone = [...marks.items].filter(([id]) => !taken.has(id)).map(([id, before]) => patch(id, before, null));
    const come = [...taken].map(([id, item]) => patch(id, marks.items.get(id) ?? null, withoutScore(item)));
    return [...gone, ...come].filter(({ before, after }) => JSON.stringify(before) !== JSON.stringify(after));
  });
}

const patch = (id, before, after) => ({ on: "item", id, before, after });

function withoutScore(item) {
  const { score, ...rest } = item;
  return rest;
}
