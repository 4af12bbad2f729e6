// A ball on a curve: its slope, a learning rate, and its steps.

import { ARROWS, DATA, fitted, option, within } from "../base.js";
import { scale } from "../chart.js";
import { CURVES } from "../functions.js";
import { extent, number } from "../numbers.js";
import { sentences, text } from "./text.js";

export function ballCard(root) {
  const canvas = root.querySelector("canvas");
  const select = root.querySelector("#curve");
  const rate = root.querySelector("#ball-rate");
  const rateOut = root.querySelector("#ball-rate-out");
  const told = root.querySelector("#ball-told");
  const roll = root.querySelector("#ball-roll");
  for (const name of Object.keys(DATA.curves)) select.append(option(name, CURVES[name].formula));
  let x = 0;
  let trail = [];
  let timer = null;
  let places = null;
  const curve = () => CURVES[select.value];
  const domain = () => DATA.curves[select.value].domain;
  const eta = () => 10 ** Number(rate.value);

  const redraw = fitted(canvas, (width) => Math.max(260, Math.min(430, width * 0.5)), (pen, width, height) => {
    const [low, high] = domain();
    const xs = Array.from({ length: 301 }, (_, i) => low + ((high - low) * i) / 300);
    const ys = xs.map((v) => curve().f(v));
    const [bottom, top] = extent(ys);
    const placeX = scale(low, high, 16, width - 16);
    const placeY = scale(bottom - 0.1 * (top - bottom), top + 0.06 * (top - bottom), height - 12, 12);
    places = { placeX, placeY };
    const line = (points, color, thick) => {
      pen.strokeStyle = color;
      pen.lineWidth = thick;
      pen.lineJoin = "round";
      pen.beginPath();
      points.forEach(([a, b], i) => (i ? pen.lineTo(placeX(a), placeY(b)) : pen.moveTo(placeX(a), placeY(b))));
      pen.stroke();
    };
    const under = new Path2D();
    xs.forEach((v, i) => (i ? under.lineTo(placeX(v), placeY(ys[i])) : under.moveTo(placeX(v), placeY(ys[i]))));
    under.lineTo(width - 16, height);
    under.lineTo(16, height);
    pen.fillStyle = "#eef4f8";
    pen.fill(under);
    line(xs.map((v, i) => [v, ys[i]]), "#1d2530", 2.5);
    for (const [at, value] of DATA.curves[select.value].minima) {
      pen.fillStyle = "#00735a";
      pen.beginPath();
      pen.moveTo(placeX(at), placeY(value) + 6);
      pen.lineTo(placeX(at) - 6, placeY(value) + 16);
      pen.lineTo(placeX(at) + 6, placeY(value) + 16);
      pen.fill();
    }
    const y = curve().f(x);
    const slope = curve().slope(x);
    if (trail.length) line([...trail, x].map((v) => [v, curve().f(v)]), "rgb(179 66 10 / 55%)", 1.5);
    for (const v of trail) {
      pen.fillStyle = "rgb(179 66 10 / 65%)";
      pen.beginPath();
      pen.arc(placeX(v), placeY(curve().f(v)), 4, 0, 7);
      pen.fill();
    }
    // The tangent, with the same length on the screen for every slope.
    const steep = (placeY(y + slope) - placeY(y)) / (placeX(x + 1) - placeX(x));
    const reach = 70 / Math.hypot(1, steep);
    pen.strokeStyle = "#0b5d94";
    pen.lineWidth = 3;
    pen.beginPath();
    pen.moveTo(placeX(x) - reach, placeY(y) - steep * reach);
    pen.lineTo(placeX(x) + reach, placeY(y) + steep * reach);
    pen.stroke();
    pen.fillStyle = "#b3420a";
    pen.strokeStyle = "#fff";
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(placeX(x), placeY(y), 10, 0, 7);
    pen.fill();
    pen.stroke();
  });

  function tell() {
    const slope = curve().slope(x);
    const [low, high] = domain();
    const isOutside = x < low || x > high;
    rateOut.textContent = number(eta());
    const steep = Math.abs(slope);
    told.textContent = !Number.isFinite(x) || Math.abs(x) > 1e6
      ? text("ball.away")
      : sentences(
          steep < 1e-6
            ? text("ball.rest", { x })
            : text(slope > 0 ? "ball.left" : "ball.right", { x, slope, steep, rate: eta(), length: eta() * steep }),
          isOutside ? text("ball.outside") : "",
          text("ball.taken", { count: trail.length }),
        );
    redraw();
  }
  function step() {
    if (!Number.isFinite(x) || Math.abs(x) > 1e6) return stop();
    const next = x - eta() * curve().slope(x);
    if (trail.length < 400) trail.push(x);
    if (Math.abs(next - x) < 1e-9 || trail.length >= 400) stop();
    x = next;
    tell();
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    roll.textContent = text("ball.roll");
    roll.setAttribute("aria-pressed", "false");
  }
  function start(at) {
    stop();
    trail = [];
    x = at;
    tell();
  }
  const fresh = () => start(domain()[0] + 0.14 * (domain()[1] - domain()[0]));
  const clamped = (v) => Math.min(Math.max(v, domain()[0]), domain()[1]);
  select.addEventListener("change", fresh);
  rate.addEventListener("input", tell);
  root.querySelector("#ball-step").addEventListener("click", step);
  root.querySelector("#ball-back").addEventListener("click", fresh);
  roll.addEventListener("click", () => {
    if (timer) return stop();
    roll.textContent = text("ball.stop");
    roll.setAttribute("aria-pressed", "true");
    timer = setInterval(step, 130);
  });
  let held = false;
  const drag = (event) => start(clamped(places.placeX.back(within(canvas, event)[0])));
  canvas.addEventListener("pointerdown", (event) => {
    held = true;
    canvas.setPointerCapture(event.pointerId);
    drag(event);
  });
  canvas.addEventListener("pointermove", (event) => held && drag(event));
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (held = false));
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (arrow && arrow[0]) start(clamped((Number.isFinite(x) ? x : 0) + (arrow[0] * (domain()[1] - domain()[0])) / 100));
    else if (event.key === "Enter" || event.key === " ") step();
    else return;
    event.preventDefault();
  });
  fresh();
  return { x: () => x, steps: () => trail.length };
}
