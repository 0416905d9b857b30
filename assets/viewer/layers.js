// What can lie over a picture: label maps, thresholds, differences, heat maps, boxes and notes of a stored reading.

import { heatPalette, labelPalette, rgba } from "./overlay.js";
import { planeSize } from "./geometry.js";
import { Probabilities, StoredReading } from "./readings.js";

// As pages/shared/render.py: they differ in lightness, too.
export const AGREEMENT = [
  { code: 1, color: "#009e73", title: "both" },
  { code: 2, color: "#e66100", title: "only the first" },
  { code: 3, color: "#0072ce", title: "only the second" },
  { code: 4, color: "#cc79a7", title: "another label" },
];

/**
 * @typedef {object} Look how layers are drawn
 * @property {number} opacity
 * @property {boolean} contour
 * @property {Set<number>} hidden label values
 * @property {number} threshold 0 to 1
 * @property {object[]} labels of the project
 */

/** A label map. */
export class LabelLayer {
  /** @param {StoredReading|{volume: import("./labels.js").LabelVolume, items: Map}} reading */
  constructor(reading, title = "") {
    this.reading = reading;
    this.title = title;
  }

  get items() {
    return this.reading.items;
  }

  plane(axis, index) {
    return this.reading.kind === "boxes" ? null : this.reading.volume.across(axis, index);
  }

  age(axis, index) {
    return `${this.reading.volume.changes} ${axis}${index}`;
  }

  sheet(axis, index, look, facts) {
    const values = this.plane(axis, index);
    if (!values) return null;
    const { columns, rows } = planeSize(facts, axis);
    const opacity = look.contour ? (look.opacity > 0 ? 1 : 0) : look.opacity;
    return { values, columns, rows, palette: labelPalette(look.labels, opacity, look.hidden), contour: look.contour };
  }

  want(index) {
    this.reading.want?.(index);
  }
}

/** A model's label map at any threshold of its foreground probability. */
export class ThresholdLayer {
  constructor(reading, probabilities, title = "") {
    this.reading = reading;
    this.probabilities = probabilities;
    this.title = title;
    this.kept = { key: "", values: null };
  }

  get items() {
    return this.reading.items;
  }

  plane(axis, index, look) {
    if (axis !== "z") return null;
    const slice = this.probabilities.slice(index);
    if (!slice) return null;
    const key = `${index} ${look.threshold}`;
    if (this.kept.key === key) return this.kept.values;
    const values = new Uint16Array(slice.length / 2);
    const least = look.threshold * 255;
    for (let i = 0, at = 0; i < values.length; i++, at += 2) values[i] = slice[at] >= least ? slice[at + 1] : 0;
    this.kept = { key, values };
    return values;
  }

  sheet(axis, index, look, facts) {
    const values = this.plane(axis, index, look);
    if (!values) return null;
    const { columns, rows } = planeSize(facts, axis);
    const opacity = look.contour ? (look.opacity > 0 ? 1 : 0) : look.opacity;
    return { values, columns, rows, palette: labelPalette(look.labels, opacity, look.hidden), contour: look.contour };
  }

  want(index) {
    this.reading.want(index);
  }
}

/** Where two readings agree and differ: true and false positives and negatives in colours. */
export class DifferenceLayer {
  constructor(first, other, title = "") {
    this.first = first;
    this.other = other;
    this.title = title;
    this.kept = { key: "", values: null };
  }

  items = new Map();

  plane(axis, index, look) {
    const [a, b] = [this.first.plane(axis, index, look), this.other.plane(axis, index, look)];
    const length = (a ?? b)?.length;
    if (!length) return null;
    const values = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      const [ours, theirs] = [a ? a[i] : 0, b ? b[i] : 0];
      if (ours) values[i] = !theirs ? 2 : ours === theirs ? 1 : 4;
      else if (theirs) values[i] = 3;
    }
    return values;
  }

  sheet(axis, index, look, facts) {
    const values = this.plane(axis, index, look);
    if (!values) return null;
    const palette = new Uint32Array(256);
    for (const { code, color } of AGREEMENT) palette[code] = rgba(color, look.contour ? 1 : look.opacity);
    const { columns, rows } = planeSize(facts, axis);
    return { values, columns, rows, palette, contour: look.contour };
  }

  /** Pixels of each colour on a plane. */
  counts(axis, index, look) {
    const counts = [0, 0, 0, 0, 0];
    const values = this.plane(axis, index, look);
    if (values) for (let i = 0; i < values.length; i++) counts[values[i]]++;
    return counts;
  }

  want(index) {
    this.first.want(index);
    this.other.want(index);
  }
}

/** The probability of one label as a heat map. */
export class HeatLayer {
  constructor(probabilities, title = "") {
    this.probabilities = probabilities;
    this.title = title;
  }

  items = new Map();

  plane() {
    return null;
  }

  sheet(axis, index, look, facts) {
    const values = axis === "z" ? this.probabilities.slice(index) : null;
    if (!values) return null;
    const { columns, rows } = planeSize(facts, axis);
    return { values, columns, rows, palette: heatPalette(look.opacity, look.threshold * 255), contour: false };
  }

  want() {}
}

/** Builds layers as the page described them and shares what they load. */
export class LayerShelf {
  /**
   * @param {import("./window.js").Facts} facts
   * @param {number} largest label value
   * @param {import("./api.js").Api} api
   * @param {() => void} onNews something has been loaded
   */
  constructor(facts, largest, api, onNews) {
    Object.assign(this, { facts, largest, api, onNews });
    this.readings = new Map();
    this.maps = new Map();
  }

  reading(version) {
    if (!this.readings.has(version)) {
      const reading = new StoredReading(version, this.facts, this.largest, this.api);
      reading.listen(this.onNews);
      this.readings.set(version, reading);
    }
    return this.readings.get(version);
  }

  probabilities(version, label) {
    const key = `${version} ${label}`;
    if (!this.maps.has(key)) {
      const map = new Probabilities(version, this.facts, label, this.api);
      map.listen(this.onNews);
      this.maps.set(key, map);
    }
    return this.maps.get(key);
  }

  /** @param {{kind: string, version: number, other?: number, label?: number, title?: string}} wanted */
  build(wanted) {
    const { kind, version, title } = wanted;
    if (kind === "threshold") {
      return new ThresholdLayer(this.reading(version), this.probabilities(version, null), title);
    }
    if (kind === "difference") {
      const first = wanted.threshold ? { kind: "threshold", version } : { kind: "reading", version };
      return new DifferenceLayer(this.build(first), this.build({ kind: "reading", version: wanted.other }), title);
    }
    if (kind === "heat") return new HeatLayer(this.probabilities(version, wanted.label), title);
    return new LabelLayer(this.reading(version), title);
  }

  close() {
    for (const source of [...this.readings.values(), ...this.maps.values()]) source.close();
  }
}
