// Sixteen networks at once, with four rates and four starts: which learn, which learn slowly, which
// stall?

import { byId, element, shape } from "../base.js";
import { number, percent } from "../numbers.js";
import { classOf, showQuestion } from "./question.js";
import { settingsOf, stepsOf } from "./train.js";
import { text } from "./text.js";

const RATES = [0.1, 1, 10, 100];
const STARTS = [0, 1, 2, 3];
const SIXTEEN_EPOCHS = 4;
const LEARN_LIMITS = [4, 8, 12];
const CELL = { width: 120, height: 56 };

// A network learns if it classifies more than half of the digits correctly; it has stalled if it
// does not and most of its hidden neurons are saturated.
export function fateOf({ accuracy, saturated }) {
  if (accuracy > 0.5) return "learns";
  return saturated > 0.5 ? "stalled" : "crawls";
}

export function sixteenCard(page) {
  const images = page.sets.train.labels.length;
  const runs = RATES.flatMap((rate) => STARTS.map((seed) => ({ rate, seed, name: `rate ${rate} seed ${seed}` })));
  const cells = runs.map(({ rate, seed }) => {
    const curve = shape("svg", { viewBox: `0 0 ${CELL.width} ${CELL.height}`, "aria-hidden": "true" });
    const words = element("span");
    const button = element("button", { type: "button", className: "cell", disabled: true }, curve, words);
    button.addEventListener("click", () => open(rate, seed));
    return { curve, words, button };
  });
  byId("sixteen-grid").append(
    element("span"),
    ...STARTS.map((seed) => element("span", { className: "head", textContent: text("sixteen.start", { seed: String(seed) }) })),
    ...RATES.flatMap((rate, i) => [
      element("span", { className: "head", textContent: text("sixteen.rate", { rate }) }),
      ...cells.slice(4 * i, 4 * i + 4).map(({ button }) => button),
    ]),
  );

  // Trains one of the networks by itself, with its curves.
  async function open(rate, seed) {
    page.change({ lesson: 0 });
    await page.restart({ rate, seed });
    byId("train").scrollIntoView();
    page.run(stepsOf(SIXTEEN_EPOCHS, page.state.batch, images));
  }

  let settings = null;
  function ask() {
    runs.forEach(({ name }) => delete page.lab.descents[name]);
    showQuestion(byId("sixteen-question"), {
      ask: text("sixteen.ask", { count: SIXTEEN_EPOCHS }),
      choices: [0, 1, 2, 3].map((i) => text(`sixteen.choice.${i}`)),
      isReady: page.isReady,
      async answer() {
        const common = settingsOf(page.state);
        const names = runs.map(({ name }) => name);
        await Promise.all(runs.map(({ name, rate, seed }) => page.lab.begin(name, { ...common, rate, seed }, { images: 1000, ratio: 2 })));
        await page.lab.run(names, names.map(() => stepsOf(SIXTEEN_EPOCHS, common.batch, images)));
        const fates = names.map((name) => fateOf(page.lab.descents[name].records.at(-1)));
        const count = (fate) => fates.filter((one) => one === fate).length;
        return {
          right: classOf(count("learns") - 1, LEARN_LIMITS),
          words: text("sixteen.answer", { learn: count("learns"), crawl: count("crawls"), stall: count("stalled") }),
        };
      },
    });
  }

  function show() {
    runs.forEach(({ name, rate, seed }, i) => {
      const { curve, words, button } = cells[i];
      const descent = page.lab.descents[name];
      button.disabled = !descent;
      button.className = "cell";
      const label = (told) => button.setAttribute("aria-label", text("sixteen.cell", { rate: number(rate), seed: String(seed), words: told }));
      if (!descent) {
        curve.replaceChildren();
        words.textContent = "";
        return label(text("sixteen.untrained"));
      }
      const { records } = descent;
      const last = records.at(-1);
      const end = stepsOf(SIXTEEN_EPOCHS, descent.settings.batch, images);
      const x = (step) => (Math.log(step + 1) / Math.log(end + 1)) * CELL.width;
      const y = (accuracy) => (1 - accuracy) * (CELL.height - 4) + 2;
      const d = records.map(({ step, accuracy }, k) => `${k ? "L" : "M"}${x(step).toFixed(1)} ${y(accuracy).toFixed(1)}`).join("");
      curve.replaceChildren(shape("path", { d, fill: "none", stroke: "currentColor", "stroke-width": 2.5 }));
      const fate = last.step === end ? fateOf(last) : null;
      if (fate) button.classList.add(fate);
      words.textContent = `${percent(last.accuracy)}${fate ? ` ${text(`fate.${fate}`)}` : ""}`;
      label(words.textContent);
    });
  }
  return {
    update() {
      const { rate: _, seed: __, ...common } = settingsOf(page.state);
      if (JSON.stringify(common) !== settings) ask();
      settings = JSON.stringify(common);
      show();
    },
  };
}
