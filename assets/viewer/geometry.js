// Voxels, millimetres and sides: which way a plane lies in the patient, and how it is turned for the screen.
//
// Voxel coordinates (x, y, z) are continuous: the pixel in column i covers [i, i + 1). On a plane, u runs along its
// columns and v along its rows: (x, y) on stored slices (axis z), (x, z) on axis y, (y, z) on axis x.

/** @typedef {"z"|"y"|"x"} Axis */
/** @typedef {[number, number, number, number]} Matrix2 rows first: [m00, m01, m10, m11] */

export const PLANE_AXES = { z: [0, 1, 2], y: [0, 2, 1], x: [1, 2, 0] }; // u, v and the axis across
const LETTERS = [["L", "R"], ["P", "A"], ["H", "F"]];
const NAMES = ["sagittal", "coronal", "axial"];
// Right and down on the screen, as LPS directions, by plane name: how radiologists hang pictures.
const HANGING = {
  axial: [[1, 0, 0], [0, 1, 0]],
  coronal: [[1, 0, 0], [0, 0, -1]],
  sagittal: [[0, 1, 0], [0, 0, -1]],
};
export const UPRIGHT = [1, 0, 0, 1];
const TURNS = [
  UPRIGHT, [-1, 0, 0, 1], [1, 0, 0, -1], [-1, 0, 0, -1], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, -1, 0], [0, -1, -1, 0],
];

/** Size of the planes of an axis. @returns {{columns: number, rows: number, count: number}} */
export function planeSize(facts, axis) {
  const size = [facts.columns, facts.rows, facts.slices];
  const [u, v, n] = PLANE_AXES[axis];
  return { columns: size[u], rows: size[v], count: size[n] };
}

/** Columns of the matrix from voxel steps to millimetres (pixels where the spacing is unknown). */
export function voxelSteps(facts) {
  if (!facts.spacing) return [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  if (facts.affine) return [0, 1, 2].map((column) => [0, 1, 2].map((row) => facts.affine[row][column]));
  const [dz, dy, dx] = facts.spacing.length === 3 ? facts.spacing : [1, ...facts.spacing];
  return [[dx, 0, 0], [0, dy, 0], [0, 0, dz]];
}

/** "mm" where the spacing is known, else "px". */
export const unitOf = (facts) => (facts.spacing ? "mm" : "px");

/** Two orthonormal directions of a plane, and the matrix from (u, v) to lengths along them (tilted slices shear). */
export function planeBasis(facts, axis) {
  const steps = voxelSteps(facts);
  const [u, v] = PLANE_AXES[axis];
  const [a, b] = [steps[u], steps[v]];
  const lengthA = norm(a) || 1;
  const right = a.map((value) => value / lengthA);
  const along = dot(b, right);
  const rest = b.map((value, i) => value - along * right[i]);
  const lengthB = norm(rest) || 1;
  const down = rest.map((value) => value / lengthB);
  return { right, down, matrix: [lengthA, along, 0, lengthB] };
}

/** "axial", "coronal" or "sagittal"; null where the place in the patient is unknown. */
export function planeName(facts, axis) {
  if (!facts.affine || !facts.spacing) return null;
  const { right, down } = planeBasis(facts, axis);
  const normal = cross(right, down).map(Math.abs);
  return NAMES[normal.indexOf(Math.max(...normal))];
}

/** The turn that hangs a plane as radiologists do; upright where the place in the patient is unknown. */
export function hangingTurn(facts, axis) {
  const name = planeName(facts, axis);
  if (name === null) return axis === "z" ? UPRIGHT : [1, 0, 0, 1];
  const [wantedRight, wantedDown] = HANGING[name];
  const basis = planeBasis(facts, axis);
  let best = UPRIGHT;
  let most = -Infinity;
  for (const turn of TURNS) {
    const { right, down } = screenDirections(basis, turn);
    const score = dot(right, wantedRight) + dot(down, wantedDown);
    if (score > most + 1e-9) [best, most] = [turn, score];
  }
  return best;
}

/** LPS directions of right and down on the screen. */
export function screenDirections(basis, turn) {
  const mix = (s, t) => basis.right.map((value, i) => s * value + t * basis.down[i]);
  return { right: mix(turn[0], turn[1]), down: mix(turn[2], turn[3]) };
}

/** Name the side of the patient that an LPS direction points to. */
export function sideLetter(direction) {
  const sizes = direction.map(Math.abs);
  const axis = sizes.indexOf(Math.max(...sizes));
  return LETTERS[axis][direction[axis] > 0 ? 0 : 1];
}

/** Letters at the left, right, top and bottom edge of the screen; null where unknown. */
export function sideMarks(facts, axis, turn) {
  if (!facts.affine || !facts.spacing) return null;
  const { right, down } = screenDirections(planeBasis(facts, axis), turn);
  const back = (direction) => direction.map((value) => -value);
  return {
    left: sideLetter(back(right)), right: sideLetter(right), top: sideLetter(back(down)), bottom: sideLetter(down),
  };
}

/** Voxel coordinates of a place on a plane; planes are met in their middle. */
export function toVoxel(axis, index, u, v) {
  const [first, second, across] = PLANE_AXES[axis];
  const point = [0, 0, 0];
  point[first] = u;
  point[second] = v;
  point[across] = index + 0.5;
  return point;
}

/** Place (u, v) of voxel coordinates on planes of an axis, and the index of the plane they lie on. */
export function toPlane(axis, point) {
  const [first, second, across] = PLANE_AXES[axis];
  return { u: point[first], v: point[second], index: Math.floor(point[across]) };
}

/** Patient position (LPS mm) of continuous voxel coordinates; null where unknown. */
export function patientPosition(facts, [x, y, z]) {
  if (!facts.affine) return null;
  return facts.affine.slice(0, 3).map((row) => row[0] * (x - 0.5) + row[1] * (y - 0.5) + row[2] * (z - 0.5) + row[3]);
}

/** Voxel coordinates of a patient position; null where unknown. */
export function voxelAt(facts, position) {
  if (!facts.affine) return null;
  const m = facts.affine;
  const shifted = position.map((value, i) => value - m[i][3]);
  const columns = [0, 1, 2].map((c) => [m[0][c], m[1][c], m[2][c]]);
  const det = dot(columns[0], cross(columns[1], columns[2]));
  if (!det) return null;
  return [0, 1, 2].map((i) => {
    const others = cross(columns[(i + 1) % 3], columns[(i + 2) % 3]);
    return dot(shifted, others) / det + 0.5;
  });
}

/** Product of two 2 x 2 matrices. @returns {Matrix2} */
export const multiply = (a, b) => [
  a[0] * b[0] + a[1] * b[2], a[0] * b[1] + a[1] * b[3], a[2] * b[0] + a[3] * b[2], a[2] * b[1] + a[3] * b[3],
];

export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const norm = (a) => Math.sqrt(dot(a, a));
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
