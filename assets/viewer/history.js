// What a person marks: the label map and the items, changed only by steps; undo and redo are steps, too.

import { Recorder, fitsPatch, pastePatch, reversed } from "./steps.js";

const MOST_STEPS = 100;

export class Marks {
  /**
   * @param {import("./labels.js").LabelVolume|null} volume null where readings are boxes
   * @param {string} client name of this tab
   */
  constructor(volume, client) {
    this.volume = volume;
    this.client = client;
    /** @type {Map<string, object>} boxes and notes by name */
    this.items = new Map();
    this.number = 0;
    this.undoable = [];
    this.redoable = [];
    this.listeners = new Set();
  }

  /** @param {(step: import("./steps.js").Step, planes: Set<number>) => void} listener */
  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Do one thing as one step.
   * @param {string} name for people
   * @param {(recorder: Recorder|null) => import("./steps.js").Patch[]|void} change changes the label map, telling the
   *   recorder before; may return patches of items, which are applied here
   * @returns {boolean} false when nothing changed
   */
  act(name, change) {
    const recorder = this.volume ? new Recorder(this.volume) : null;
    const patches = change(recorder) ?? [];
    return this.commit(name, recorder, patches);
  }

  /** End what a recorder has watched. */
  commit(name, recorder, itemPatches = []) {
    const patches = [...(recorder?.patches() ?? []), ...itemPatches];
    if (!patches.length) return false;
    for (const patch of itemPatches) this.#put(patch);
    const step = this.#step("do", name, patches);
    this.undoable.push(step);
    if (this.undoable.length > MOST_STEPS) this.undoable.shift();
    this.redoable = [];
    this.#tell(step);
    return true;
  }

  /** Change items as one step. @param {string} name @param {Record<string, object|null>} after by name; null removes */
  putItems(name, after) {
    const patches = Object.entries(after).map(([id, item]) => ({
      on: "item", id, before: this.items.get(id) ?? null, after: item,
    }));
    return this.commit(name, null, patches.filter((patch) => !sameItem(patch.before, patch.after)));
  }

  undo() {
    return this.#move(this.undoable, this.redoable, "undo");
  }

  redo() {
    return this.#move(this.redoable, this.undoable, "redo");
  }

  #move(from, to, kind) {
    const step = from.pop();
    if (!step) return null;
    const patches = reversed(step.patches);
    this.#apply(patches);
    const back = this.#step(kind, step.name, patches);
    to.push(back);
    this.#tell(back);
    return back;
  }

  #step(kind, name, patches) {
    this.number += 1;
    return { client: this.client, number: this.number, kind, name, patches };
  }

  #apply(patches) {
    for (const patch of patches) {
      if (patch.on === "item") this.#put(patch);
      else pastePatch(this.volume, patch, "after");
    }
  }

  #put(patch) {
    if (patch.after === null) this.items.delete(patch.id);
    else this.items.set(patch.id, patch.after);
  }

  #tell(step) {
    const planes = new Set(step.patches.filter((patch) => patch.on === "mask").map((patch) => patch.z));
    for (const listener of this.listeners) listener(step, planes);
  }

  /** Remember steps that are part of the reading already. */
  remember(steps) {
    for (const step of steps) this.#file(step);
  }

  /**
   * Apply steps that were made before but never arrived at the server.
   * @returns {boolean} false (and nothing changed) when they do not fit
   */
  replay(steps) {
    if (!this.fits(steps)) return false;
    for (const step of steps) {
      this.#apply(step.patches);
      this.#file(step);
      this.#tell({ ...step, replayed: true });
    }
    return true;
  }

  /** Whether the first of these steps found what is there now. */
  fits(steps) {
    const first = steps[0]?.patches ?? [];
    return first.every((patch) =>
      patch.on === "item" ? sameItem(patch.before, this.items.get(patch.id) ?? null) : fitsPatch(this.volume, patch),
    );
  }

  #file(step) {
    if (step.client === this.client) this.number = Math.max(this.number, step.number);
    if (step.kind === "do") {
      this.undoable.push(step);
      this.redoable = [];
    } else if (step.kind === "undo") {
      this.undoable.pop();
      this.redoable.push(step);
    } else {
      this.redoable.pop();
      this.undoable.push(step);
    }
    if (this.undoable.length > MOST_STEPS) this.undoable.shift();
  }
}

const sameItem = (one, other) => JSON.stringify(one) === JSON.stringify(other);
