// The gate between Streamlit and streamlit-drawable-canvas: no stroke is lost, whatever the timing.
//
// The drawing library empties its canvas whenever its `initialDrawing` changes, and forgets what was not sent
// yet. The gate stands in front of it:
// - nothing reaches the library while the pointer is down or a polygon is open;
// - a finished object is sent at once, and kept in an outbox until the server says that it has merged it;
// - only merged objects are taken off the canvas, at the moment the picture with them arrives;
// - objects are counted from the start of their view (`context`), so that each is merged exactly once.

const gates = new WeakMap();
const libraries = new Map();
const ACTIVE = "sightline-canvas-open";

function loadLibrary(path) {
  if (!libraries.has(path)) libraries.set(path, import(new URL(path, window.location.origin).href));
  return libraries.get(path);
}

function makeGate(parent) {
  const gate = {
    parent, library: null, data: null, next: null, setState: null,
    context: null, base: 0, objects: [], drawing: { objects: [] }, outbox: new Map(), sent: new Map(),
    pointerDown: false, polygonClicks: 0, reading: false, closed: false, loads: 0, listeners: [],
  };
  listen(gate, parent, "mousedown", (event) => press(gate, event));
  listen(gate, parent, "touchstart", (event) => press(gate, event));
  for (const name of ["mouseup", "touchend", "touchcancel"]) listen(gate, window, name, () => lift(gate));
  // A field that loses the focus blurs, too, at the very start of a stroke: only the window itself counts.
  listen(gate, window, "blur", (event) => event.target === window && lift(gate));
  return gate;
}

function listen(gate, target, name, handler) {
  target.addEventListener(name, handler, { capture: true, passive: true });
  gate.listeners.push(() => target.removeEventListener(name, handler, { capture: true }));
}

function press(gate, event) {
  if (event.button) return;
  gate.pointerDown = true;
  if (isPolygon(gate)) gate.polygonClicks += 1;
}

function lift(gate) {
  if (!gate.pointerDown) return;
  gate.pointerDown = false;
  setTimeout(() => release(gate), 0); // the library finishes the object in this very event
}

function release(gate) {
  if (gate.closed || gate.pointerDown) return; // the next stroke has begun: its end collects both
  if (!isPolygon(gate)) collect(gate);
  apply(gate);
}

const isPolygon = (gate) => gate.data?.tool?.drawingMode === "polygon";

// The library's own "send" button hands out what is on the canvas without waiting; its toolbar is hidden.
function collect(gate) {
  const button = gate.parent.querySelector(".dc-toolbar button");
  if (button) button.click();
}

// What the library wants to tell the server. Only drawings of finished objects matter.
function fromLibrary(gate, key, value) {
  if (key !== "drawing" || gate.closed || gate.loading) return;
  const objects = value?.raw?.objects ?? [];
  const last = objects[objects.length - 1];
  if (isPolygon(gate) && gate.polygonClicks > 0) {
    if (last?.type !== "Polygon" || objects.length <= gate.objects.length) return;
    gate.polygonClicks = 0;
  }
  gate.objects = objects;
  const total = gate.base + objects.length;
  if (total <= (gate.sent.get(gate.context) ?? 0)) return;
  gate.sent.set(gate.context, total);
  gate.outbox.set(gate.context, { context: gate.context, base: gate.base, objects: objects.map(slim) });
  gate.setState("marks", [...gate.outbox.values()]);
  if (!gate.pointerDown) setTimeout(() => apply(gate), 0);
}

function slim({ type, path, points, left, top, width, height, stroke, strokeWidth }) {
  return { type, path, points, left, top, width, height, stroke, strokeWidth };
}

function apply(gate) {
  if (gate.closed || gate.pointerDown || !gate.next || !gate.library) return;
  const data = gate.next;
  const switched = data.context !== gate.context;
  if (!switched && isPolygon(gate) && gate.polygonClicks > 0 && sameTool(data.tool, gate.data.tool)) {
    showPictures(gate, data);
    return; // merged objects stay on the canvas until the polygon is closed
  }
  gate.next = null;
  if (switched) {
    if (gate.context !== null && !isPolygon(gate)) collect(gate);
    gate.context = data.context;
    gate.base = data.done[data.context] ?? 0;
    gate.objects = [];
    gate.drawing = { objects: [], nonce: ++gate.loads };
    gate.sent.set(data.context, gate.base);
  }
  for (const [context, batch] of gate.outbox) {
    if ((data.done[context] ?? 0) >= batch.base + batch.objects.length) gate.outbox.delete(context);
  }
  const merged = (data.done[data.context] ?? 0) - gate.base;
  if (merged > 0) {
    gate.objects = gate.objects.slice(merged);
    gate.base += merged;
    gate.drawing = { objects: gate.objects, nonce: ++gate.loads };
  }
  gate.polygonClicks = 0;
  gate.data = data;
  gate.loading = true;
  gate.cleanup = gate.library({
    data: { ...data.tool, ...FIXED, initialDrawing: gate.drawing },
    parentElement: gate.parent,
    setStateValue: (key, value) => fromLibrary(gate, key, value),
  });
  gate.loading = false;
  showPictures(gate, data);
}

const sameTool = (one, other) => JSON.stringify(one) === JSON.stringify(other);

const FIXED = {
  backgroundColor: "", backgroundImageURL: null, backgroundImageFit: "stretch", realtimeUpdateStreamlit: false,
  displayRadius: 3, returnImageData: false, disabled: false, maxDisplayHeight: null, fontSize: 20, label: "",
};

// Picture and marks lie under the drawing as plain images: changing them never touches the drawing.
function showPictures(gate, data) {
  const box = gate.parent.querySelector(".dc-container");
  if (!box) return;
  for (const [name, source] of [["picture", data.picture], ["marks", data.marks]]) {
    let image = box.querySelector(`img.${name}`);
    if (!image) {
      image = document.createElement("img");
      image.className = name;
      image.alt = "";
      image.draggable = false;
      box.prepend(image);
      if (name === "marks") box.querySelector("img.picture")?.after(image);
    }
    if (image.getAttribute("src") !== source) image.src = source;
  }
  box.style.setProperty("--marks-opacity", String(data.opacity));
  box.style.setProperty("--picture-rendering", data.pixelated ? "pixelated" : "auto");
  box.style.setProperty("--pointer", data.pointer);
  box.setAttribute("data-context", data.context);
  box.setAttribute("data-done", String(data.done[data.context] ?? 0));
  box.setAttribute(ACTIVE, String(gate.objects.length));
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  let gate = gates.get(parentElement);
  if (!gate) {
    gate = makeGate(parentElement);
    gates.set(parentElement, gate);
  }
  gate.setState = setStateValue;
  gate.next = data;
  loadLibrary(data.library).then((module) => {
    gate.library = module.default;
    apply(gate);
  });
  return () => {
    if (!gate.pointerDown && gate.library && !isPolygon(gate)) collect(gate);
    gate.closed = true;
    gate.listeners.forEach((stop) => stop());
    gate.cleanup?.();
    gates.delete(parentElement);
  };
}
