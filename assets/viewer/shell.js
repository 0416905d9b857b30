// What is around the pictures: tools above, panels beside, the word about saving, the sheet of keys.

import { el, iconButton } from "./dom.js";
import { KEYS, handleKey, handleRelease } from "./keys.js";
import { Panel } from "./panel.js";
import { Toolbar } from "./toolbar.js";
import { Viewer } from "./viewer.js";

const SAY_MS = 6000;
const WORDS = {
  loading: "loading the reading…", saved: "saved", saving: "saving…", offline: "not saved yet", refused: "not saved", gone: "not saved",
};

export class Shell {
  /** @param {HTMLElement} host */
  constructor(host) {
    this.host = host;
    this.grid = el("div.grid");
    this.message = el("div.message", { role: "status", "aria-live": "polite", hidden: true });
    this.live = el("div.unseen", { "aria-live": "polite" });
    this.status = el("div.status", { role: "status" });
    this.bar = el("div.progress", { hidden: true }, [el("i")]);
    this.root = el("div.viewer", { tabindex: 0, role: "group", "aria-label": "Image viewer; press question mark for keys" });
    this.stage = el("div.stage", {}, [this.grid, this.message, this.bar]);
    this.tell = () => {};
    this.viewer = new Viewer(this.root, this, (name, value) => this.tell(name, value));
    this.toolbar = new Toolbar(this);
    this.panel = new Panel(this);
    this.root.append(this.toolbar.root, this.stage, this.panel.root, this.live);
    host.replaceChildren(this.root);
    this.#listen();
  }

  #listen() {
    this.root.addEventListener("keydown", (event) => handleKey(event, this));
    this.root.addEventListener("keyup", (event) => handleRelease(event, this));
    this.root.addEventListener("blur", () => (this.viewer.spaceHeld = false));
    // Keys work as soon as the page is open, as long as nothing else has the focus.
    this.outside = (event) => event.target === document.body && handleKey(event, this);
    document.addEventListener("keydown", this.outside);
    this.leaving = () => this.viewer.leave();
    window.addEventListener("pagehide", this.leaving);
    this.hiding = () => document.visibilityState === "hidden" && this.viewer.bench?.saver?.flush();
    document.addEventListener("visibilitychange", this.hiding);
    this.stage.addEventListener("pointerdown", () => this.root.focus({ preventScroll: true }));
  }

  /** @param {object} scene @param {(name: string, value: unknown) => void} tell */
  update(scene, tell) {
    this.tell = tell;
    const same = this.scene && (this.scene.id === scene.id || this.#isFork(scene));
    this.scene = scene;
    if (same) {
      this.viewer.scene = { ...this.viewer.scene, others: scene.mark?.others };
      this.viewer.refresh(scene);
      return;
    }
    this.root.toggleAttribute("data-marking", Boolean(scene.mark));
    this.viewer.open(scene);
    this.toolbar.fill(scene);
    this.panel.fill(scene);
    this.showLook();
    this.showTool();
    this.showStatus();
    if (document.activeElement === document.body) this.root.focus({ preventScroll: true });
  }

  // The page has learnt that the reading goes on under another name; the viewer is there already.
  #isFork(scene) {
    const { bench } = this.viewer;
    return Boolean(bench && scene.mark && scene.mark.case === bench.spec.case && scene.mark.reader === bench.reader);
  }

  refresh(scene) {
    this.panel.refresh(scene);
  }

  showPanes(panes, layout) {
    this.grid.dataset.count = String(panes.length);
    this.grid.dataset.layout = layout;
    this.grid.replaceChildren(...panes.map((pane) => pane.root));
    this.toolbar.show();
  }

  showLook() {
    this.toolbar.show();
    this.panel.showLook();
  }

  showTool() {
    this.toolbar.show();
    this.panel.showTool();
  }

  showBrush() {
    this.panel.showBrush();
  }

  showItems() {
    this.toolbar.show();
    this.panel.showItems();
  }

  showCounts() {
    this.panel.showPlace();
  }

  showPlace(pane) {
    clearTimeout(this.telling);
    this.telling = setTimeout(() => (this.live.textContent = pane.root.getAttribute("aria-label")), 400);
    this.panel.showPlace();
  }

  /** How much of a series is here. */
  progress(source) {
    const { slices } = source.facts;
    const loaded = source.loaded ?? slices;
    const all = Math.min(slices, source.capacity ?? slices);
    this.bar.hidden = loaded >= all || slices < 8;
    this.bar.firstChild.style.width = `${(100 * loaded) / all}%`;
  }

  /** Saved, saving or not; who else is here. */
  showStatus() {
    const { bench } = this.viewer;
    if (!bench) {
      this.status.replaceChildren();
      return;
    }
    const { state, sentence } = bench.status;
    const at = state === "saved" && bench.saver?.savedAt ? ` ${bench.saver.savedAt.toLocaleTimeString([], { hour12: false })}` : "";
    const words = [el("span.state", { "data-state": state, text: WORDS[state] + at })];
    words.push(el("span.reader", { text: `as ${bench.reader}` }));
    if (sentence && state !== "saved") words.push(el("span.why", { text: `${sentence} ${state === "offline" ? "Your marks are kept in this browser and sent as soon as it answers." : ""}` }));
    if (bench.saver?.keepFailed) words.push(el("span.why", { text: "This browser keeps no copy (private window?); do not close it before all is saved." }));
    if (state === "refused") words.push(el("button.text", { type: "button", text: "Discard the marks that were not saved", onclick: () => bench.discardUnsent() }));
    const others = bench.presence?.others ?? 0;
    if (others) words.push(el("span.others", { text: `also open in ${others === 1 ? "another window" : `${others} other windows`}: whoever marks second gets a reading of their own` }));
    this.status.replaceChildren(...words);
  }

  /** Say something for a few seconds. */
  say(sentence) {
    this.message.textContent = sentence;
    this.message.hidden = !sentence;
    clearTimeout(this.saying);
    if (sentence) this.saying = setTimeout(() => (this.message.hidden = true), SAY_MS);
  }

  /** Show or hide the sheet of keys. */
  help() {
    if (this.sheet) {
      this.sheet.remove();
      this.sheet = null;
      this.root.focus();
      return;
    }
    const marking = Boolean(this.viewer.bench);
    const rows = KEYS.filter((key) => key.text && (key.mode === undefined || (key.mode === "mark") === marking));
    const caps = (key) => el("dt", {}, key.show.split("|").map((one) => el("kbd", { text: one })));
    const list = el("dl", {}, rows.map((key) => el("div", {}, [caps(key), el("dd", { text: key.text })])));
    const shut = iconButton("close", "Close", "Esc", () => this.help());
    this.sheet = el("div.sheet", { role: "dialog", "aria-label": "Keys", tabindex: -1 }, [
      el("header", {}, [el("strong", { text: "Keys and gestures" }), shut]), list,
      el("p", { text: "Wheel: slices (single images: zoom) · Ctrl + wheel: zoom · Alt + wheel: brush · right button: window · middle button or space: move · two fingers: zoom and move · Shift while painting: straight line · Alt while painting: remove" }),
    ]);
    this.stage.append(this.sheet);
    this.sheet.focus();
  }

  fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.().catch(() => this.say("This browser does not allow full screen here."));
  }

  close() {
    this.viewer.close();
    this.viewer.observer.disconnect();
    document.removeEventListener("keydown", this.outside);
    window.removeEventListener("pagehide", this.leaving);
    document.removeEventListener("visibilitychange", this.hiding);
    this.root.remove();
  }
}
