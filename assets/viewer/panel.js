// The panels beside the pictures: labels and brush, marks, window, slab, measurements.

import { choice, el, iconButton, slider, toggle } from "./dom.js";
import { AGREEMENT, DifferenceLayer, HeatLayer, ThresholdLayer } from "./layers.js";
import { AssistPart } from "./panel_assist.js";
import { BrushPart, ChangePart, ClassPart, LabelPart, OtherPart } from "./panel_mark.js";
import { measureWords } from "./measure.js";
import { short } from "./pane.js";
import { planeSize } from "./geometry.js";

const ITEMS_SHOWN = 200;
const MORE = 4; // how much wider than the values the window's sliders reach

export class Panel {
  /** @param {import("./shell.js").Shell} shell */
  constructor(shell) {
    this.shell = shell;
    this.root = el("aside.panel", { "aria-label": "Settings of the viewer" });
    this.parts = [];
  }

  get viewer() {
    return this.shell.viewer;
  }

  /** @param {object} scene */
  fill(scene) {
    const { viewer } = this;
    const marking = scene.mark ? markParts(viewer, scene) : [];
    this.parts = [...marking, new LookPart(viewer, scene), new WindowPart(viewer, scene), new SlabPart(viewer, scene), new ItemPart(viewer)];
    this.parts = this.parts.filter((part) => part.body);
    this.root.replaceChildren(...this.parts.map((part) => section(part)));
  }

  refresh(scene) {
    for (const part of this.parts) part.refresh?.(scene);
  }

  showLook() {
    for (const part of this.parts) part.showLook?.();
  }

  showTool() {
    for (const part of this.parts) part.showTool?.();
  }

  showBrush() {
    for (const part of this.parts) part.showBrush?.();
  }

  showItems() {
    for (const part of this.parts) part.showItems?.();
  }

  showPlace() {
    for (const part of this.parts) part.showPlace?.();
  }

  grow() {
    this.parts.find((part) => part instanceof AssistPart)?.grow?.();
  }

  chooseLabel(number) {
    this.parts.find((part) => part instanceof LabelPart)?.chooseByPlace(number);
  }
}

function markParts(viewer, scene) {
  const mask = scene.mark.kind === "mask";
  return [
    new LabelPart(viewer, scene), mask ? new BrushPart(viewer) : null, mask ? new ChangePart(viewer, scene) : null,
    mask ? new AssistPart(viewer, scene) : null,
    new ClassPart(viewer, scene), new OtherPart(viewer, scene),
  ].filter(Boolean);
}

function section(part) {
  const details = el("details.part", { open: part.open ?? true, "data-part": part.name }, [el("summary", { text: part.title }), part.body]);
  return details;
}

/** Opacity, outlines, threshold, legend of what lies over the picture. */
class LookPart {
  name = "look";
  title = "Marks";

  constructor(viewer, scene) {
    this.viewer = viewer;
    const layers = viewer.panes.flatMap((pane) => pane.sides.flatMap((side) => side.layers));
    const specs = scene.panes.flatMap((pane) => [...pane.layers, ...(pane.second?.layers ?? [])]);
    if (!layers.length && !scene.mark && !specs.length) return;
    this.opacity = slider("Opacity", { min: 0, max: 1, step: 0.05, value: viewer.look.opacity, show: percent, input: (opacity) => viewer.setLook({ opacity }) });
    this.contour = toggle("Outlines only", viewer.look.contour, (contour) => viewer.setLook({ contour }));
    const rows = [this.opacity, this.contour];
    const chosen = layers.some((layer) => layer instanceof ThresholdLayer || layer instanceof HeatLayer || layer.first instanceof ThresholdLayer);
    if (chosen || scene.scores) {
      this.threshold = slider("Threshold", {
        min: 0.01, max: 0.99, step: 0.01, value: viewer.look.threshold, show: (value) => value.toFixed(2),
        input: (threshold) => viewer.setLook({ threshold }), change: (threshold) => viewer.tell("threshold", threshold),
      });
      rows.push(this.threshold);
    }
    this.difference = layers.find((layer) => layer instanceof DifferenceLayer);
    this.legend = el("ul.legend");
    rows.push(this.legend);
    const stored = layers.find((layer) => layer.reading?.version);
    if (stored && !scene.mark) {
      const save = el("button.text", { type: "button", text: "Save the marks of this slice (PNG)", hidden: true, onclick: () => viewer.saveSlice(stored.reading) });
      stored.reading.ready.then(() => (save.hidden = stored.reading.kind !== "mask"), () => {});
      rows.push(save);
    }
    this.body = el("div", {}, rows);
    if (!scene.mark) this.#fillLegend(scene);
  }

  #fillLegend(scene) {
    const { look } = this.viewer;
    const rows = scene.labels.map((label) => {
      const button = el("button.swatch", {
        type: "button", "aria-label": `Show or hide ${label.name}`, title: "Show or hide", "aria-pressed": "true",
        onclick: () => {
          const hidden = new Set(look.hidden);
          if (!hidden.delete(label.value)) hidden.add(label.value);
          button.setAttribute("aria-pressed", String(!hidden.has(label.value)));
          this.viewer.setLook({ hidden });
        },
      }, [el("i", { style: `background:${label.color}` }), el("span", { text: label.name })]);
      return el("li", {}, [button]);
    });
    const agreement = this.difference
      ? AGREEMENT.map(({ code, color, title }) => el("li", { "data-code": code }, [el("i", { style: `background:${color}` }), el("span", { text: this.#titleOf(code, title, scene) }), el("output")]))
      : [];
    this.legend.replaceChildren(...agreement, ...rows);
    this.showPlace();
  }

  #titleOf(code, title, scene) {
    const [first, second] = scene.names ?? ["the first", "the second"];
    if (code === 2) return `only ${first}: false positive`;
    if (code === 3) return `only ${second}: false negative`;
    return title;
  }

  /** Pixels of each colour on the plane in view. */
  showPlace() {
    if (!this.difference) return;
    const pane = this.viewer.panes.find((one) => one.sides[0].layers.some((layer) => layer instanceof DifferenceLayer));
    const layer = pane?.sides[0].layers.find((one) => one instanceof DifferenceLayer);
    if (!layer) return;
    const counts = layer.counts(pane.axis, pane.index, this.viewer.look);
    for (const row of this.legend.querySelectorAll("[data-code]")) {
      row.querySelector("output").textContent = `${counts[Number(row.dataset.code)].toLocaleString("en")} px`;
    }
  }

  showLook() {
    this.opacity.set(this.viewer.look.opacity);
    this.contour.set(this.viewer.look.contour);
    this.threshold?.set(this.viewer.look.threshold);
    this.showPlace();
  }
}

/** Level and width, and windows by name. */
class WindowPart {
  name = "window";
  title = "Window";

  constructor(viewer, scene) {
    this.viewer = viewer;
    this.facts = scene.image;
    if (!this.facts.windowed) return;
    const [low, high] = this.facts.range;
    const all = this.facts.windows.flatMap(({ center, width }) => [center - width / 2, center + width / 2]);
    const [least, most] = [Math.min(low, ...all), Math.max(high, ...all)];
    const whole = !this.facts.wire.startsWith("float");
    const step = whole && most - least > 40 ? 1 : (most - least) / 400;
    const { center, width } = viewer.windowOf(this.facts);
    this.preset = choice("Preset", [{ value: "", title: "own" }, ...this.facts.windows.map((one, i) => ({ value: String(i), title: one.name }))], "0", (place) => {
      if (place !== "") viewer.preset(Number(place));
    });
    this.level = slider(`Level${this.unit}`, { min: least, max: most, step, value: center, show: short, input: (value) => this.#set({ center: value }) });
    this.width = slider(`Width${this.unit}`, { min: step, max: (most - least) * MORE / 2, step, value: width, show: short, input: (value) => this.#set({ width: value }) });
    this.body = el("div", {}, [this.preset, this.level, this.width]);
  }

  get unit() {
    return this.facts.unit ? ` (${this.facts.unit})` : "";
  }

  #set(part) {
    this.viewer.setWindow(this.facts, { ...this.viewer.windowOf(this.facts), ...part });
  }

  showLook() {
    const { center, width } = this.viewer.windowOf(this.facts);
    this.level.set(center);
    this.width.set(width);
    const place = this.facts.windows.findIndex((one) => one.center === center && one.width === width);
    this.preset.set(place < 0 ? "" : String(place));
  }
}

/** Slabs of volumes, and how fast frames play. */
class SlabPart {
  name = "slab";
  title = "Slab and playing";
  open = false;

  constructor(viewer, scene) {
    this.viewer = viewer;
    const { image } = scene;
    if (image.slices < 2) return;
    const rows = [];
    if (image.volume && !image.levels.length) {
      viewer.slabPlanes = Math.min(9, image.slices);
      this.mode = choice("Slab", [["", "one slice"], ["max", "maximum"], ["mean", "mean"], ["min", "minimum"]].map(([value, title]) => ({ value, title })), "", (mode) =>
        viewer.setLook({ slab: mode ? { mode, planes: viewer.slabPlanes } : null }));
      this.planes = slider("Slices in the slab", { min: 3, max: Math.max(3, image.slices), step: 2, value: viewer.slabPlanes, input: (planes) => {
        viewer.slabPlanes = planes;
        if (viewer.look.slab) viewer.setLook({ slab: { ...viewer.look.slab, planes } });
      } });
      rows.push(this.mode, this.planes);
    }
    rows.push(slider("Frames a second", { min: 1, max: 60, value: viewer.cine.rate, input: (rate) => viewer.cine.setRate(rate) }));
    this.body = el("div", {}, rows);
  }

  showLook() {
    this.mode?.set(this.viewer.look.slab?.mode ?? "");
  }
}

/** Measurements, points and boxes as a list. */
class ItemPart {
  name = "items";
  title = "Measurements and objects";

  constructor(viewer) {
    this.viewer = viewer;
    this.list = el("ul.items");
    this.body = el("div", {}, [this.list]);
    this.showItems();
  }

  showItems() {
    const { viewer } = this;
    const own = [...(viewer.pad?.marks?.items ?? [])].filter(([id, item]) => item.kind !== "class" && !viewer.pad.marks.items.has(`${id}-turned`));
    const rows = own.slice(0, ITEMS_SHOWN).map(([id, item]) => this.#row(id, item));
    if (!rows.length) rows.push(el("li.none", { text: viewer.bench ? "none yet" : "none yet; what you measure here is not kept" }));
    if (own.length > ITEMS_SHOWN) rows.push(el("li.none", { text: `and ${own.length - ITEMS_SHOWN} more` }));
    this.list.replaceChildren(...rows);
  }

  #row(id, item) {
    const { viewer } = this;
    const words = this.#words(item);
    const place = viewer.scene.image.slices > 1 ? ` · ${item.plane + 1}` : "";
    const go = el("button.text", { type: "button", onclick: () => viewer.find(id), "aria-pressed": String(viewer.selected === id) }, [
      el("i", { style: `background:${viewer.colorOf(item)}` }), el("span", { text: `${words}${place}` }),
    ]);
    const gone = iconButton("trash", `Delete ${words}`, "", () => {
      viewer.select(id);
      viewer.pad.removeSelected();
    });
    return el("li", {}, [go, gone]);
  }

  #words(item) {
    const label = this.viewer.look.labels.find((one) => one.value === item.label)?.name;
    if (item.kind === "box" || item.kind === "turned") return `${label ?? "object"} ${boxSize(item, this.viewer.scene.image)}`.trim();
    if (item.kind === "point") return `${label ?? "point"}`;
    const pane = this.viewer.panes[0];
    const values = pane.facts.channels === 1 && pane.axis === item.axis && pane.sides[0].source.plane?.(item.axis, item.plane);
    const { columns, rows } = planeSize(pane.facts, item.axis);
    return `${item.kind} ${measureWords(item, pane.facts, values ? { values, columns, rows } : null).slice(0, 2).join(", ")}`;
  }
}

function boxSize(item, facts) {
  if (item.kind !== "box") return "";
  const [left, top, right, bottom] = item.box;
  if (!facts.spacing) return `${Math.round(right - left)} × ${Math.round(bottom - top)} px`;
  const [dy, dx] = facts.spacing.slice(-2);
  return `${((right - left) * dx).toFixed(1)} × ${((bottom - top) * dy).toFixed(1)} mm`;
}

const percent = (value) => `${Math.round(value * 100)} %`;
