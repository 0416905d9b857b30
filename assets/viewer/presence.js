// Who else has the reading open, and whether it was changed elsewhere: asked every few seconds while the tab is seen.

const PAUSE_MS = 7000;

export class Presence {
  /** @param {import("./workbench.js").Workbench} bench */
  constructor(bench) {
    this.bench = bench;
    this.others = 0;
    this.closed = false;
    this.seen = () => document.visibilityState === "visible" && this.look();
    document.addEventListener("visibilitychange", this.seen);
    this.timer = setInterval(() => this.seen(), PAUSE_MS);
    this.look();
  }

  async look() {
    const { bench } = this;
    if (this.closed || this.looking || bench.saver.stopped || !bench.marks || bench.saver.state !== "saved") return;
    this.looking = true;
    try {
      const query = new URLSearchParams({ client: bench.client });
      const known = bench.saver.names[0];
      const head = await bench.api.json(`cases/${bench.spec.case}/reading?${query}`);
      if (this.closed) return;
      if (head.others !== this.others) {
        this.others = head.others;
        bench.viewer.showStatus();
      }
      // Only when nothing was marked while the answer was on its way, and nothing is being marked now.
      const idle = bench.saver.names[0] === known && bench.saver.state === "saved" && !bench.viewer.busy;
      if (idle && head.reader === bench.reader && !head.names.includes(known)) await bench.reload();
    } catch (error) {
      if (error.status === 404) bench.setStatus("gone", error.message);
    } finally {
      this.looking = false;
    }
  }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    document.removeEventListener("visibilitychange", this.seen);
    const { bench } = this;
    const query = new URLSearchParams({ client: bench.client, leave: "1" });
    bench.api.fetch(`cases/${bench.spec.case}/reading?${query}`, { keepalive: true }).catch(() => {});
  }
}
