// The viewer: its panes, what they share, and the loop that draws them.

import { Api } from "./api.js";
import { boxAround } from "./edit.js";
import { Cine } from "./cine.js";
import { commands } from "./keys.js";
import { PLANE_AXES, patientPosition, planeSize, toVoxel, voxelAt } from "./geometry.js";
import { LayerShelf } from "./layers.js";
import { measureWords } from "./measure.js";
import { Notepad } from "./notepad.js";
import { Pane } from "./pane.js";
import { Pointers } from "./pointer.js";
import { planeOf } from "./shapes.js";
import { ImageSource, IMAGE_BUDGET } from "./source.js";
import { TileSource, isTiled } from "./tiles.js";
import { assistTools } from "./tools_assist.js";
import { markTools } from "./tools_mark.js";
import { measureTools } from "./tools_measure.js";
import { viewTools } from "./tools_view.js";
import { Workbench } from "./workbench.js";

const MEASURE_COLOR = "#ffd447";
const OPENING_MS = 1200; // how long the first picture waits to learn where the finding lies
const MOST_DENSITY = 2;

export class Viewer {
  /**
   * @param {HTMLElement} root
   * @param {import("./shell.js").Shell} shell draws what is around the panes
   * @param {(name: string, value: unknown) => void} tell the page
   */
  constructor(root, shell, tell) {
    this.root = root;
    this.shell = shell;
    this.tell = tell;
    this.panes = [];
    this.active = null;
    this.sources = new Map();
    this.shelves = new Map();
    this.windows = new Map();
    this.bench = null;
    this.pad = null;
    this.tools = {};
    this.tool = null;
    this.selected = null;
    this.linked = true;
    this.cross = [0.5, 0.5, 0.5];
    this.frame = 0;
    this.look = {
      inverted: false, smooth: true, slab: null, opacity: 0.45, contour: false, shown: true, hidden: new Set(),
      threshold: 0.5, scores: false, labels: [], swipe: false, crosshair: false,
    };
    this.words = new WeakMap();
    this.keys = commands(this);
    this.cine = new Cine(this);
    this.observer = new ResizeObserver(() => this.measure());
    this.observer.observe(shell.grid);
  }

  get density() {
    return Math.min(window.devicePixelRatio || 1, MOST_DENSITY);
  }

  // --- scene ----------------------------------------------------------------------------------------------------

  /** Show what the page describes. @param {object} scene see pages/shared/viewer.py */
  open(scene) {
    this.close();
    this.scene = scene;
    this.api = new Api(scene.token, () => this.askForToken());
    this.look.labels = scene.labels;
    this.look.threshold = scene.threshold ?? 0.5;
    this.look.scores = Boolean(scene.scores);
    this.look.swipe = scene.panes.some((pane) => pane.second);
    const tiled = isTiled(scene.image);
    if (tiled && this.look.slab) this.look.slab = null;
    const images = new Map([scene.image, ...scene.panes.map((pane) => pane.image), ...scene.panes.map((pane) => pane.second?.image)]
      .filter(Boolean).map((facts) => [facts.id, facts]));
    for (const facts of images.values()) this.#addSource(facts, IMAGE_BUDGET / images.size);
    this.tools = viewTools(this);
    if (scene.mark) {
      this.bench = new Workbench(this, scene.mark, scene.labels);
      Object.assign(this.tools, markTools(this.bench), assistTools(this.bench));
    }
    this.pad = this.bench ?? new Notepad(this, this.sources.get(scene.image.id));
    Object.assign(this.tools, measureTools(this.pad));
    this.setLayout(scene.panes.length > 1 ? "given" : "one");
    this.setTool(this.firstTool);
    this.#openWhereTheFindingIs();
  }

  /** The tool to begin with, and to return to. */
  get firstTool() {
    const { mark, image } = this.scene;
    if (mark) return mark.kind === "boxes" ? "box" : "brush";
    if (this.look.swipe) return "swipe";
    return image.windowed ? "window" : "pan";
  }

  /** Facts of images of other cases carry the token for them. */
  #addSource(facts, budget) {
    const api = facts.token ? new Api(facts.token, () => this.askForToken()) : this.api;
    const source = isTiled(facts) ? new TileSource(facts, api) : new ImageSource(facts, api, budget);
    source.listen((index) => this.#arrived(source, index));
    this.sources.set(facts.id, source);
    const largest = this.look.labels.reduce((most, label) => Math.max(most, label.value), 255);
    this.shelves.set(facts.id, new LayerShelf(facts, largest, api, () => this.#layersArrived()));
    const [first] = facts.windows;
    if (!this.windows.has(facts.id)) this.windows.set(facts.id, { center: first.center, width: first.width });
  }

  /** The page ran again: a new token, perhaps. */
  refresh(scene) {
    this.api.setToken(scene.token);
    for (const facts of [...scene.panes.map((pane) => pane.image), ...scene.panes.map((pane) => pane.second?.image)]) {
      if (facts?.token) this.sources.get(facts.id)?.api.setToken(facts.token);
    }
    if (scene.mark && this.bench && scene.mark.reader === this.bench.reader) this.bench.api.setToken(scene.mark.token);
    this.shell.refresh(scene);
  }

  askForToken() {
    this.tell("renew", Date.now());
  }

  #side(spec) {
    const facts = spec.image ?? this.scene.image;
    const shelf = this.shelves.get(facts.id);
    const layers = spec.layers.map((layer) => shelf.build(layer));
    return { source: this.sources.get(facts.id), layers, title: spec.title ?? "" };
  }

  /** @param {"one"|"three"|"given"} layout */
  setLayout(layout) {
    const before = this.panes.find((pane) => pane.axis === "z")?.index ?? null;
    for (const pane of this.panes) pane.close();
    this.layout = layout;
    const specs = this.scene.panes;
    const wanted = layout === "three" ? ["z", "y", "x"].map((axis) => [specs[0], axis]) : specs.map((spec) => [spec, "z"]);
    this.panes = (layout === "one" ? wanted.slice(0, 1) : wanted).map(([spec, axis]) => {
      const sides = [this.#side(spec), ...(spec.second ? [this.#side(spec.second)] : [])];
      return new Pane(this, sides, axis);
    });
    this.pointers = this.panes.map((pane) => new Pointers(this, pane));
    this.shell.showPanes(this.panes, layout);
    this.focusPane(this.panes[0]);
    if (layout === "three") this.#middleCross();
    this.look.crosshair = layout === "three";
    if (before !== null && this.opened) this.goTo(this.panes[0], before);
    this.measure();
  }

  #middleCross() {
    const { columns, rows, slices } = this.scene.image;
    if (!this.crossed) this.cross = [columns / 2, rows / 2, slices / 2];
    this.crossed = true;
    for (const pane of this.panes) pane.goTo(Math.floor(this.cross[PLANE_AXES[pane.axis][2]]));
  }

  async #openWhereTheFindingIs() {
    this.opened = false;
    const layers = this.panes.flatMap((pane) => pane.sides.flatMap((side) => side.layers));
    const readings = layers.map((layer) => layer.reading ?? layer.first?.reading).filter((reading) => reading?.ready);
    const wait = new Promise((resolve) => setTimeout(resolve, OPENING_MS));
    if (this.scene.start === null) await Promise.race([Promise.all(readings.map((one) => one.ready)).catch(() => {}), wait]);
    if (this.panes.length === 0 || this.opened) return;
    const found = this.scene.start ?? readings.map((one) => one.fullest).find((index) => index !== null) ?? this.#benchStart();
    const index = found ?? Math.floor(this.scene.image.slices / 2);
    this.opened = true;
    this.goTo(this.panes[0], index);
    this.panes[0].redraw();
  }

  #benchStart() {
    const volume = this.bench?.marks?.volume;
    if (!volume) return null;
    const counts = volume.planes.map((_, z) => volume.countOf(z));
    const most = Math.max(...counts);
    return most > 0 ? counts.indexOf(most) : null;
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  /** Draw before the next picture of the screen. */
  /** The first change of a frame is drawn at once, while the screen is waited for; later ones with the next frame. */
  schedule() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.#draw();
    });
    queueMicrotask(() => this.#draw());
  }

  #draw() {
    if (this.panes.filter((pane) => pane.draw()).length) this.drawn = performance.now();
  }

  measure() {
    for (const pane of this.panes) pane.measure();
  }

  redraw() {
    for (const pane of this.panes) pane.redraw();
  }

  redrawMarks() {
    for (const pane of this.panes) pane.redrawMarks();
  }

  redrawLines() {
    for (const pane of this.panes) pane.redrawLines();
  }

  #arrived(source, index) {
    for (const pane of this.panes) {
      const mine = pane.sides.some((side) => side.source === source);
      if (mine && (index === null || index === pane.index || pane.axis !== "z" || this.look.slab)) pane.redraw();
    }
    this.shell.progress(source);
  }

  #layersArrived() {
    this.redraw();
    this.shell.showCounts();
  }

  // --- what is seen ---------------------------------------------------------------------------------------------

  setLook(changes) {
    Object.assign(this.look, changes);
    this.redraw();
    this.shell.showLook();
  }

  windowOf(facts) {
    return this.windows.get(facts.id);
  }

  /** Images of the same kind share the window while they are linked. */
  setWindow(facts, window) {
    for (const source of this.sources.values()) {
      const same = source.facts.id === facts.id || (this.linked && source.facts.modality === facts.modality && source.facts.stored === facts.stored);
      if (same) this.windows.set(source.facts.id, window);
    }
    this.redraw();
    this.shell.showLook();
  }

  /** Choose a window of the list by its place. */
  preset(number) {
    const { facts } = this.active;
    const found = facts.windows[number];
    if (found && facts.windowed) this.setWindow(facts, { center: found.center, width: found.width });
  }

  /** Show a plane in a pane and the matching ones in linked panes. */
  goTo(pane, index) {
    this.opened = true;
    if (!pane.goTo(index)) return;
    const [, , across] = PLANE_AXES[pane.axis];
    this.cross = this.cross.map((at, i) => (i === across ? pane.index + 0.5 : at));
    for (const other of this.panes) {
      if (other === pane) continue;
      if (other.axis !== pane.axis) other.redrawLines();
      else if (this.linked) other.goTo(this.#matching(pane, other));
    }
    this.shell.showPlace(pane);
  }

  #matching(pane, other) {
    if (other.facts.id === pane.facts.id) return pane.index;
    const { columns, rows } = planeSize(pane.facts, pane.axis);
    const position = patientPosition(pane.facts, toVoxel(pane.axis, pane.index, columns / 2, rows / 2));
    const voxel = position && voxelAt(other.facts, position);
    if (voxel) return Math.floor(voxel[PLANE_AXES[other.axis][2]]);
    return other.count === pane.count ? pane.index : (pane.index / Math.max(1, pane.count - 1)) * (other.count - 1);
  }

  setCross(voxel, pane) {
    const sizes = [this.scene.image.columns, this.scene.image.rows, this.scene.image.slices];
    this.cross = voxel.map((at, i) => Math.min(Math.max(at, 0), sizes[i] - 1e-3));
    for (const other of this.panes) {
      if (other.axis !== pane.axis) other.goTo(Math.floor(this.cross[PLANE_AXES[other.axis][2]]));
      other.redrawLines();
    }
  }

  /** Zoom and position go along in linked panes of the same axis. */
  cameraMoved(pane) {
    pane.redraw();
    if (!this.linked) return;
    for (const other of this.panes) {
      if (other === pane || other.axis !== pane.axis) continue;
      const { scale, center, turn, fitted } = pane.camera;
      Object.assign(other.camera, { scale, center: [...center], turn, fitted });
      if (fitted) other.camera.fit();
      other.redraw();
    }
  }

  /** Show a plane of an axis in the pane that has it. */
  showPlane(axis, index) {
    const pane = this.panes.find((one) => one.axis === axis);
    if (pane) this.goTo(pane, index);
  }

  get sliceInView() {
    return (this.panes.find((pane) => pane.axis === "z") ?? this.panes[0]).index;
  }

  focusPane(pane) {
    this.active = pane;
    for (const one of this.panes) one.root.toggleAttribute("data-active", one === pane && this.panes.length > 1);
  }

  // --- tools ----------------------------------------------------------------------------------------------------

  setTool(name) {
    if (!this.tools[name]) return;
    this.tool?.cancel?.();
    this.tool = this.tools[name];
    if (name !== "select") this.select(null);
    this.redrawLines();
    this.shell.showTool();
  }

  get busy() {
    return this.pointers?.some((pointers) => pointers.active !== null) || this.bench?.proposal != null;
  }

  changeBrush(step) {
    if (!this.bench) return;
    const { brush } = this.bench;
    const by = Math.max(1, Math.round(brush.size * 0.15));
    brush.size = Math.min(400, Math.max(1, brush.size + step * by));
    this.shell.showBrush();
    if (this.lastPlace) this.placeCursor(...this.lastPlace);
  }

  /** Draw the brush around the pointer. */
  placeCursor(pane, place) {
    this.lastPlace = [pane, place];
    const shows = Boolean(this.tool?.paints && this.bench?.marks);
    pane.cursor.hidden = !shows;
    pane.root.style.cursor = shows ? "none" : this.tool?.paints ? "wait" : "crosshair";
    if (!shows) return;
    const size = Math.max(3, (this.bench.brush.size * pane.camera.pixelSize) / pane.density);
    const color = this.tool.name === "eraser" ? "#ffffff" : this.bench.color;
    Object.assign(pane.cursor.style, {
      width: `${size}px`, height: `${size}px`, borderColor: color,
      transform: `translate(${place.x / pane.density - size / 2}px, ${place.y / pane.density - size / 2}px)`,
    });
  }

  select(id) {
    if (this.selected === id) return;
    this.selected = id;
    this.redrawLines();
    this.shell.showItems();
  }

  /** Select an item and show where it lies. */
  find(id) {
    const item = this.pad?.marks?.items.get(id);
    if (!item) return;
    this.setTool("select");
    const { axis, index } = planeOf(item);
    this.showPlane(axis, index);
    this.select(id);
  }

  // --- marks ----------------------------------------------------------------------------------------------------

  marksOn(pane) {
    return this.pad?.layer && pane.facts.id === this.pad.facts.id && pane === this.#benchPane(pane);
  }

  // Marks are made on the first picture; the others show readings to compare with.
  #benchPane(pane) {
    return this.layout === "given" ? this.panes[0] : pane;
  }

  layersOn(pane) {
    if (!this.bench || !this.marksOn(pane)) return [];
    return [this.bench.kind === "mask" ? this.bench.layer : null, this.bench.unsureLayer, this.bench.proposalLayer].filter(Boolean);
  }

  itemsOn(pane) {
    if (!this.marksOn(pane)) return [];
    const items = new Map(this.pad.layer.items);
    const { tried } = this.pad;
    if (tried) items.set(tried.id, tried.item);
    for (const id of items.keys()) if (id.endsWith("-turned")) items.delete(id.slice(0, -"-turned".length));
    return [...items];
  }

  colorOf(item) {
    return this.look.labels.find((label) => label.value === item.label)?.color ?? MEASURE_COLOR;
  }

  wordsOf(item, pane) {
    const label = this.look.labels.find((one) => one.value === item.label)?.name;
    const score = `${item.score === undefined ? "" : ` ${item.score.toFixed(2)}`}${item.crowd ? " (crowd)" : ""}`;
    if (item.kind === "box" || item.kind === "turned" || item.kind === "point") return [`${label ?? ""}${score}`.trim()].filter(Boolean);
    const { source } = pane.sides[0];
    const values = pane.facts.channels === 1 && source.plane ? source.plane(pane.axis, pane.index) : null;
    const known = this.words.get(item);
    if (known && known.values === values) return known.words;
    const { columns, rows } = planeSize(pane.facts, pane.axis);
    const words = measureWords(item, pane.facts, values && { values, columns, rows });
    this.words.set(item, { values, words });
    return words;
  }

  boxAround(note) {
    return boxAround(note, this.bench.facts);
  }

  /** The reading is here. */
  marksReady() {
    const start = this.#benchStart();
    if (!this.movedByHand && this.scene.start === null && start !== null && !this.benchShown) this.goTo(this.panes[0], start);
    this.benchShown = true;
    this.redraw();
    this.shell.showItems();
    this.shell.showBrush();
  }

  marksChanged() {
    for (const pane of this.panes) {
      pane.redrawMarks();
      pane.redrawLines();
    }
    this.shell.showItems();
  }

  showStatus() {
    this.shell.showStatus();
  }

  say(sentence) {
    this.shell.say(sentence);
  }

  /** Hand out the label numbers of the slice in view as a file. @param {import("./readings.js").StoredReading} reading */
  async saveSlice(reading) {
    try {
      const response = await reading.api.fetch(`readings/${reading.version}/slices/${this.sliceInView}.png`);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await response.blob());
      link.download = `marks-${reading.version}-${this.sliceInView + 1}.png`;
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (error) {
      this.say(error.message);
    }
  }

  /** The page goes away: end what is being drawn and send it. */
  leave() {
    for (const pointers of this.pointers ?? []) pointers.finish();
    this.bench?.saver?.flush();
  }

  close() {
    this.cine.stop();
    this.bench?.close();
    this.bench = null;
    this.pad = null;
    this.selected = null;
    this.crossed = false;
    this.benchShown = false;
    this.tool?.cancel?.();
    this.tool = null;
    for (const pane of this.panes) pane.close();
    for (const source of this.sources.values()) source.close();
    for (const shelf of this.shelves.values()) shelf.close();
    this.panes = [];
    this.sources.clear();
    this.shelves.clear();
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }
}
