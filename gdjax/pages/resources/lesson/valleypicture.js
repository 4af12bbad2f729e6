// Two descents on a curve as a picture, and the limits 1/λ and 2/λ on an axis of learning rates.

import { ARROWS, fitted, shape, within } from "../base.js";
import { scale } from "../chart.js";
import { extent, number } from "../numbers.js";
import { text } from "./text.js";

// `shown()` is {curve, zoom, routes, colors, valley} or false; `place` is called with the x of a click.
export function curvePicture(canvas, shown, place) {
  let placeX = null;
  let last = null; // the x that the arrow keys move
  const redraw = fitted(canvas, (width) => Math.max(190, Math.min(430, width * 0.5)), (pen, width, height) => {
    const what = shown();
    if (!what) return;
    const { curve, zoom, routes, colors, valley } = what;
    const [low, high] = zoom ? [zoom.low, zoom.high] : curve.domain;
    last = routes[0][0];
    const xs = Array.from({ length: 301 }, (_, i) => low + ((high - low) * i) / 300);
    const ys = xs.map(curve.f);
    const [bottom, top] = extent(ys);
    placeX = scale(low, high, 16, width - 16);
    const placeY = scale(bottom - 0.12 * (top - bottom), top + 0.08 * (top - bottom), height - 12, 12);
    const line = (points, color, thick, dash = []) => {
      pen.strokeStyle = color;
      pen.lineWidth = thick;
      pen.lineJoin = "round";
      pen.setLineDash(dash);
      pen.beginPath();
      points.forEach(([x, y], i) => (i ? pen.lineTo(placeX(x), placeY(y)) : pen.moveTo(placeX(x), placeY(y))));
      pen.stroke();
      pen.setLineDash([]);
    };
    const dot = (x, y, radius, color) => {
      pen.fillStyle = color;
      pen.strokeStyle = "#fff";
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(placeX(x), placeY(y), radius, 0, 7);
      pen.fill();
      pen.stroke();
    };
    pen.fillStyle = "#eef4f8";
    pen.beginPath();
    xs.forEach((x, i) => (i ? pen.lineTo(placeX(x), placeY(ys[i])) : pen.moveTo(placeX(x), placeY(ys[i]))));
    pen.lineTo(width - 16, height);
    pen.lineTo(16, height);
    pen.fill();
    line(xs.map((x, i) => [x, ys[i]]), "#1d2530", 2.5);
    if (valley) line(xs.map((x) => [x, valley.cost + (valley.curvature * (x - valley.x) ** 2) / 2]), "#00735a", 1.5, [5, 4]);
    for (const [x, value] of curve.minima) {
      pen.fillStyle = "#00735a";
      pen.beginPath();
      pen.moveTo(placeX(x), placeY(value) + 6);
      pen.lineTo(placeX(x) - 6, placeY(value) + 16);
      pen.lineTo(placeX(x) + 6, placeY(value) + 16);
      pen.fill();
    }
    routes.forEach((route, i) => {
      const points = route.filter(Number.isFinite).map((x) => [x, curve.f(x)]);
      line(points, `${colors[i]}99`, 1.5);
      for (const [x, y] of points.slice(0, -1)) dot(x, y, 4, colors[i]);
    });
    // B first and larger, so that both are seen at the same place.
    [1, 0].forEach((i) => {
      const x = routes[i].at(-1);
      if (!Number.isFinite(x)) return;
      tangent(pen, curve, x, placeX, placeY, colors[i]);
      dot(x, curve.f(x), i ? 11 : 8, colors[i]);
    });
  });
  // With the same length on the screen for every slope.
  function tangent(pen, { f, slope }, x, toX, toY, color) {
    const steep = (toY(f(x) + slope(x)) - toY(f(x))) / (toX(x + 1) - toX(x));
    const reach = 60 / Math.hypot(1, steep);
    pen.strokeStyle = color;
    pen.lineWidth = 3;
    pen.beginPath();
    pen.moveTo(toX(x) - reach, toY(f(x)) - steep * reach);
    pen.lineTo(toX(x) + reach, toY(f(x)) + steep * reach);
    pen.stroke();
  }
  const bounds = () => [placeX.back(16), placeX.back(canvas.clientWidth - 16)];
  const moveTo = (x) => place(Math.min(Math.max(x, bounds()[0]), bounds()[1]));
  let held = false;
  const drag = (event) => moveTo(placeX.back(within(canvas, event)[0]));
  canvas.addEventListener("pointerdown", (event) => {
    held = true;
    canvas.setPointerCapture(event.pointerId);
    drag(event);
  });
  canvas.addEventListener("pointermove", (event) => held && drag(event));
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (held = false));
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow || !arrow[0]) return;
    moveTo(last + (arrow[0] * (bounds()[1] - bounds()[0])) / 100);
    event.preventDefault();
  });
  return redraw;
}

// Rates at which a descent near a minimum comes to rest on one side, swings, or leaves.
export function limitsChart(svg, { curvature, at, rates, colors }) {
  const [width, left, right] = [Math.max(svg.clientWidth, 260), 8, 8];
  const place = scale(0.001, 1, left, width - right, true);
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} 58`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", curvature ? text("valleys.limits", { one: 1 / curvature, two: 2 / curvature, x: at }) : text("valleys.none"));
  const inside = (rate) => Math.min(Math.max(place(rate), left), width - right);
  const ends = curvature ? [left, inside(1 / curvature), inside(2 / curvature), width - right] : [left, width - right];
  ends.slice(1).forEach((end, i) => {
    svg.append(shape("rect", { x: ends[i], y: 20, width: Math.max(end - ends[i], 0), height: 14, fill: curvature ? ["#d5ece4", "#f4ecd2", "#f2c1a3"][i] : "#e9e5dc" }));
  });
  if (curvature) {
    const x = inside(2 / curvature);
    svg.append(shape("line", { x1: x, x2: x, y1: 14, y2: 40, stroke: "#1d2530", "stroke-width": 2 }));
    svg.append(shape("text", { x, y: 53, "text-anchor": x > width - 130 ? "end" : "middle", class: "label" }, `2/λ = ${number(2 / curvature)}`));
  }
  rates.forEach((rate, i) => {
    svg.append(shape("circle", { cx: inside(rate), cy: 27, r: 6, fill: colors[i], stroke: "#fff", "stroke-width": 1.5 }));
    // Beside each other, also where the rates are close.
    const isLower = rate < rates[1 - i];
    svg.append(shape("text", { x: inside(rate) + (isLower ? 3 : -3), y: 12, "text-anchor": isLower ? "end" : "start", class: "label" }, "AB"[i]));
  });
}
