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
