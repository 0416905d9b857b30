// Boxes, measurements and points as lines on a plane: where they lie, what is near the pointer, how they are drawn.

import { PLANE_AXES, toPlane } from "./geometry.js";
import { rectangle, turnedCorners } from "./raster.js";

const NEAR = 9; // canvas pixels at which a line or handle is hit (times the screen's density)
const GREY = "#f2f2f2";

/** Whether an item is to be seen on a plane. */
export function liesOn(item, axis, index) {
  if (item.kind === "class") return false;
  if (item.kind === "box" || item.kind === "turned") return axis === "z" && item.plane === index;
  if (item.kind === "point") return toPlane(axis, item.points[0]).index === index;
  return item.axis === axis && item.plane === index;
}

/** The plane to show an item on. */
export const planeOf = (item) => ({ axis: item.axis ?? "z", index: item.plane });

/** Handles and outlines of an item in (u, v). @returns {{handles: number[][], lines: number[][][], closed: boolean, round: boolean}} */
export function shapeOf(item, axis) {
  if (item.kind === "box") {
    const [left, top, right, bottom] = item.box;
    const corners = rectangle([left, top], [right, bottom]);
    return { handles: corners, lines: [corners], closed: true, round: false };
  }
  const [u, v] = PLANE_AXES[axis];
  const points = item.points.map((point) => [point[u], point[v]]);
  if (item.kind === "turned") {
    const corners = turnedCorners(points);
    return { handles: corners, lines: [corners], closed: true, round: false };
  }
  if (item.kind === "rectangle" || item.kind === "ellipse") {
    const corners = rectangle(points[0], points[1]);
    return { handles: corners, lines: [corners], closed: true, round: item.kind === "ellipse" };
  }
  if (item.kind === "bidirectional") {
    return { handles: points, lines: [points.slice(0, 2), points.slice(2)], closed: false, round: false };
  }
  return { handles: points, lines: [points], closed: false, round: false };
}

/**
 * The item nearest to a canvas pixel.
 * @param {Iterable<[string, object]>} items
 * @param {import("./camera.js").Camera} camera
 * @returns {{id: string, handle: number}|null} handle -1: the item as a whole
 */
export function hitItem(items, camera, axis, index, x, y, density) {
  let best = null;
  let least = NEAR * density;
  for (const [id, item] of items) {
    if (!liesOn(item, axis, index)) continue;
    const shape = shapeOf(item, axis);
    shape.handles.forEach((handle, number) => {
      const [hx, hy] = camera.toCanvas(...handle);
      const distance = Math.hypot(hx - x, hy - y);
      if (distance < least) [best, least] = [{ id, handle: number }, distance];
    });
    const distance = distanceToLines(shape, camera, x, y) + 2; // handles win
    if (distance < least) [best, least] = [{ id, handle: -1 }, distance];
  }
  return best;
}

function distanceToLines(shape, camera, x, y) {
  let least = Infinity;
  for (const line of shape.lines) {
    const points = (shape.round ? ellipsePoints(line) : line).map((point) => camera.toCanvas(...point));
    const count = points.length - (shape.closed ? 0 : 1);
    for (let i = 0; i < count; i++) {
      least = Math.min(least, segmentDistance(points[i], points[(i + 1) % points.length], x, y));
    }
  }
  return least;
}

function segmentDistance([ax, ay], [bx, by], x, y) {
  const [dx, dy] = [bx - ax, by - ay];
  const length2 = dx * dx + dy * dy;
  const share = length2 ? Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / length2)) : 0;
  return Math.hypot(x - ax - share * dx, y - ay - share * dy);
}

/** An ellipse within a rectangle as a polygon. */
export function ellipsePoints([[u0, v0], , [u1, v1]], count = 48) {
  const [cu, cv, ru, rv] = [(u0 + u1) / 2, (v0 + v1) / 2, (u1 - u0) / 2, (v1 - v0) / 2];
  return Array.from({ length: count }, (_, i) => {
    const turn = (2 * Math.PI * i) / count;
    return [cu + ru * Math.cos(turn), cv + rv * Math.sin(turn)];
  });
}

/**
 * Draw one item.
 * @param {CanvasRenderingContext2D} context in canvas pixels
 * @param {object} item
 * @param {{camera: import("./camera.js").Camera, axis: string, color: string, words: string[], selected: boolean, density: number,
 *   taken?: {x: number, y: number, width: number, height: number}[]}} how `taken`: where words stand already; grows
 */
export function drawItem(context, item, { camera, axis, color, words, selected, density, taken = [] }) {
  const shape = shapeOf(item, axis);
  const width = (selected ? 2.4 : 1.6) * density;
  for (const line of shape.lines) {
    const points = (shape.round ? ellipsePoints(line) : line).map((point) => camera.toCanvas(...point));
    tracePath(context, points, shape.closed);
    stroke(context, color, width, density);
  }
  if (selected || item.kind === "point") {
    for (const handle of shape.handles) drawHandle(context, camera.toCanvas(...handle), color, density);
  }
  // The name of one of many boxes stays at its box; words of measurements make way for each other.
  const named = item.kind === "box" || item.kind === "turned" || item.kind === "point";
  if (words.length) drawWords(context, words, { anchor: anchorOf(shape, camera), color, density, taken: named ? [] : taken });
}

/** Start a path along canvas points. */
export function tracePath(context, points, closed) {
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (closed) context.closePath();
}

/** Stroke the path so that it is seen on bright and on dark ground. */
export function stroke(context, color, width, density) {
  context.lineJoin = "round";
  context.strokeStyle = "rgba(0, 0, 0, 0.55)";
  context.lineWidth = width + 2 * density;
  context.stroke();
  context.strokeStyle = color ?? GREY;
  context.lineWidth = width;
  context.stroke();
}

function drawHandle(context, [x, y], color, density) {
  context.beginPath();
  context.arc(x, y, 3.5 * density, 0, 2 * Math.PI);
  context.fillStyle = color;
  context.fill();
  context.lineWidth = 1.5 * density;
  context.strokeStyle = "rgba(0, 0, 0, 0.8)";
  context.stroke();
}

function anchorOf(shape, camera) {
  const points = shape.handles.map((point) => camera.toCanvas(...point));
  const right = points.reduce((best, point) => (point[0] > best[0] ? point : best));
  return shape.closed ? [Math.min(...points.map((p) => p[0])), Math.min(...points.map((p) => p[1])), true] : [...right, false];
}

function drawWords(context, words, { anchor: [x, y, above], color, density, taken }) {
  const size = 12.5 * density;
  const line = size * 1.2;
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "bottom";
  context.lineJoin = "round";
  const width = Math.max(...words.map((text) => context.measureText(text).width));
  const box = { x: above ? x : x + 8 * density, y: above ? y - 4 * density - words.length * line : y - line / 2, width, height: words.length * line };
  box.y = freeRow({ ...box, y: Math.max(box.y, 0) }, taken);
  taken.push(box);
  words.forEach((text, i) => {
    const bottom = box.y + (i + 1) * line;
    context.strokeStyle = "rgba(0, 0, 0, 0.8)";
    context.lineWidth = 3.5 * density;
    context.strokeText(text, box.x, bottom);
    context.fillStyle = color ?? GREY;
    context.fillText(text, box.x, bottom);
  });
}

/** The first place at or below a box's own where no other words stand. */
function freeRow(box, taken) {
  let { y } = box;
  const beside = taken.filter((one) => one.x < box.x + box.width && box.x < one.x + one.width).sort((a, b) => a.y - b.y);
  for (const one of beside) if (one.y < y + box.height && y < one.y + one.height) y = one.y + one.height;
  return y;
}
