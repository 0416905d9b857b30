// Tools that mark: brush, eraser, threshold brush, polygon, freehand, fill, boxes, points, regions.

import { PLANE_AXES, norm, planeSize, toVoxel, voxelSteps } from "./geometry.js";
import { boxAround, boxBetween } from "./edit.js";
import { PlanePen, brushSegment } from "./paint.js";
import { floodPart } from "./parts.js";
import { fillPolygons, rectangle, turnedCorners } from "./raster.js";
import { stroke, tracePath } from "./shapes.js";
import { Recorder } from "./steps.js";

const CLOSE = 10; // canvas pixels at which a polygon closes on its first corner

/** @param {import("./workbench.js").Workbench} bench */
export function markTools(bench) {
  return {
    brush: brushTool(bench, { name: "brush", keys: "B", picture: "brush", title: "Brush" }),
    eraser: brushTool(bench, { name: "eraser", keys: "E", picture: "eraser", title: "Eraser", erases: true }),
    threshold: brushTool(bench, {
      name: "threshold", keys: "D", picture: "threshold", title: "Threshold brush: only values within the range", ranged: true,
    }),
    polygon: polygonTool(bench),
    freehand: freehandTool(bench),
    fill: fillTool(bench),
    box: boxTool(bench),
    turned: turnedTool(bench),
    point: pointTool(bench),
    region: regionTool(bench),
  };
}

/** Pens for the planes of one stroke, made when they are needed. */
function pens(bench, recorder, axis, ink) {
  const made = new Map();
  return (index) => {
    if (!made.has(index)) made.set(index, new PlanePen(bench.marks.volume, recorder, { axis, index }, ink, bench.source));
    return made.get(index);
  };
}

function brushTool(bench, { erases = false, ranged = false, ...about }) {
  let going = null;
  const segment = (a, b) => {
    const { pane, penOf } = going;
    const brush = { size: bench.brush.size, ball: bench.brush.ball, facts: pane.facts };
    brushSegment(penOf, pane, a, b, brush);
    pane.redrawMarks(around(pane, [a, b], bench.brush.size));
  };
  return {
    ...about,
    paints: true,
    press(place) {
      if (!bench.mayPaint(erases)) return;
      const recorder = new Recorder(bench.marks.volume);
      const label = erases || place.alt ? 0 : bench.label;
      const ink = bench.ink(label, ranged ? bench.brush.range : null);
      going = { pane: place.pane, recorder, label, penOf: pens(bench, recorder, place.pane.axis, ink) };
      going.last = place.shift && bench.lastEnd ? bench.lastEnd : [place.u, place.v];
      segment(going.last, [place.u, place.v]);
      going.last = [place.u, place.v];
    },
    move(place) {
      if (!going) return;
      for (const next of place.trail) {
        segment(going.last, next);
        going.last = next;
      }
    },
    lift() {
      if (!going) return;
      const { recorder, last, label } = going;
      going = null;
      bench.lastEnd = last;
      const changed = bench.marks.commit(label === 0 ? "eraser" : about.name, recorder);
      if (!changed && ranged) bench.say("No pixel under the stroke lies within the range of values.");
    },
    cancel() {
      if (!going) return;
      going.recorder.restore();
      going.pane.redrawMarks();
      going = null;
    },
  };
}

/** The region of the canvas that a stroke from one place to another may have changed. */
function around(pane, points, size) {
  const corners = points.map((point) => pane.camera.toCanvas(...point));
  const steps = voxelSteps(pane.facts);
  const [u, v] = PLANE_AXES[pane.axis].map((dimension) => norm(steps[dimension]));
  const reach = (size / 2 + 2) * pane.camera.pixelSize * Math.max(1, u / v, v / u) + 4 * pane.density;
  const xs = corners.map((corner) => corner[0]);
  const ys = corners.map((corner) => corner[1]);
  const [x, y] = [Math.min(...xs) - reach, Math.min(...ys) - reach];
  return { x, y, width: Math.max(...xs) + reach - x, height: Math.max(...ys) + reach - y };
}

/** Fill outlines as one step. */
function fillOutlines(bench, pane, name, outlines, erase) {
  const { columns, rows } = planeSize(pane.facts, pane.axis);
  return bench.marks.act(name, (recorder) => {
    const pen = new PlanePen(bench.marks.volume, recorder, pane, bench.ink(erase ? 0 : bench.label, null));
    fillPolygons(outlines, columns, rows, pen.span);
  });
}

function polygonTool(bench) {
  let corners = [];
  let pane = null;
  let loose = null; // where the pointer is
  const stop = () => {
    corners = [];
    pane?.redrawLines();
    pane = null;
  };
  const close = (erase) => {
    if (corners.length >= 3) fillOutlines(bench, pane, "polygon", [corners], erase);
    stop();
  };
  return {
    name: "polygon", keys: "P", picture: "polygon", title: "Polygon: click corners; click the first one, double-click or press Enter to close",
    press(place) {
      if (!bench.mayPaint()) return;
      if (pane && pane !== place.pane) stop();
      pane = place.pane;
      if (corners.length >= 3) {
        const [x, y] = pane.camera.toCanvas(...corners[0]);
        if (Math.hypot(place.x - x, place.y - y) < CLOSE * pane.density) {
          close(place.alt);
          return;
        }
      }
      const last = corners.at(-1);
      if (!last || last[0] !== place.u || last[1] !== place.v) corners.push([place.u, place.v]);
      loose = [place.u, place.v];
      pane.redrawLines();
    },
    move: (place) => {
      loose = [place.u, place.v];
      pane?.redrawLines();
    },
    hover(place) {
      if (place.pane !== pane) return;
      loose = [place.u, place.v];
      pane.redrawLines();
    },
    double: (place) => pane && close(place.alt),
    key(name) {
      if (!pane) return false;
      if (name === "Enter") close(false);
      else if (name === "Escape") stop();
      else if (name === "Backspace") {
        corners.pop();
        if (corners.length) pane.redrawLines();
        else stop();
      } else return false;
      return true;
    },
    cancel: stop,
    draw(context, on) {
      if (on !== pane || !corners.length) return;
      const points = [...corners, ...(loose ? [loose] : [])].map((point) => pane.camera.toCanvas(...point));
      tracePath(context, points, corners.length > 2);
      stroke(context, bench.color, 1.6 * pane.density, pane.density);
      context.beginPath();
      context.arc(...points[0], 4.5 * pane.density, 0, 2 * Math.PI);
      stroke(context, bench.color, 1.6 * pane.density, pane.density);
    },
  };
}

function freehandTool(bench) {
  let line = [];
  let pane = null;
  const stop = () => {
    line = [];
    pane?.redrawLines();
    pane = null;
  };
  return {
    name: "freehand", keys: "L", picture: "freehand", title: "Freehand: draw around an area",
    press(place) {
      if (!bench.mayPaint()) return;
      pane = place.pane;
      line = [[place.u, place.v]];
    },
    move(place) {
      if (!pane) return;
      line.push(...place.trail);
      pane.redrawLines();
    },
    lift(place) {
      if (pane && line.length >= 3) fillOutlines(bench, pane, "freehand", [line], place?.alt);
      stop();
    },
    cancel: stop,
    draw(context, on) {
      if (on !== pane || line.length < 2) return;
      tracePath(context, line.map((point) => pane.camera.toCanvas(...point)), true);
      stroke(context, bench.color, 1.6 * pane.density, pane.density);
    },
  };
}

function fillTool(bench) {
  return {
    name: "fill", keys: "G", picture: "fill", title: "Fill: click into an area that is closed all around",
    press(place) {
      if (!bench.mayPaint()) return;
      const { pane } = place;
      const { columns, rows } = planeSize(pane.facts, pane.axis);
      const [column, row] = [Math.floor(place.u), Math.floor(place.v)];
      if (column < 0 || row < 0 || column >= columns || row >= rows) return;
      const { volume } = bench.marks;
      const values = volume.across(pane.axis, pane.index) ?? new volume.Type(columns * rows);
      const value = values[row * columns + column];
      const label = place.alt ? 0 : bench.label;
      if (value === label) return;
      const part = floodPart(values, columns, rows, row * columns + column);
      if (value === 0 && part.open) {
        bench.say("This area is not closed: it reaches the border of the image. Nothing was filled.");
        return;
      }
      bench.marks.act("fill", (recorder) => {
        const pen = new PlanePen(volume, recorder, pane, bench.ink(label, null));
        for (const at of part.pixels) pen.span(Math.floor(at / columns), at % columns, (at % columns) + 1);
      });
    },
  };
}

function boxTool(bench) {
  let from = null;
  let to = null;
  const stop = () => {
    from?.pane.redrawLines();
    [from, to] = [null, null];
  };
  return {
    name: "box", keys: "X", picture: "box", title: "Box: drag from corner to corner",
    press(place) {
      if (!bench.mayPaint()) return;
      [from, to] = [place, place];
    },
    move(place) {
      if (!from) return;
      to = place;
      from.pane.redrawLines();
    },
    lift(place) {
      if (!from) return;
      const { pane } = from;
      const ends = [[from.u, from.v], [to.u, to.v]];
      const large = Math.hypot(to.x - from.x, to.y - from.y) > 4 * pane.density;
      if (large && bench.kind === "boxes") bench.addBox(pane, boxBetween(...ends, pane.facts));
      else if (large) fillOutlines(bench, pane, "box", [rectangle(...ends)], place?.alt);
      stop();
    },
    cancel: stop,
    draw(context, pane) {
      if (pane !== from?.pane) return;
      const corners = rectangle([from.u, from.v], [to.u, to.v]).map((point) => pane.camera.toCanvas(...point));
      tracePath(context, corners, true);
      stroke(context, bench.color, 1.6 * pane.density, pane.density);
    },
  };
}

/** Drag one side, then move to the width and click. */
function turnedTool(bench) {
  let side = null; // two places
  let width = null;
  let drawn = false;
  const stop = () => {
    side?.[0].pane.redrawLines();
    [side, width, drawn] = [null, null, false];
  };
  const points = () => {
    const [a, b] = side;
    const [du, dv] = [b.u - a.u, b.v - a.v];
    const length = Math.hypot(du, dv) || 1;
    const across = width ? ((width.u - b.u) * -dv + (width.v - b.v) * du) / length : 0;
    const [nu, nv] = [(-dv / length) * across, (du / length) * across];
    const center = [(a.u + b.u + nu) / 2, (a.v + b.v + nv) / 2];
    return [center, [a.u, a.v], [b.u, b.v]];
  };
  const finish = (erase) => {
    const [{ pane }] = side;
    const found = points();
    const corners = turnedCorners(found);
    if (bench.kind === "boxes") {
      const note = { kind: "turned", points: found.map(([u, v]) => toVoxel("z", pane.index, u, v)), axis: "z", plane: pane.index, label: bench.label, text: "" };
      bench.addTurned(note, boxAround(note, pane.facts));
    } else fillOutlines(bench, pane, "turned box", [corners], erase);
    stop();
  };
  const follow = (place) => {
    if (!side || place.pane !== side[0].pane) return;
    if (drawn) width = place;
    else side[1] = place;
    side[0].pane.redrawLines();
  };
  return {
    name: "turned", keys: "Y", picture: "turned", title: "Turned box: drag one side, move to the width, click",
    press(place) {
      if (!bench.mayPaint()) return;
      if (drawn) {
        width = place;
        finish(place.alt);
      } else side = [place, place];
    },
    move: follow,
    hover: follow,
    lift() {
      if (!side || drawn) return;
      const long = Math.hypot(side[1].x - side[0].x, side[1].y - side[0].y) > 4 * side[0].pane.density;
      if (long) drawn = true;
      else stop();
    },
    key(name) {
      if (name !== "Escape" || !side) return false;
      stop();
      return true;
    },
    cancel: stop,
    draw(context, pane) {
      if (!side || pane !== side[0].pane) return;
      tracePath(context, turnedCorners(points()).map((point) => pane.camera.toCanvas(...point)), true);
      stroke(context, bench.color, 1.6 * pane.density, pane.density);
    },
  };
}

function pointTool(bench) {
  return {
    name: "point", keys: "T", picture: "point", title: "Point",
    press(place) {
      if (!bench.mayNote(true)) return;
      const { pane } = place;
      const point = toVoxel(pane.axis, pane.index, place.u, place.v);
      bench.addNote({ kind: "point", points: [point], axis: pane.axis, plane: pane.index, label: bench.label, text: "" }, "point");
    },
  };
}

/** Click: the server proposes everything of similar value around; Enter accepts, Escape rejects. */
function regionTool(bench) {
  return {
    name: "region", keys: "J", picture: "region", title: "Region: click; Enter accepts, Escape rejects",
    press(place) {
      if (!bench.mayPaint()) return;
      const voxel = toVoxel(place.pane.axis, place.pane.index, place.u, place.v).map(Math.floor);
      const value = bench.source.value(voxel.map((at) => at + 0.5));
      if (value === null) return;
      const middle = Array.isArray(value) ? value.slice(0, 3).reduce((sum, one) => sum + one, 0) / Math.min(3, value.length) : value;
      const range = [middle - bench.brush.tolerance, middle + bench.brush.tolerance];
      bench.assist({ tool: "region", point: voxel, range, volume: bench.brush.through && place.pane.facts.volume });
    },
  };
}
