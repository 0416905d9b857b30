// Measurements and other items: drawn, moved, deleted, taken back. On its own they last as long as the page is open.

import { Marks } from "./history.js";
import { newClient } from "./journal.js";

export class Notepad {
  /** @param {import("./viewer.js").Viewer} viewer @param {object} source of the image they lie on */
  constructor(viewer, source) {
    this.viewer = viewer;
    this.source = source;
    this.facts = source.facts;
    this.kind = "notes";
    this.client = newClient();
    this.tried = null; // an item that is being dragged
    this.marks = new Marks(null, this.client);
    this.layer = { items: this.marks.items };
    this.marks.listen(() => viewer.marksChanged());
  }

  mayNote() {
    return true;
  }

  addNote(note, name) {
    const id = `n${newClient().slice(0, 12)}`;
    this.marks.putItems(name, { [id]: note });
    this.viewer.select(id);
  }

  /** Show an item as it would be; nothing is kept yet. */
  trying(id, item) {
    this.tried = { id, item };
    this.viewer.redrawLines();
  }

  finishTrying(id, name) {
    const { item } = this.tried ?? {};
    this.tried = null;
    if (item) this.marks.putItems(name, this.together(id, item));
    this.viewer.redrawLines();
  }

  stopTrying() {
    this.tried = null;
    this.viewer.redrawLines();
  }

  removeSelected() {
    const id = this.viewer.selected;
    if (!this.marks?.items.has(id)) return;
    this.marks.putItems("deleted", this.together(id, null));
    this.viewer.select(null);
  }

  /** All items that change when one does. */
  together(id, item) {
    return { [id]: item };
  }

  undo() {
    this.#show(this.marks?.undo(), "There is nothing to undo.");
  }

  redo() {
    this.#show(this.marks?.redo(), "There is nothing to redo.");
  }

  /** Show where a step that was taken back lies. */
  #show(step, otherwise) {
    if (!step) {
      this.viewer.say(otherwise);
      return;
    }
    const patch = step.patches[0];
    const item = patch.on === "item" ? patch.after ?? patch.before : null;
    const plane = item ? item.plane : patch.z;
    if (plane >= 0) this.viewer.showPlane(item?.axis ?? "z", plane);
  }

  close() {}
}
