// A network for two features, whose layers and weights can be edited: its cost and its decisions
// follow at once.

import { SIGNED, byId, element, fitted, option, rgb, within } from "../base.js";
import { number, percent } from "../numbers.js";
import { gradientOf, measure, startingPoint, stepped } from "./descent.js";
import { forward, layersOf, parameterAt, parameterCount } from "./network.js";
import { randomBits } from "./threefry.js";
import { say, text } from "./text.js";

const POINTS_OF_A_CLASS = 100;
const CELLS = 48; // along each side of a decision picture
const MOST = { layers: 3, neurons: 6 };
const STEPS_PER_FRAME = 20;
const CLASS_COLORS = ["#0b4f8a", "#a63603"];

// Points in the square from -1 to 1 with their class: {values: [x, y, x, y, ...], labels}.
export function featurePoints(name, { pixels, size, labels }) {
  const count = 2 * POINTS_OF_A_CLASS;
  if (name !== "ring" && name !== "corners") return digitPoints(name.split("").map(Number), { pixels, size, labels });
  const uniform = Array.from(randomBits([0, name.length], 2 * count), (bits) => (2 * bits) / 2 ** 32 - 1);
  const classOf = name === "ring" ? (x, y) => (x * x + y * y < 0.45 ? 1 : 0) : (x, y) => (x * y > 0 ? 1 : 0);
  return { values: uniform, labels: Uint8Array.from({ length: count }, (_, i) => classOf(uniform[2 * i], uniform[2 * i + 1])) };
}

// Two features of digits: the mean of all pixels, and the mean of the pixels in the middle. Each is
// scaled to the range from -1 to 1.
function digitPoints(pair, { pixels, size, labels }) {
  const side = Math.round(Math.sqrt(size));
  const isMiddle = (j) => [j % side, Math.floor(j / side)].every((at) => Math.abs(at - (side - 1) / 2) < side / 7);
  const chosen = pair.flatMap((digit) => Array.from(labels.keys()).filter((i) => labels[i] === digit).slice(0, POINTS_OF_A_CLASS));
  const features = chosen.map((i) => {
    const image = pixels.subarray(i * size, (i + 1) * size);
    const middle = image.filter((_, j) => isMiddle(j));
    return [image, middle].map((part) => part.reduce((sum, p) => sum + p, 0) / part.length);
  });
  const scaled = [0, 1].map((k) => {
    const column = features.map((one) => one[k]);
    const [low, high] = [Math.min(...column), Math.max(...column)];
    return column.map((v) => (2 * (v - low)) / (high - low) - 1);
  });
  return { values: chosen.flatMap((_, i) => [scaled[0][i], scaled[1][i]]), labels: Uint8Array.from(chosen, (i) => pair.indexOf(labels[i])) };
}

// Values as input of the network, in the form of the nonzero pixels of images.
export function litValues(values) {
  const count = values.length / 2;
  return {
    count,
    begins: Uint32Array.from({ length: count + 1 }, (_, i) => 2 * i),
    positions: Uint16Array.from({ length: 2 * count }, (_, i) => i % 2),
    values: Float64Array.from(values),
  };
}

// The parameters after a change of the hidden widths: weights between neurons that remain are kept.
export function resized(params, before, after) {
  const next = startingPoint({ seed: 1, scale: 2 }, after);
  const model = (widths) => ({ widths, activation: "sigmoid", cost: "quadratic" });
  const [old, fresh] = [layersOf(model(before), params), layersOf(model(after), next)];
  if (before.length !== after.length) return next;
  fresh.forEach(({ from, to, weights, bias }, l) => {
    for (let i = 0; i < Math.min(to, old[l].to); i += 1) {
      bias[i] = old[l].bias[i];
      for (let j = 0; j < Math.min(from, old[l].from); j += 1) weights[i * from + j] = old[l].weights[i * old[l].from + j];
    }
  });
  return next;
}

export function featuresCard(page) {
  const data = byId("features-data");
  const picker = byId("features-weight");
  const value = byId("features-value");
  const train = byId("features-train");
  const rate = 3;
  const grid = litValues(Array.from({ length: CELLS * CELLS }, (_, k) => [(2 * (k % CELLS) + 1) / CELLS - 1, 1 - (2 * Math.floor(k / CELLS) + 1) / CELLS]).flat());
  let widths = [2, 3, 2];
  let params = startingPoint({ seed: 1, scale: 2 }, widths);
  let points = null;
  let lines = []; // {at, x1, y1, x2, y2} of the drawn weights
  let steps = 0;
  let isRunning = false;
  const model = () => ({ widths, activation: "sigmoid", cost: "quadratic" });
  data.append(...["01", "38", "ring", "corners"].map((name) => option(name, text(`features.data.${name}`))));

  // The activations of all neurons over the square: [layer][cell][neuron].
  function activitiesOfGrid() {
    const layers = layersOf(model(), params);
    return Array.from({ length: grid.count }, (_, cell) => forward(layers, grid, cell));
  }
  function heat(values) {
    const small = element("canvas", { width: CELLS, height: CELLS });
    const image = small.getContext("2d").createImageData(CELLS, CELLS);
    values.forEach((v, i) => image.data.set([...rgb(SIGNED, v), 255], 4 * i));
    small.getContext("2d").putImageData(image, 0, 0);
    return small;
  }
  const redrawDecision = fitted(byId("features-decision"), 1, (pen, width) => {
    if (!points) return;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(heat(activitiesOfGrid().map((one) => 0.5 + (one.at(-1)[1] - one.at(-1)[0]) / 2.4)), 0, 0, width, width);
    points.labels.forEach((label, i) => {
      pen.beginPath();
      pen.arc(((points.values[2 * i] + 1) / 2) * width, ((1 - points.values[2 * i + 1]) / 2) * width, 3.6, 0, 7);
      pen.fillStyle = CLASS_COLORS[label];
      pen.fill();
      pen.lineWidth = 1;
      pen.strokeStyle = "#ffffff";
      pen.stroke();
    });
  });
  const redrawNetwork = fitted(byId("features-network"), (width) => Math.min(330, width * 0.8), (pen, width, height) => {
    if (!points) return;
    const all = activitiesOfGrid();
    const size = 34;
    const across = (l) => size / 2 + 14 + (l / (widths.length - 1)) * (width - size - 28);
    const down = (l, i) => ((i + 0.5) / widths[l]) * height;
    lines = [];
    layersOf(model(), params).forEach(({ begin, from, to, weights }, l) => {
      for (let i = 0; i < to; i += 1) {
        for (let j = 0; j < from; j += 1) {
          const at = begin + i * from + j;
          const line = { at, x1: across(l) + size / 2, y1: down(l, j), x2: across(l + 1) - size / 2, y2: down(l + 1, i) };
          lines.push(line);
          const w = weights[i * from + j];
          pen.strokeStyle = at === Number(picker.value) ? "#00735a" : w > 0 ? "#b3420a" : "#0b5d94";
          pen.lineWidth = Math.min(0.6 + Math.abs(w) / 2.5, 6) + (at === Number(picker.value) ? 1.5 : 0);
          pen.beginPath();
          pen.moveTo(line.x1, line.y1);
          pen.lineTo(line.x2, line.y2);
          pen.stroke();
        }
      }
    });
    pen.imageSmoothingEnabled = false;
    widths.forEach((count, l) => {
      for (let i = 0; i < count; i += 1) {
        const [left, top] = [across(l) - size / 2, down(l, i) - size / 2];
        const seen = l ? all.map((one) => one[l - 1][i]) : Array.from({ length: grid.count }, (_, cell) => 0.5 + grid.values[2 * cell + i] / 2);
        pen.drawImage(heat(seen), left, top, size, size);
        pen.strokeStyle = l === widths.length - 1 ? CLASS_COLORS[i] : "#1d2530";
        pen.lineWidth = l === widths.length - 1 ? 3 : 1;
        pen.strokeRect(left, top, size, size);
      }
    });
  });

  function show() {
    if (!points) return;
    const rows = Array.from(points.labels.keys());
    const { cost, accuracy } = measure(model(), params, { lit: points.lit, labels: points.labels }, rows);
    say("features-told", text("features.told", { cost, share: percent(accuracy), steps, parameters: params.length }));
    if (document.activeElement !== value) value.value = String(Math.min(Math.max(params[Number(picker.value)], -12), 12));
    byId("features-out").textContent = number(params[Number(picker.value)]);
    redrawDecision();
    redrawNetwork();
  }
  function wordsOf(at) {
    const layers = layersOf(model(), params);
    const { layer, to, from } = parameterAt(layers, at);
    const neuron = (l, i) => (l < 0 ? text("features.input", { name: text(`features.${i ? "second" : "first"}`) }) : l === layers.length - 1 ? text("features.output", { neuron: i }) : text("place.hidden", { neuron: i, layer: l + 1 }));
    return from === undefined ? text("place.bias", { to: neuron(layer, to) }) : text("place.weight", { from: neuron(layer - 1, from), to: neuron(layer, to) });
  }
  function showLayers() {
    const change = (next) => () => {
      params = resized(params, widths, next);
      widths = next;
      steps = 0;
      showLayers();
    };
    const button = (words, label, next, isPossible) => {
      const made = element("button", { type: "button", textContent: words, "aria-label": label, disabled: !isPossible });
      made.addEventListener("click", change(next));
      return made;
    };
    const hidden = widths.slice(1, -1);
    byId("features-layers").replaceChildren(
      ...hidden.map((count, l) => {
        const to = (n) => widths.map((width, k) => (k === l + 1 ? n : width));
        return element(
          "div", { className: "layer" },
          element("span", { textContent: text("features.layer", { layer: l + 1, neurons: count }) }),
          button("−", text("features.fewer", { layer: l + 1 }), to(count - 1), count > 1),
          button("+", text("features.more", { layer: l + 1 }), to(count + 1), count < MOST.neurons),
        );
      }),
      button(text("features.add"), text("features.add"), [2, ...hidden, 3, 2], hidden.length < MOST.layers),
      button(text("features.remove"), text("features.remove"), [2, ...hidden.slice(0, -1), 2], hidden.length > 0),
    );
    picker.replaceChildren(...Array.from({ length: parameterCount(widths) }, (_, at) => option(at, wordsOf(at))));
    show();
  }
  function load() {
    points = featurePoints(data.value, page.sets.train);
    points.lit = litValues(points.values);
    steps = 0;
    params = startingPoint({ seed: 1, scale: 2 }, widths);
    const isDigit = /^\d/.test(data.value);
    say("features-axes", text(isDigit ? "features.axes.digits" : "features.axes.plane"));
    showLayers();
  }
  function run() {
    if (!isRunning || !train.isConnected || byId("features").hidden) return stop();
    const rows = Array.from(points.labels.keys());
    for (let k = 0; k < STEPS_PER_FRAME; k += 1, steps += 1) {
      params = stepped(params, gradientOf(model(), params, { lit: points.lit, labels: points.labels }, rows), rate);
    }
    show();
    requestAnimationFrame(run);
  }
  function stop() {
    isRunning = false;
    train.textContent = text("train.run");
    train.setAttribute("aria-pressed", "false");
  }
  train.addEventListener("click", () => {
    if (isRunning) return stop();
    isRunning = true;
    train.textContent = text("train.pause");
    train.setAttribute("aria-pressed", "true");
    run();
  });
  data.addEventListener("change", load);
  picker.addEventListener("change", show);
  byId("features-start").addEventListener("click", load);
  value.addEventListener("input", () => {
    params = params.slice();
    params[Number(picker.value)] = Number(value.value);
    show();
  });
  byId("features-network").addEventListener("click", (event) => {
    const [x, y] = within(byId("features-network"), event);
    const distance = ({ x1, y1, x2, y2 }) => {
      const t = Math.min(Math.max(((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / ((x2 - x1) ** 2 + (y2 - y1) ** 2), 0), 1);
      return Math.hypot(x1 + t * (x2 - x1) - x, y1 + t * (y2 - y1) - y);
    };
    picker.value = String(lines.reduce((best, line) => (distance(line) < distance(best) ? line : best)).at);
    show();
  });
  stop();
  return {
    update() {
      if (!points) load();
    },
  };
}
