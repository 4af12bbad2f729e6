// The parameters that matter most for the displayed image: the gradient of its cost.

import { byId, element, fitted, option } from "../base.js";
import { number, percent } from "../numbers.js";
import { COSTS, addGradient, litPixels, parameterAt } from "./network.js";
import { signedInto } from "./squares.js";
import { say, sentences, text } from "./text.js";

const LARGEST = 8; // number of slopes in the table

// Gradient of the cost of one image alone.
export function imageGradient({ model }, { layers, activities, pixels }, target) {
  const last = layers.at(-1);
  const gradient = new Float64Array(last.begin + last.to * (last.from + 1));
  addGradient(gradient, model, layers, litPixels(pixels, pixels.length), 0, activities, target);
  return gradient;
}

// Parameter number `at` in words.
export function parameterWords(layers, at) {
  const { layer, to, from } = parameterAt(layers, at);
  const neuron = (l, i) => text(l === layers.length - 1 ? "place.output" : "place.hidden", { neuron: i, layer: l + 1 });
  if (from === undefined) return text("place.bias", { to: neuron(layer, to) });
  const side = Math.round(Math.sqrt(layers[0].from));
  const origin = layer ? neuron(layer - 1, from) : text("place.pixel", { row: Math.floor(from / side), column: from % side });
  return text("place.weight", { from: origin, to: neuron(layer, to) });
}

export function matterCard(page) {
  const root = byId("matter");
  const select = byId("target");
  const rate = byId("nudge-rate");
  let target = null; // selected digit; otherwise the label, or the answer of the network
  let of = null; // the image for which it was chosen
  let gradient = null;
  let layers = null;

  const redraw = fitted(root.querySelector("canvas"), (width) => (width < 520 ? width : width * 0.25), (pen, width) => {
    if (!gradient) return;
    const { from, to } = layers[0];
    const neurons = Array.from({ length: to }, (_, i) => gradient.subarray(i * from, (i + 1) * from));
    const most = gradient.subarray(0, to * from).reduce((best, v) => Math.max(best, Math.abs(v)), 0);
    const columns = width < 520 ? 4 : 8;
    const cell = width / columns;
    neurons.slice(0, 16).forEach((one, i) => {
      const [left, top] = [(i % columns) * cell, Math.floor(i / columns) * cell];
      signedInto(pen, one.map((v) => Math.sign(v) * Math.sqrt(Math.abs(v))), left + 3, top + 3, cell - 6, Math.sqrt(most));
      pen.strokeStyle = "#dcd7cc";
      pen.lineWidth = 1;
      pen.strokeRect(left + 3, top + 3, cell - 6, cell - 6);
    });
  });

  function update() {
    const network = page.network();
    const { pixels, label } = page.image();
    const read = page.reading();
    if (pixels !== of) [target, of] = [null, pixels];
    const wanted = target ?? label ?? read.best;
    select.value = String(wanted);
    layers = read.layers;
    gradient = imageGradient(network, read, wanted);
    const squares = gradient.map((g) => g * g).sort(); // a typed array is sorted by value, ascending
    const total = squares.reduce((sum, g) => sum + g, 0);
    say("matter-told", sentences(
      text("matter.cost", { target: wanted, cost: COSTS[network.model.cost].value(read.activities.at(-1), wanted) }),
      total === 0 ? text("matter.none") : text("matter.half", {
        parameters: gradient.length, half: halfOf(squares, total), zero: gradient.filter((g) => g === 0).length,
      }),
    ));
    byId("undo-nudge").disabled = !network.nudges;
    byId("nudge-rate-out").textContent = number(10 ** Number(rate.value));
    showLargest(network.params, squares.at(-LARGEST));
    showShares(total);
    redraw();
  }

  function halfOf(squares, total) {
    let [sum, half] = [0, 0];
    while (half < squares.length && sum < total / 2) sum += squares[squares.length - 1 - half++];
    return half;
  }
  const cell = (words) => element("td", { className: "number", textContent: words });
  function showLargest(params, least) {
    const order = Array.from(gradient.keys())
      .filter((at) => gradient[at] ** 2 >= least)
      .sort((a, b) => Math.abs(gradient[b]) - Math.abs(gradient[a]))
      .slice(0, LARGEST);
    root.querySelector("tbody").replaceChildren(...order.map((at) => element(
      "tr", {},
      element("td", { textContent: parameterWords(layers, at) }),
      cell(number(params[at])),
      cell(number(gradient[at])),
      element("td", { textContent: text(gradient[at] > 0 ? "matter.less" : "matter.more") }),
    )));
  }
  function showShares(total) {
    byId("shares").replaceChildren(...layers.map(({ begin, to, from }, l) => {
      const part = gradient.subarray(begin, begin + to * (from + 1)).reduce((sum, g) => sum + g * g, 0);
      const name = l === layers.length - 1 ? text("matter.output") : text("matter.layer", { layer: l + 1 });
      return element("tr", {}, element("td", { textContent: name }), cell(number(to * (from + 1))), cell(total ? percent(part / total) : "–"));
    }));
  }

  const outputs = page.sets.widths.at(-1);
  select.append(...Array.from({ length: outputs }, (_, digit) => option(digit, String(digit))));
  select.addEventListener("change", () => {
    target = Number(select.value);
    page.changed();
  });
  rate.addEventListener("input", page.changed);
  byId("nudge").addEventListener("click", async () => {
    page.nudge(gradient, 10 ** Number(rate.value));
    await tellNudged();
  });
  byId("undo-nudge").addEventListener("click", async () => {
    page.undoNudge();
    await tellNudged();
  });

  // Steps for one image are not recorded, so the values of the changed network are computed here.
  async function tellNudged() {
    const { model, params, step, nudges } = page.network();
    if (!nudges) return say("nudged-told", "");
    const [{ cost }, { accuracy }] = await Promise.all([
      page.lab.measure(model, params, "train"), page.lab.measure(model, params, "test"),
    ]);
    if (page.network().params !== params) return;
    const all = page.sets.test.labels.length;
    say("nudged-told", text("matter.nudged", { step, count: nudges, cost, right: Math.round(accuracy * all), all }));
  }
  return { update, forget: () => say("nudged-told", "") };
}
