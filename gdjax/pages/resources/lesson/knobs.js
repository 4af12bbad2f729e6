// One step of all weights and biases: each turns against its slope, and then the cost falls.

import { SIGNED, byId, css, element, fitted, rgb } from "../base.js";
import { number } from "../numbers.js";
import { modelOf, startingPoint } from "./descent.js";
import { layersOf } from "./network.js";
import { signedInto } from "./squares.js";
import { say, text } from "./text.js";
import { settingsOf } from "./train.js";

const IMAGES_IN_A_ROW = 8;
const SECONDS_OF_TURNING = 1.4;
const STILL = "(prefers-reduced-motion: reduce)";

// The weights that no step changes: their pixels are black in every training image.
export function neverTurning({ pixels, size }, neurons) {
  let black = 0;
  for (let j = 0; j < size; j += 1) {
    let i = j;
    while (i < pixels.length && !pixels[i]) i += size;
    black += i >= pixels.length ? 1 : 0;
  }
  return { black, weights: black * neurons };
}

export function knobsCard(page) {
  const { sets } = page;
  const never = neverTurning(sets.train, sets.widths[1]);
  const rowsOfImages = Math.ceil(sets.widths[1] / IMAGES_IN_A_ROW);
  let [params, change, costs, share] = [null, null, [], 1];
  let settings = null;
  let isBusy = false;

  // The changes of the weights of the first layer, an image for each neuron; the other layers below.
  const redraw = fitted(byId("knobs-picture"), (width) => rowsOfImages * (width / IMAGES_IN_A_ROW) + 44, (pen, width) => {
    if (!params) return;
    const turned = change ?? new Float64Array(params.length);
    const { from, to, weights } = layersOf(modelOf(settingsOf(page.state), sets.widths), turned)[0];
    // Square roots show small changes too; images and bars have a scale each.
    const seenOf = (values) => {
      const most = values.reduce((best, v) => Math.max(best, Math.abs(v)), 0) || 1;
      return values.map((v) => share * Math.sign(v) * Math.sqrt(Math.abs(v) / most));
    };
    const cell = width / IMAGES_IN_A_ROW;
    const seen = seenOf(weights);
    for (let i = 0; i < to; i += 1) {
      const [left, top] = [(i % IMAGES_IN_A_ROW) * cell + 2, Math.floor(i / IMAGES_IN_A_ROW) * cell + 2];
      signedInto(pen, seen.subarray(i * from, (i + 1) * from), left, top, cell - 4, 1);
      pen.strokeStyle = "#dcd7cc";
      pen.strokeRect(left, top, cell - 4, cell - 4);
    }
    const rest = seenOf(turned.subarray(from * to));
    const wide = width / Math.ceil(rest.length / 4);
    rest.forEach((v, i) => {
      pen.fillStyle = css(rgb(SIGNED, 0.5 + v / 2));
      pen.fillRect(Math.floor(i / 4) * wide, rowsOfImages * cell + 6 + (i % 4) * 9, wide, 8);
    });
  });
  const bars = ["before", "after"].map((name) => {
    const bar = element("i");
    const words = element("span");
    byId("knobs-cost").append(element("li", {}, element("b", { textContent: text(`knobs.${name}`) }), bar, words));
    return { bar, words };
  });

  function show() {
    byId("knobs-back").disabled = isBusy || costs.length < 2;
    byId("knobs-step").disabled = isBusy || !params;
    const last = costs.slice(-2);
    const highest = costs[0] ?? 1;
    bars.forEach(({ bar, words }, i) => {
      const cost = last[i];
      const isShown = cost !== undefined && (i === 0 || share === 1);
      bar.style.width = isShown ? `${(100 * cost) / highest}%` : "0";
      words.textContent = isShown ? number(cost) : "";
    });
    redraw();
    if (!params) return;
    const constant = { black: never.black, never: never.weights, all: params.length };
    if (!change) say("knobs-told", text("knobs.start", { ...constant, cost: costs[0] }));
    else if (share < 1) say("knobs-told", text("knobs.turning", constant));
    else say("knobs-told", text("knobs.done", {
      ...constant, count: costs.length - 1, turned: change.filter((v) => v !== 0).length, before: last[0], after: last[1], rate: page.state.rate,
    }));
  }

  async function begin() {
    const own = settingsOf(page.state);
    settings = JSON.stringify(own);
    params = startingPoint(own, sets.widths);
    [change, costs, share] = [null, [], 1];
    const { cost } = await page.lab.measure(modelOf(own, sets.widths), params, "train");
    costs = [cost];
    show();
  }
  async function step() {
    const own = settingsOf(page.state);
    const model = modelOf(own, sets.widths);
    isBusy = true;
    show();
    try {
      const next = await page.lab.wholeStep(model, params, own.rate);
      change = next.gradient.map((g) => -own.rate * g);
      params = next.params;
      costs.push((await page.lab.measure(model, params, "train")).cost);
      await turn();
    } finally {
      isBusy = false;
      share = 1;
      show();
    }
  }
  function turn() {
    const start = performance.now();
    return new Promise((finish) => {
      const frame = (now) => {
        share = Math.min(Math.max((now - start) / 1000 / SECONDS_OF_TURNING, 0), 1);
        if (share === 1 || matchMedia(STILL).matches) return finish();
        show();
        requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    });
  }
  byId("knobs-step").addEventListener("click", step);
  byId("knobs-back").addEventListener("click", begin);
  return {
    update() {
      if (isBusy || !page.isReady() || settings === JSON.stringify(settingsOf(page.state))) return;
      begin();
    },
  };
}
