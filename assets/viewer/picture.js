// One image painted through a window onto a canvas, whole or in tiles.

import { planeSize } from "./geometry.js";
import { slabPlane } from "./source.js";
import { isTiled } from "./tiles.js";
import { Painter } from "./window.js";

const TILES_KEPT = 160;

/**
 * @typedef {object} View what is to be seen
 * @property {import("./geometry.js").Axis} axis
 * @property {number} index
 * @property {import("./window.js").Window} window
 * @property {boolean} inverted
 * @property {{mode: "max"|"min"|"mean", planes: number}|null} slab
 */

export class Picture {
  /** @param {import("./source.js").ImageSource|import("./tiles.js").TileSource} source */
  constructor(source) {
    this.source = source;
    this.facts = source.facts;
    this.painter = new Painter(source.facts);
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d");
    this.data = null;
    this.key = "";
    this.tiles = new Map();
    this.tileKey = "";
  }

  /**
   * Draw onto a canvas whose transform is the identity.
   * @param {CanvasRenderingContext2D} context
   * @param {import("./camera.js").Camera} camera
   * @param {View} view
   * @param {boolean} smooth
   * @returns {boolean} false while (part of) it is on its way
   */
  draw(context, camera, view, smooth) {
    context.imageSmoothingEnabled = smooth && camera.pixelSize !== 1;
    context.imageSmoothingQuality = camera.pixelSize < 0.6 ? "medium" : "low";
    return isTiled(this.facts) ? this.#drawTiles(context, camera, view) : this.#drawPlane(context, camera, view);
  }

  #drawPlane(context, camera, view) {
    const ready = this.#paint(view);
    if (this.key === "") return false;
    context.setTransform(...camera.matrix);
    context.drawImage(this.canvas, 0, 0);
    context.setTransform(1, 0, 0, 1, 0, 0);
    return ready;
  }

  /** Values seen on a plane, also as a slab; null while they are on their way. */
  values(view) {
    if (isTiled(this.facts)) return null;
    if (view.slab) return slabPlane(this.source, view.axis, view.index, view.slab);
    return this.source.plane(view.axis, view.index);
  }

  #paint({ axis, index, window, inverted, slab }) {
    const { columns, rows } = planeSize(this.facts, axis);
    const whole = axis === "z" && !slab ? "" : ` ${this.source.loaded}`;
    const key = `${axis}${index} ${window.center} ${window.width} ${inverted} ${slab?.mode} ${slab?.planes}${whole}`;
    if (key === this.key) return true;
    const values = this.values({ axis, index, slab });
    if (values === null) {
      // The last picture must not stand for another slice.
      if (!this.key.startsWith(`${axis}${index} `)) this.#blank(columns, rows);
      return false;
    }
    this.#size(columns, rows);
    this.painter.paint(values, window, inverted, this.pixels);
    this.context.putImageData(this.data, 0, 0);
    this.key = key;
    return true;
  }

  #size(columns, rows) {
    if (this.data && this.data.width === columns && this.data.height === rows) return;
    this.canvas.width = columns;
    this.canvas.height = rows;
    this.data = new ImageData(columns, rows);
    this.pixels = new Uint32Array(this.data.data.buffer);
  }

  #blank(columns, rows) {
    this.#size(columns, rows);
    this.context.clearRect(0, 0, columns, rows);
    this.key = "blank";
  }

  #drawTiles(context, camera, { index, window, inverted }) {
    const key = `${index} ${window.center} ${window.width} ${inverted}`;
    if (key !== this.tileKey) this.tiles.clear();
    this.tileKey = key;
    const region = seenRegion(camera);
    const level = this.source.levelFor(camera.pixelSize);
    let ready = true;
    context.setTransform(...camera.matrix);
    // Coarse tiles first, so that nothing is empty while fine ones come.
    for (const one of level < this.facts.levels.length - 1 ? [this.facts.levels.length - 1, level] : [level]) {
      for (const tile of this.source.place(one, region)) {
        const painted = this.#tile(tile, index, window, inverted);
        if (painted) {
          const width = Math.min(tile.width * tile.factor, this.facts.columns - tile.x);
          const height = Math.min(tile.height * tile.factor, this.facts.rows - tile.y);
          context.drawImage(painted, tile.x, tile.y, width, height);
        } else if (one === level) ready = false;
      }
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    return ready;
  }

  #tile(tile, plane, window, inverted) {
    const key = `${tile.level}/${tile.row}/${tile.column}`;
    const known = this.tiles.get(key);
    if (known) return known;
    const values = this.source.values(tile, plane);
    if (!values) return null;
    const canvas = document.createElement("canvas");
    canvas.width = tile.width;
    canvas.height = tile.height;
    const data = new ImageData(tile.width, tile.height);
    this.painter.paint(values, window, inverted, new Uint32Array(data.data.buffer));
    canvas.getContext("2d").putImageData(data, 0, 0);
    this.tiles.set(key, canvas);
    if (this.tiles.size > TILES_KEPT) this.tiles.delete(this.tiles.keys().next().value);
    return canvas;
  }
}

/** The region of the plane that is on the canvas, in (u, v). */
export function seenRegion(camera) {
  const corners = [[0, 0], [camera.width, 0], [0, camera.height], [camera.width, camera.height]];
  const places = corners.map(([x, y]) => camera.toPlane(x, y));
  const us = places.map((place) => place[0]);
  const vs = places.map((place) => place[1]);
  return { left: Math.min(...us), top: Math.min(...vs), right: Math.max(...us), bottom: Math.max(...vs) };
}
