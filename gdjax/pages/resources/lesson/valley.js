// Descents of one number on a curve, and the valleys in which they are:
//
//   x ← x − η f'(x),   near a minimum with the curvature λ: distance ← (1 − ηλ) · distance

export const MAX_POINTS = 400; // steps of a descent
const BOUND = 1e6; // a descent beyond it has diverged
const FINENESS = 1000; // points of a domain at which the slope is tried
const NUDGE = 1e-4;

// The points of a descent. It ends where it rests; after a divergence its last point is infinite.
export function routeOf({ slope }, start, rate, count = MAX_POINTS) {
  const route = [start];
  while (route.length <= count) {
    const x = route.at(-1);
    const next = x - rate * slope(x);
    if (!(Math.abs(next) < BOUND)) return [...route, Infinity];
    if (Math.abs(next - x) < 1e-9) break;
    route.push(next);
  }
  return route;
}

// Where a descent rests, or null if it swings on or has diverged.
export function endOf({ slope }, route) {
  const [x, before] = [route.at(-1), route.at(-2) ?? route.at(-1)];
  return Number.isFinite(x) && Math.abs(x - before) < 1e-4 && Math.abs(slope(x)) < 1e-3 ? x : null;
}

export const curvatureAt = ({ slope }, x) => (slope(x + NUDGE) - slope(x - NUDGE)) / (2 * NUDGE);

// The minimum {x, cost, curvature} to which the way down from a point leads, or null.
export function valleyOf(curve, from) {
  const [low, high] = curve.domain;
  const sign = Math.sign(curve.slope(from));
  const stride = (high - low) / FINENESS;
  let x = from;
  while (sign && x >= low - (high - low) && x <= high + (high - low) && Math.sign(curve.slope(x)) === sign) x -= sign * stride;
  const near = curve.minima.find(([at]) => Math.abs(at - x) < 3 * stride);
  return near ? { x: near[0], cost: near[1], curvature: curvatureAt(curve, near[0]) } : null;
}
