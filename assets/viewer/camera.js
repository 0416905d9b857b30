// What part of a plane is seen, how large and how turned: a map between plane (u, v) and canvas pixels, and back.

import { UPRIGHT, hangingTurn, multiply, planeBasis, planeSize } from "./geometry.js";

const CLOCKWISE = [0, -1, 1, 0];
const MIRROR_X = [-1, 0, 0, 1];
const MIRROR_Y = [1, 0, 0, -1];
const MOST_ZOOM = 128; // canvas pixels for one pixel of the image

export class Camera {
  /** @param {import("./window.js").Facts} facts @param {import("./geometry.js").Axis} axis */
  constructor(facts, axis) {
    this.facts = facts;
    this.axis = axis;
    this.width = 1;
    this.height = 1;
    this.turn = hangingTurn(facts, axis);
    this.scale = 1; // canvas pixels per millimetre
    this.center = [0, 0]; // millimetres on the turned plane, seen in the middle
    this.fitted = true;
    this.basis = planeBasis(facts, axis);
    this.fit();
  }

  /** Tell the size of the canvas in its own pixels. */
  resize(width, height) {
    if (width === this.width && height === this.height) return false;
    this.width = width;
    this.height = height;
    if (this.fitted) this.fit();
    return true;
  }

  /** Millimetres of the turned plane from (u, v), without the origin. */
  get plane() {
    return multiply(this.turn, this.basis.matrix);
  }

  /** Canvas from (u, v): [a, b, c, d, e, f] as CanvasRenderingContext2D.setTransform takes it. */
  get matrix() {
    const [m00, m01, m10, m11] = this.plane.map((value) => value * this.scale);
    let e = this.width / 2 - this.center[0] * this.scale;
    let f = this.height / 2 - this.center[1] * this.scale;
    if (Math.abs(m00) + Math.abs(m01) === Math.round(Math.abs(m00) + Math.abs(m01))) {
      e = Math.round(e); // whole pixels stay whole
      f = Math.round(f);
    }
    return [m00, m10, m01, m11, e, f];
  }

  /** Canvas pixels of a place on the plane. */
  toCanvas(u, v) {
    const [a, b, c, d, e, f] = this.matrix;
    return [a * u + c * v + e, b * u + d * v + f];
  }

  /** Place (u, v) on the plane under a canvas pixel. */
  toPlane(x, y) {
    const [a, b, c, d, e, f] = this.matrix;
    const det = a * d - b * c;
    return [(d * (x - e) - c * (y - f)) / det, (a * (y - f) - b * (x - e)) / det];
  }

  /** Canvas pixels for one column of the image. */
  get pixelSize() {
    return this.basis.matrix[0] * this.scale;
  }

  extent() {
    const { columns, rows } = planeSize(this.facts, this.axis);
    const [m00, m01, m10, m11] = this.plane;
    const xs = [0, m00 * columns, m01 * rows, m00 * columns + m01 * rows];
    const ys = [0, m10 * columns, m11 * rows, m10 * columns + m11 * rows];
    return { left: Math.min(...xs), right: Math.max(...xs), top: Math.min(...ys), bottom: Math.max(...ys) };
  }

  /** Show the whole plane. */
  fit() {
    const { left, right, top, bottom } = this.extent();
    this.scale = Math.min(this.width / (right - left), this.height / (bottom - top));
    this.center = [(left + right) / 2, (top + bottom) / 2];
    this.fitted = true;
  }

  /** Show one column of the image on one pixel of the screen. */
  oneToOne() {
    this.zoomTo(1 / this.basis.matrix[0], this.width / 2, this.height / 2);
  }

  /** Zoom by a factor so that the place under (x, y) stays there. */
  zoomBy(factor, x, y) {
    this.zoomTo(this.scale * factor, x, y);
  }

  zoomTo(scale, x, y) {
    const { left, right, top, bottom } = this.extent();
    const whole = Math.min(this.width / (right - left), this.height / (bottom - top));
    const least = Math.min(0.25 * whole, 1 / this.basis.matrix[0]);
    const bounded = Math.min(Math.max(scale, least), MOST_ZOOM / this.basis.matrix[0]);
    const shift = (1 / this.scale - 1 / bounded);
    this.center = [
      this.center[0] + (x - this.width / 2) * shift,
      this.center[1] + (y - this.height / 2) * shift,
    ];
    this.scale = bounded;
    this.fitted = false;
  }

  /** Move the picture by canvas pixels. */
  pan(dx, dy) {
    this.center = [this.center[0] - dx / this.scale, this.center[1] - dy / this.scale];
    this.fitted = false;
  }

  /** Bring a place on the plane to the middle. */
  lookAt(u, v) {
    const [m00, m01, m10, m11] = this.plane;
    this.center = [m00 * u + m01 * v, m10 * u + m11 * v];
  }

  rotate() {
    this.#turnBy(CLOCKWISE);
  }

  flip(horizontally) {
    this.#turnBy(horizontally ? MIRROR_X : MIRROR_Y);
  }

  /** Back to how radiologists hang it, or, `asStored`, to how the file has it. */
  hang(asStored = false) {
    this.turn = asStored ? UPRIGHT : hangingTurn(this.facts, this.axis);
    this.fit();
  }

  #turnBy(matrix) {
    this.turn = multiply(matrix, this.turn).map((value) => value + 0); // no -0
    this.center = [
      matrix[0] * this.center[0] + matrix[1] * this.center[1],
      matrix[2] * this.center[0] + matrix[3] * this.center[1],
    ];
    if (this.fitted) this.fit();
  }
}
