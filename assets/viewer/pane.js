// One picture on the screen: image, what lies over it, lines, letters at its sides, values under the pointer.

import { Camera } from "./camera.js";
import { el } from "./dom.js";
import { PLANE_AXES, patientPosition, planeName, planeSize, sideMarks, toVoxel, unitOf } from "./geometry.js";
import { drawSheets } from "./overlay.js";
import { Picture } from "./picture.js";
import { drawItem, liesOn, stroke, tracePath } from "./shapes.js";

const BAR_SHARE = 0.22;

/**
 * @typedef {object} Side a picture with its layers; a pane has one, or two to swipe between
 * @property {import("./source.js").ImageSource} source
 * @property {object[]} layers
 * @property {string} title
 */

export class Pane {
  /**
   * @param {import("./viewer.js").Viewer} viewer
   * @param {Side[]} sides
   * @param {import("./geometry.js").Axis} axis
   */
  constructor(viewer, sides, axis) {
    this.viewer = viewer;
    this.sides = sides.map((side) => ({ ...side, picture: new Picture(side.source) }));
    this.facts = sides[0].source.facts;
    this.axis = axis;
    this.index = 0;
    this.camera = new Camera(this.facts, axis);
    this.shown = 0; // side that is seen when nothing is swiped
    this.divider = 0.5;
    this.pointer = null; // canvas pixels
    this.dirty = { image: true, marks: null, lines: true };
    this.#build();
    this.goTo(Math.floor(planeSize(this.facts, axis).count / 2));
  }

  #build() {
    this.canvases = ["image", "marks", "lines"].map((name) => el(`canvas.${name}`));
    const [image, marks, lines] = this.canvases;
    this.contexts = [image.getContext("2d", { alpha: false }), marks.getContext("2d"), lines.getContext("2d")];
    this.corners = Object.fromEntries(["tl", "tr", "bl", "br"].map((name) => [name, el(`div.corner.${name}`)]));
    this.letters = Object.fromEntries(["left", "right", "top", "bottom"].map((name) => [name, el(`div.letter.${name}`)]));
    this.bar = el("div.scale", {}, [el("i"), el("span")]);
    this.cursor = el("div.cursor", { hidden: true });
    this.note = el("div.pane-note", { hidden: true });
    this.slices = el("input.slices", {
      type: "range", min: 1, max: planeSize(this.facts, this.axis).count, step: 1, tabindex: -1,
      oninput: () => this.viewer.goTo(this, Number(this.slices.value) - 1),
    });
    this.root = el("div.pane", { role: "img", "data-axis": this.axis }, [
      ...this.canvases, ...Object.values(this.corners), ...Object.values(this.letters), this.bar, this.cursor, this.note,
      planeSize(this.facts, this.axis).count > 1 ? this.slices : null,
    ]);
  }

  get count() {
    return planeSize(this.facts, this.axis).count;
  }

  get density() {
    return this.viewer.density;
  }

  /** Show a plane; returns false when it is shown already. */
  goTo(index) {
    const bounded = Math.min(Math.max(Math.round(index), 0), this.count - 1);
    if (bounded === this.index && this.started) return false;
    this.started = true;
    this.index = bounded;
    this.slices.value = bounded + 1;
    if (this.axis === "z") this.#want();
    this.redraw();
    return true;
  }

  #want() {
    for (const side of this.sides) {
      side.source.want(this.index);
      for (const layer of side.layers) layer.want?.(this.index);
    }
  }

  /** Everything has to be drawn anew. */
  redraw() {
    this.dirty.image = true;
    this.redrawMarks();
    this.dirty.lines = true;
    this.viewer.schedule();
  }

  /** What lies over the image has changed, in a region of the canvas or everywhere. */
  redrawMarks(region = null) {
    const whole = { x: 0, y: 0, width: this.camera.width, height: this.camera.height };
    if (region === null || this.dirty.marks === whole) this.dirty.marks = whole;
    else this.dirty.marks = this.dirty.marks ? joined(this.dirty.marks, region) : region;
    this.viewer.schedule();
  }

  redrawLines() {
    this.dirty.lines = true;
    this.viewer.schedule();
  }

  /** Fit the canvases to the pane. */
  measure() {
    const box = this.root.getBoundingClientRect();
    const [width, height] = [box.width, box.height].map((size) => Math.max(1, Math.round(size * this.density)));
    if (!this.camera.resize(width, height)) return;
    for (const canvas of this.canvases) Object.assign(canvas, { width, height });
    this.redraw();
  }

  /** The sides to draw, each with the canvas columns it has. */
  get parts() {
    if (this.sides.length === 1 || !this.viewer.look.swipe) return [{ side: this.sides[this.shown], from: 0, to: this.camera.width }];
    const at = Math.round(this.divider * this.camera.width);
    return [{ side: this.sides[0], from: 0, to: at }, { side: this.sides[1], from: at, to: this.camera.width }];
  }

  /** Draw what is out of date; tells whether anything was. */
  draw() {
    const { image, marks, lines } = this.dirty;
    if (!(image || marks || lines)) return false;
    this.dirty = { image: false, marks: null, lines: false };
    if (image) this.#drawImage();
    if (marks) this.#drawMarks(marks);
    if (image || lines) this.#drawLines();
    if (image || lines) this.#drawText();
    return true;
  }

  view(side) {
    const { look } = this.viewer;
    return {
      axis: this.axis, index: this.index, window: this.viewer.windowOf(side.source.facts),
      inverted: side.source.facts.inverted !== look.inverted, slab: look.slab,
    };
  }

  #drawImage() {
    const [context] = this.contexts;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.camera.width, this.camera.height);
    let ready = true;
    for (const { side, from, to } of this.parts) {
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, this.camera.height);
      context.clip();
      ready = side.picture.draw(context, this.camera, this.view(side), this.viewer.look.smooth) && ready;
      context.restore();
    }
    this.#say(ready);
  }

  #say(ready) {
    const error = this.sides.map((side) => side.source.error).find(Boolean);
    this.note.hidden = ready && !error;
    this.note.textContent = error ? error.message : "Loading…";
    this.root.toggleAttribute("data-ready", ready);
  }

  #drawMarks(region) {
    const left = Math.max(0, Math.floor(region.x));
    const top = Math.max(0, Math.floor(region.y));
    const right = Math.min(this.camera.width, Math.ceil(region.x + region.width));
    const bottom = Math.min(this.camera.height, Math.ceil(region.y + region.height));
    const [, context] = this.contexts;
    for (const { side, from, to } of this.parts) {
      const [x, end] = [Math.max(left, from), Math.min(right, to)];
      if (end <= x || bottom <= top) continue;
      const sheets = this.viewer.look.shown ? this.sheets(side) : [];
      if (!sheets.length) {
        context.clearRect(x, top, end - x, bottom - top);
        continue;
      }
      const data = new ImageData(end - x, bottom - top);
      const place = { x, y: top, width: end - x, height: bottom - top };
      drawSheets(new Uint32Array(data.data.buffer), place, this.camera.matrix, sheets, Math.max(1, Math.round(1.5 * this.density)));
      context.putImageData(data, x, top);
    }
  }

  sheets(side) {
    const { look } = this.viewer;
    const layers = [...side.layers, ...this.viewer.layersOn(this)];
    return layers.map((layer) => layer.sheet?.(this.axis, this.index, look, this.facts)).filter(Boolean);
  }

  /** Items to draw: [name, item] of notes and boxes on this plane. */
  items(side = this.parts[0].side) {
    const found = side.layers.flatMap((layer) => [...(layer.items ?? [])]);
    return [...found, ...this.viewer.itemsOn(this)].filter(([, item]) => liesOn(item, this.axis, this.index));
  }

  #drawLines() {
    const [, , context] = this.contexts;
    context.clearRect(0, 0, this.camera.width, this.camera.height);
    for (const { side, from, to } of this.parts) {
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, this.camera.height);
      context.clip();
      const taken = [];
      if (this.viewer.look.shown) for (const [id, item] of this.items(side)) this.#drawItem(context, id, item, taken);
      context.restore();
    }
    if (this.parts.length > 1) this.#drawDivider(context, this.parts[1].from);
    if (this.viewer.look.crosshair) this.#drawCrosshair(context);
    this.viewer.tool?.draw?.(context, this);
  }

  #drawItem(context, id, item, taken) {
    const { look } = this.viewer;
    if (look.hidden.has(item.label)) return;
    if (look.scores ? item.score < look.threshold : item.weak) return;
    const color = this.viewer.colorOf(item);
    const words = this.viewer.wordsOf(item, this);
    const selected = this.viewer.selected === id;
    drawItem(context, item, { camera: this.camera, axis: this.axis, color, words, selected, density: this.density, taken });
  }

  #drawDivider(context, x) {
    tracePath(context, [[x, 0], [x, this.camera.height]], false);
    stroke(context, "#fff", 1.5 * this.density, this.density);
    context.beginPath();
    context.arc(x, this.camera.height / 2, 9 * this.density, 0, 2 * Math.PI);
    stroke(context, "#fff", 2 * this.density, this.density);
  }

  #drawCrosshair(context) {
    const [u, v] = PLANE_AXES[this.axis];
    const [x, y] = this.camera.toCanvas(this.viewer.cross[u], this.viewer.cross[v]);
    const gap = 12 * this.density;
    context.strokeStyle = "rgba(120, 200, 255, 0.8)";
    context.lineWidth = this.density;
    context.beginPath();
    for (const [x0, y0, x1, y1] of [
      [0, y, x - gap, y], [x + gap, y, this.camera.width, y], [x, 0, x, y - gap], [x, y + gap, x, this.camera.height],
    ]) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
    context.stroke();
  }

  #drawText() {
    const { tl, tr, bl, br } = this.corners;
    const { facts } = this;
    const name = planeName(facts, this.axis) ?? (this.axis === "z" ? "" : `across ${this.axis}`);
    const side = this.parts[0].side;
    const word = facts.volume ? "slice" : "frame";
    const place = this.count > 1 ? `${name || word} ${this.index + 1} of ${this.count}` : name;
    tl.textContent = [this.parts.map((part) => part.side.title).filter(Boolean).join("  |  "), place].filter(Boolean).join("\n");
    const { center, width } = this.viewer.windowOf(side.source.facts);
    tr.textContent = side.source.facts.windowed
      ? `L ${short(center)}  W ${short(width)}${this.viewer.look.inverted ? "\ninverted" : ""}${this.#slabWords()}`
      : "";
    br.textContent = `${short(this.camera.pixelSize / this.density)}×`;
    this.#drawPointer(bl);
    const marks = sideMarks(facts, this.axis, this.camera.turn);
    for (const [edge, node] of Object.entries(this.letters)) node.textContent = marks ? marks[edge] : "";
    this.#drawBar();
    this.root.setAttribute("aria-label", `${tl.textContent.replace("\n", ", ")}. ${tr.textContent}`);
  }

  #slabWords() {
    const { slab } = this.viewer.look;
    if (!slab) return "";
    return `\n${{ max: "maximum", min: "minimum", mean: "mean" }[slab.mode]} of ${slab.planes}`;
  }

  #drawPointer(node) {
    if (!this.pointer) {
      node.textContent = "";
      return;
    }
    const [u, v] = this.camera.toPlane(...this.pointer);
    const { columns, rows } = planeSize(this.facts, this.axis);
    if (u < 0 || v < 0 || u >= columns || v >= rows) {
      node.textContent = "";
      return;
    }
    const voxel = toVoxel(this.axis, this.index, u, v);
    const value = this.parts[0].side.source.value(voxel);
    const lines = [`x ${Math.floor(voxel[0])}  y ${Math.floor(voxel[1])}${this.facts.slices > 1 ? `  z ${Math.floor(voxel[2])}` : ""}`];
    const position = patientPosition(this.facts, voxel);
    if (position) lines.push(position.map((mm, i) => `${"LPS"[i]} ${mm.toFixed(1)}`).join("  "));
    if (value !== null) lines.push(`value ${[value].flat().map(short).join(", ")} ${this.facts.unit}`.trim());
    node.textContent = lines.join("\n");
  }

  /** The pointer has moved; only text changes. */
  point(position) {
    this.pointer = position;
    this.#drawPointer(this.corners.bl);
  }

  #drawBar() {
    const perMillimetre = this.camera.scale / this.density;
    const unit = unitOf(this.facts);
    const wanted = (this.camera.width / this.density / perMillimetre) * BAR_SHARE;
    const power = 10 ** Math.floor(Math.log10(wanted));
    const length = [5, 2, 1].map((factor) => factor * power).find((size) => size <= wanted * (1 + 1e-9));
    const [line, text] = this.bar.children;
    line.style.width = `${length * perMillimetre}px`;
    text.textContent = unit === "mm" && length < 0.1 ? `${short(length * 1000)} µm` : `${short(length)} ${unit}`;
  }

  close() {
    this.root.remove();
  }
}

/** A number with at most four digits that matter. */
export const short = (value) =>
  Number.isInteger(value) ? String(value) : Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));

function joined(a, b) {
  const [x, y] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
  return { x, y, width: Math.max(a.x + a.width, b.x + b.width) - x, height: Math.max(a.y + a.height, b.y + b.height) - y };
}
