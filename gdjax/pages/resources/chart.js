// Line charts as SVG: axes with few round numbers, lines, faint background lines, and a marker.

import { shape } from "./base.js";
import { extent, number } from "./numbers.js";

const CHART = { width: 520, left: 58, right: 14, top: 30, bottom: 44 };

export function ticks(low, high, log, most) {
  if (log) {
    const found = [];
    const decades = Math.log10(high / low);
    const inner = decades <= 1.2 ? [1, 2, 5] : [1];
    const every = Math.max(1, Math.ceil(decades / most));
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e += 1) {
      if (e % every) continue;
      for (const m of inner) found.push(m * 10 ** e);
    }
    const inside = found.filter((t) => t >= low * 0.999 && t <= high * 1.001);
    if (inside.length > 1) return inside;
  }
  if (!(high > low)) return [low];
  const raw = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((m) => m * power >= raw) * power;
  const found = [];
  for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + step * 1e-9; t += step) {
    found.push(Math.abs(t) < step * 1e-9 ? 0 : t);
  }
  return found;
}

// Maps numbers to positions between `from` and `to`; numbers without a position give NaN.
export function scale(low, high, from, to, log = false) {
  const f = log ? Math.log10 : (v) => v;
  const a = f(low);
  const span = f(high) - a || 1;
  const place = (v) => (Number.isFinite(v) && (!log || v > 0) ? from + ((f(v) - a) / span) * (to - from) : NaN);
  place.back = (p) => {
    const v = a + ((p - from) / (to - from)) * span;
    return log ? 10 ** v : v;
  };
  return place;
}

export function track(x, y, placeX, placeY) {
  let path = "";
  let pen = "M";
  for (let i = 0; i < x.length; i += 1) {
    const [px, py] = [placeX(x[i]), placeY(y[i])];
    if (Number.isNaN(px) || Number.isNaN(py)) {
      pen = "M";
      continue;
    }
    path += `${pen}${px.toFixed(1)} ${py.toFixed(1)}`;
    pen = "L";
  }
  return path;
}

// Draws a chart into `svg`. `what` is {x, y, logX, logY, share, height, title, lines, behind,
// bands, mark}, where lines and behind contain {x, y, color, width, dash}, and bands {x, low, high,
// color}. Returns the functions that give positions on both axes, and the size of the chart.
export function chart(svg, what) {
  const { left, right, top, bottom } = CHART;
  const width = Math.max(svg.clientWidth || CHART.width, 300); // the size of letters does not change
  const height = what.height || 250;
  const all = [...what.lines, ...(what.behind || [])];
  const bands = what.bands || [];
  const heights = [...all.map((line) => line.y), ...bands.flatMap((band) => [band.low, band.high])];
  const values = heights.flatMap((y) => Array.from(y)).filter((v) => Number.isFinite(v));
  let [lowX, highX] = extent(all.flatMap((line) => [line.x[0], line.x[line.x.length - 1]]));
  let [low, high] = what.share ? [0, 1] : extent(values);
  const log = Boolean(what.logY) && low > 0 && high > 4 * low;
  if (!what.share && !log) {
    const room = (high - low) * 0.06 || Math.abs(low) * 0.1 || 1;
    low = low >= 0 ? Math.max(0, low - room) : low - room;
    high += room;
  } else if (log) {
    low /= 1.15;
    high *= 1.15;
  }
  if (lowX === highX) highX = lowX + 1;
  const placeX = scale(lowX, highX, left, width - right, what.logX);
  const placeY = scale(low, high, height - bottom, top, log);
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.classList.add("chart");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", what.title || `${what.y} against ${what.x}`);
  for (const t of ticks(low, high, log, 5)) {
    const at = placeY(t);
    svg.append(shape("line", { class: "grid", x1: left, x2: width - right, y1: at, y2: at }));
    const text = what.share ? `${Math.round(100 * t)} %` : number(t);
    svg.append(shape("text", { x: left - 8, y: at + 4, "text-anchor": "end" }, text));
  }
  for (const t of ticks(lowX, highX, what.logX, 5)) {
    svg.append(shape("text", { x: placeX(t), y: height - bottom + 18, "text-anchor": "middle" }, number(t)));
  }
  svg.append(shape("text", { class: "label", x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, what.x));
  svg.append(shape("text", { class: "label", x: left - 46, y: 13 }, what.y));
  if (what.behind && what.behind.length) {
    const d = what.behind.map((line) => track(line.x, line.y, placeX, placeY)).join("");
    svg.append(shape("path", { d, fill: "none", stroke: "#8b93a0", "stroke-width": 1, opacity: what.behind.length > 30 ? 0.22 : 0.4 }));
  }
  for (const { x, low: lower, high: upper, color } of bands) {
    // The outline runs forward along the upper edge and back along the lower one, where both are
    // finite.
    const inside = Array.from(x, (_, i) => i).filter((i) => !Number.isNaN(placeY(lower[i])) && !Number.isNaN(placeY(upper[i])));
    const points = [...inside.map((i) => [x[i], upper[i]]), ...inside.reverse().map((i) => [x[i], lower[i]])];
    const d = points.map(([u, v], k) => `${k ? "L" : "M"}${placeX(u).toFixed(1)} ${placeY(v).toFixed(1)}`).join("");
    svg.append(shape("path", { class: "band", d, fill: color, opacity: 0.2 }));
  }
  for (const line of what.lines) {
    svg.append(
      shape("path", {
        d: track(line.x, line.y, placeX, placeY), fill: "none", stroke: line.color || "#0b5d94",
        "stroke-width": line.width || 2.2, "stroke-linejoin": "round", "stroke-dasharray": line.dash || "none",
      }),
    );
  }
  if (what.mark !== undefined && what.mark !== null) {
    const at = placeX(what.mark);
    if (!Number.isNaN(at)) {
      svg.append(shape("line", { x1: at, x2: at, y1: top, y2: height - bottom, stroke: "#b3420a", "stroke-width": 1.5 }));
      for (const line of what.lines) {
        const i = nearest(line.x, what.mark);
        const y = placeY(line.y[i]);
        if (!Number.isNaN(y)) svg.append(shape("circle", { cx: placeX(line.x[i]), cy: y, r: 5, fill: "#b3420a", stroke: "#fff", "stroke-width": 1.5 }));
      }
    }
  }
  return { placeX, placeY, width, height };
}

export function nearest(values, x) {
  let best = 0;
  for (let i = 1; i < values.length; i += 1) {
    if (Math.abs(values[i] - x) < Math.abs(values[best] - x)) best = i;
  }
  return best;
}
