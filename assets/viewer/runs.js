// Label maps as runs: pairs of (value, number of pixels), row after row. core/readings/runs.py does the same.

/**
 * @param {ArrayLike<number>} values whole numbers, read from first to last
 * @returns {Uint32Array} value, length, value, length ...
 */
export function encodeRuns(values) {
  const n = values.length;
  if (n === 0) return new Uint32Array(0);
  let count = 1;
  for (let i = 1; i < n; i++) if (values[i] !== values[i - 1]) count++;
  const runs = new Uint32Array(2 * count);
  let place = 0;
  let start = 0;
  for (let i = 1; i <= n; i++) {
    if (i < n && values[i] === values[start]) continue;
    runs[place++] = values[start];
    runs[place++] = i - start;
    start = i;
  }
  return runs;
}

/**
 * Write what runs stand for into `out`.
 * @param {Uint32Array} runs
 * @param {Uint8Array|Uint16Array} out
 */
export function decodeRuns(runs, out) {
  let place = 0;
  for (let i = 0; i < runs.length; i += 2) {
    out.fill(runs[i], place, place + runs[i + 1]);
    place += runs[i + 1];
  }
  if (place !== out.length) throw new Error(`runs cover ${place} pixels, ${out.length} are needed.`);
}

/** @param {Uint32Array} runs @returns {boolean} true when nothing is marked */
export function isEmptyRuns(runs) {
  for (let i = 0; i < runs.length; i += 2) if (runs[i] !== 0) return false;
  return true;
}
