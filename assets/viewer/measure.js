// What a measurement says, in millimetres where the spacing is known. core/readings/notes.py computes the same.

import { cross, dot, norm, PLANE_AXES, unitOf, voxelSteps } from "./geometry.js";

/** Kinds of notes that measure, with their number of points. */
export const POINTS = { length: 2, angle: 3, bidirectional: 4, ellipse: 2, rectangle: 2, point: 1, class: 0, turned: 3 };

function millimetres(steps, from, to) {
  const d = to.map((value, i) => value - from[i]);
  return [0, 1, 2].map((row) => steps[0][row] * d[0] + steps[1][row] * d[1] + steps[2][row] * d[2]);
}

/**
 * @param {object} note kind, points, axis, plane
 * @param {import("./window.js").Facts} facts
 * @param {{values: ArrayLike<number>, columns: number, rows: number}|null} plane grey values of the plane it lies on
 * @returns {Record<string, number>}
 */
export function measure(note, facts, plane = null) {
  const steps = voxelSteps(facts);
  const unit = unitOf(facts);
  const p = note.points;
  const distance = (i, j) => norm(millimetres(steps, p[i], p[j]));
  if (note.kind === "length") return { [`length_${unit}`]: distance(0, 1) };
  if (note.kind === "bidirectional") {
    const [short, long] = [distance(0, 1), distance(2, 3)].sort((a, b) => a - b);
    return { [`long_${unit}`]: long, [`short_${unit}`]: short };
  }
  if (note.kind === "angle") {
    const [a, b] = [millimetres(steps, p[1], p[0]), millimetres(steps, p[1], p[2])];
    const lengths = norm(a) * norm(b);
    if (lengths === 0) return { angle_deg: NaN };
    return { angle_deg: (Math.acos(Math.min(1, Math.max(-1, dot(a, b) / lengths))) * 180) / Math.PI };
  }
  if (note.kind === "ellipse" || note.kind === "rectangle") return region(note, steps, unit, plane);
  return {};
}

function region(note, steps, unit, plane) {
  const [u, v] = PLANE_AXES[note.axis];
  const [first, last] = note.points;
  const low = [Math.min(first[u], last[u]), Math.min(first[v], last[v])];
  const high = [Math.max(first[u], last[u]), Math.max(first[v], last[v])];
  const pixel = norm(cross(steps[u], steps[v]));
  const share = note.kind === "ellipse" ? Math.PI / 4 : 1;
  const result = { [`area_${unit}2`]: (high[0] - low[0]) * (high[1] - low[1]) * pixel * share };
  if (plane) Object.assign(result, statistics(note.kind, low, high, plane));
  return result;
}

function statistics(kind, low, high, { values, columns, rows }) {
  const center = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
  const half = [Math.max((high[0] - low[0]) / 2, 1e-12), Math.max((high[1] - low[1]) / 2, 1e-12)];
  let [n, sum, squares, min, max] = [0, 0, 0, Infinity, -Infinity];
  let origin = null; // values minus one of them, so that squares keep their digits
  for (let row = Math.max(0, Math.floor(low[1])); row <= Math.min(rows - 1, Math.ceil(high[1])); row++) {
    for (let column = Math.max(0, Math.floor(low[0])); column <= Math.min(columns - 1, Math.ceil(high[0])); column++) {
      const [x, y] = [column + 0.5, row + 0.5];
      const inside = kind === "rectangle"
        ? x >= low[0] && x <= high[0] && y >= low[1] && y <= high[1]
        : ((x - center[0]) / half[0]) ** 2 + ((y - center[1]) / half[1]) ** 2 <= 1;
      if (!inside) continue;
      const value = values[row * columns + column];
      origin ??= value;
      n += 1;
      sum += value - origin;
      squares += (value - origin) ** 2;
      if (value < min) min = value;
      if (value > max) max = value;
    }
  }
  if (!n) return { n: 0, mean: NaN, sd: NaN, min: NaN, max: NaN };
  return { n, mean: origin + sum / n, sd: Math.sqrt(Math.max(0, squares / n - (sum / n) ** 2)), min, max };
}

/** At least two digits that matter, however small: slides are measured in micrometres. */
function number(value) {
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  return size >= 1 || size === 0 || Number.isNaN(value) ? value.toFixed(1) : String(Number(value.toPrecision(2)));
}

const length = (value, unit) => (unit === "mm" && value > 0 && value < 0.1 ? `${number(value * 1000)} µm` : `${number(value)} ${unit}`);

/** A measurement in a few short lines. @returns {string[]} */
export function measureWords(note, facts, plane = null) {
  const found = measure(note, facts, plane);
  const unit = unitOf(facts);
  const words = [];
  if (note.kind === "length") words.push(length(found[`length_${unit}`], unit));
  if (note.kind === "angle") words.push(Number.isNaN(found.angle_deg) ? "–" : `${found.angle_deg.toFixed(1)}°`);
  if (note.kind === "bidirectional") {
    const [long, short] = [found[`long_${unit}`], found[`short_${unit}`]];
    const small = unit === "mm" && long > 0 && long < 0.1 ? 1000 : 1;
    words.push(`${number(long * small)} × ${number(short * small)} ${small === 1 ? unit : "µm"}`);
  }
  if (note.kind === "ellipse" || note.kind === "rectangle") {
    words.push(`${number(found[`area_${unit}2`])} ${unit}²`);
    if (found.n > 0) {
      words.push(`mean ${number(found.mean)} ± ${number(found.sd)}${facts.unit ? ` ${facts.unit}` : ""}`);
      words.push(`min ${number(found.min)}, max ${number(found.max)}, ${found.n} px`);
    }
  }
  return words;
}
