// Tools that change how the picture is seen, and the one that picks what was drawn.

import { toVoxel } from "./geometry.js";
import { hitItem } from "./shapes.js";
import { movedItem } from "./edit.js";

/** A tool that follows a drag. */
function dragging(name, keys, picture, title, drag) {
  let last = null;
  return {
    name, keys, picture, title,
    press: (place) => (last = place),
    move: (place) => {
      drag(place, place.x - last.x, place.y - last.y);
      last = place;
    },
    lift: () => (last = null),
    cancel: () => (last = null),
  };
}

/** @param {import("./viewer.js").Viewer} viewer */
export function viewTools(viewer) {
  let rest = 0;
  const windowTool = dragging("window", "W", "window", "Window: drag sideways for width, up and down for level", (place, dx, dy) => {
    const facts = place.pane.parts[0].side.source.facts;
    if (!facts.windowed) return;
    const { center, width } = viewer.windowOf(facts);
    const whole = !facts.wire.startsWith("float");
    const speed = Math.max(width, (facts.range[1] - facts.range[0]) / 50) / (400 * place.pane.density);
    const step = whole ? Math.max(speed, 0.5 / place.pane.density) : speed;
    const least = whole ? 1 : (facts.range[1] - facts.range[0]) / 1e4 || 1e-6;
    viewer.setWindow(facts, { center: center + dy * step, width: Math.max(least, width + dx * step) });
  });
  const scroll = dragging("scroll", "Q", "scroll", "Scroll: drag up and down through the slices", (place, _, dy) => {
    rest += dy / (6 * place.pane.density);
    const steps = Math.trunc(rest);
    rest -= steps;
    if (steps) viewer.goTo(place.pane, place.pane.index + steps);
  });
  const pan = dragging("pan", "A", "pan", "Move the picture", (place, dx, dy) => {
    place.pane.camera.pan(dx, dy);
    viewer.cameraMoved(place.pane);
  });
  const zoom = dragging("zoom", "Z", "zoom", "Zoom: drag up and down", (place, _, dy) => {
    place.pane.camera.zoomBy(Math.exp((-dy * 0.008) / place.pane.density), place.pane.camera.width / 2, place.pane.camera.height / 2);
    viewer.cameraMoved(place.pane);
  });
  const follow = (place) => {
    viewer.setLook({ crosshair: true });
    viewer.setCross(toVoxel(place.pane.axis, place.pane.index, place.u, place.v), place.pane);
  };
  const cross = {
    name: "cross", keys: "N", picture: "cross", title: "Crosshair: show the other planes through this place",
    press: follow, move: follow,
  };
  return { scroll, window: windowTool, pan, zoom, cross, swipe: swipeTool(viewer), select: selectTool(viewer) };
}

function swipeTool(viewer) {
  const follow = (place) => {
    place.pane.divider = Math.min(0.98, Math.max(0.02, place.x / place.pane.camera.width));
    place.pane.redraw();
  };
  return { name: "swipe", keys: "", picture: "swipe", title: "Swipe: drag the line between two pictures", press: follow, move: follow };
}

/** Pick boxes, points and measurements; drag them or their handles; Delete removes. */
function selectTool(viewer) {
  let grip = null;
  return {
    name: "select", keys: "S", picture: "select", title: "Select boxes, points and measurements",
    press(place) {
      const { pane } = place;
      const hit = hitItem(viewer.itemsOn(pane), pane.camera, pane.axis, pane.index, place.x, place.y, pane.density);
      viewer.select(hit?.id ?? null);
      grip = hit && viewer.pad.marks ? { ...hit, start: place, item: viewer.pad.marks.items.get(hit.id) } : null;
    },
    move(place) {
      if (!grip?.item) return;
      const moved = movedItem(grip.item, grip.handle, grip.start, place, place.pane.facts);
      viewer.pad.trying(grip.id, moved);
    },
    lift(place) {
      if (grip?.item && place) viewer.pad.finishTrying(grip.id, "moved");
      grip = null;
    },
    cancel() {
      if (grip?.item) viewer.pad.stopTrying();
      grip = null;
    },
  };
}
