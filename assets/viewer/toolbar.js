// The row of buttons above the pictures.

import { el, iconButton } from "./dom.js";

const GROUPS = [
  ["window", "pan", "zoom", "scroll", "cross", "select"],
  ["brush", "eraser", "threshold", "polygon", "freehand", "fill", "box", "turned", "point", "region", "click", "scribble"],
  ["length", "angle", "bidirectional", "ellipse", "rectangle"],
];

export class Toolbar {
  /** @param {import("./shell.js").Shell} shell */
  constructor(shell) {
    this.shell = shell;
    this.root = el("div.toolbar", { role: "toolbar", "aria-label": "Tools" });
    this.tools = new Map();
    this.switches = new Map();
  }

  get viewer() {
    return this.shell.viewer;
  }

  /** @param {object} scene */
  fill(scene) {
    this.tools.clear();
    this.switches.clear();
    const groups = GROUPS.map((names) => names.filter((name) => this.#has(name, scene)).map((name) => this.#tool(name)));
    groups.splice(1, 0, this.#views(scene));
    groups.push(this.#steps());
    groups.push([
      this.#plain("full", "Full screen", "Shift+F", () => this.shell.fullscreen()),
      this.#plain("keys", "Keys", "?", () => this.shell.help()),
    ]);
    const rows = groups.filter((group) => group.length).map((group) => el("div.group", {}, group));
    this.root.replaceChildren(...rows, this.shell.status);
    this.show();
  }

  #has(name, scene) {
    const tool = this.viewer.tools[name];
    if (!tool) return false;
    const { image } = scene;
    if (name === "window") return image.windowed;
    if (name === "scroll") return image.slices > 1;
    if (name === "cross") return image.volume && image.slices > 1;
    if (["region", "click", "scribble"].includes(name)) return scene.mark?.kind === "mask" && scene.mark.assist.includes(name);
    const paints = ["brush", "eraser", "threshold", "polygon", "freehand", "fill"];
    if (paints.includes(name)) return scene.mark?.kind === "mask";
    return true;
  }

  #tool(name) {
    const { picture, title, keys } = this.viewer.tools[name];
    const button = iconButton(picture, title, keys, () => this.viewer.setTool(name));
    button.dataset.tool = name;
    this.tools.set(name, button);
    return button;
  }

  #plain(picture, title, keys, act) {
    return iconButton(picture, title, keys, () => {
      act();
      this.shell.root.focus({ preventScroll: true });
    });
  }

  #switch(name, picture, title, keys, act) {
    const button = this.#plain(picture, title, keys, act);
    this.switches.set(name, button);
    return button;
  }

  #views(scene) {
    const { viewer } = this;
    const { image } = scene;
    const buttons = [
      this.#plain("fit", "Fit to the window", "F", () => viewer.keys.fit()),
      this.#plain("one", "One image pixel on one screen pixel", "O", () => viewer.keys.oneToOne()),
      this.#plain("rotate", "Turn by 90°", "R", () => viewer.keys.rotate()),
      this.#plain("flip", "Mirror left and right", "H", () => viewer.keys.flip(true)),
      this.#plain("flipv", "Mirror top and bottom", "V", () => viewer.keys.flip(false)),
      this.#plain("reset", "As it was first", "Home", () => viewer.keys.hang()),
      this.#switch("inverted", "invert", "Invert", "I", () => viewer.setLook({ inverted: !viewer.look.inverted })),
      this.#switch("smooth", "smooth", "Smooth pixels", "M", () => viewer.setLook({ smooth: !viewer.look.smooth })),
      this.#switch("shown", "eye", "Show marks", "K", () => viewer.setLook({ shown: !viewer.look.shown })),
    ];
    if (image.slices > 1) this.#add(buttons, "playing", "cine", "Play", "C", () => viewer.cine.toggle());
    if (image.volume && image.slices > 1 && scene.panes.length === 1) {
      this.#add(buttons, "three", "layout", "Three planes", "3 planes: Shift+M", () => viewer.keys.planes());
    }
    if (scene.panes.length > 1) this.#add(buttons, "linked", "link", "Move pictures together", "Shift+K", () => viewer.keys.link());
    if (scene.panes.some((pane) => pane.second)) this.#add(buttons, "swipe", "swipe", "Swipe between two pictures", "Shift+S", () => viewer.keys.swipe());
    return buttons;
  }

  #add(buttons, name, picture, title, keys, act) {
    buttons.push(this.#switch(name, picture, title, keys, act));
  }

  #steps() {
    const { viewer } = this;
    this.undo = this.#plain("undo", "Undo", "U", () => viewer.pad.undo());
    this.redo = this.#plain("redo", "Redo", "Shift+U", () => viewer.pad.redo());
    this.trash = this.#plain("trash", "Delete what is selected", "Del", () => viewer.pad.removeSelected());
    return [this.undo, this.redo, this.trash];
  }

  /** Bring all buttons up to date. */
  show() {
    const { viewer } = this;
    for (const [name, button] of this.tools) button.setAttribute("aria-pressed", String(viewer.tool === viewer.tools[name]));
    const { look } = viewer;
    const states = {
      inverted: look.inverted, smooth: look.smooth, shown: look.shown, playing: viewer.cine.playing, three: viewer.layout === "three",
      linked: viewer.linked, swipe: look.swipe,
    };
    for (const [name, button] of this.switches) button.setAttribute("aria-pressed", String(states[name]));
    const marks = viewer.pad?.marks;
    if (this.undo) this.undo.disabled = !marks?.undoable.length;
    if (this.redo) this.redo.disabled = !marks?.redoable.length;
    if (this.trash) this.trash.disabled = !marks?.items.has(viewer.selected);
  }
}
