// Numbers as text, and their range.

// A number in readable form: 0.0312, 12,345, 3.2e-7.
export function number(x, digits = 3) {
  if (x === 0) return "0"; // also negative zero
  if (x === Infinity) return "∞";
  if (x === -Infinity) return "−∞";
  if (Number.isNaN(x)) return "not recorded";
  if (Number.isInteger(x) && Math.abs(x) < 1e7) return x.toLocaleString("en").replace("-", "−");
  const size = Math.abs(x);
  if (size >= 1e6 || size < 1e-4) return x.toExponential(digits - 1).replace("e+", "e").replaceAll("-", "−");
  return Number(x.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 12 }).replace("-", "−");
}

// The values of one axis in one format: powers of ten for all of them, or for none.
export function numbersOf(values, digits = 4) {
  const short = Array.from(values, (v) => Number(v.toPrecision(digits)));
  const powers = short.some((v) => v !== 0 && (Math.abs(v) < 1e-4 || Math.abs(v) >= 1e7));
  if (!powers) return short.map((v) => number(v, digits));
  return short.map((v) => (v === 0 || !Number.isFinite(v) ? number(v) : v.toExponential().replace("e+", "e").replaceAll("-", "−")));
}

// Chinese has no space before the sign.
export const percent = (share) => `${(100 * share).toFixed(1)}${document.documentElement.lang === "zh" ? "" : " "}%`;
export const words = (name) => name.replaceAll("_", " ");
export const count = (n, thing) => `${number(n)} ${thing}${n === 1 ? "" : "s"}`;

// Smallest and largest finite number.
export function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const v of values) {
    if (!Number.isFinite(v)) continue;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return low <= high ? [low, high] : [0, 1];
}
