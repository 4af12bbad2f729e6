// Two classes of the learner's own: five drawings of each are the training images, three more are kept for
// the test, and a small network is trained here, in less than a second.

import { byId, element, fitted } from "../base.js";
import { chart } from "../chart.js";
import { gradientOf, measure, rowsOf, startingPoint, stepped } from "./descent.js";
import { reading } from "./draw.js";
import { litPixels } from "./network.js";
import { pad, pixelsOfDrawing } from "./pad.js";
import { dropQuestion, showQuestion } from "./question.js";
import { pixelsInto } from "./squares.js";
import { outputWords, say, text } from "./text.js";

const [PER_CLASS, TESTS] = [5, 3]; // drawings
const OWN_STEPS = 200;
const OWN_RATE = 3;
const CLASSES = ["a", "b"];

// A descent on all drawings [{pixels, label}]: the network, and the cost before each step and at the end.
export function trainedOn(drawings, size) {
  const model = { widths: [size, 16, 2], activation: "sigmoid", cost: "quadratic" };
  const set = { lit: litPixels(Uint8Array.from(drawings.flatMap(({ pixels }) => Array.from(pixels))), size), labels: drawings.map(({ label }) => label) };
  const rows = rowsOf(set);
  let params = startingPoint({ seed: 0, scale: 1 }, model.widths);
  const costs = [measure(model, params, set, rows).cost];
  for (let step = 0; step < OWN_STEPS; step += 1) {
    params = stepped(params, gradientOf(model, params, set, rows), OWN_RATE);
    costs.push(measure(model, params, set, rows).cost);
  }
  return { model, params, costs };
}

export function ownCard(page) {
  const { size } = page.sets.test;
  let drawings = []; // for training, {pixels, label}
  let tests = [];
  let lines = [];
  let network = null;
  const drawn = pad(byId("own-pad"), (next) => {
    lines = next;
    show();
  });
  const name = (label) => byId(`own-name-${CLASSES[label]}`).value.trim() || CLASSES[label].toUpperCase();
  const countOf = (label) => drawings.filter((one) => one.label === label).length;
  const readsOf = ({ pixels }) => reading(network, pixels).best;
  const rightOf = (some) => some.filter((one) => readsOf(one) === one.label).length;

  function add(label) {
    if (!lines.length) return;
    const one = { pixels: pixelsOfDrawing(lines), label };
    if (countOf(label) < PER_CLASS) drawings.push(one);
    else if (isFull() && tests.length < TESTS) tests.push(one);
    clear();
    if (tests.length === TESTS) ask();
  }
  const isFull = () => [0, 1].every((label) => countOf(label) >= PER_CLASS);
  function clear() {
    lines = [];
    drawn.show(null);
    show();
  }

  function ask() {
    showQuestion(byId("own-question"), {
      ask: text("own.ask", { count: drawings.length }),
      choices: [3, 2, 1, 0].map((count) => text(`own.choice.${count}`)),
      async answer() {
        network = trainedOn(drawings, size);
        show();
        const right = rightOf(tests);
        return { right: TESTS - right, words: text("own.answer", { right, all: drawings.length, own: rightOf(drawings), start: network.costs[0], cost: network.costs.at(-1), steps: OWN_STEPS }) };
      },
    });
  }

  function thumbs(id, some) {
    byId(id).replaceChildren(...some.map(({ pixels, label }) => {
      const isWrong = network && readsOf({ pixels }) !== label;
      const canvas = element("canvas", { role: "img", "aria-label": text(isWrong ? "own.wrong" : "own.one", { name: name(label) }), className: isWrong ? "wrong" : "" });
      fitted(canvas, 1, (pen, width) => pixelsInto(pen, pixels, 0, 0, width));
      return canvas;
    }));
  }
  function show() {
    CLASSES.forEach((letter, label) => {
      byId(`own-${letter}`).textContent = text("own.add", { name: name(label) });
      byId(`own-${letter}`).disabled = !lines.length || (isFull() ? tests.length === TESTS : countOf(label) >= PER_CLASS);
      thumbs(`own-drawings-${letter}`, drawings.filter((one) => one.label === label));
    });
    thumbs("own-tests", tests);
    byId("own-more").hidden = !network || tests.length < TESTS;
    byId("own-costs").hidden = !network;
    if (network) {
      chart(byId("own-costs"), {
        x: text("train.axis.plain"), y: text("own.cost"), height: 190, title: text("train.curve", { name: text("own.cost") }),
        lines: [{ x: network.costs.map((_, i) => i), y: network.costs, color: "#0b5d94" }],
      });
    }
    const read = network && lines.length && reading(network, pixelsOfDrawing(lines));
    say("own-told", read
      ? text("own.reads", { name: name(read.best), output: outputWords(network.model, read.sure[read.best]) })
      : isFull() ? text("own.tests", { count: tests.length, all: TESTS })
        : text("own.drawings", { a: name(0), b: name(1), count: countOf(0), other: countOf(1), all: PER_CLASS }));
  }

  CLASSES.forEach((letter, label) => {
    byId(`own-${letter}`).addEventListener("click", () => add(label));
    byId(`own-name-${letter}`).addEventListener("input", show);
  });
  byId("own-clear").addEventListener("click", clear);
  // The drawings of the test become training images, and new ones are drawn for the next test.
  byId("own-more").addEventListener("click", () => {
    drawings = [...drawings, ...tests];
    tests = [];
    dropQuestion(byId("own-question"));
    clear();
  });
  show();
  return { update() {} };
}
