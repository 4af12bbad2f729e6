// Two networks side by side, from one start, with one setting changed.

import { byId, element, option } from "../base.js";
import { chart } from "../chart.js";
import { percent } from "../numbers.js";
import { showQuestion } from "./question.js";
import { CHOICES, EPOCHS, numbersOf, settingWords, settingsOf, stepsOf } from "./train.js";
import { text } from "./text.js";

const COLORS = ["#0b5d94", "#b3420a"];
const PAIR = ["left", "right"];
const VALUES = { ...CHOICES, rate: [0.03, 0.1, 0.3, 1, 3, 10, 30, 100], seed: [0, 1, 2, 3, 4] };
const TIE = 0.01; // smaller differences of the accuracies count as equal

export function compareCard(page) {
  const images = page.sets.train.labels.length;
  const setting = byId("compare-setting");
  const value = byId("compare-value");
  setting.append(...Object.keys(VALUES).map((name) => option(name, text(`setting.${name}`))));
  byId("compare-epochs").append(...EPOCHS.slice(0, 2).map((count) => option(count, text("train.epochs", { count }))));
  setting.value = "batch";
  setting.addEventListener("change", showValues);
  value.addEventListener("change", ask);
  byId("compare-epochs").addEventListener("change", ask);

  const both = () => {
    const first = settingsOf(page.state);
    const other = VALUES[setting.value].find((one) => String(one) === value.value);
    return [first, { ...first, [setting.value]: other }];
  };
  const named = (settings) => text("compare.one", { setting: text(`setting.${setting.value}`), value: settingWords(setting.value, settings[setting.value], images) });

  function showValues() {
    const own = page.state[setting.value];
    const others = VALUES[setting.value].filter((one) => one !== own);
    value.replaceChildren(...others.map((one) => option(one, settingWords(setting.value, one, images))));
    value.value = String(setting.value === "batch" && own !== 0 ? 0 : others[0]);
    ask();
  }

  function ask() {
    const epochs = Number(byId("compare-epochs").value);
    const settings = both();
    PAIR.forEach((name) => delete page.lab.descents[name]);
    show();
    showQuestion(byId("compare-question"), {
      ask: text("compare.ask", { count: epochs }),
      choices: [...settings.map(named), text("compare.equal")],
      isReady: page.isReady,
      async answer() {
        await Promise.all(PAIR.map((name, i) => page.lab.begin(name, settings[i], { ratio: 1.5 })));
        await page.lab.run(PAIR, settings.map(({ batch }) => stepsOf(epochs, batch, images)));
        const [a, b] = PAIR.map((name) => page.lab.descents[name].records.at(-1).accuracy);
        const right = Math.abs(a - b) < TIE ? 2 : a > b ? 0 : 1;
        return { right, words: text("compare.answer", { a: percent(a), b: percent(b) }) };
      },
    });
  }

  // Draws both against the number of images used for training, which measures the work.
  function show() {
    const descents = PAIR.map((name) => page.lab.descents[name]);
    byId("compare-numbers").hidden = !descents.every(Boolean);
    byId("compare-curves").hidden = !descents.every(Boolean);
    if (!descents.every(Boolean)) return;
    const epochsOf = ({ records, settings }) => records.map(({ step }) => (step * (settings.batch || images)) / images);
    for (const [id, name, share] of [["compare-cost", "cost", false], ["compare-accuracy", "accuracy", true]]) {
      chart(byId(id), {
        x: text("compare.axis.epochs"), y: text(`train.axis.${name}`), height: 205, share,
        title: text("train.curve", { name: text(`train.axis.${name}`) }),
        lines: descents.map((one, i) => ({ x: epochsOf(one), y: one.records.map((record) => record[name]), color: COLORS[i] })),
      });
    }
    const rows = descents.map((one) => numbersOf(one.records.at(-1), one.settings, images));
    byId("compare-numbers").tBodies[0].replaceChildren(...Object.keys(rows[0]).map((name) => element(
      "tr", {},
      element("th", { scope: "row", textContent: text(`train.number.${name}`) }),
      ...rows.map((numbers) => element("td", { className: "number", textContent: numbers[name] })),
    )));
    descents.forEach(({ settings }, i) => (byId(`compare-name-${i}`).textContent = named(settings)));
  }

  let settings = null;
  return {
    update() {
      const now = JSON.stringify(settingsOf(page.state));
      if (now !== settings) showValues();
      settings = now;
      show();
    },
  };
}
