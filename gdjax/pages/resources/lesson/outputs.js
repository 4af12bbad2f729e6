// The image of the page and another: whose cost is lower? The cost is drawn as the ten parts that it adds up from.

import { byId, css, element, fitted, option, rgb } from "../base.js";
import { number } from "../numbers.js";
import { reading } from "./draw.js";
import { imageAt } from "./images.js";
import { PARTS, isShare } from "./network.js";
import { showQuestion } from "./question.js";
import { pixelsInto } from "./squares.js";
import { outputWords, text } from "./text.js";

const SEARCHED = 60; // number of images searched for the next pair
const ANSWERS_AB = ["A", "B"];
const LEAST = 0.0005; // smaller parts are written as 0
const outputsRow = (width) => (width < 420 ? 14 : 24); // height in pixels of a bar with its digit
// Without the parts of the cost, the last rows are not there.
const outputsHeight = (width, hasParts) => 12 * outputsRow(width) + (hasParts ? 54 : 14);

export function outputsCard(page) {
  let from = 0; // test image at which the search for the next pair begins
  let pair = [];
  let asked = null; // {params, key} of the network and the image of the pair
  let isAnswered = false;
  const select = byId("outputs-cost");
  const canvases = ANSWERS_AB.map((name) => {
    const canvas = element("canvas", { role: "img" });
    byId("outputs-pair").append(element("figure", {}, element("figcaption", { id: `outputs-${name}` }), canvas));
    return canvas;
  });
  const redraws = canvases.map((canvas, i) => fitted(canvas, (width) => outputsHeight(width, isAnswered), (pen, width) => pair[i] && drawOne(pen, width, pair[i], isAnswered)));
  const partsOf = ({ outputs, label }) => PARTS[select.value](outputs, label);
  const costOf = (one) => partsOf(one).reduce((sum, part) => sum + part, 0);

  // Left: the outputs. Right, if they are not hidden: the parts of the cost, and below them their sum.
  function drawOne(pen, width, one, hasParts) {
    const { pixels, sure, label } = one;
    const row = outputsRow(width);
    const [thick, letters] = [row / 2, row < 20 ? 12 : 14];
    const side = Math.min(width * 0.3, 76);
    pixelsInto(pen, pixels, 0, 0, side);
    const parts = partsOf(one);
    const most = Math.max(...pair.flatMap(partsOf), 1e-9);
    const sums = Math.max(...pair.map(costOf), 1e-9);
    const [left, middle] = [side + 34, side + 34 + (width - side - 34) * 0.4];
    const [roomA, roomB] = [middle - left - 12, width - middle - 58];
    pen.textBaseline = "middle";
    pen.font = "12px Inter, system-ui, sans-serif";
    pen.fillStyle = "#535d6c";
    pen.fillText(text("outputs.output"), left, row / 2);
    if (hasParts) pen.fillText(text("outputs.part"), middle, row / 2);
    const highest = Math.max(1, ...sure);
    sure.forEach((a, digit) => {
      const y = (digit + 1.5) * row;
      const isRight = digit === label;
      pen.fillStyle = "#1d2530";
      pen.font = `${isRight ? 700 : 400} ${letters}px Inter, system-ui, sans-serif`;
      pen.fillText(`${digit}`, left - 16, y);
      pen.fillStyle = "#e9e5dc";
      pen.fillRect(left, y - thick / 2, roomA, thick);
      pen.fillStyle = isRight ? "#00735a" : css(rgb(["#868d98", "#b3420a"], a / highest));
      pen.fillRect(left, y - thick / 2, (roomA * Math.max(a, 0)) / highest, thick);
      // The target: 1 for the right digit, 0 for the others.
      pen.fillStyle = "#1d2530";
      pen.fillRect(left + (isRight ? roomA / highest : 0) - 1, y - row * 0.37, 2, row * 0.75);
      if (!hasParts) return;
      pen.fillStyle = isRight ? "#00735a" : "#b3420a";
      pen.fillRect(middle, y - thick / 2, (roomB * parts[digit]) / most, thick);
      pen.fillStyle = "#535d6c";
      pen.font = "12px Inter, system-ui, sans-serif";
      pen.fillText(parts[digit] < LEAST ? "0" : number(parts[digit], 2), middle + (roomB * parts[digit]) / most + 5, y);
    });
    const y = 12 * row + 4;
    pen.fillStyle = "#1d2530";
    pen.font = `600 ${letters}px Inter, system-ui, sans-serif`;
    pen.fillText(hasParts ? text(select.value === "cross_entropy" ? "outputs.single" : "outputs.sum", { cost: costOf(one) }) : text("outputs.hidden"), 0, y, width);
    if (!hasParts) return;
    // The parts in a row: together they are as long as the cost.
    let x = 0;
    parts.forEach((part, digit) => {
      const long = ((width - 4) * part) / sums;
      pen.fillStyle = digit === label ? "#00735a" : digit % 2 ? "#b3420a" : "#d97a45";
      pen.fillRect(x, y + 16, long, 20);
      if (long > 16) {
        pen.fillStyle = "#ffffff";
        pen.fillText(`${digit}`, x + long / 2 - 4, y + 26);
      }
      x += long;
    });
  }

  // The image of the page, as the digit that it is meant to be.
  function ownOne(network) {
    const { pixels, label, at = -1 } = page.image();
    const read = reading(network, pixels);
    const one = { ...read, at, label: label ?? read.best, outputs: read.activities.at(-1) };
    return { ...one, cost: costOf(one) };
  }

  // The image of the page, and a test image with a different cost that is not read almost perfectly.
  function nextPair() {
    const { test } = page.sets;
    const network = page.network();
    const all = Array.from({ length: SEARCHED }, (_, i) => {
      const at = (from + i) % test.labels.length;
      const read = reading(network, imageAt(test, at));
      const one = { ...read, at, label: test.labels[at], outputs: read.activities.at(-1) };
      return { ...one, cost: costOf(one) };
    });
    const first = ownOne(network);
    const others = all.filter(({ at, cost }) => at !== first.at && cost > 0.05);
    const distance = ({ cost }) => Math.abs(Math.log(cost / first.cost));
    const second = others.find((one) => distance(one) > 0.3) ?? (others.length ? others : all).reduce((best, one) => (distance(one) > distance(best) ? one : best));
    pair = [first, second];
    from = second.at + 1;
    ask(network);
  }

  function ask({ model }) {
    isAnswered = false;
    pair.forEach(({ label, sure }, i) => {
      byId(`outputs-${ANSWERS_AB[i]}`).textContent = text("outputs.one", { name: ANSWERS_AB[i], label });
      canvases[i].setAttribute("aria-label", text("outputs.bars", { name: ANSWERS_AB[i], outputs: Array.from(sure, (a, digit) => `${digit}: ${outputWords(model, a)}`).join(", ") }));
    });
    redraws.forEach((redraw) => redraw());
    const [a, b] = pair.map(costOf);
    showQuestion(byId("outputs-question"), {
      ask: text("outputs.ask"),
      choices: ANSWERS_AB,
      isReady: page.isReady,
      pictures: pair.map((one, i) => ({
        words: text("outputs.one", { name: ANSWERS_AB[i], label: one.label }), ratio: (width) => outputsHeight(width, false),
        draw: (pen, width) => drawOne(pen, width, one, false),
      })),
      async answer() {
        isAnswered = true;
        redraws.forEach((redraw) => redraw());
        return { right: a < b ? 0 : 1, words: text("outputs.answer", { a, b }) };
      },
    });
  }

  // The costs that the outputs of a model have.
  function showCosts(model) {
    const costs = model.cost === "cross_entropy" ? ["cross_entropy"] : isShare(model) ? ["quadratic", "binary"] : ["quadratic"];
    select.replaceChildren(...costs.map((cost) => option(cost, text(`outputs.cost.${cost}`))));
  }
  select.addEventListener("change", () => ask(page.network()));
  byId("outputs-next").addEventListener("click", nextPair);
  return {
    update() {
      const { model, params } = page.network();
      const { key } = page.image();
      if (!page.isReady() || (asked?.params === params && asked.key === key)) return;
      asked = { params, key };
      showCosts(model);
      nextPair();
    },
  };
}
