// Items being moved: the whole by a drag, or one handle.

import { PLANE_AXES, planeSize } from "./geometry.js";
import { fillPolygons, turnedCorners } from "./raster.js";
import { encodeRuns } from "./runs.js";

/** Corner -> which of the two opposite points gives its u and its v. */
const CORNERS = [[0, 0], [1, 0], [1, 1], [0, 1]];

/**
 * @param {object} item as it was
 * @param {number} handle -1 moves all of it
 * @param {{u: number, v: number}} from where the drag began
 * @param {{u: number, v: number}} to where it is now
 * @param {import("./window.js").Facts} facts
 * @returns {object} the item moved
 */
export function movedItem(item, handle, from, to, facts) {
  const [du, dv] = [to.u - from.u, to.v - from.v];
  if (item.kind === "box") return movedBox(item, handle, du, dv, facts);
  const [u, v] = PLANE_AXES[item.axis];
  const points = item.points.map((point) => [...point]);
  const shift = (i) => {
    points[i][u] += du;
    points[i][v] += dv;
  };
  if (handle < 0) points.forEach((_, i) => shift(i));
  else if (item.kind === "turned") turnCorner(points, handle, [du, dv]);
  else if (item.kind === "rectangle" || item.kind === "ellipse") {
    const [forU, forV] = CORNERS[handle];
    points[forU][u] += du;
    points[forV][v] += dv;
  } else shift(handle);
  const { columns, rows } = planeSize(facts, item.axis);
  const inside = points.every((point) => point[u] >= 0 && point[v] >= 0 && point[u] <= columns && point[v] <= rows);
  return inside || item.kind === "turned" ? { ...item, points } : item;
}

function movedBox(item, handle, du, dv, facts) {
  const [left, top, right, bottom] = item.box;
  const { crop, ...rest } = item; // the pixels it was cut from do not move along
  let box;
  if (handle < 0) {
    const x = Math.min(Math.max(du, -left), facts.columns - right);
    const y = Math.min(Math.max(dv, -top), facts.rows - bottom);
    box = [left + x, top + y, right + x, bottom + y];
  } else {
    const us = [left, right];
    const vs = [top, bottom];
    const [forU, forV] = CORNERS[handle];
    us[forU] += du;
    vs[forV] += dv;
    box = boxBetween([us[0], vs[0]], [us[1], vs[1]], facts);
  }
  return box ? { ...rest, box } : item;
}

/** The box between two opposite corners, cut to the image; null when nothing is left. */
export function boxBetween([u0, v0], [u1, v1], facts) {
  const [left, right] = [u0, u1].sort((a, b) => a - b).map((u) => Math.min(Math.max(u, 0), facts.columns));
  const [top, bottom] = [v0, v1].sort((a, b) => a - b).map((v) => Math.min(Math.max(v, 0), facts.rows));
  const box = [left, top, right, bottom].map(Math.fround); // stored as float32: what is seen is what is kept
  return box[2] - box[0] >= 1 && box[3] - box[1] >= 1 ? box : null;
}

// The centre stays; the corner that is dragged turns and stretches the box, which keeps its proportions.
function turnCorner(points, handle, [du, dv]) {
  const center = points[0];
  const corners = turnedCorners(points);
  const arm = [corners[handle][0] - center[0], corners[handle][1] - center[1]];
  const wanted = [arm[0] + du, arm[1] + dv];
  const size = arm[0] ** 2 + arm[1] ** 2 || 1;
  const cos = (wanted[0] * arm[0] + wanted[1] * arm[1]) / size;
  const sin = (wanted[1] * arm[0] - wanted[0] * arm[1]) / size;
  for (const i of [1, 2]) {
    const [x, y] = [points[i][0] - center[0], points[i][1] - center[1]];
    points[i][0] = center[0] + cos * x - sin * y;
    points[i][1] = center[1] + sin * x + cos * y;
  }
}

/**
 * The two items of a turned box where readings are boxes: the turned one, and the box around it with the pixels inside.
 * @param {object} note kind "turned"
 * @returns {object|null} the box; null when it lies outside of the image
 */
export function boxAround(note, facts) {
  const corners = turnedCorners(note.points);
  const us = corners.map((corner) => corner[0]);
  const vs = corners.map((corner) => corner[1]);
  const box = boxBetween([Math.min(...us), Math.min(...vs)], [Math.max(...us), Math.max(...vs)], facts);
  if (!box) return null;
  const [left, top] = [Math.floor(box[0]), Math.floor(box[1])];
  const [columns, rows] = [Math.ceil(box[2]) - left, Math.ceil(box[3]) - top];
  const crop = new Uint8Array(columns * rows);
  const moved = corners.map(([u, v]) => [u - left, v - top]);
  fillPolygons([moved], columns, rows, (row, from, to) => crop.fill(1, row * columns + from, row * columns + to));
  return { kind: "box", label: note.label, plane: note.plane, box, crop: Array.from(encodeRuns(crop)) };
}
