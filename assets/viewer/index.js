// The door: Streamlit calls `show` on every run of the page; what it shows stays as it is between runs.

import { el } from "./dom.js";
import { Shell } from "./shell.js";

const NEEDED = [
  ["PointerEvent", "pointer events"], ["ResizeObserver", "resize observers"], ["DecompressionStream", "compression streams"],
  ["AbortController", "fetch"],
];
const shells = new WeakMap();

/** @returns {string|null} a sentence when this browser is too old */
export function missingSentence(scope = globalThis) {
  const missing = NEEDED.filter(([name]) => !(name in scope)).map(([, words]) => words);
  if (!missing.length) return null;
  return `This browser is too old for the viewer (it lacks ${missing.join(", ")}); use a current Firefox, Chrome, Edge or Safari.`;
}

/**
 * @param {HTMLElement} host
 * @param {object} scene what the page describes, see pages/shared/viewer.py
 * @param {(name: string, value: unknown) => void} tell the page
 */
export function show(host, scene, tell) {
  const sentence = missingSentence();
  if (sentence) {
    host.replaceChildren(el("p.viewer-message", { text: sentence, role: "alert" }));
    return;
  }
  let shell = shells.get(host);
  if (!shell) {
    shell = new Shell(host);
    shells.set(host, shell);
  }
  shell.update(scene, tell);
}

/** @param {HTMLElement} host */
export function close(host) {
  shells.get(host)?.close();
  shells.delete(host);
}

/** For tests: the viewer behind a host. */
export const viewerOf = (host) => shells.get(host)?.viewer;
