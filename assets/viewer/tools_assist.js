// Tools that hint: scribbles teach a classifier, clicks and boxes point at a thing. The server proposes, Enter accepts.

import { seenRegion } from "./picture.js";
import { rectangle } from "./raster.js";
import { stroke, tracePath } from "./shapes.js";

const BACKGROUND = "#9aa4ad";
const DOT = 4;
export const NETWORK = "network ";

/** What has been hinted at on the case in hand, and the choices of how to answer. */
export class Hints {
  /** @param {import("./workbench.js").Workbench} bench */
  constructor(bench) {
    this.bench = bench;
    this.strokes = [];
    this.clear();
    this.options = { background: false, onlyMarked: true, unsure: false, earlier: false, smoothing: "guided", model: "" };
  }

  /** Forget clicks and the box: the thing was accepted or given up. */
  clear() {
    this.clicks = [];
    this.box = null;
    this.plane = null;
  }

  removeScribbles() {
    this.strokes = [];
    this.bench.rejectProposal();
    this.bench.viewer.redrawLines();
  }

  removeLast() {
    if (!this.strokes.pop()) return;
    if (this.strokes.length) this.askForScribbles(this.bench.viewer.panes[0]);
    else this.bench.rejectProposal();
    this.bench.viewer.redrawLines();
  }

  askForScribbles(pane) {
    const kinds = new Set(this.strokes.map((one) => one.label));
    if (kinds.size < 2) {
      this.bench.say("Scribble a second kind, too: another label, or (with Alt) what is none of them.");
      return;
    }
    const { left, top, right, bottom } = seenRegion(pane.camera);
    const { onlyMarked, smoothing, earlier } = this.options;
    this.bench.assist({
      tool: "scribble", plane: pane.index, strokes: this.strokes, view: [left, top, right, bottom],
      only_marked: onlyMarked, smoothing, earlier,
    });
  }

  askForThing() {
    const { model: followed } = this.options; // "", the number of a model, or "network NAME"
    const network = followed.startsWith(NETWORK) ? followed.slice(NETWORK.length) : null;
    const model = followed === "" || network !== null ? null : Number(followed);
    this.bench.assist({ tool: "click", plane: this.plane, points: this.clicks, box: this.box, model, network });
  }

  /** Go on from the slice in view to its neighbours. */
  grow(most) {
    const { bench } = this;
    if (!bench.mayPaint()) return;
    bench.assist({ tool: "grow", plane: bench.viewer.sliceInView, runs: bench.runsOfLabel(), most });
  }

  askModel(model, all) {
    if (this.bench.mayPaint()) this.bench.assist({ tool: "model", plane: this.bench.viewer.sliceInView, model: Number(model), all });
  }
}

/** @param {import("./workbench.js").Workbench} bench */
export function assistTools(bench) {
  return { scribble: scribbleTool(bench), click: clickTool(bench) };
}

function onSlices(bench, pane) {
  if (pane.axis === "z") return true;
  bench.say("Hints are given on the slices as stored; use the first picture.");
  return false;
}

function scribbleTool(bench) {
  const { hints } = bench;
  let going = null;
  return {
    name: "scribble", keys: "Shift+T", picture: "scribble",
    title: "Teach by scribbles: some on each label, some (with Alt) on the background; Enter accepts, Escape rejects, Backspace takes the last one back",
    press(place) {
      if (!bench.mayPaint() || !onSlices(bench, place.pane)) return;
      const background = place.alt || hints.options.background;
      going = { pane: place.pane, stroke: { plane: place.pane.index, label: background ? 0 : bench.label, size: Math.min(bench.brush.size, 400), points: [[place.u, place.v]] } };
      place.pane.redrawLines();
    },
    move(place) {
      if (!going) return;
      going.stroke.points.push(...place.trail);
      going.pane.redrawLines();
    },
    lift() {
      if (!going) return;
      const { pane, stroke: made } = going;
      going = null;
      hints.strokes.push(made);
      hints.askForScribbles(pane);
      pane.redrawLines();
    },
    cancel() {
      going?.pane.redrawLines();
      going = null;
    },
    key(name) {
      if (name !== "Backspace") return false;
      hints.removeLast();
      return true;
    },
    draw(context, pane) {
      if (pane.axis !== "z") return;
      const all = going ? [...hints.strokes, going.stroke] : hints.strokes;
      for (const one of all.filter(({ plane }) => plane === pane.index)) drawScribble(context, pane, one, bench.colorOf(one.label));
    },
  };
}

function drawScribble(context, pane, { points, size }, color) {
  const line = points.map((point) => pane.camera.toCanvas(...point));
  context.save();
  context.globalAlpha = 0.75;
  context.strokeStyle = color;
  context.lineWidth = Math.max(1.5 * pane.density, Math.min(size * pane.camera.pixelSize, 6 * pane.density));
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  for (const [x, y] of line.length > 1 ? line : [line[0], line[0]]) context.lineTo(x, y);
  context.stroke();
  context.restore();
}

function clickTool(bench) {
  const { hints } = bench;
  let from = null;
  let to = null;
  return {
    name: "click", keys: "Shift+J", picture: "click",
    title: "Point at a thing: click on it, drag a box around it, click with Alt on what is not it; Enter accepts, Escape rejects",
    press(place) {
      if (bench.mayPaint() && onSlices(bench, place.pane)) [from, to] = [place, place];
    },
    move(place) {
      if (!from) return;
      to = place;
      from.pane.redrawLines();
    },
    lift(place) {
      if (!from) return;
      const { pane } = from;
      if (hints.plane !== pane.index) hints.clear();
      hints.plane = pane.index;
      const large = Math.hypot(to.x - from.x, to.y - from.y) > 5 * pane.density;
      const away = from.alt || place?.alt;
      if (large) hints.box = [Math.min(from.u, to.u), Math.min(from.v, to.v), Math.max(from.u, to.u), Math.max(from.v, to.v)];
      else if (!within(from, pane)) bench.say("Click on the image.");
      else hints.clicks.push([from.u, from.v, !away]);
      [from, to] = [null, null];
      pane.redrawLines();
      if (hints.box || hints.clicks.some(([, , sign]) => sign)) hints.askForThing();
      else bench.say("Click on the thing first.");
    },
    cancel() {
      from?.pane.redrawLines();
      [from, to] = [null, null];
    },
    key(name) {
      if (name !== "Backspace" || !(hints.clicks.length || hints.box)) return false;
      if (!hints.clicks.pop()) hints.box = null;
      if (hints.box || hints.clicks.some(([, , sign]) => sign)) hints.askForThing();
      else bench.rejectProposal();
      bench.viewer.redrawLines();
      return true;
    },
    draw(context, pane) {
      if (pane.axis !== "z") return;
      if (from?.pane === pane) drawBox(context, pane, rectangle([from.u, from.v], [to.u, to.v]), bench.color);
      if (hints.plane !== pane.index) return;
      if (hints.box) drawBox(context, pane, rectangle(hints.box.slice(0, 2), hints.box.slice(2)), bench.color);
      for (const [u, v, sign] of hints.clicks) {
        context.beginPath();
        context.arc(...pane.camera.toCanvas(u, v), DOT * pane.density, 0, 2 * Math.PI);
        stroke(context, sign ? bench.color : BACKGROUND, 2 * pane.density, pane.density);
      }
    },
  };
}

const within = ({ u, v }, { facts }) => u >= 0 && v >= 0 && u < facts.columns && v < facts.rows;

function drawBox(context, pane, corners, color) {
  tracePath(context, corners.map((point) => pane.camera.toCanvas(...point)), true);
  stroke(context, color, 1.6 * pane.density, pane.density);
}
