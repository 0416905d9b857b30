// The panels for marking: labels, brush, operations on whole slices, classes, other readings to start from.

import { choice, el, iconButton, slider, toggle } from "./dom.js";
import { short } from "./pane.js";

const FILTER_FROM = 13; // labels

/** The labels: which is in hand, which are locked or hidden. */
export class LabelPart {
  name = "labels";
  title = "Labels";

  constructor(viewer, scene) {
    this.viewer = viewer;
    this.labels = scene.labels;
    this.list = el("ul.labels", { role: "radiogroup", "aria-label": "Label in hand" });
    const rows = [this.list];
    if (this.labels.length >= FILTER_FROM) {
      this.filter = el("input", { type: "search", placeholder: "find a label", "aria-label": "Find a label", oninput: () => this.show() });
      rows.unshift(this.filter);
    }
    if (!this.labels.length) rows.push(el("p.none", { text: "This project has no label yet; add one on the Projects page." }));
    this.body = el("div", {}, rows);
    this.show();
  }

  get bench() {
    return this.viewer.bench;
  }

  show() {
    const wanted = this.filter?.value.trim().toLowerCase() ?? "";
    const shown = this.labels.filter((label) => label.name.toLowerCase().includes(wanted));
    this.list.replaceChildren(...shown.map((label) => this.#row(label)));
  }

  #row(label) {
    const { bench, viewer } = this;
    const number = this.labels.indexOf(label) + 1;
    const chosen = bench.label === label.value;
    const choose = el("button.label", {
      type: "button", role: "radio", "aria-checked": String(chosen), "data-label": label.value,
      title: number <= 9 ? `${label.name} (${number})` : label.name, onclick: () => this.choose(label.value),
    }, [el("i", { style: `background:${label.color}` }), el("span", { text: label.name }), number <= 9 ? el("kbd", { text: String(number) }) : null]);
    const hidden = viewer.look.hidden.has(label.value);
    const locked = bench.locked.has(label.value);
    const hide = iconButton(hidden ? "hidden" : "eye", `${hidden ? "Show" : "Hide"} ${label.name}`, "", () => {
      const next = new Set(viewer.look.hidden);
      if (!next.delete(label.value)) next.add(label.value);
      viewer.setLook({ hidden: next });
    });
    const lock = iconButton(locked ? "lock" : "open", `${locked ? "Unlock" : "Lock"} ${label.name}`, "", () => {
      if (!bench.locked.delete(label.value)) bench.locked.add(label.value);
      this.show();
    });
    hide.setAttribute("aria-pressed", String(hidden));
    lock.setAttribute("aria-pressed", String(locked));
    return el("li", {}, [choose, hide, lock]);
  }

  choose(value) {
    this.bench.label = value;
    // A box just drawn stays as it is when the label for the next one is chosen.
    if (this.viewer.tool?.name === "select") this.bench.relabelSelected(value);
    this.show();
    this.viewer.redrawLines();
    this.viewer.shell.panel.showBrush();
  }

  chooseByPlace(place) {
    const label = this.labels[place];
    if (label) this.choose(label.value);
  }

  showLook() {
    this.show();
  }
}

/** Size, ball, range of values, tolerance. */
export class BrushPart {
  name = "brush";
  title = "Brush";

  constructor(viewer) {
    this.viewer = viewer;
    const { brush, facts } = viewer.bench;
    const longest = Math.max(facts.rows, facts.columns);
    this.size = slider("Size (pixels across)", {
      min: 1, max: longest <= 256 ? 60 : longest <= 1024 ? 150 : 400, value: brush.size, input: (size) => (brush.size = size),
    });
    this.ball = toggle("Ball through the slices", brush.ball, (ball) => (brush.ball = ball), "Paints a ball in millimetres, not a disc");
    this.through = toggle("Through all slices", brush.through, (through) => (brush.through = through), "Also in the other slices, where it hangs together");
    const [low, high] = facts.range;
    const step = !facts.wire.startsWith("float") && high - low > 40 ? 1 : (high - low) / 400 || 1e-6;
    this.low = slider("Range from", { min: low, max: high, step, value: brush.range[0], show: short, input: (value) => (brush.range = [value, Math.max(value, brush.range[1])]) });
    this.high = slider("Range to", { min: low, max: high, step, value: brush.range[1], show: short, input: (value) => (brush.range = [Math.min(value, brush.range[0]), value]) });
    this.tolerance = slider("Tolerance (± value)", {
      min: step, max: Math.max((high - low) / 2, step), step, value: brush.tolerance, show: short, input: (value) => (brush.tolerance = value),
    });
    this.body = el("div", {}, [this.size, ...(facts.volume && facts.slices > 1 ? [this.ball, this.through] : []), this.low, this.high, this.tolerance]);
    this.showTool();
  }

  showTool() {
    const name = this.viewer.tool?.name;
    this.size.hidden = !["brush", "eraser", "threshold"].includes(name);
    this.ball.hidden = this.size.hidden;
    this.low.hidden = this.high.hidden = name !== "threshold";
    this.tolerance.hidden = this.through.hidden = name !== "region";
    const part = this.body.closest("details");
    if (part) part.hidden = [...this.body.children].every((row) => row.hidden);
  }

  showBrush() {
    const { brush } = this.viewer.bench;
    this.size.set(brush.size);
    this.ball.set(brush.ball);
    this.low.set(brush.range[0]);
    this.high.set(brush.range[1]);
  }
}

/** Operations on whole slices. */
export class ChangePart {
  name = "change";
  title = "Change";
  open = false;

  constructor(viewer, scene) {
    this.viewer = viewer;
    const volume = scene.image.slices > 1;
    let size = 50;
    let all = false;
    const run = (name, options = {}) => () => viewer.bench.run(name, { size, all, ...options });
    const button = (text, act) => el("button.text", { type: "button", text, onclick: act });
    this.body = el("div", {}, [
      volume ? button("Fill slices between marked ones (Shift+G)", run("between")) : null,
      volume ? button("Copy from the slice before (Ctrl+↑)", run("copy", { step: -1 })) : null,
      volume ? button("Copy from the slice after (Ctrl+↓)", run("copy", { step: 1 })) : null,
      button(volume ? "Clear this slice" : "Clear", run("clear")),
      slider("Smaller than (pixels)", { min: 2, max: 2000, value: size, input: (value) => (size = value) }),
      volume ? toggle("In all slices, as bodies", all, (value) => (all = value), "Parts hang together through slices") : null,
      button("Remove islands of the label", run("islands")),
      button("Fill holes of the label", run("holes")),
    ].filter(Boolean));
  }
}

/** Classes of the slice in view and of the whole image. */
export class ClassPart {
  name = "class";
  title = "Class of the image";
  open = false;

  constructor(viewer, scene) {
    this.viewer = viewer;
    if (!scene.labels.length || scene.labels.length > 40) return;
    this.scopes = scene.image.slices > 1 ? [["whole image", -1], ["this slice", null]] : [["image", -1]];
    this.labels = scene.labels;
    this.body = el("div");
    this.show();
  }

  show() {
    const bench = this.viewer.bench;
    if (!bench?.marks) return;
    const rows = this.scopes.map(([title, fixed]) => {
      const plane = fixed ?? this.viewer.sliceInView;
      const switches = this.labels.map((label) => toggle(label.name, bench.hasClass(plane, label.value), (on) => bench.setClass(plane, label.value, on)));
      return el("fieldset", {}, [el("legend", { text: title }), ...switches]);
    });
    this.body.replaceChildren(...rows);
  }

  showItems() {
    this.show();
  }

  showPlace() {
    if (this.body.closest("details")?.open) this.show();
  }
}

/** Readings of others, and older versions of one's own, to start from. */
export class OtherPart {
  name = "others";
  title = "Start from another reading";
  open = false;

  constructor(viewer, scene) {
    this.viewer = viewer;
    this.chosen = "";
    this.pick = choice("Reading", [], "", (value) => (this.chosen = value));
    this.take = el("button.text", {
      type: "button", text: "Start from it", title: "It becomes yours to correct, in one step that can be undone; theirs stays as it is.",
      onclick: () => {
        const other = this.others.find((one) => String(one.id) === this.chosen);
        if (other) viewer.bench.takeOver(other.id, other.title);
      },
    });
    this.none = el("p.none", { text: "Nobody else has read this case yet." });
    this.body = el("div", {}, [this.pick, this.take, this.none]);
    this.refresh(scene);
  }

  refresh(scene) {
    this.others = scene.mark?.others ?? [];
    const known = this.others.some((one) => String(one.id) === this.chosen);
    if (!known) this.chosen = String(this.others[0]?.id ?? "");
    this.pick.fill(this.others.map((one) => ({ value: String(one.id), title: one.title })), this.chosen);
    this.pick.hidden = this.take.hidden = !this.others.length;
    this.none.hidden = this.others.length > 0;
  }
}
