// A large image in tiles: only what is seen, at the size it is seen.

import { packing } from "./api.js";

const SIZE = 512;
const BUDGET = 160 * 2 ** 20;
const AT_ONCE = 6;

export class TileSource {
  /** @param {import("./window.js").Facts} facts @param {import("./api.js").Api} api */
  constructor(facts, api) {
    this.facts = facts;
    this.api = api;
    this.tiles = new Map(); // key -> values, in the order of their last use
    this.bytes = 0;
    this.wanted = []; // newest last
    this.running = new Set();
    this.listeners = new Set();
    this.error = null;
    this.whole = false;
    this.focus = 0;
  }

  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Tiles come when they are drawn. */
  want(index) {
    this.focus = index;
  }

  /** Level whose pixels are at least as fine as the screen's. @param {number} scale screen pixels per image pixel */
  levelFor(scale) {
    const level = Math.floor(Math.log2(1 / Math.max(scale, 1e-6)) + 1e-9);
    return Math.min(Math.max(level, 0), this.facts.levels.length - 1);
  }

  /**
   * Tiles of a level that meet a region, in pixels of the image.
   * @param {number} level
   * @param {{left: number, top: number, right: number, bottom: number}} region
   */
  place(level, region) {
    const step = SIZE * 2 ** level;
    const [rows, columns] = this.facts.levels[level];
    const lastRow = Math.ceil(rows / SIZE) - 1;
    const lastColumn = Math.ceil(columns / SIZE) - 1;
    const clip = (value, last) => Math.min(Math.max(Math.floor(value / step), 0), last);
    const found = [];
    for (let row = clip(region.top, lastRow); row <= clip(region.bottom, lastRow); row++) {
      for (let column = clip(region.left, lastColumn); column <= clip(region.right, lastColumn); column++) {
        const width = Math.min(SIZE, columns - column * SIZE);
        const height = Math.min(SIZE, rows - row * SIZE);
        found.push({ level, row, column, width, height, x: column * step, y: row * step, factor: 2 ** level });
      }
    }
    return found;
  }

  /** Values of a tile; null while they are on their way. */
  values(tile, plane) {
    const key = `${plane}/${tile.level}/${tile.row}/${tile.column}`;
    const found = this.tiles.get(key);
    if (found) {
      this.tiles.delete(key);
      this.tiles.set(key, found);
      return found;
    }
    if (!this.running.has(key)) {
      this.wanted = this.wanted.filter((other) => other !== key).slice(-200);
      this.wanted.push(key);
      this.#pump();
    }
    return null;
  }

  #pump() {
    while (this.running.size < AT_ONCE && this.wanted.length) {
      const key = this.wanted.pop();
      if (this.tiles.has(key) || this.running.has(key)) continue;
      this.running.add(key);
      this.#load(key).finally(() => {
        this.running.delete(key);
        this.#pump();
      });
    }
  }

  async #load(key) {
    const [plane, level, row, column] = key.split("/");
    const pack = packing();
    const path = `images/${this.facts.id}/tiles/${level}/${row}/${column}${pack || "?"}${pack ? "&" : ""}plane=${plane}`;
    try {
      for await (const frame of this.api.frames(path)) this.#keep(key, frame.values);
      this.error = null;
    } catch (error) {
      this.error = error;
    }
    for (const listener of this.listeners) listener(null);
  }

  #keep(key, values) {
    this.tiles.set(key, values);
    this.bytes += values.byteLength;
    for (const [oldest, gone] of this.tiles) {
      if (this.bytes <= BUDGET || oldest === key) break;
      this.tiles.delete(oldest);
      this.bytes -= gone.byteLength;
    }
  }

  /** Value of a voxel at the finest level that is here; null where nothing is. */
  value([x, y, z]) {
    const { columns, rows, channels } = this.facts;
    if (x < 0 || y < 0 || x >= columns || y >= rows) return null;
    for (let level = 0; level < this.facts.levels.length; level++) {
      const [i, j] = [Math.floor(x / 2 ** level), Math.floor(y / 2 ** level)];
      const [row, column] = [Math.floor(j / SIZE), Math.floor(i / SIZE)];
      const values = this.tiles.get(`${Math.floor(z)}/${level}/${row}/${column}`);
      if (!values) continue;
      const width = Math.min(SIZE, this.facts.levels[level][1] - column * SIZE);
      const at = ((j - row * SIZE) * width + (i - column * SIZE)) * channels;
      return channels === 1 ? values[at] : Array.from(values.subarray(at, at + channels));
    }
    return null;
  }

  /** Test whether pixels, by their number, lie within a range (colour: the mean). Tiles that are not here are asked for. */
  within(z, [low, high]) {
    const { columns, channels } = this.facts;
    const used = Math.min(channels, 3);
    let [key, values, width, left, top] = ["", null, 0, 0, 0];
    return (at) => {
      const x = at % columns;
      const y = (at - x) / columns;
      const [row, column] = [Math.floor(y / SIZE), Math.floor(x / SIZE)];
      if (key !== `${row} ${column}`) {
        key = `${row} ${column}`;
        [left, top] = [column * SIZE, row * SIZE];
        width = Math.min(SIZE, columns - left);
        values = this.values({ level: 0, row, column }, z);
      }
      if (!values) return false;
      let sum = 0;
      for (let c = 0; c < used; c++) sum += values[((y - top) * width + x - left) * channels + c];
      return sum >= low * used && sum <= high * used;
    };
  }

  close() {
    this.wanted = [];
    this.listeners.clear();
    this.tiles.clear();
  }
}

/** Large images come in tiles, all others slice by slice. */
export const isTiled = (facts) => facts.levels.length > 0;
