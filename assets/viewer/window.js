// Values to shades of grey by the DICOM linear function, bit for bit as core/imaging/windows.py does it.

const EXACT_BELOW = 256; // width under which float images follow LINEAR_EXACT
const SPARE = 2; // values beside the window that are calculated, too
const OPAQUE = 0xff000000;
const f32 = Math.fround;

/**
 * @typedef {{center: number, width: number}} Window
 * @typedef {object} Facts what the server says about an image, see pages/shared/facts.py
 */

/**
 * Make the function from a value to a shade (0 to 255).
 * @param {string} stored type of the stored values
 * @param {Window} window
 * @returns {(value: number) => number}
 */
export function shadeOf(stored, window) {
  if (stored === "bool") return (value) => (value ? 255 : 0);
  if (stored === "uint8" && window.center === 128 && window.width === 256) return (value) => value;
  const single = stored === "uint8" || stored === "int8" || stored === "int16" || stored === "uint16";
  const round = single ? f32 : (x) => x;
  const span = stored.startsWith("float") && window.width < EXACT_BELOW ? window.width : window.width - 1;
  const low = round(window.center - window.width / 2);
  if (span <= 0) return (value) => (round(round(value) - low) > 0 ? 255 : 0);
  const factor = round(255 / span);
  return (value) => {
    const scaled = round(round(round(value) - low) * factor);
    if (!(scaled > 0)) return 0; // NaN, too
    return scaled >= 255 ? 255 : Math.trunc(round(scaled + 0.5));
  };
}

/** Paints planes of one image through windows; keeps the table of the last window. */
export class Painter {
  /** @param {Facts} facts */
  constructor(facts) {
    this.facts = facts;
    this.key = "";
    this.table = null;
    this.offset = 0;
  }

  /**
   * Paint values as RGBA.
   * @param {ArrayLike<number>} values of a plane or a tile, channels last
   * @param {Window} window
   * @param {boolean} inverted shows low values bright
   * @param {Uint32Array} out one number per pixel
   */
  paint(values, window, inverted, out) {
    if (this.facts.color) {
      this.paintColor(values, window, out);
      return;
    }
    this.prepare(window, inverted);
    const { table, offset } = this;
    const n = out.length;
    if (table) {
      for (let i = 0; i < n; i++) out[i] = table[values[i] + offset];
      return;
    }
    const shade = shadeOf(this.facts.stored, window);
    for (let i = 0; i < n; i++) {
      const grey = inverted ? 255 - shade(values[i]) : shade(values[i]);
      out[i] = OPAQUE | (grey << 16) | (grey << 8) | grey;
    }
  }

  prepare(window, inverted) {
    const key = `${window.center} ${window.width} ${inverted}`;
    if (key === this.key) return;
    this.key = key;
    const sizes = { uint8: [256, 0], int16: [65536, 32768], uint16: [65536, 0] };
    const found = sizes[this.facts.wire];
    if (!found) return;
    const [size, offset] = found;
    const table = this.table ?? new Uint32Array(size);
    const shade = shadeOf(this.facts.stored, window);
    const entry = (i) => {
      const grey = inverted ? 255 - shade(i - offset) : shade(i - offset);
      return OPAQUE | (grey << 16) | (grey << 8) | grey;
    };
    // Beyond the window there is nothing to calculate.
    const low = window.center - window.width / 2 + offset;
    const from = Math.min(Math.max(Math.floor(low) - SPARE, 0), size);
    const to = Math.min(Math.max(Math.ceil(low + window.width) + SPARE, from), size);
    table.fill(entry(0), 0, from);
    for (let i = from; i < to; i++) table[i] = entry(i);
    table.fill(entry(size - 1), to);
    this.table = table;
    this.offset = offset;
  }

  paintColor(values, window, out) {
    const channels = this.facts.channels;
    const shade = colorShade(this.facts.stored, window);
    const n = out.length;
    for (let i = 0, at = 0; i < n; i++, at += channels) {
      const red = shade(values[at]);
      const green = channels > 1 ? shade(values[at + 1]) : 0;
      const blue = channels > 2 ? shade(values[at + 2]) : 0;
      out[i] = OPAQUE | (blue << 16) | (green << 8) | red;
    }
  }
}

function colorShade(stored, window) {
  if (stored === "uint8") return (value) => value;
  if (stored === "uint16") return (value) => Math.floor((value * 255 + 32767) / 65535);
  return shadeOf(stored, window);
}
