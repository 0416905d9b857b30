// The annotator's bench: the reading in hand, its labels, what is proposed, and the way to the server.

import * as actions from "./actions.js";
import { Activity } from "./activity.js";
import { Api } from "./api.js";
import { readFrames } from "./frames.js";
import { Marks } from "./history.js";
import { Journal, Tabs, newClient } from "./journal.js";
import { LabelVolume } from "./labels.js";
import { LabelLayer } from "./layers.js";
import { labelPalette, rgba } from "./overlay.js";
import { closedLabels } from "./paint.js";
import { Notepad } from "./notepad.js";
import { Presence } from "./presence.js";
import { StoredReading } from "./readings.js";
import { decodeRuns, encodeRuns } from "./runs.js";
import { Saver } from "./saver.js";
import { packSteps, unpackSteps } from "./steps.js";
import { Hints } from "./tools_assist.js";

const UNSURE = Uint32Array.from({ length: 256 }, (_, i) => rgba("#ffe14d", (i / 255) * 0.75));

export class Workbench extends Notepad {
  /**
   * @param {import("./viewer.js").Viewer} viewer
   * @param {{case: number, reader: string, kind: "mask"|"boxes", token: string, assist: string[]}} spec
   * @param {object[]} labels
   */
  constructor(viewer, spec, labels) {
    super(viewer, viewer.sources.get(viewer.scene.image.id));
    this.spec = spec;
    this.kind = spec.kind;
    this.reader = spec.reader;
    this.api = new Api(spec.token, () => viewer.askForToken());
    this.activity = new Activity(viewer.root);
    this.journal = new Journal();
    this.tabs = new Tabs(this.client);
    this.brush = { size: startSize(this.facts), ball: false, through: false, range: rangeOf(viewer, this.facts), tolerance: toleranceOf(viewer, this.facts) };
    this.locked = new Set();
    this.label = labels[0]?.value ?? 0;
    this.labels = labels;
    this.marks = null; // null until the reading is here
    this.layer = null;
    this.proposal = null;
    this.turn = 0; // which request for help is the newest
    this.hints = new Hints(this);
    this.lastEnd = null;
    this.status = { state: "loading", sentence: "" };
    this.opening = this.open();
  }

  get largest() {
    return this.labels.reduce((most, label) => Math.max(most, label.value), 255);
  }

  get color() {
    return this.labels.find((label) => label.value === this.label)?.color ?? "#fff";
  }

  colorOf(value) {
    return this.labels.find((label) => label.value === value)?.color ?? "#9aa4ad";
  }

  /** The label in hand on the slice in view, as runs of 0 and 1. */
  runsOfLabel() {
    const plane = this.marks.volume.plane(this.viewer.sliceInView);
    const mask = new Uint8Array(this.facts.rows * this.facts.columns);
    if (plane) for (let at = 0; at < mask.length; at++) mask[at] = plane[at] === this.label ? 1 : 0;
    return Array.from(encodeRuns(mask));
  }

  // --- opening and coming back ---------------------------------------------------------------------------------

  /** Load the newest state, then send what a tab that died had not sent. */
  async open() {
    try {
      const query = new URLSearchParams({ client: this.client, open: "1" });
      const head = await this.api.json(`cases/${this.spec.case}/reading?${query}`);
      await this.#load(head);
      await this.#recover(head);
      this.presence ??= new Presence(this);
      this.viewer.marksReady();
    } catch (error) {
      this.setStatus(error.status === 404 ? "gone" : "offline", error.message);
      if (!this.closed && error.status !== 404) setTimeout(() => (this.opening = this.open()), 2000);
    }
  }

  async #load(head) {
    let volume = this.kind === "mask" ? new LabelVolume(this.facts, this.largest) : null;
    let items = new Map();
    if (head.version_id !== null) {
      const stored = new StoredReading(head.version_id, this.facts, this.largest, this.api);
      await stored.ready;
      await stored.complete;
      stored.close();
      if (volume) volume = stored.volume;
      items = stored.items;
    }
    const steps = await unpackSteps(new Uint8Array(await (await this.api.fetch(`cases/${this.spec.case}/steps`)).arrayBuffer()));
    this.marks = new Marks(volume, this.client);
    this.marks.items = items;
    this.marks.remember(steps);
    const place = { api: this.api, caseId: this.spec.case, reader: this.reader, names: head.names, journal: this.journal, activity: this.activity };
    this.saver?.close();
    this.saver = new Saver(place, (state, sentence) => this.setStatus(state, sentence), (own) => this.#forked(own));
    this.marks.listen((step, planes) => this.#changed(step, planes));
    this.layer = new LabelLayer({ kind: this.kind, volume, items });
    this.setStatus("saved", "");
  }

  async #recover(head) {
    for (const group of await this.journal.unsent(this.spec.case, this.reader).catch(() => [])) {
      const client = group[0].step.client;
      if (client === this.client || (await this.tabs.isAlive(client))) continue;
      const query = new URLSearchParams({ client });
      const { received, names } = await this.api.json(`cases/${this.spec.case}/reading?${query}`);
      const arrived = group.filter(({ step }) => step.number <= received).map(({ step }) => step);
      await this.journal.forget(this.spec.case, this.reader, arrived);
      const rest = group.filter(({ step }) => step.number > received).map(({ step }) => step);
      if (!rest.length) continue;
      const base = arrived.length ? names[0] : group[0].base;
      const fits = head.names.includes(base) || names.includes(base);
      if (fits && this.marks.replay(rest)) {
        this.saver.adopt(rest, base);
        this.say("Marks that had not been saved came back.");
      } else await this.#rescue(rest, base);
    }
  }

  /** Keep marks that fit nowhere any more beside what others made meanwhile. */
  async #rescue(steps, base) {
    const query = new URLSearchParams({ based_on: base, fork: "1" });
    const body = await packSteps(steps);
    const own = await this.api.json(`cases/${this.spec.case}/reading?${query}`, { method: "PUT", body });
    await this.journal.forget(this.spec.case, this.reader, steps);
    this.say(`Marks from an earlier window, made before this reading was changed, are kept as ${own.reader}.`);
  }

  /** The reading was changed elsewhere and nothing waits here: show it as it is now. */
  async reload() {
    this.marks = null;
    this.setStatus("loading", "");
    this.say("This reading was changed in another window; it is shown as it is now.");
    await this.open();
  }

  #forked(own) {
    this.reader = own.reader;
    this.api.setToken(own.token);
    this.viewer.tell("forked", own.reader);
    this.say(`This reading was changed elsewhere meanwhile. Your marks are kept as ${own.reader}, nothing was overwritten.`);
  }

  // --- changes --------------------------------------------------------------------------------------------------

  #changed(step, planes) {
    if (!step.replayed) this.saver.add(step);
    this.viewer.marksChanged(planes);
  }

  undo() {
    this.rejectProposal();
    super.undo();
  }

  /** Ink for the label in hand (0 removes). */
  ink(label, range) {
    return { label, closed: this.closedNow(label), range };
  }

  closedNow(label = this.label) {
    const closed = closedLabels(this.locked, this.viewer.look.hidden);
    if (label) closed[label] = this.locked.has(label) ? 1 : 0;
    return closed;
  }

  /** Whether marks may be made now; says why not. */
  mayPaint(erases = false) {
    if (!this.marks) return this.#no("The reading is still being loaded.");
    if (this.status.state === "gone" || this.status.state === "refused") return this.#no(this.status.sentence);
    if (!this.labels.length) return this.#no("This project has no label yet; add one on the Projects page.");
    if (!erases && this.locked.has(this.label)) return this.#no("This label is locked.");
    if (!erases && this.viewer.look.hidden.has(this.label)) return this.#no("This label is hidden; show it first.");
    return true;
  }

  mayNote(needsLabel = false) {
    if (!this.marks) return this.#no("The reading is still being loaded.");
    return needsLabel ? this.mayPaint() : this.status.state !== "gone";
  }

  #no(sentence) {
    this.say(sentence);
    return false;
  }

  addBox(pane, box) {
    if (!box) return;
    const id = `b${newClient().slice(0, 12)}`;
    this.marks.putItems("box", { [id]: { kind: "box", label: this.label, plane: pane.index, box } });
    this.viewer.select(id);
  }

  addTurned(note, box) {
    if (!box) return;
    const id = `b${newClient().slice(0, 12)}`;
    this.marks.putItems("turned box", { [id]: box, [`${id}-turned`]: note });
    this.viewer.select(`${id}-turned`);
  }

  /** A turned box and the box around it change together. */
  together(id, item) {
    if (!id.endsWith("-turned") || this.kind !== "boxes") return { [id]: item };
    const box = item && this.viewer.boxAround(item);
    return { [id]: item, [id.slice(0, -"-turned".length)]: box };
  }

  relabelSelected(label) {
    const item = this.marks?.items.get(this.viewer.selected);
    if (item?.label) this.marks.putItems("label", this.together(this.viewer.selected, { ...item, label }));
  }

  /** Set or clear a class of a slice, or (plane -1) of the whole image. */
  setClass(plane, label, on) {
    const id = `class ${plane} ${label}`;
    const note = { kind: "class", points: [], axis: "z", plane, label, text: "" };
    this.marks.putItems("class", { [id]: on ? note : null });
  }

  hasClass(plane, label) {
    return this.marks?.items.has(`class ${plane} ${label}`) ?? false;
  }

  // --- proposals ------------------------------------------------------------------------------------------------

  /** Ask the server for help; the answer is a proposal. @param {object} asked tool and what it needs */
  async assist(asked) {
    const turn = ++this.turn;
    this.say("…");
    try {
      const body = JSON.stringify({ ...asked, label: this.label });
      const response = await this.api.fetch(`cases/${this.spec.case}/assist`, { method: "POST", body });
      const planes = new Map();
      const unsure = new Map();
      for await (const frame of readFrames(response)) {
        if (!frame.isRuns) {
          unsure.set(frame.index, frame.values);
          continue;
        }
        const plane = new Uint16Array(frame.rows * frame.columns);
        decodeRuns(frame.values, plane);
        planes.set(frame.index, plane);
      }
      if (turn === this.turn && this.marks) this.propose(planes, asked.tool, unsure);
    } catch (error) {
      if (turn === this.turn) this.say(error.message);
    }
  }

  /**
   * Show label maps as a proposal.
   * @param {Map<number, Uint16Array>} planes by slice
   * @param {string} name for people
   * @param {Map<number, Uint8Array>} unsure how little is known, 255: nothing, by slice
   */
  propose(planes, name, unsure) {
    this.proposal = planes.size ? { planes, name, unsure } : null;
    this.say(planes.size ? "Enter accepts, Escape rejects." : "Nothing was found here.");
    this.viewer.redrawMarks();
  }

  acceptProposal() {
    if (!this.proposal) return false;
    const { planes, name } = this.proposal;
    this.proposal = null;
    this.turn += 1;
    this.hints.clear();
    actions.layOver(this.marks, name, this.closedNow(0), planes);
    this.viewer.redrawLines();
    this.say("");
    this.viewer.redrawMarks();
    return true;
  }

  rejectProposal() {
    this.turn += 1; // an answer on its way comes too late
    if (!this.proposal) return false;
    this.activity.rejected += 1;
    this.proposal = null;
    this.hints.clear();
    this.viewer.redrawLines();
    this.say("");
    this.viewer.redrawMarks();
    return true;
  }

  /** What is proposed, to lie over the picture. */
  get proposalLayer() {
    const { proposal, facts } = this;
    if (!proposal) return null;
    return {
      sheet: (axis, index) => {
        const values = axis === "z" ? proposal.planes.get(index) : null;
        if (!values) return null;
        const palette = labelPalette(this.labels, 0.9, new Set());
        return { values, columns: facts.columns, rows: facts.rows, palette, contour: false, striped: true };
      },
    };
  }

  /** Where the proposal is unsure, when somebody wants to see it. */
  get unsureLayer() {
    const { proposal, facts } = this;
    if (!proposal || !this.hints.options.unsure) return null;
    return {
      sheet: (axis, index) => {
        const values = axis === "z" ? proposal.unsure.get(index) : null;
        return values ? { values, columns: facts.columns, rows: facts.rows, palette: UNSURE, contour: false } : null;
      },
    };
  }

  // --- whole operations -----------------------------------------------------------------------------------------

  /** Run one of the operations of actions.js on what is shown; says what it did. */
  run(name, options = {}) {
    if (!this.mayPaint(name === "clear" || name === "copy")) return;
    const z = this.viewer.sliceInView;
    const closed = this.closedNow();
    const slices = options.all ? Array.from({ length: this.facts.slices }, (_, i) => i) : [z];
    const { marks, label } = this;
    const words = {
      between: () => many(actions.fillBetween(marks, label, closed, this.facts), "slice filled", "slices filled", "No gap between marked slices."),
      islands: () => many(actions.removeIslands(marks, label, closed, slices, options.size), "island removed", "islands removed", "No island is that small."),
      holes: () => many(actions.fillHoles(marks, label, closed, slices, options.size), "hole filled", "holes filled", "No hole is that small."),
      copy: () => {
        const from = z + options.step;
        if (from < 0 || from >= this.facts.slices) return "There is no such slice.";
        return actions.copySlice(marks, this.closedNow(0), from, z) ? `Copied slice ${from + 1}.` : "Both slices are alike.";
      },
      clear: () => (actions.clearSlice(marks, this.closedNow(0), z) ? "Cleared; undo brings it back." : "There is nothing to clear."),
    };
    this.say(words[name]());
  }

  /** Make another reading one's own, in one step that can be undone. */
  async takeOver(version, title) {
    if (!this.mayPaint(true)) return;
    const other = new StoredReading(version, this.facts, this.largest, this.api);
    try {
      await other.ready;
      await other.complete;
      const changed = actions.takeOver(this.marks, `started from ${title}`, other);
      this.say(changed ? `Started from ${title}; undo brings yours back.` : "It is the same as yours.");
    } catch (error) {
      this.say(error.message);
    } finally {
      other.close();
    }
  }

  /** Give up marks that the server cannot take. */
  async discardUnsent() {
    await this.journal.forget(this.spec.case, this.reader, this.saver.unsent).catch(() => {});
    this.saver.unsent = [];
    await this.open();
  }

  // --- telling --------------------------------------------------------------------------------------------------

  setStatus(state, sentence) {
    this.status = { state, sentence };
    this.viewer.showStatus();
  }

  say(sentence) {
    this.viewer.say(sentence);
  }

  close() {
    this.closed = true;
    this.activity.close();
    this.presence?.close();
    this.saver?.close();
    this.tabs.close();
  }
}

const many = (count, one, more, none) => (count ? `${count} ${count === 1 ? one : more}.` : none);

function startSize(facts) {
  const longest = Math.max(facts.rows, facts.columns);
  return longest <= 256 ? 5 : longest <= 1024 ? 10 : 40;
}

function rangeOf(viewer, facts) {
  const { center, width } = viewer.windowOf(facts);
  const [low, high] = facts.color ? facts.range : [center - width / 2, center + width / 2];
  return [Math.max(low, facts.range[0]), Math.min(high, facts.range[1])];
}

function toleranceOf(viewer, facts) {
  const { width } = viewer.windowOf(facts);
  return Math.max((facts.color ? facts.range[1] - facts.range[0] : width) / 10, 1e-6);
}
