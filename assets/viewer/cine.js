// Frames one after the other, at a steady rate.

export class Cine {
  /** @param {import("./viewer.js").Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.rate = 15; // frames a second
    this.playing = false;
  }

  toggle() {
    if (this.playing) this.stop();
    else this.start();
  }

  start() {
    if (!this.viewer.active || this.viewer.active.count < 2) return;
    this.playing = true;
    let last = performance.now();
    const step = (now) => {
      if (!this.playing) return;
      const due = Math.floor(((now - last) * this.rate) / 1000);
      if (due > 0) {
        last += (due * 1000) / this.rate;
        const pane = this.viewer.active;
        this.viewer.goTo(pane, (pane.index + due) % pane.count);
      }
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
    this.viewer.shell.showTool();
  }

  stop() {
    if (!this.playing) return;
    this.playing = false;
    this.viewer.shell.showTool();
  }

  /** @param {number} rate frames a second */
  setRate(rate) {
    this.rate = Math.min(60, Math.max(1, rate));
  }
}
