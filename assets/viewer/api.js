// Requests to the server: every one carries the token; when it has ended, the page is asked for a new one.

import { readFrames } from "./frames.js";

const TOKEN_HEADER = "X-Sightline-Token";
const RENEW_MS = 20_000;

/** A refusal with the sentence the server gave; status 0 when it could not be reached. */
export class ApiError extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

export class Api {
  /** @param {string} token @param {() => void} askForToken */
  constructor(token, askForToken) {
    this.token = token;
    this.askForToken = askForToken;
    this.waiting = [];
  }

  /** The page has handed out a token. */
  setToken(token) {
    if (token === this.token) return;
    this.token = token;
    for (const go of this.waiting.splice(0)) go();
  }

  /**
   * @param {string} path below /api/
   * @param {RequestInit} [options]
   * @returns {Promise<Response>}
   */
  async fetch(path, options = {}) {
    let response = await this.#send(path, options);
    if (response.status === 403 && (await this.#renewed())) response = await this.#send(path, options);
    if (response.ok) return response;
    let sentence = `The server answered ${response.status}.`;
    try {
      sentence = (await response.json()).error ?? sentence;
    } catch {
      // it was no JSON: the status is all there is to tell
    }
    throw new ApiError(response.status, sentence);
  }

  async #send(path, options) {
    const headers = { ...options.headers, [TOKEN_HEADER]: this.token };
    try {
      return await fetch(new URL(`/api/${path}`, window.location.origin), { ...options, headers, credentials: "omit" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "The server cannot be reached.");
    }
  }

  #renewed() {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), RENEW_MS);
      this.waiting.push(() => {
        clearTimeout(timer);
        resolve(true);
      });
      this.askForToken();
    });
  }

  async json(path, options) {
    return (await this.fetch(path, options)).json();
  }

  /** @returns {AsyncGenerator<import("./frames.js").Frame>} */
  async *frames(path, options) {
    yield* readFrames(await this.fetch(path, options));
  }
}

/** On this machine bytes are cheap; over a line they are packed. */
export const packing = () => (/^(localhost|127\.|\[::1\])/.test(window.location.hostname) ? "" : "?packed=1");
