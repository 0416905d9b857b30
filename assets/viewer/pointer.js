// Mouse, pen and fingers on a pane, told to the tool in hand: left button or one finger works, the middle button and
// the space bar move the picture, the right button changes the window, two fingers zoom and move.

const WHEEL_STEP = 60; // wheel units for one slice
const PINCH_GRACE_MS = 90; // a finger may be the first of two

export class Pointers {
  /** @param {import("./viewer.js").Viewer} viewer @param {import("./pane.js").Pane} pane */
  constructor(viewer, pane) {
    this.viewer = viewer;
    this.pane = pane;
    this.active = null; // the tool that has the pointer, and which pointer
    this.fingers = new Map();
    this.pinch = null;
    this.wheel = 0;
    const on = (name, handler, options) => pane.root.addEventListener(name, handler, options);
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#up(event));
    on("pointercancel", (event) => this.#cancel(event));
    on("pointerleave", () => this.#leave());
    on("wheel", (event) => this.#wheel(event), { passive: false });
    on("contextmenu", (event) => event.preventDefault());
    on("dblclick", (event) => this.viewer.tool?.double?.(this.#place(event)));
  }

  /** What a tool is told: canvas pixels, place on the plane, the places in between, keys that are held. */
  #place(event) {
    const box = this.pane.root.getBoundingClientRect();
    const toCanvas = (one) => [(one.clientX - box.left) * this.pane.density, (one.clientY - box.top) * this.pane.density];
    const [x, y] = toCanvas(event);
    const [u, v] = this.pane.camera.toPlane(x, y);
    const between = event.getCoalescedEvents?.() ?? [];
    const trail = (between.length ? between : [event]).map((one) => this.pane.camera.toPlane(...toCanvas(one)));
    return { pane: this.pane, x, y, u, v, trail, shift: event.shiftKey, alt: event.altKey, ctrl: event.ctrlKey || event.metaKey };
  }

  #toolFor(event) {
    if (event.button === 1 || this.viewer.spaceHeld) return this.viewer.tools.pan;
    if (event.button === 2) return this.viewer.tools.window;
    if (event.pointerType === "touch" && this.viewer.penSeen) return this.viewer.tools.pan; // the hand that holds the pen
    return this.viewer.tool;
  }

  #down(event) {
    if (event.target === this.pane.slices) return;
    event.preventDefault();
    this.viewer.focusPane(this.pane);
    this.viewer.penSeen ||= event.pointerType === "pen";
    if (event.pointerType === "touch") {
      this.fingers.set(event.pointerId, event);
      if (this.fingers.size === 2) {
        this.#startPinch();
        return;
      }
      if (this.fingers.size > 2) return;
    }
    if (this.active) return;
    const tool = this.#toolFor(event);
    try {
      this.pane.root.setPointerCapture(event.pointerId);
    } catch {
      // the pointer is gone already
    }
    this.active = { tool, id: event.pointerId, since: performance.now() };
    tool.press?.(this.#place(event));
  }

  #move(event) {
    const place = this.#place(event);
    if (event.pointerType !== "touch") this.pane.point([place.x, place.y]);
    if (this.fingers.has(event.pointerId)) this.fingers.set(event.pointerId, event);
    if (this.pinch) this.#movePinch();
    else if (this.active?.id === event.pointerId) this.active.tool.move?.(place);
    else if (!this.active) this.viewer.tool.hover?.(place);
    this.viewer.placeCursor(this.pane, place);
  }

  #up(event) {
    this.fingers.delete(event.pointerId);
    if (this.pinch) {
      if (this.fingers.size < 2) this.pinch = null;
      return;
    }
    if (this.active?.id !== event.pointerId) return;
    const { tool } = this.active;
    this.active = null;
    tool.lift?.(this.#place(event));
  }

  #cancel(event) {
    this.fingers.delete(event.pointerId);
    this.pinch = null;
    if (this.active?.id !== event.pointerId) return;
    const { tool } = this.active;
    this.active = null;
    if (tool.paints) tool.lift(null); // what was painted stays
    else tool.cancel?.();
  }

  /** End a stroke as if the pointer had been lifted: the page goes away. */
  finish() {
    const { tool } = this.active ?? {};
    this.active = null;
    tool?.lift?.(null);
  }

  #leave() {
    if (this.active) return;
    this.pane.point(null);
    this.pane.cursor.hidden = true;
  }

  #startPinch() {
    if (this.active) {
      // What the first finger drew in a moment was no stroke but the start of a pinch.
      if (performance.now() - this.active.since < PINCH_GRACE_MS * 4) this.active.tool.cancel?.();
      else this.active.tool.lift?.(null);
      this.active = null;
    }
    this.pinch = this.#fingersNow();
  }

  #fingersNow() {
    const [a, b] = [...this.fingers.values()].map((event) => this.#place(event));
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
  }

  #movePinch() {
    const now = this.#fingersNow();
    this.pane.camera.pan(now.x - this.pinch.x, now.y - this.pinch.y);
    this.pane.camera.zoomBy(now.apart / Math.max(1, this.pinch.apart), now.x, now.y);
    this.pinch = now;
    this.viewer.cameraMoved(this.pane);
  }

  #wheel(event) {
    event.preventDefault();
    const amount = event.deltaMode === 1 ? event.deltaY * 40 : event.deltaY;
    const place = this.#place(event);
    if (event.ctrlKey || event.metaKey || this.pane.count === 1) {
      this.pane.camera.zoomBy(Math.exp(-amount * 0.0016), place.x, place.y);
      this.viewer.cameraMoved(this.pane);
      return;
    }
    if (event.altKey) {
      this.viewer.changeBrush(amount > 0 ? -1 : 1);
      return;
    }
    this.wheel += amount;
    const steps = Math.trunc(this.wheel / WHEEL_STEP);
    if (!steps) return;
    this.wheel -= steps * WHEEL_STEP;
    this.viewer.goTo(this.pane, this.pane.index + steps);
  }
}
