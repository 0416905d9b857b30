// Tools that measure. Two-point tools are dragged; the others are clicked point by point.

import { toVoxel } from "./geometry.js";
import { POINTS, measureWords } from "./measure.js";
import { drawItem } from "./shapes.js";

const TITLES = {
  length: ["Length", "length", "Shift+L"],
  angle: ["Angle: three clicks, the corner second", "angle", "Shift+A"],
  bidirectional: ["Long and short axis: drag the long one, then the short one", "bidirectional", "Shift+B"],
  ellipse: ["Ellipse: mean, deviation, area", "ellipse", "Shift+E"],
  rectangle: ["Rectangle: mean, deviation, area", "rectangle", "Shift+R"],
};

/** @param {import("./workbench.js").Workbench} bench */
export function measureTools(bench) {
  return Object.fromEntries(Object.entries(TITLES).map(([kind, about]) => [kind, measureTool(bench, kind, about)]));
}

function measureTool(bench, kind, [title, picture, keys]) {
  let pane = null;
  let places = [];
  let loose = null;
  let from = null;
  const stop = () => {
    pane?.redrawLines();
    [pane, places, loose, from] = [null, [], null, null];
  };
  const note = (points) => ({
    kind, points: points.map(([u, v]) => toVoxel(pane.axis, pane.index, u, v)), axis: pane.axis, plane: pane.index, label: 0, text: "",
  });
  const add = (place) => {
    places.push([place.u, place.v]);
    if (places.length < POINTS[kind]) return;
    bench.addNote(note(places), kind);
    stop();
  };
  const far = (place) => Math.hypot(place.x - from.x, place.y - from.y) > 4 * pane.density;
  return {
    name: kind, keys, picture, title,
    press(place) {
      if (!bench.mayNote()) return;
      if (pane && (pane !== place.pane || pane.index !== places.index)) stop();
      pane = place.pane;
      places.index = pane.index;
      from = place;
      add(place);
    },
    move(place) {
      if (!pane) return;
      loose = [place.u, place.v];
      pane.redrawLines();
    },
    hover(place) {
      if (place.pane !== pane) return;
      loose = [place.u, place.v];
      pane.redrawLines();
    },
    lift(place) {
      // A drag sets the second point where it ends; a click leaves it to the next click.
      if (pane && place && from && far(place)) add(place);
    },
    key(name) {
      if (name !== "Escape" || !pane) return false;
      stop();
      return true;
    },
    cancel: stop,
    draw(context, on) {
      if (on !== pane || !loose || !places.length) return;
      const filled = [...places, loose];
      while (filled.length < POINTS[kind]) filled.push(filled.at(-1));
      const item = note(filled.slice(0, POINTS[kind]));
      const words = places.length >= POINTS[kind] - 1 || kind === "bidirectional" ? measureWords(item, pane.facts) : [];
      drawItem(context, item, { camera: pane.camera, axis: pane.axis, color: "#ffd447", words, selected: true, density: pane.density });
    },
  };
}
