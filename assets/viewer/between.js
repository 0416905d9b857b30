// Slices between marked ones: the shape half way from one to the other, by signed distances.

const FAR = 1e20;

/**
 * Squared distance of every pixel to the nearest pixel that is set (0 there), exact.
 * Source: Felzenszwalb and Huttenlocher, Distance Transforms of Sampled Functions, 2012.
 * @param {Uint8Array} mask 0 or 1
 * @param {number} columns
 * @param {number} rows
 * @param {{u: number, v: number}} size of a pixel
 * @returns {Float64Array}
 */
export function squaredDistance(mask, columns, rows, size) {
  const out = new Float64Array(mask.length);
  for (let i = 0; i < out.length; i++) out[i] = mask[i] ? 0 : FAR;
  const line = new Float64Array(Math.max(columns, rows));
  for (let column = 0; column < columns; column++) {
    for (let row = 0; row < rows; row++) line[row] = out[row * columns + column];
    const result = lowerEnvelope(line, rows, size.v);
    for (let row = 0; row < rows; row++) out[row * columns + column] = result[row];
  }
  for (let row = 0; row < rows; row++) {
    line.set(out.subarray(row * columns, (row + 1) * columns));
    out.set(lowerEnvelope(line, columns, size.u).subarray(0, columns), row * columns);
  }
  return out;
}

function lowerEnvelope(f, n, step) {
  const vertex = new Int32Array(n);
  const border = new Float64Array(n + 1);
  const out = new Float64Array(n);
  let k = 0;
  border[0] = -Infinity;
  border[1] = Infinity;
  const s2 = step * step;
  for (let q = 1; q < n; q++) {
    let s;
    do {
      const p = vertex[k];
      s = (f[q] + s2 * q * q - (f[p] + s2 * p * p)) / (2 * s2 * (q - p));
    } while (s <= border[k] && k-- > 0);
    k++;
    vertex[k] = q;
    border[k] = s;
    border[k + 1] = Infinity;
  }
  for (let q = 0, j = 0; q < n; q++) {
    while (border[j + 1] < q) j++;
    const d = (q - vertex[j]) * step;
    out[q] = d * d + f[vertex[j]];
  }
  return out;
}

/** Distance to the border: positive inside, negative outside. */
export function signedDistance(mask, columns, rows, size) {
  const outside = squaredDistance(mask, columns, rows, size);
  const inside = squaredDistance(mask.map((value) => 1 - value), columns, rows, size);
  return outside.map((value, i) => Math.sqrt(Math.min(inside[i], FAR)) - Math.sqrt(Math.min(value, FAR)));
}

/**
 * Return the shapes of the planes between two marked ones.
 * @param {Uint8Array} first mask of 0 and 1
 * @param {Uint8Array} last
 * @param {number} count planes between them
 * @param {{columns: number, rows: number, size: {u: number, v: number}}} grid
 * @returns {Uint8Array[]}
 */
export function shapesBetween(first, last, count, { columns, rows, size }) {
  const [a, b] = [first, last].map((mask) => signedDistance(mask, columns, rows, size));
  return Array.from({ length: count }, (_, i) => {
    const share = (i + 1) / (count + 1);
    return Uint8Array.from(a, (value, at) => ((1 - share) * value + share * b[at] > 0 ? 1 : 0));
  });
}
