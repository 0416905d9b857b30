// Shapes to pixels. A pixel belongs to a shape when its centre does; core/readings/outlines.py does the same.
//
// Coordinates are (u, v) on a plane: the pixel in column i covers [i, i + 1).

/**
 * @callback Span marks pixels [left, right) of a row
 * @param {number} row
 * @param {number} left
 * @param {number} right
 */

/**
 * Fill outlines by the even-odd rule: an outline within another is a hole.
 * @param {number[][][]} outlines closed by themselves
 * @param {number} columns
 * @param {number} rows
 * @param {Span} span
 */
export function fillPolygons(outlines, columns, rows, span) {
  const parts = outlines.filter((points) => points.length >= 3);
  if (!parts.length) return;
  const vs = parts.flatMap((points) => points.map((point) => point[1]));
  const first = Math.max(0, Math.floor(Math.min(...vs)));
  const last = Math.min(rows, Math.ceil(Math.max(...vs)) + 1);
  for (let row = first; row < last; row++) {
    const edges = parts.flatMap((points) => crossings(points, row + 0.5, columns)).sort((a, b) => a - b);
    for (let i = 0; i + 1 < edges.length; i += 2) if (edges[i] < edges[i + 1]) span(row, edges[i], edges[i + 1]);
  }
}

function crossings(points, y, columns) {
  const found = [];
  for (let i = 0; i < points.length; i++) {
    const a = points[i];
    const b = points[(i + 1) % points.length];
    if (a[1] <= y === b[1] <= y) continue;
    found.push(a[0] + ((y - a[1]) * (b[0] - a[0])) / (b[1] - a[1]));
  }
  found.sort((a, b) => a - b);
  return found.map((x) => Math.min(Math.max(Math.ceil(x - 0.5), 0), columns));
}

/**
 * Draw one piece of a stroke with a round brush: all centres within the radius of the line from a to b.
 * @param {number[]} a
 * @param {number[]} b
 * @param {{u: number, v: number}} radius in pixels along each axis; unlike where pixels are not square
 * @param {number} columns
 * @param {number} rows
 * @param {Span} span
 */
export function strokeSegment(a, b, radius, columns, rows, span) {
  const stretch = radius.u / radius.v;
  const r2 = radius.u * radius.u;
  const top = Math.max(0, Math.floor(Math.min(a[1], b[1]) - radius.v - 1));
  const bottom = Math.min(rows, Math.ceil(Math.max(a[1], b[1]) + radius.v + 1));
  const left = Math.max(0, Math.floor(Math.min(a[0], b[0]) - radius.u - 1));
  const right = Math.min(columns, Math.ceil(Math.max(a[0], b[0]) + radius.u + 1));
  const along = [b[0] - a[0], (b[1] - a[1]) * stretch];
  const length2 = along[0] * along[0] + along[1] * along[1];
  for (let row = top; row < bottom; row++) {
    const dy = (row + 0.5 - a[1]) * stretch;
    let start = -1;
    for (let column = left; column < right; column++) {
      const dx = column + 0.5 - a[0];
      const share = length2 === 0 ? 0 : Math.min(Math.max((dx * along[0] + dy * along[1]) / length2, 0), 1);
      const ex = column + 0.5 - a[0] - share * along[0];
      const ey = dy - share * along[1];
      const inside = ex * ex + ey * ey <= r2;
      if (inside && start < 0) start = column;
      if (!inside && start >= 0) {
        span(row, start, column);
        start = -1;
        break; // a capsule meets a row once
      }
    }
    if (start >= 0) span(row, start, right);
  }
  if (Math.min(radius.u, radius.v) < 1) visited(a, b, columns, rows, span);
}

// A thin line may pass between centres: take the pixels it runs through.
function visited(a, b, columns, rows, span) {
  const far = Math.max(Math.abs(b[0] - a[0]), Math.abs(b[1] - a[1]));
  const steps = Math.ceil(far * 2) + 1;
  for (let i = 0; i < steps; i++) {
    const share = steps === 1 ? 0 : i / (steps - 1);
    const column = Math.floor(a[0] + share * (b[0] - a[0]));
    const row = Math.floor(a[1] + share * (b[1] - a[1]));
    if (column >= 0 && column < columns && row >= 0 && row < rows) span(row, column, column + 1);
  }
}

/** Corners of a rectangle between two opposite ones. */
export const rectangle = ([u0, v0], [u1, v1]) => [[u0, v0], [u1, v0], [u1, v1], [u0, v1]];

/** Corners of a turned box from its centre and two neighbouring corners. */
export function turnedCorners([center, first, second]) {
  const across = (point) => [2 * center[0] - point[0], 2 * center[1] - point[1]];
  return [first, second, across(first), across(second)];
}

/**
 * Outline a mask along the borders of its pixels, as lines for drawing.
 * @param {(row: number, column: number) => boolean} inside
 * @param {{left: number, top: number, right: number, bottom: number}} box
 * @returns {number[][]} [u0, v0, u1, v1] each
 */
export function borderLines(inside, { left, top, right, bottom }) {
  const lines = [];
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      const here = inside(row, column);
      if (here !== inside(row - 1, column)) lines.push([column, row, column + 1, row]);
      if (here !== inside(row, column - 1)) lines.push([column, row, column, row + 1]);
    }
  }
  return lines;
}
