// Writing labels into a label map on a plane of any axis, with locks, a value range and a record of what was there.

import { PLANE_AXES, voxelSteps, norm, planeSize } from "./geometry.js";
import { strokeSegment } from "./raster.js";

/**
 * @typedef {object} Ink
 * @property {number} label 0 removes
 * @property {Uint8Array} closed by label value: 1 must not be changed (locked or hidden)
 * @property {[number, number]|null} range only pixels whose value lies within
 */

/** Writes spans of one plane; made anew for every plane that is written to. */
export class PlanePen {
  /**
   * @param {import("./labels.js").LabelVolume} volume
   * @param {import("./steps.js").Recorder} recorder
   * @param {{axis: import("./geometry.js").Axis, index: number}} place
   * @param {Ink} ink
   * @param {import("./source.js").ImageSource|import("./tiles.js").TileSource|null} source needed for a range
   */
  constructor(volume, recorder, { axis, index }, ink, source = null) {
    Object.assign(this, { volume, recorder, axis, index, ink, source });
    this.span = this.span.bind(this);
  }

  /** Mark pixels [left, right) of a row of the plane. */
  span(row, left, right) {
    const { volume, axis, index } = this;
    if (axis === "z") {
      this.recorder.keep(index, left, row, right, row + 1);
      this.#write(index, row * volume.columns + left, right - left, 1);
    } else if (axis === "y") {
      this.recorder.keep(row, left, index, right, index + 1);
      this.#write(row, index * volume.columns + left, right - left, 1);
    } else {
      this.recorder.keep(row, index, left, index + 1, right);
      this.#write(row, left * volume.columns + index, right - left, volume.columns);
    }
  }

  #write(z, start, count, step) {
    const plane = this.volume.writable(z);
    const { label, closed, range } = this.ink;
    const within = range ? this.source.within(z, range) : null;
    for (let i = 0, at = start; i < count; i++, at += step) {
      if (closed[plane[at]] || (within && !within(at))) continue;
      plane[at] = label;
    }
    this.volume.touched(z);
  }
}

/**
 * Draw one piece of a brush stroke, on the plane alone or as a ball through its neighbours.
 * @param {(index: number) => PlanePen} penOf pen of a plane of the same axis
 * @param {{axis: string, index: number}} place
 * @param {number[]} a (u, v)
 * @param {number[]} b
 * @param {{size: number, ball: boolean, facts: object}} brush size: pixels along u
 */
export function brushSegment(penOf, { axis, index }, a, b, { size, ball, facts }) {
  const steps = voxelSteps(facts);
  const [u, v, n] = PLANE_AXES[axis].map((dimension) => norm(steps[dimension]));
  const { columns, rows, count } = planeSize(facts, axis);
  const radius = size / 2;
  const reach = ball ? Math.floor((radius * u) / n) : 0;
  for (let d = -reach; d <= reach; d++) {
    if (index + d < 0 || index + d >= count) continue;
    const height = (d * n) / u;
    const part = Math.sqrt(Math.max(0, radius * radius - height * height));
    if (part === 0 && d !== 0) continue;
    const radii = { u: part, v: (part * u) / v };
    if (d !== 0 && part < 0.5) continue;
    strokeSegment(a, b, radii, columns, rows, penOf(index + d).span);
  }
}

/** By label value: 1 where a label must not be changed. */
export function closedLabels(locked, hidden) {
  const closed = new Uint8Array(65536);
  for (const value of [...locked, ...hidden]) closed[value] = 1;
  return closed;
}
