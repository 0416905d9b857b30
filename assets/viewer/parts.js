// Connected parts of label maps: flood fill, islands, holes. Pixels touch by their sides.

/**
 * Return the pixels that hang together with a seed and have its value.
 * @param {Uint8Array|Uint16Array} plane
 * @param {number} columns
 * @param {number} rows
 * @param {number} seed index of a pixel
 * @returns {{pixels: Int32Array, open: boolean}} open: the part reaches the border of the plane
 */
export function floodPart(plane, columns, rows, seed) {
  const value = plane[seed];
  const seen = new Uint8Array(plane.length);
  const stack = [seed];
  const found = [];
  let open = false;
  seen[seed] = 1;
  while (stack.length) {
    const at = stack.pop();
    found.push(at);
    const column = at % columns;
    const row = (at - column) / columns;
    if (column === 0 || row === 0 || column === columns - 1 || row === rows - 1) open = true;
    for (const next of [column > 0 && at - 1, column < columns - 1 && at + 1, row > 0 && at - columns, row < rows - 1 && at + columns]) {
      if (next !== false && !seen[next] && plane[next] === value) {
        seen[next] = 1;
        stack.push(next);
      }
    }
  }
  return { pixels: Int32Array.from(found), open };
}

/**
 * Split what `inside` marks into connected parts, over one plane or a stack of planes.
 * @param {number} columns
 * @param {number} rows
 * @param {number} planes
 * @param {(z: number) => (Uint8Array|Uint16Array|null)} planeOf null: nothing there
 * @param {(value: number) => boolean} inside
 * @returns {{runs: Int32Array, part: Int32Array, sizes: number[], open: boolean[]}} runs: z, row, left, right each;
 *   part: number of the part of each run; sizes in pixels; open: reaches the border of a plane or the stack's ends
 */
export function connectedParts(columns, rows, planes, planeOf, inside) {
  const { runs, rowStart } = collectRuns(columns, rows, planes, planeOf, inside);
  const count = runs.length / 4;
  const parent = new Int32Array(count).map((_, i) => i);
  const join = (from, to) => joinRuns(runs, parent, from, to);
  for (let z = 0; z < planes; z++) {
    for (let row = 0; row < rows; row++) {
      const here = z * rows + row;
      if (rowStart[here] === rowStart[here + 1]) continue;
      const range = [rowStart[here], rowStart[here + 1]];
      if (row > 0) join(range, [rowStart[here - 1], rowStart[here]]);
      if (z > 0) join(range, [rowStart[here - rows], rowStart[here - rows + 1]]);
    }
  }
  return numberParts(runs, parent, columns, rows, planes);
}

function collectRuns(columns, rows, planes, planeOf, inside) {
  const runs = [];
  const rowStart = new Int32Array(planes * rows + 1);
  for (let z = 0; z < planes; z++) {
    const plane = planeOf(z);
    for (let row = 0; row < rows; row++) {
      rowStart[z * rows + row] = runs.length / 4;
      for (let column = 0, at = row * columns; column < columns; ) {
        const value = plane ? plane[at + column] : 0;
        let end = column + 1;
        while (end < columns && (plane ? plane[at + end] : 0) === value) end++;
        if (inside(value)) {
          const last = runs.length - 4;
          const goesOn = last >= 4 * rowStart[z * rows + row] && runs[last + 3] === column;
          if (goesOn) runs[last + 3] = end;
          else runs.push(z, row, column, end);
        }
        column = end;
      }
    }
  }
  rowStart[planes * rows] = runs.length / 4;
  return { runs: Int32Array.from(runs), rowStart };
}

function joinRuns(runs, parent, [a, aEnd], [b, bEnd]) {
  while (a < aEnd && b < bEnd) {
    const overlap = runs[4 * a + 2] < runs[4 * b + 3] && runs[4 * b + 2] < runs[4 * a + 3];
    if (overlap) parent[root(parent, a)] = root(parent, b);
    if (runs[4 * a + 3] < runs[4 * b + 3]) a++;
    else b++;
  }
}

function root(parent, i) {
  while (parent[i] !== i) {
    parent[i] = parent[parent[i]];
    i = parent[i];
  }
  return i;
}

function numberParts(runs, parent, columns, rows, planes) {
  const part = new Int32Array(parent.length);
  const numbers = new Map();
  const sizes = [];
  const open = [];
  for (let i = 0; i < parent.length; i++) {
    const top = root(parent, i);
    if (!numbers.has(top)) {
      numbers.set(top, sizes.length);
      sizes.push(0);
      open.push(false);
    }
    const number = numbers.get(top);
    const [z, row, left, right] = runs.subarray(4 * i, 4 * i + 4);
    part[i] = number;
    sizes[number] += right - left;
    const atEnd = planes > 1 && (z === 0 || z === planes - 1);
    if (left === 0 || right === columns || row === 0 || row === rows - 1 || atEnd) open[number] = true;
  }
  return { runs, part, sizes, open };
}
