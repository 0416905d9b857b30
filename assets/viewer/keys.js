// Every key in one table: what it does, and how the sheet shows it.

/**
 * @typedef {object} Key
 * @property {string[]} keys as KeyboardEvent.key in lower case, with "shift+", "ctrl+" before
 * @property {string} show for the sheet, several divided by |
 * @property {string} text for the sheet; empty: not listed
 * @property {"mark"|"view"} [mode] only there
 * @property {(viewer: import("./viewer.js").Viewer, shell: object, event: KeyboardEvent) => void} run
 */

const pane = (viewer) => viewer.active;
const step = (by) => (viewer) => viewer.goTo(pane(viewer), pane(viewer).index + by);
const tool = (name) => (viewer) => viewer.setTool(name);
const moveBy = (dx, dy) => (viewer) => {
  const { camera } = pane(viewer);
  camera.pan(dx * camera.width * 0.1, dy * camera.height * 0.1);
  viewer.cameraMoved(pane(viewer));
};
const zoomBy = (factor) => (viewer) => {
  const { camera } = pane(viewer);
  camera.zoomBy(factor, camera.width / 2, camera.height / 2);
  viewer.cameraMoved(pane(viewer));
};

/** What buttons and keys share; `viewer.keys` is made of these. */
export function commands(viewer) {
  const camera = (act) => () => {
    act(pane(viewer).camera);
    viewer.cameraMoved(pane(viewer));
  };
  return {
    fit: camera((one) => one.fit()),
    oneToOne: camera((one) => one.oneToOne()),
    rotate: camera((one) => one.rotate()),
    flip: (horizontally) => camera((one) => one.flip(horizontally))(),
    hang: camera((one) => one.hang()),
    planes: () => viewer.setLayout(viewer.layout === "three" ? "one" : "three"),
    link: () => {
      viewer.linked = !viewer.linked;
      viewer.shell.showTool();
    },
    swipe: () => {
      viewer.setLook({ swipe: !viewer.look.swipe });
      viewer.setTool(viewer.firstTool);
    },
    flicker: () => {
      for (const one of viewer.panes) if (one.sides.length > 1) one.shown = 1 - one.shown;
      viewer.setLook({ swipe: false }); // one whole picture, then the other
    },
    slab: () => viewer.setLook({ slab: viewer.look.slab ? null : { mode: "max", planes: viewer.slabPlanes ?? 9 } }),
  };
}

function digit(viewer, shell, event) {
  const number = Number(event.code.slice(-1));
  const presets = !viewer.bench || event.shiftKey;
  if (presets) viewer.preset(number - 1);
  else shell.panel.chooseLabel(number - 1);
}

const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];

/** @type {Key[]} */
export const KEYS = [
  { keys: ["arrowup", "arrowleft"], show: "↑|←", text: "slice before", run: step(-1) },
  { keys: ["arrowdown", "arrowright"], show: "↓|→", text: "slice after", run: step(1) },
  { keys: ["pageup"], show: "Page up", text: "ten slices before", run: step(-10) },
  { keys: ["pagedown"], show: "Page down", text: "ten slices after", run: step(10) },
  { keys: ["ctrl+home"], show: "Ctrl+Home", text: "first slice", run: (viewer) => viewer.goTo(pane(viewer), 0) },
  { keys: ["ctrl+end"], show: "Ctrl+End", text: "last slice", run: (viewer) => viewer.goTo(pane(viewer), pane(viewer).count - 1) },
  { keys: ["shift+arrowleft"], show: "Shift+←", text: "move the picture", run: moveBy(1, 0) },
  { keys: ["shift+arrowright"], show: "", text: "", run: moveBy(-1, 0) },
  { keys: ["shift+arrowup"], show: "", text: "", run: moveBy(0, 1) },
  { keys: ["shift+arrowdown"], show: "", text: "", run: moveBy(0, -1) },
  { keys: ["+", "=", "shift+*", "shift++"], show: "+", text: "larger", run: zoomBy(1.25) },
  { keys: ["-"], show: "−", text: "smaller", run: zoomBy(0.8) },
  { keys: ["f"], show: "F", text: "fit to the window", run: (viewer) => viewer.keys.fit() },
  { keys: ["o"], show: "O", text: "one image pixel on one screen pixel", run: (viewer) => viewer.keys.oneToOne() },
  { keys: ["r"], show: "R", text: "turn by 90°", run: (viewer) => viewer.keys.rotate() },
  { keys: ["h"], show: "H", text: "mirror left and right", run: (viewer) => viewer.keys.flip(true) },
  { keys: ["v"], show: "V", text: "mirror top and bottom", run: (viewer) => viewer.keys.flip(false) },
  { keys: ["home"], show: "Home", text: "as it was first", run: (viewer) => viewer.keys.hang() },
  { keys: ["i"], show: "I", text: "invert", run: (viewer) => viewer.setLook({ inverted: !viewer.look.inverted }) },
  { keys: ["m"], show: "M", text: "smooth or square pixels", run: (viewer) => viewer.setLook({ smooth: !viewer.look.smooth }) },
  { keys: DIGITS, show: "1|…|9", text: "window: from file, full range, soft tissue, lung, bone, brain …", mode: "view", run: digit },
  { keys: DIGITS, show: "1|…|9", text: "label", mode: "mark", run: digit },
  { keys: DIGITS.map((one) => `shift+${one}`), show: "Shift+1|…", text: "window: from file, full range, soft tissue …", mode: "mark", run: digit },
  { keys: ["c"], show: "C", text: "play, pause", run: (viewer) => viewer.cine.toggle() },
  { keys: [","], show: ",", text: "play slower", run: (viewer) => viewer.cine.setRate(viewer.cine.rate / 1.25) },
  { keys: ["."], show: ".", text: "play faster", run: (viewer) => viewer.cine.setRate(viewer.cine.rate * 1.25) },
  { keys: ["shift+m"], show: "Shift+M", text: "three planes", run: (viewer) => viewer.scene.image.volume && viewer.keys.planes() },
  { keys: ["shift+i"], show: "Shift+I", text: "slab of maximum values", run: (viewer) => viewer.scene.image.volume && viewer.keys.slab() },
  { keys: ["k"], show: "K", text: "show or hide marks", run: (viewer) => viewer.setLook({ shown: !viewer.look.shown }) },
  { keys: ["shift+o"], show: "Shift+O", text: "outlines or areas", run: (viewer) => viewer.setLook({ contour: !viewer.look.contour }) },
  { keys: ["shift+k"], show: "Shift+K", text: "link pictures", run: (viewer) => viewer.keys.link() },
  { keys: ["shift+s"], show: "Shift+S", text: "swipe between two pictures", run: (viewer) => viewer.panes.some((one) => one.sides.length > 1) && viewer.keys.swipe() },
  { keys: ["`", "x"], show: "X", text: "flicker between two pictures", mode: "view", run: (viewer) => viewer.keys.flicker() },
  { keys: ["w"], show: "W", text: "window by drag", run: tool("window") },
  { keys: ["a"], show: "A", text: "move by drag", run: tool("pan") },
  { keys: ["z"], show: "Z", text: "zoom by drag", run: tool("zoom") },
  { keys: ["q"], show: "Q", text: "scroll by drag", run: tool("scroll") },
  { keys: ["n"], show: "N", text: "crosshair", run: tool("cross") },
  { keys: ["s"], show: "S", text: "select", run: tool("select") },
  { keys: ["b"], show: "B", text: "brush", mode: "mark", run: tool("brush") },
  { keys: ["e"], show: "E", text: "eraser", mode: "mark", run: tool("eraser") },
  { keys: ["d"], show: "D", text: "threshold brush", mode: "mark", run: tool("threshold") },
  { keys: ["p"], show: "P", text: "polygon", mode: "mark", run: tool("polygon") },
  { keys: ["l"], show: "L", text: "freehand", mode: "mark", run: tool("freehand") },
  { keys: ["g"], show: "G", text: "fill", mode: "mark", run: tool("fill") },
  { keys: ["x"], show: "X", text: "box", mode: "mark", run: tool("box") },
  { keys: ["y"], show: "Y", text: "turned box", mode: "mark", run: tool("turned") },
  { keys: ["t"], show: "T", text: "point", mode: "mark", run: tool("point") },
  { keys: ["j"], show: "J", text: "region of similar values", mode: "mark", run: tool("region") },
  { keys: ["shift+j"], show: "Shift+J", text: "point at a thing: click, box; Alt: not it", mode: "mark", run: tool("click") },
  { keys: ["shift+t"], show: "Shift+T", text: "teach by scribbles; Alt: background", mode: "mark", run: tool("scribble") },
  { keys: ["shift+y"], show: "Shift+Y", text: "grow to the neighbouring slices", mode: "mark", run: (viewer, shell) => shell.panel.grow() },
  { keys: ["["], show: "[", text: "smaller brush", mode: "mark", run: (viewer) => viewer.changeBrush(-1) },
  { keys: ["]"], show: "]", text: "larger brush", mode: "mark", run: (viewer) => viewer.changeBrush(1) },
  { keys: ["shift+l"], show: "Shift+L", text: "length", run: tool("length") },
  { keys: ["shift+a"], show: "Shift+A", text: "angle", run: tool("angle") },
  { keys: ["shift+b"], show: "Shift+B", text: "long and short axis", run: tool("bidirectional") },
  { keys: ["shift+e"], show: "Shift+E", text: "ellipse", run: tool("ellipse") },
  { keys: ["shift+r"], show: "Shift+R", text: "rectangle", run: tool("rectangle") },
  { keys: ["u", "ctrl+z"], show: "U|Ctrl+Z", text: "undo", run: (viewer) => viewer.pad.undo() },
  { keys: ["shift+u", "ctrl+y", "ctrl+shift+z"], show: "Shift+U|Ctrl+Y", text: "redo", run: (viewer) => viewer.pad.redo() },
  { keys: ["ctrl+arrowup"], show: "Ctrl+↑", text: "copy marks from the slice before", mode: "mark", run: (viewer) => viewer.bench.run("copy", { step: -1 }) },
  { keys: ["ctrl+arrowdown"], show: "Ctrl+↓", text: "copy marks from the slice after", mode: "mark", run: (viewer) => viewer.bench.run("copy", { step: 1 }) },
  { keys: ["shift+g"], show: "Shift+G", text: "fill the slices between marked ones", mode: "mark", run: (viewer) => viewer.bench.run("between") },
  { keys: ["delete"], show: "Del", text: "delete what is selected", run: (viewer) => viewer.pad.removeSelected() },
  { keys: ["enter"], show: "Enter", text: "accept a proposal, close a polygon", mode: "mark", run: (viewer) => viewer.bench.acceptProposal() },
  { keys: ["escape"], show: "Esc", text: "reject a proposal, give up what is begun", run: escape },
  { keys: ["shift+f"], show: "Shift+F", text: "full screen", run: (viewer, shell) => shell.fullscreen() },
  { keys: ["?", "shift+?", "shift+ß"], show: "?", text: "this sheet", run: (viewer, shell) => shell.help() },
];

function escape(viewer, shell) {
  if (shell.sheet) shell.help();
  else if (!viewer.bench?.rejectProposal()) {
    viewer.tool?.cancel?.();
    viewer.select(null);
  }
}

function nameOf(event) {
  let name = event.key.toLowerCase();
  if (/^Digit[1-9]$/.test(event.code)) name = event.code.slice(-1); // Shift turns digits into signs
  return `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${event.shiftKey ? "shift+" : ""}${name}`;
}

/** @param {KeyboardEvent} event @param {import("./shell.js").Shell} shell */
export function handleKey(event, shell) {
  const { viewer } = shell;
  const field = event.composedPath()[0];
  const typing = field instanceof HTMLElement && (field.matches("input:not([type=range]):not([type=checkbox]), select, textarea") || field.isContentEditable);
  if (typing || event.altKey || !viewer.active) return;
  if (event.key === " ") {
    if (field instanceof HTMLElement && field.matches("button, input")) return;
    viewer.spaceHeld = true;
    take(event);
    return;
  }
  if (viewer.tool?.key?.(event.key)) {
    take(event);
    return;
  }
  if (event.key === "Enter" && field instanceof HTMLElement && field.matches("button") && !viewer.bench?.proposal) return;
  const sliding = field instanceof HTMLElement && field.matches("input[type=range]:not(.slices)");
  const name = nameOf(event);
  if (sliding && name.includes("arrow")) return;
  const mode = viewer.bench ? "mark" : "view";
  const found = KEYS.find((key) => (key.mode === undefined || key.mode === mode) && key.keys.includes(name));
  if (!found) return;
  take(event); // Streamlit reruns the page on "r" and clears its cache on "c"
  found.run(viewer, shell, event);
}

/** @param {KeyboardEvent} event @param {import("./shell.js").Shell} shell */
export function handleRelease(event, shell) {
  if (event.key === " ") shell.viewer.spaceHeld = false;
}

function take(event) {
  event.preventDefault();
  event.stopPropagation();
}
