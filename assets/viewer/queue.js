// Work to fetch, nearest first: what is in view before what may come into view.

/** Runs a few tasks at a time; the most urgent of those that wait goes next. */
export class NearestFirst {
  /**
   * @param {number} atOnce
   * @param {(key: number) => number} distance of a task; infinite: not needed any more
   * @param {(key: number) => Promise<void>} run
   */
  constructor(atOnce, distance, run) {
    this.atOnce = atOnce;
    this.distance = distance;
    this.run = run;
    this.waiting = new Set();
    this.running = new Set();
    this.failures = 0;
    this.closed = false;
  }

  add(keys) {
    for (const key of keys) if (!this.running.has(key)) this.waiting.add(key);
    this.pump();
  }

  pump() {
    while (!this.closed && this.running.size < this.atOnce && this.waiting.size) {
      const key = this.#nearest();
      if (key === null) return;
      this.waiting.delete(key);
      this.running.add(key);
      this.#do(key);
    }
  }

  #nearest() {
    let best = null;
    let least = Infinity;
    for (const key of this.waiting) {
      const distance = this.distance(key);
      if (distance === Infinity) this.waiting.delete(key);
      else if (distance < least) [best, least] = [key, distance];
    }
    return best;
  }

  async #do(key) {
    try {
      await this.run(key);
      this.failures = 0;
    } catch (error) {
      this.failures += 1;
      const gone = error.status === 404 || error.status === 422;
      if (!this.closed && !gone) {
        const pause = Math.min(30_000, 500 * 2 ** Math.min(this.failures, 6));
        setTimeout(() => this.add([key]), pause);
      }
      this.onError?.(error);
    } finally {
      this.running.delete(key);
      this.pump();
    }
  }

  close() {
    this.closed = true;
    this.waiting.clear();
  }
}
