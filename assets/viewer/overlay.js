// Label maps over the picture, sampled at the screen's own pixels: sharp at any zoom, as cheap for 100 megapixels as
// for one.

/**
 * @typedef {object} Sheet what to lay over
 * @property {Uint8Array|Uint16Array} values
 * @property {number} columns
 * @property {number} rows
 * @property {Uint32Array} palette RGBA by value; alpha 0 is not drawn
 * @property {boolean} contour outlines only
 * @property {boolean} [striped]
 */

/** "#rrggbb" and an opacity as one number, the way ImageData holds it on little-endian machines. */
export function rgba(color, opacity) {
  const value = parseInt(color.slice(1), 16);
  const [red, green, blue] = [value >> 16, (value >> 8) & 255, value & 255];
  return ((Math.round(Math.min(Math.max(opacity, 0), 1) * 255) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * Draw sheets into a region of the screen; later ones lie on top.
 * @param {Uint32Array} out width x height pixels, overwritten
 * @param {{x: number, y: number, width: number, height: number}} region of the canvas
 * @param {number[]} matrix canvas from (u, v), as Camera.matrix
 * @param {Sheet[]} sheets
 * @param {number} line thickness of outlines in canvas pixels
 */
export function drawSheets(out, region, matrix, sheets, line) {
  out.fill(0);
  if (!sheets.length) return;
  const labels = new Uint16Array(region.width * region.height);
  for (const sheet of sheets) {
    if (sheet.contour) {
      const wide = { x: region.x - line, y: region.y - line, width: region.width + 2 * line, height: region.height + 2 * line };
      const around = new Uint16Array(wide.width * wide.height);
      sample(around, wide, matrix, sheet);
      outline(out, around, region, line, sheet.palette);
    } else {
      sample(labels, region, matrix, sheet);
      fill(out, labels, region.width, sheet);
    }
  }
}

/** Values of a sheet under the pixels of a region; 0 outside of it. */
export function sample(labels, region, [a, b, c, d, e, f], { values, columns, rows }) {
  const det = a * d - b * c;
  const [ux, uy, vx, vy] = [d / det, -c / det, -b / det, a / det];
  const u0 = ux * (region.x + 0.5 - e) + uy * (region.y + 0.5 - f);
  const v0 = vx * (region.x + 0.5 - e) + vy * (region.y + 0.5 - f);
  const { width, height } = region;
  if (uy === 0 && vx === 0) {
    const column = steps(u0, ux, width, columns);
    for (let y = 0; y < height; y++) {
      const row = Math.floor(v0 + vy * y);
      sampleRow(labels, y * width, values, column, row >= 0 && row < rows ? row * columns : -1);
    }
    return;
  }
  for (let y = 0, at = 0; y < height; y++) {
    let u = u0 + uy * y;
    let v = v0 + vy * y;
    for (let x = 0; x < width; x++, at++, u += ux, v += vx) {
      const [i, j] = [Math.floor(u), Math.floor(v)];
      labels[at] = i >= 0 && j >= 0 && i < columns && j < rows ? values[j * columns + i] : 0;
    }
  }
}

function steps(start, step, count, limit) {
  const found = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const at = Math.floor(start + step * i);
    found[i] = at >= 0 && at < limit ? at : -1;
  }
  return found;
}

function sampleRow(labels, at, values, column, start) {
  if (start < 0) {
    labels.fill(0, at, at + column.length);
    return;
  }
  for (let x = 0; x < column.length; x++) labels[at + x] = column[x] < 0 ? 0 : values[start + column[x]];
}

function fill(out, labels, width, { palette, striped }) {
  for (let i = 0; i < labels.length; i++) {
    if (labels[i] === 0) continue;
    const color = palette[labels[i]];
    if (color >>> 24 === 0) continue;
    if (striped && ((i % width) + Math.floor(i / width)) & 4) continue;
    out[i] = color;
  }
}

function outline(out, around, { width, height }, line, palette) {
  const wide = width + 2 * line;
  for (let y = 0, at = 0; y < height; y++) {
    let i = (y + line) * wide + line;
    for (let x = 0; x < width; x++, at++, i++) {
      const value = around[i];
      if (value === 0) continue;
      const same =
        around[i - line] === value && around[i + line] === value &&
        around[i - line * wide] === value && around[i + line * wide] === value;
      if (!same && palette[value] >>> 24) out[at] = palette[value];
    }
  }
}

/** Colours of labels by value; hidden ones are not drawn. */
export function labelPalette(labels, opacity, hidden) {
  const largest = labels.reduce((most, label) => Math.max(most, label.value), 0);
  const palette = new Uint32Array(Math.max(largest + 1, 256));
  for (const label of labels) if (!hidden.has(label.value)) palette[label.value] = rgba(label.color, opacity);
  return palette;
}

// Black, violet, orange, yellow: even steps in lightness, readable without colour vision (after "inferno").
const HEAT = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

/** Colours of 0 to 255 for heat maps; what is below `from` is not drawn. */
export function heatPalette(opacity, from = 0) {
  const palette = new Uint32Array(256);
  for (let value = Math.max(1, Math.ceil(from)); value < 256; value++) {
    const place = (value / 255) * (HEAT.length - 1);
    const i = Math.min(Math.floor(place), HEAT.length - 2);
    const mix = HEAT[i].map((part, k) => Math.round(part + (HEAT[i + 1][k] - part) * (place - i)));
    const hex = `#${mix.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
    palette[value] = rgba(hex, opacity * Math.min(1, value / 96));
  }
  return palette;
}
