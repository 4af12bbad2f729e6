// A landscape in 3-D: quadrilaterals from back to front, lit from one side, rotated by hand.

import { ARROWS, VALLEY, css, fitted, rgb, soon, within } from "./base.js";
import { ticks } from "./chart.js";
import { extent, number } from "./numbers.js";

const AXIS = 40; // pixels to the left, for the numbers of the height axis
const PICKED = 80; // parts of a side, one of which is picked
const TAP = 5; // pixels that a pointer may move in a click

// `what` is {cost [a, b], a, b} and, optionally, path; `moment()` is the number of points of the
// path to show, and `costNames` are those of the height axis, linear and logarithmic. `routes()` are
// further paths {path, color}, or points {mark: [a, b], color}; a click or Shift with an arrow key calls
// `pick(a, b)`. Returns a function that redraws the landscape.
export function surface(canvas, what, moment, costNames = ["cost", "cost, log"], { routes = null, pick = null } = {}) {
  const [na, nb] = what.cost.shape;
  const { a, b, path } = what;
  const [low, high] = extent(what.cost);
  const log = low > 0 && high > 8 * low;
  const heightOf = (v) => (log ? Math.log10(v) : v);
  const [bottom, top] = [heightOf(low), heightOf(high)];
  const raised = (v) => (heightOf(v) - bottom) / (top - bottom || 1);
  const spanA = (a.values[na - 1] - a.values[0]) * a.length || 1;
  const spanB = (b.values[nb - 1] - b.values[0]) * b.length || 1;
  const half = [spanA / Math.max(spanA, spanB), spanB / Math.max(spanA, spanB)].map((s) => Math.max(s, 0.45));
  const view = { yaw: -0.6, pitch: 0.62, zoom: 1 };
  const tall = 0.85;
  const side = (values, n, v) => (2 * (v - values[0])) / (values[n - 1] - values[0] || 1) - 1;

  let project = null;
  function aim(width, height) {
    const [cosY, sinY, cosP, sinP] = [Math.cos(view.yaw), Math.sin(view.yaw), Math.cos(view.pitch), Math.sin(view.pitch)];
    const unit = Math.min((width - AXIS) / 2.75, height / 2.2) * view.zoom;
    project = (x, y, z) => {
      const [u, v, w] = [x * half[0], y * half[1], (z - 0.45) * tall];
      const across = u * cosY - v * sinY;
      const depth = u * sinY + v * cosY;
      return [(width + AXIS) / 2 + unit * across, height * 0.54 - unit * (w * cosP + depth * sinP)];
    };
  }

  const redraw = fitted(canvas, (width) => Math.max(240, Math.min(520, width * 0.68)), (pen, width, height) => {
    aim(width, height);
    const xs = Array.from(a.values, (v) => side(a.values, na, v));
    const ys = Array.from(b.values, (v) => side(b.values, nb, v));
    floor(pen);
    const every = Math.max(1, Math.ceil(Math.max(na, nb) / 80));
    const order = (n, ascending) => {
      const found = [];
      for (let i = 0; i + every < n + every - 1; i += every) found.push(i);
      return ascending ? found : found.reverse();
    };
    // Farthest first: depth grows with sin(yaw) along a and with cos(yaw) along b.
    const alongA = order(na, Math.sin(view.yaw) < 0);
    const alongB = order(nb, Math.cos(view.yaw) < 0);
    pen.lineWidth = 0.7;
    pen.lineJoin = "round";
    for (const i of alongA) {
      for (const j of alongB) {
        const [p, q] = [Math.min(i + every, na - 1), Math.min(j + every, nb - 1)];
        const z = [what.cost[i * nb + j], what.cost[p * nb + j], what.cost[p * nb + q], what.cost[i * nb + q]].map(raised);
        if (!z.every(Number.isFinite)) continue;
        const corners = [[xs[i], ys[j]], [xs[p], ys[j]], [xs[p], ys[q]], [xs[i], ys[q]]].map(([x, y], k) => project(x, y, z[k]));
        const slopeA = (z[1] + z[2] - z[0] - z[3]) / 2 / (xs[p] - xs[i] || 1);
        const slopeB = (z[2] + z[3] - z[0] - z[1]) / 2 / (ys[q] - ys[j] || 1);
        const light = (1 + 0.55 * slopeA + 0.35 * slopeB) / Math.hypot(1, slopeA, slopeB) / 1.19;
        const shade = 0.7 + 0.34 * Math.min(Math.max(light, 0), 1);
        const color = css(rgb(VALLEY, (z[0] + z[1] + z[2] + z[3]) / 4).map((c) => Math.min(255, Math.round(c * shade))));
        pen.fillStyle = color;
        pen.strokeStyle = color;
        pen.beginPath();
        corners.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y)));
        pen.closePath();
        pen.fill();
        pen.stroke();
      }
    }
    if (routes) {
      if (path) way(pen, path, 1, null);
      for (const { mark, path: route, color } of routes()) {
        if (mark) ball(pen, placeOf(...mark), 8, color);
        else way(pen, route, route.path_a.length, [color, color]);
      }
    } else if (path) way(pen, path, Math.max(1, Math.min(moment(), path.path_a.length)));
    else ball(pen, project(side(a.values, na, 0), side(b.values, nb, 0), raised(middle())), 7);
    names(pen);
    heightAxis(pen);
  });

  function middle() {
    return what.cost[Math.round((na - 1) / 2) * nb + Math.round((nb - 1) / 2)];
  }
  function floor(pen) {
    pen.strokeStyle = "#dcd7cc";
    pen.lineWidth = 1;
    pen.beginPath();
    [[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]].forEach(([x, y], k) => {
      const at = project(x, y, 0);
      if (k) pen.lineTo(...at);
      else pen.moveTo(...at);
    });
    pen.stroke();
  }
  function names(pen) {
    pen.fillStyle = "#535d6c";
    pen.font = "13px Inter, system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    // Labels are drawn on the sides that face the viewer.
    const front = Math.cos(view.yaw) > 0 ? -1.14 : 1.14;
    const flank = Math.sin(view.yaw) > 0 ? -1.16 : 1.16;
    for (const [label, [x, y]] of [[a.label, project(0, front, -0.04)], [b.label, project(flank, 0, -0.04)]]) {
      const room = pen.measureText(label).width / 2;
      pen.fillText(label, Math.min(Math.max(x, room), canvas.clientWidth - room), y);
    }
  }
  // Draws the height axis on the corner that is farthest to the left.
  function heightAxis(pen) {
    const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]];
    const [x, y] = corners.reduce((best, at) => (project(...at, 0)[0] < project(...best, 0)[0] ? at : best));
    pen.strokeStyle = "#535d6c";
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(...project(x, y, 0));
    pen.lineTo(...project(x, y, 1));
    const marks = ticks(low, high, log, 4).map((t) => [t, project(x, y, raised(t))]);
    for (const [, [u, v]] of marks) {
      pen.moveTo(u, v);
      pen.lineTo(u - 5, v);
    }
    pen.stroke();
    pen.fillStyle = "#535d6c";
    pen.font = "12px Inter, system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (const [t, [u, v]] of marks) pen.fillText(number(t), u - 8, v);
    pen.fillStyle = "#1d2530";
    pen.font = "13px Inter, system-ui, sans-serif";
    pen.textAlign = "center";
    const [u, v] = project(x, y, 1);
    pen.fillText(costNames[Number(log)], Math.max(u, 26), v - 14);
  }
  // Draws a path at the cost of its points, by default in black, its projection, by default in
  // orange, and lines between the two; without colors, only a faint line.
  function way(pen, { path_a, path_b, path_cost, path_cost_in_slice }, n, colors = ["#1d2530", "#b3420a"]) {
    const at = (i, cost) => project(side(a.values, na, path_a[i]), side(b.values, nb, path_b[i]), raised(cost));
    const run = (costs, count, color, thick) => {
      pen.strokeStyle = color;
      pen.lineWidth = thick;
      pen.beginPath();
      for (let i = 0; i < count; i += 1) {
        const place = at(i, costs[i]);
        if (i) pen.lineTo(...place);
        else pen.moveTo(...place);
      }
      pen.stroke();
    };
    run(path_cost, path_a.length, "rgb(29 37 48 / 22%)", 1.5);
    if (!colors) return;
    pen.strokeStyle = `${colors[1]}73`;
    pen.lineWidth = 1;
    for (let i = 0; i < n; i += 1) {
      pen.beginPath();
      pen.moveTo(...at(i, path_cost[i]));
      pen.lineTo(...at(i, path_cost_in_slice[i]));
      pen.stroke();
    }
    run(path_cost_in_slice, n, colors[1], 1.8);
    run(path_cost, n, "#ffffff", 4.5);
    run(path_cost, n, colors[0], 2.6);
    ball(pen, at(n - 1, path_cost[n - 1]), 8, routes ? colors[0] : undefined);
  }
  // The place of a point of the surface, between the points at which its cost is known.
  function placeOf(atA, atB) {
    const along = ({ values }, n, v) => Math.min(Math.max(((v - values[0]) / (values[n - 1] - values[0])) * (n - 1), 0), n - 1 - 1e-9);
    const [i, j] = [along(a, na, atA), along(b, nb, atB)];
    const [p, q] = [Math.floor(i), Math.floor(j)];
    const [u, v] = [i - p, j - q];
    const z = (di, dj) => raised(what.cost[(p + di) * nb + q + dj]);
    return project(side(a.values, na, atA), side(b.values, nb, atB), (1 - u) * ((1 - v) * z(0, 0) + v * z(0, 1)) + u * ((1 - v) * z(1, 0) + v * z(1, 1)));
  }
  // The point of the surface that is drawn nearest to a place.
  function pointAt(x, y) {
    let best = { far: Infinity };
    const share = ({ values }, n, k) => values[0] + (k / PICKED) * (values[n - 1] - values[0]);
    for (let i = 0; i <= PICKED; i += 1) {
      for (let j = 0; j <= PICKED; j += 1) {
        const at = [share(a, na, i), share(b, nb, j)];
        const [u, v] = placeOf(...at);
        const far = Math.hypot(u - x, v - y);
        if (far < best.far) best = { far, at };
      }
    }
    return best.at;
  }
  function ball(pen, [x, y], radius, color = "#e08a00") {
    pen.fillStyle = color;
    pen.strokeStyle = "#fff";
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 7);
    pen.fill();
    pen.stroke();
  }

  const turn = (yaw, pitch) => {
    view.yaw += yaw;
    view.pitch = Math.min(Math.max(view.pitch + pitch, 0.08), 1.5);
    redrawSoon();
  };
  const zoom = (factor) => {
    view.zoom = Math.min(Math.max(view.zoom * factor, 0.5), 4);
    redrawSoon();
  };
  const redrawSoon = soon(redraw);
  let [held, pressed] = [null, null];
  canvas.onpointerdown = (event) => {
    pressed = [event.clientX, event.clientY];
    held = [event.clientX, event.clientY];
    canvas.setPointerCapture(event.pointerId);
  };
  canvas.onpointermove = (event) => {
    if (!held) return;
    turn((event.clientX - held[0]) * -0.008, (event.clientY - held[1]) * 0.006);
    held = [event.clientX, event.clientY];
  };
  canvas.onpointerup = canvas.onpointercancel = (event) => {
    if (pick && held && event.type === "pointerup" && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) < TAP) pick(...pointAt(...within(canvas, event)));
    held = null;
  };
  canvas.onwheel = (event) => {
    if (!event.ctrlKey && document.activeElement !== canvas) return; // the page continues to scroll
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.08 : 1 / 1.08);
  };
  canvas.onkeydown = (event) => {
    const arrow = ARROWS[event.key];
    const last = event.shiftKey && pick ? routes()[0]?.from : null;
    if (arrow && last) pick(last[0] + (arrow[0] * spanA) / a.length / 20, last[1] + (arrow[1] * spanB) / b.length / 20);
    else if (arrow) turn(-0.09 * arrow[0], 0.07 * arrow[1]);
    else if (event.key === "+" || event.key === "=") zoom(1.1);
    else if (event.key === "-") zoom(1 / 1.1);
    else return;
    event.preventDefault();
  };
  return { redraw, view };
}
