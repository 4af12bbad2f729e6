// The card on which the network is trained: settings, start and stop, numbers and curves.

import { byId, element, option } from "../base.js";
import { chart, nearest } from "../chart.js";
import { number, percent } from "../numbers.js";
import { FIELDS, STEPS } from "./address.js";
import { classOf, rangesOf, showQuestion } from "./question.js";
import { say, text } from "./text.js";

const READ_LIMITS = [0.25, 0.5, 0.75, 0.9]; // share of the test digits
export const SETTINGS = ["rate", "batch", "seed", "scale", "activation", "cost"];
export const EPOCHS = [1, 10, 100];
export const CHOICES = {
  batch: [1, 8, 32, 128, 512, 0],
  scale: [0, 0.1, 0.3, 1, 3, 10],
  activation: ["sigmoid", "tanh", "relu"],
  cost: ["quadratic", "cross_entropy"],
};

export const settingsOf = (state) => Object.fromEntries(SETTINGS.map((name) => [name, state[name]]));
export const stepsOf = (epochs, batch, images) => Math.ceil((epochs * images) / (batch || images));

// Text of the value of a setting.
export function settingWords(name, value, images) {
  if (name === "batch" && value === 0) return text("batch.whole", { all: images });
  return name === "activation" || name === "cost" ? text(`${name}.${value}`) : number(value);
}

// Text of the numbers of a record.
export function numbersOf(record, { batch }, images) {
  return {
    step: number(record.step),
    epochs: number((record.step * (batch || images)) / images),
    cost: number(record.cost),
    accuracy: percent(record.accuracy),
    gradient: number(record.gradientNorm),
    saturated: percent(record.saturated),
  };
}

export function trainCard(page) {
  const { state, lab } = page;
  const images = page.sets.train.labels.length;
  for (const [name, values] of Object.entries(CHOICES)) {
    byId(name).append(...values.map((value) => option(value, settingWords(name, value, images))));
    byId(name).addEventListener("change", () => page.restart({ [name]: FIELDS[name].read(byId(name).value) }));
  }
  byId("epochs").append(...EPOCHS.map((count) => option(count, text("train.epochs", { count }))));
  byId("epochs").value = "10";
  byId("rate").addEventListener("input", () => page.restart({ rate: Number((10 ** Number(byId("rate").value)).toPrecision(3)) }));
  byId("seed").addEventListener("change", () => {
    const seed = FIELDS.seed.read(byId("seed").value);
    if (seed === undefined) byId("seed").value = state.seed;
    else page.restart({ seed });
  });
  byId("run").addEventListener("click", () => {
    if (lab.isRunning()) return lab.pause();
    page.run(untilStep());
  });
  byId("one-step").addEventListener("click", page.step);
  byId("undo").addEventListener("click", page.undo);
  byId("restart").addEventListener("click", () => page.restart({}));
  byId("look").addEventListener("input", () => page.look(Number(byId("look").value)));

  let asked = null;
  const untilStep = () => Math.min(page.descent().step + stepsOf(Number(byId("epochs").value), state.batch, images), STEPS);
  function ask() {
    showQuestion(byId("train-question"), {
      ask: text("train.ask", { count: Number(byId("epochs").value) }),
      choices: rangesOf(READ_LIMITS, (share) => `${Math.round(100 * share)} %`),
      isReady: page.isReady,
      async answer() {
        await page.run(untilStep());
        const { accuracy, step } = page.descent().records.at(-1);
        return { right: classOf(accuracy, READ_LIMITS), words: text("train.answer", { count: step, accuracy: percent(accuracy) }) };
      },
    });
  }
  byId("epochs").addEventListener("change", ask);

  const rows = ["step", "epochs", "cost", "accuracy", "gradient", "saturated"].map((name) => {
    const value = element("dd", { id: `number-${name}` });
    byId("numbers").append(element("div", {}, element("dt", { textContent: text(`train.number.${name}`) }), value));
    return [name, value];
  });

  function update() {
    const { records, step, canUndo, isDiverged } = page.descent();
    page.fillGaps();
    const isRunning = lab.isRunning();
    const settings = JSON.stringify(settingsOf(state));
    if (settings !== asked) ask();
    asked = settings;
    for (const name of Object.keys(CHOICES)) showChoice(name);
    if (document.activeElement !== byId("rate")) byId("rate").value = String(Math.log10(state.rate));
    byId("rate-out").textContent = number(state.rate);
    if (document.activeElement !== byId("seed")) byId("seed").value = state.seed;
    byId("run").textContent = text(isRunning ? "train.pause" : "train.run");
    byId("run").setAttribute("aria-pressed", String(isRunning));
    byId("run").disabled = !isRunning && (isDiverged || step >= STEPS);
    byId("one-step").disabled = isRunning || isDiverged || step >= STEPS;
    byId("undo").disabled = isRunning || !canUndo;
    byId("restart").disabled = !isRunning && step === 0;
    const at = page.looked();
    const shown = numbersOf(records[at], state, images);
    for (const [name, value] of rows) value.textContent = shown[name];
    byId("look").max = String(records.length - 1);
    byId("look").value = String(at);
    say("look-told", isDiverged ? text("train.diverged") : isRunning ? "" : text(
      at === records.length - 1 ? "train.look.latest" : "train.look.step",
      { step: records[at].step, last: step },
    ));
    curves(records, at);
  }

  // A value from an address may be missing from the list.
  function showChoice(name) {
    const word = String(state[name]);
    if (![...byId(name).options].some(({ value }) => value === word)) byId(name).append(option(word, settingWords(name, state[name], images)));
    byId(name).value = word;
  }

  function curves(records, at) {
    const x = records.map(({ step }) => step + 1);
    const baseline = { x: [1, Math.max(x.at(-1), 2)], y: [page.baseline(), page.baseline()], color: "#535d6c", width: 1.4, dash: "2 4" };
    const draw = (id, name, y, what) => {
      const svg = byId(id);
      const places = chart(svg, {
        x: text("train.axis.step"), y: text(`train.axis.${name}`), logX: true, height: 205, mark: x[at],
        title: text("train.curve", { name: text(`train.axis.${name}`) }), ...what, lines: [{ x, y, color: what.color }, ...what.lines],
      });
      svg.onclick = (event) => {
        const box = svg.getBoundingClientRect();
        const step = places.placeX.back(((event.clientX - box.left) / box.width) * places.width);
        page.look(nearest(x.map(Math.log), Math.log(step)));
      };
    };
    draw("cost-curve", "cost", records.map(({ cost }) => cost), { color: "#0b5d94", lines: page.baseline() ? [baseline] : [] });
    draw("accuracy-curve", "accuracy", records.map(({ accuracy }) => accuracy), { color: "#00735a", share: true, lines: [] });
  }
  return { update };
}
