// The random numbers of gdjax, so that seeds have the same meaning in this page.
//
// Threefry-2x32 with 20 rounds (Salmon et al., SC 2011) turns a key and a counter into 64 bits; all
// other random functions of JAX are based on it. A key is two 32-bit numbers.

const ROTATIONS = [[13, 15, 26, 6], [17, 29, 16, 24]];

export function threefry([first, second], high, low) {
  const parts = [first, second, first ^ second ^ 0x1bd11bda];
  let left = (high + first) | 0;
  let right = (low + second) | 0;
  for (let group = 0; group < 5; group += 1) {
    for (const turn of ROTATIONS[group % 2]) {
      left = (left + right) | 0;
      right = left ^ ((right << turn) | (right >>> (32 - turn)));
    }
    left = (left + parts[(group + 1) % 3]) | 0;
    right = (right + parts[(group + 2) % 3] + group + 1) | 0;
  }
  return [left >>> 0, right >>> 0];
}

export const foldIn = (key, number) => threefry(key, 0, number);
export const splitKey = (key, count) => Array.from({ length: count }, (_, i) => threefry(key, 0, i));

export function randomBits(key, count) {
  return Uint32Array.from({ length: count }, (_, i) => {
    const [left, right] = threefry(key, 0, i);
    return left ^ right;
  });
}

// Coefficients of Giles's approximation of the inverse error function in single precision
// (GPU Computing Gems, 2011), for w = -log(1 - x²) below 5 and above.
const NEAR = [
  2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 0.00021858087, -0.00125372503,
  -0.00417768164, 0.246640727, 1.50140941,
];
const FAR = [
  -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
  0.00943887047, 1.00167406, 2.83297682,
];

function inverseErf(x) {
  const w = -Math.log1p(-x * x);
  const [at, coefficients] = w < 5 ? [w - 2.5, NEAR] : [Math.sqrt(w) - 3, FAR];
  return x * coefficients.reduce((sum, c) => sum * at + c);
}

// Standard normal numbers, from uniform ones with 23 bits in (-1, 1).
export function normals(key, count) {
  const lowest = Math.fround(-1 + 2 ** -24);
  return Float32Array.from(randomBits(key, count), (bits) => {
    const uniform = Math.max(lowest, Math.fround(2 * ((bits >>> 9) / 2 ** 23) + lowest));
    return Math.SQRT2 * inverseErf(uniform);
  });
}

// A random permutation: samples sorted by random numbers.
export function permutation(key, count) {
  const bits = randomBits(key, count);
  return Uint32Array.from(bits.keys()).sort((a, b) => bits[a] - bits[b] || a - b);
}

// Keys of a run: its start depends on the seed, and the order of batches is the same for all runs.
export function keysOf(seed) {
  const root = [0, 0];
  return { init: foldIn(foldIn(root, 0), seed), order: foldIn(foldIn(root, 1), 0) };
}
