// How long somebody worked: the time between signs of life, as far as no pause was longer than half a minute.

const PAUSE_MS = 30_000;
const SIGNS = ["pointermove", "pointerdown", "keydown", "wheel"];

export class Activity {
  /** @param {EventTarget} root where signs of life are looked for */
  constructor(root) {
    this.root = root;
    this.last = performance.now();
    this.milliseconds = 0;
    this.rejected = 0;
    this.sign = () => {
      const now = performance.now();
      if (now - this.last <= PAUSE_MS) this.milliseconds += now - this.last;
      this.last = now;
    };
    for (const name of SIGNS) root.addEventListener(name, this.sign, { passive: true, capture: true });
  }

  /** What was counted since it was last told. @returns {{seconds: number, rejected: number}} */
  take() {
    const told = { seconds: Math.round(this.milliseconds / 10) / 100, rejected: this.rejected };
    this.milliseconds = 0;
    this.rejected = 0;
    return told;
  }

  /** It did not arrive: count it again. */
  giveBack({ seconds, rejected }) {
    this.milliseconds += 1000 * seconds;
    this.rejected += rejected;
  }

  close() {
    for (const name of SIGNS) this.root.removeEventListener(name, this.sign, { capture: true });
  }
}
