// The panel of assistance: how scribbles are read, which model helps, growing through slices.

import { choice, el, slider, toggle } from "./dom.js";
import { NETWORK } from "./tools_assist.js";

const SMOOTHINGS = [
  { value: "guided", title: "along edges" },
  { value: "cut", title: "firmly, by a minimal cut" },
  { value: "none", title: "not at all" },
];

export class AssistPart {
  name = "assist";
  title = "Assistance";
  open = false;

  constructor(viewer, scene) {
    this.viewer = viewer;
    const { hints } = viewer.bench;
    const { options } = hints;
    const models = (scene.mark.models ?? []).map(({ id, title }) => ({ value: String(id), title }));
    const again = (change) => (value) => {
      change(value);
      if (viewer.tool?.name === "scribble" && hints.strokes.length) hints.askForScribbles(viewer.panes[0]);
    };
    const button = (text, act) => el("button.text", { type: "button", text, onclick: act });
    this.scribbles = el("fieldset", {}, [
      el("legend", { text: "Scribbles (Shift+T)" }),
      toggle("Scribble the background", options.background, (on) => (options.background = on), "The same as holding Alt"),
      toggle("Only parts that I scribbled in", options.onlyMarked, again((on) => (options.onlyMarked = on))),
      toggle("Show where it is unsure", options.unsure, (on) => {
        options.unsure = on;
        viewer.redrawMarks();
      }),
      toggle("Learn from the cases scribbled on before, too", options.earlier, again((on) => (options.earlier = on)), "Those of this sitting"),
      choice("Smooth", SMOOTHINGS, options.smoothing, again((value) => (options.smoothing = value))),
      button("Remove scribbles", () => hints.removeScribbles()),
    ]);
    const networks = (scene.mark.networks ?? []).map((name) => ({ value: NETWORK + name, title: `click network ${name}` }));
    const rows = [this.scribbles];
    if (models.length + networks.length) rows.push(this.#clicks([...networks, ...models], options));
    if (models.length) rows.push(this.#models(models, hints, scene, button));
    if (scene.image.slices > 1) {
      let most = 10;
      const reach = slider("Slices each way", { min: 1, max: Math.max(2, scene.image.slices - 1), value: Math.min(10, scene.image.slices - 1), input: (value) => (most = value) });
      this.grow = () => hints.grow(most);
      rows.push(el("fieldset", {}, [el("legend", { text: "Through the slices" }), reach, button("Grow to the neighbouring slices (Shift+Y)", this.grow)]));
    }
    this.body = el("div", {}, rows);
  }

  #clicks(helpers, options) {
    const known = helpers.some(({ value }) => value === options.model);
    if (!known) options.model = "";
    return el("fieldset", {}, [
      el("legend", { text: "Clicks and boxes (Shift+J)" }),
      choice("Clicks follow", [{ value: "", title: "the image alone" }, ...helpers], options.model, (value) => (options.model = value)),
    ]);
  }

  #models(models, hints, scene, button) {
    let chosen = models[0].value;
    return el("fieldset", {}, [
      el("legend", { text: "Models" }),
      choice("Model", models, chosen, (value) => (chosen = value)),
      button("Propose what it sees here", () => hints.askModel(chosen, false)),
      scene.image.slices > 1 ? button("Propose what it sees in all slices", () => hints.askModel(chosen, true)) : null,
    ]);
  }
}
