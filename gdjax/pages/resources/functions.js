// The test functions and their gradients; a test compares them with those of gdjax.
// Their domains and critical points are in the data of the page.

const SIN = Math.sin;
const COS = Math.cos;
const PI = Math.PI;

export const CURVES = {
  quartic: {
    formula: "x⁴ − 4x² + x",
    f: (x) => x ** 4 - 4 * x ** 2 + x,
    slope: (x) => 4 * x ** 3 - 8 * x + 1,
  },
  sine_bowl: {
    formula: "x² + 10 sin x",
    f: (x) => x ** 2 + 10 * SIN(x),
    slope: (x) => 2 * x + 10 * COS(x),
  },
  two_sines: {
    formula: "sin x + sin(10x/3)",
    f: (x) => SIN(x) + SIN((10 * x) / 3),
    slope: (x) => COS(x) + (10 / 3) * COS((10 * x) / 3),
  },
};

export const PLANES = {
  rosenbrock: {
    formula: "(1 − x)² + 100 (y − x²)²",
    f: (x, y) => (1 - x) ** 2 + 100 * (y - x ** 2) ** 2,
    slope: (x, y) => [-2 * (1 - x) - 400 * x * (y - x ** 2), 200 * (y - x ** 2)],
  },
  himmelblau: {
    formula: "(x² + y − 11)² + (x + y² − 7)²",
    f: (x, y) => (x ** 2 + y - 11) ** 2 + (x + y ** 2 - 7) ** 2,
    slope: (x, y) => {
      const a = x ** 2 + y - 11;
      const b = x + y ** 2 - 7;
      return [4 * a * x + 2 * b, 2 * a + 4 * b * y];
    },
  },
  beale: {
    formula: "(1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²",
    f: (x, y) => (1.5 - x + x * y) ** 2 + (2.25 - x + x * y ** 2) ** 2 + (2.625 - x + x * y ** 3) ** 2,
    slope: (x, y) => {
      const parts = [1.5, 2.25, 2.625].map((c, i) => 2 * (c - x + x * y ** (i + 1)));
      return [
        parts.reduce((sum, p, i) => sum + p * (y ** (i + 1) - 1), 0),
        parts.reduce((sum, p, i) => sum + p * (i + 1) * x * y ** i, 0),
      ];
    },
  },
  rastrigin: {
    formula: "20 + x² − 10 cos 2πx + y² − 10 cos 2πy",
    f: (x, y) => x ** 2 + 10 * (1 - COS(2 * PI * x)) + y ** 2 + 10 * (1 - COS(2 * PI * y)),
    slope: (x, y) => [2 * x + 20 * PI * SIN(2 * PI * x), 2 * y + 20 * PI * SIN(2 * PI * y)],
  },
  six_hump_camel: {
    formula: "(4 − 2.1x² + x⁴/3) x² + xy + (4y² − 4) y²",
    f: (x, y) => (4 - 2.1 * x ** 2 + x ** 4 / 3) * x ** 2 + x * y + (4 * y ** 2 - 4) * y ** 2,
    slope: (x, y) => [8 * x - 8.4 * x ** 3 + 2 * x ** 5 + y, x + 16 * y ** 3 - 8 * y],
  },
  styblinski_tang: {
    formula: "½ (x⁴ − 16x² + 5x + y⁴ − 16y² + 5y)",
    f: (x, y) => (x ** 4 - 16 * x ** 2 + 5 * x + y ** 4 - 16 * y ** 2 + 5 * y) / 2,
    slope: (x, y) => [(4 * x ** 3 - 32 * x + 5) / 2, (4 * y ** 3 - 32 * y + 5) / 2],
  },
  ackley: {
    formula: "20 + e − 20 exp(−0.2 √((x² + y²)/2)) − exp((cos 2πx + cos 2πy)/2)",
    f: (x, y) => {
      const r = Math.sqrt((x ** 2 + y ** 2) / 2);
      const wave = -(SIN(PI * x) ** 2 + SIN(PI * y) ** 2);
      return -20 * Math.expm1(-r / 5) - Math.E * Math.expm1(wave);
    },
    slope: (x, y) => {
      const r = Math.sqrt((x ** 2 + y ** 2) / 2);
      const wave = -(SIN(PI * x) ** 2 + SIN(PI * y) ** 2);
      const cone = r > 0 ? (2 * Math.exp(-r / 5)) / r : 0; // at the tip the gradient is taken as 0
      const ripple = PI * Math.E * Math.exp(wave);
      return [cone * x + ripple * SIN(2 * PI * x), cone * y + ripple * SIN(2 * PI * y)];
    },
  },
  goldstein_price: {
    formula: "Goldstein and Price's, of degree 8",
    f: (x, y) => goldstein(x, y).value,
    slope: (x, y) => goldstein(x, y).slope,
  },
  monkey_saddle: {
    formula: "x³ − 3xy²",
    f: (x, y) => x ** 3 - 3 * x * y ** 2,
    slope: (x, y) => [3 * x ** 2 - 3 * y ** 2, -6 * x * y],
  },
  two_factors: {
    formula: "½ (1 − xy)²",
    f: (x, y) => (1 - x * y) ** 2 / 2,
    slope: (x, y) => [-(1 - x * y) * y, -(1 - x * y) * x],
  },
};

function goldstein(x, y) {
  const s = x + y + 1;
  const a = 19 - 14 * x + 3 * x ** 2 - 14 * y + 6 * x * y + 3 * y ** 2;
  const t = 2 * x - 3 * y;
  const b = 18 - 32 * x + 12 * x ** 2 + 48 * y - 36 * x * y + 27 * y ** 2;
  const A = 1 + s ** 2 * a;
  const B = 30 + t ** 2 * b;
  const dA = 2 * s * a + s ** 2 * (6 * x + 6 * y - 14);
  const dBx = 4 * t * b + t ** 2 * (24 * x - 36 * y - 32);
  const dBy = -6 * t * b + t ** 2 * (54 * y - 36 * x + 48);
  return { value: A * B, slope: [dA * B + A * dBx, dA * B + A * dBy] };
}

// Descent with momentum: w ← w − η m, m ← g + β m, which is gradient descent if β is 0. It stops if
// a number is not finite or exceeds `bound`.
export function descent(plane, start, { rate, momentum = 0, steps = 200, bound = 1e6 }) {
  const path = [[...start]];
  let [x, y] = start;
  let [mx, my] = [0, 0];
  for (let t = 0; t < steps; t += 1) {
    const [gx, gy] = plane.slope(x, y);
    mx = gx + momentum * mx;
    my = gy + momentum * my;
    x -= rate * mx;
    y -= rate * my;
    if (!(Math.abs(x) < bound && Math.abs(y) < bound)) return { path, diverged: t + 1 };
    path.push([x, y]);
  }
  return { path, diverged: null };
}
