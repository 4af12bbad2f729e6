// Two images, two outputs: whose cost is lower?

import { byId, css, element, fitted, rgb } from "../base.js";
import { percent } from "../numbers.js";
import { reading } from "./draw.js";
import { imageAt } from "./images.js";
import { COSTS } from "./network.js";
import { showQuestion } from "./question.js";
import { pixelsInto } from "./squares.js";
import { text } from "./text.js";

const SEARCHED = 60; // number of images searched for the next pair
const ANSWERS_AB = ["A", "B"];

export function outputsCard(page) {
  let from = 0; // test image at which the search for the next pair begins
  let pair = [];
  let asked = null; // parameters of the network of the pair
  const canvases = ANSWERS_AB.map((name) => {
    const canvas = element("canvas", { role: "img" });
    byId("outputs-pair").append(element("figure", {}, element("figcaption", { id: `outputs-${name}` }), canvas));
    return canvas;
  });
  const redraws = canvases.map((canvas, i) => fitted(canvas, 0.62, (pen, width, height) => pair[i] && drawOne(pen, width, height, pair[i])));

  function drawOne(pen, width, height, { pixels, sure, label }) {
    const side = Math.min(height - 10, width * 0.38);
    pixelsInto(pen, pixels, 0, (height - side) / 2, side);
    const row = height / sure.length;
    const left = side + 46;
    pen.font = "15px Inter, system-ui, sans-serif";
    pen.textBaseline = "middle";
    sure.forEach((a, digit) => {
      const y = (digit + 0.5) * row;
      pen.fillStyle = "#1d2530";
      pen.fillText(`${digit}`, side + 24, y);
      pen.fillStyle = "#e9e5dc";
      pen.fillRect(left, y - row * 0.3, width - left - 2, row * 0.6);
      pen.fillStyle = digit === label ? "#00735a" : css(rgb(["#868d98", "#b3420a"], a));
      pen.fillRect(left, y - row * 0.3, (width - left - 2) * Math.min(Math.max(a, 0), 1), row * 0.6);
    });
  }

  // Two images with different costs; if possible, neither is classified almost perfectly.
  function nextPair() {
    const { test } = page.sets;
    const { model } = page.network();
    const all = Array.from({ length: SEARCHED }, (_, i) => {
      const at = (from + i) % test.labels.length;
      const label = test.labels[at];
      const read = reading(page.network(), imageAt(test, at));
      return { ...read, at, label, cost: COSTS[model.cost].value(read.activities.at(-1), label) };
    });
    const unsure = all.filter(({ cost }) => cost > 0.05);
    const [first, ...others] = unsure.length > 1 ? unsure : all;
    const distance = ({ cost }) => Math.abs(Math.log(cost / first.cost));
    const second = others.find((one) => distance(one) > 0.3) ?? others.reduce((best, one) => (distance(one) > distance(best) ? one : best));
    pair = [first, second];
    from = second.at + 1;
    pair.forEach(({ label, sure }, i) => {
      byId(`outputs-${ANSWERS_AB[i]}`).textContent = text("outputs.one", { name: ANSWERS_AB[i], label });
      canvases[i].setAttribute("aria-label", text("outputs.bars", { name: ANSWERS_AB[i], outputs: Array.from(sure, (a, digit) => `${digit}: ${percent(a)}`).join(", ") }));
      redraws[i]();
    });
    const [a, b] = pair.map(({ cost }) => cost);
    showQuestion(byId("outputs-question"), {
      ask: text("outputs.ask"),
      choices: ANSWERS_AB,
      answer: async () => ({ right: a < b ? 0 : 1, words: text("outputs.answer", { a, b }) }),
    });
  }
  byId("outputs-next").addEventListener("click", nextPair);
  return {
    update() {
      const { params } = page.network();
      if (page.lab.isRunning() || params === asked) return;
      asked = params;
      nextPair();
    },
  };
}
