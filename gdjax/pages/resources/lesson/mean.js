// The wishes of five images for the same weights, and their mean, which is the gradient of the mean cost
// with the opposite sign.

import { byId, fitted } from "../base.js";
import { number } from "../numbers.js";
import { reading } from "./draw.js";
import { imageAt } from "./images.js";
import { imageGradient } from "./matter.js";
import { COSTS, layersOf } from "./network.js";
import { showQuestion } from "./question.js";
import { pixelsInto } from "./squares.js";
import { text } from "./text.js";
import { settingsOf } from "./train.js";
import { differenceOf } from "./wishes.js";
import { arrowInto } from "./wishpicture.js";

const MEAN_IMAGES = 5;
const MEAN_WEIGHTS = 8;
const NAMES_OF_WEIGHTS = "ABCDEFGH";
const CANCELED_SHARE = 0.05; // of the mean size of the wishes: they cancel
const VISIBLE_SHARE = 0.15; // of the largest sizes: weights with smaller wishes are not asked about
const meanRow = (width) => (width < 420 ? 34 : 46); // height in pixels
const meanHeight = (width) => meanRow(width) * (MEAN_IMAGES + 1) + 34;

export const meanOf = (gradients) => gradients[0].map((_, at) => gradients.reduce((sum, one) => sum + one[at], 0) / gradients.length);

// The weights behind the first layer that images disagree about, with the largest wishes; one of them,
// if possible, with a mean that goes against the majority.
export function contested(gradients, mean, begin) {
  const upsOf = (at) => gradients.filter((one) => one[at] < 0).length;
  const sizeOf = (at) => {
    const ups = upsOf(at);
    return ups > 0 && ups < gradients.length ? gradients.reduce((sum, one) => sum + Math.abs(one[at]), 0) : 0;
  };
  const places = Array.from({ length: gradients[0].length - begin }, (_, i) => begin + i);
  const visible = VISIBLE_SHARE * places.reduce((most, at) => Math.max(most, sizeOf(at)), 0);
  const isAgainst = (at) => sizeOf(at) > visible && (upsOf(at) > gradients.length / 2) !== mean[at] < 0;
  const against = places.filter(isAgainst).sort((a, b) => Math.abs(mean[b]) - Math.abs(mean[a])).slice(0, 1);
  const others = places.sort((a, b) => sizeOf(b) - sizeOf(a)).filter((at) => !against.includes(at));
  return [...against, ...others].slice(0, MEAN_WEIGHTS).sort((a, b) => a - b);
}

export function meanCard(page) {
  let now = null; // {images: [{pixels, label}], wishes: [of each image and their mean], weights}
  let shown = null;
  let isAnswered = false;
  const redraw = fitted(byId("mean-picture"), meanHeight, (pen, width) => now && draw(pen, width, now, isAnswered));

  function draw(pen, width, { images, wishes, weights, asked }, hasMean) {
    const row = meanRow(width);
    const cell = (width - 58) / weights.length;
    const most = wishes.slice(0, MEAN_IMAGES).flat().reduce((best, v) => Math.max(best, Math.abs(v)), 0) || 1;
    pen.textBaseline = "middle";
    pen.textAlign = "center";
    pen.font = "600 14px Inter, system-ui, sans-serif";
    pen.fillStyle = "#eef4f8";
    pen.fillRect(58 + asked * cell, 0, cell, meanHeight(width));
    weights.forEach((_, k) => {
      pen.fillStyle = "#1d2530";
      pen.fillText(NAMES_OF_WEIGHTS[k], 58 + (k + 0.5) * cell, 12);
    });
    wishes.forEach((values, r) => {
      const y = 26 + row * r + (r === MEAN_IMAGES ? 8 : 0);
      if (r < MEAN_IMAGES) pixelsInto(pen, images[r].pixels, 4, y, row - 4);
      else {
        pen.fillStyle = "#1d2530";
        pen.fillRect(0, y - 6, width, 1.5);
        pen.textAlign = "left";
        pen.fillText(text("mean.row"), 0, y + row / 2 - 3);
        pen.textAlign = "center";
      }
      values.forEach((wish, k) => {
        const x = 58 + (k + 0.5) * cell;
        if (r < MEAN_IMAGES || hasMean) return arrowInto(pen, x, y + row / 2 - 3, wish / most, row - 8);
        pen.fillStyle = "#535d6c";
        pen.fillText("?", x, y + row / 2 - 3);
      });
    });
  }

  function begin() {
    const network = page.start();
    const { model, params } = network;
    const { test } = page.sets;
    const own = page.image();
    const images = [{ pixels: own.pixels, label: own.label ?? page.reading().best }];
    for (let at = 0; images.length < MEAN_IMAGES && at < test.labels.length; at += 1) {
      const label = test.labels[at];
      if (images.every((one) => one.label !== label)) images.push({ pixels: imageAt(test, at), label });
    }
    const gradients = images.map(({ pixels, label }) => imageGradient(network, reading(network, pixels), label));
    const mean = meanOf(gradients);
    const weights = contested(gradients, mean, layersOf(model, params)[1].begin);
    const wishes = [...gradients, mean].map((one) => weights.map((at) => -one[at]));
    const upsOf = (k) => wishes.slice(0, MEAN_IMAGES).filter((row) => row[k] > 0).length;
    // If there is one, a weight whose mean goes against the majority.
    const isAgainst = (k) => (upsOf(k) > MEAN_IMAGES / 2) !== wishes[MEAN_IMAGES][k] > 0;
    const votes = weights.map((_, k) => Math.abs(upsOf(k) - MEAN_IMAGES / 2));
    const against = weights.findIndex((_, k) => isAgainst(k));
    const asked = against < 0 ? votes.indexOf(Math.min(...votes)) : against;
    now = { images, wishes, weights, asked };
    isAnswered = false;
    const meanCostAt = (h) => {
      const moved = params.slice();
      moved[weights[asked]] += h;
      const costs = images.map(({ pixels, label }) => COSTS[model.cost].value(reading({ model, params: moved }, pixels).activities.at(-1), label));
      return costs.reduce((sum, cost) => sum + cost, 0) / MEAN_IMAGES;
    };
    const subject = now;
    redraw();
    byId("mean-picture").setAttribute("aria-label", text("mean.picture", {
      images: images.map(({ label }) => label).join(", "),
      words: weights.map((_, k) => `${NAMES_OF_WEIGHTS[k]}: ${wishes.slice(0, MEAN_IMAGES).map((row) => number(row[k], 2)).join(" ")}`).join("; "),
    }));
    showQuestion(byId("mean-question"), {
      ask: text("mean.ask", { name: NAMES_OF_WEIGHTS[asked], ups: upsOf(asked), downs: MEAN_IMAGES - upsOf(asked) }),
      choices: ["wish.up", "wish.down", "wish.none"].map((name) => text(name)),
      isReady: page.isReady,
      pictures: [{ words: text("mean.title"), ratio: meanHeight, draw: (pen, width) => draw(pen, width, subject, false) }],
      async answer() {
        isAnswered = true;
        redraw();
        const column = wishes.map((row) => row[asked]);
        const size = column.slice(0, MEAN_IMAGES).reduce((sum, v) => sum + Math.abs(v), 0) / MEAN_IMAGES;
        const wish = column[MEAN_IMAGES];
        return {
          right: Math.abs(wish) < CANCELED_SHARE * size ? 2 : wish > 0 ? 0 : 1,
          words: text("mean.answer", { wishes: column.slice(0, MEAN_IMAGES).map((v) => number(v, 2)).join(" + ").replaceAll("+ −", "− "), wish, difference: differenceOf(meanCostAt) }),
        };
      },
    });
  }
  return {
    update() {
      if (!page.isReady()) return;
      const next = JSON.stringify([settingsOf(page.state), page.image().key]);
      if (next === shown) return;
      shown = next;
      begin();
    },
  };
}
