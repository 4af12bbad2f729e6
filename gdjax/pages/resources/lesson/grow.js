// The digit of the learner while a network is trained from its random start: the answer changes as the
// cost falls. The first steps are few and slow enough to watch.

import { byId } from "../base.js";
import { chart } from "../chart.js";
import { number } from "../numbers.js";
import { classOf, questionOf, showQuestion } from "./question.js";
import { say, text } from "./text.js";
import { settingsOf, stepsOf } from "./train.js";

const GROW_EPOCHS = 10;
const GROW_LIMITS = [20, 100, 300]; // steps
const GROW_IMAGES = 500; // on which the cost is recorded, since an evaluation takes as long as many steps

// The first step from which on all answers are right, or Infinity: answers are digits, by step.
export function settledAt(answers, target) {
  let at = answers.length;
  while (at > 0 && answers[at - 1] === target) at -= 1;
  return at < answers.length ? at : Infinity;
}

export function growCard(page) {
  const images = page.sets.train.labels.length;
  let shown = null;
  let target = null;
  const until = () => stepsOf(GROW_EPOCHS, page.state.batch, images);
  const grow = () => page.lab.descents.grow;
  byId("grow-back").addEventListener("click", () => begin());
  byId("grow-run").addEventListener("click", () => {
    if (page.lab.isRunning()) page.lab.pause();
    else page.lab.run(["grow"], [until()], { isPaced: true });
  });

  async function begin() {
    const { pixels, label } = page.image();
    target = label ?? page.reading().best;
    const own = settingsOf(page.state);
    await page.lab.begin("grow", own, { images: GROW_IMAGES, watched: { pixels, target } });
    const [subject, end] = [target, until()];
    showQuestion(byId("grow-question"), {
      ask: text("grow.ask", { target }),
      choices: [0, 1, 2, 3].map((i) => text(`grow.choice.${i}`, { low: GROW_LIMITS[i - 1] ?? 0, high: GROW_LIMITS[i] ?? 0 })),
      isReady: page.isReady,
      pictures: [],
      async answer() {
        await page.lab.begin("grow", own, { images: GROW_IMAGES, watched: { pixels, target: subject } });
        await page.lab.run(["grow"], [end], { isPaced: page.lesson === 7 });
        const { answers, step, records } = grow();
        const at = settledAt(answers, subject);
        const values = { at, step, target: subject, cost: records.at(-1).cost, start: records[0].cost };
        return { right: classOf(at, GROW_LIMITS), words: text(at === Infinity ? "grow.never" : "grow.answer", values) };
      },
    });
    page.changed();
  }

  function show() {
    const { step, records, outputs, answers } = grow();
    const { cost } = records.at(-1);
    const isRunning = page.lab.isRunning();
    byId("grow-buttons").hidden = !questionOf("grow")?.isAnswered;
    byId("grow-run").textContent = text(isRunning ? "train.pause" : "grow.run");
    byId("grow-run").setAttribute("aria-pressed", String(isRunning));
    byId("grow-run").disabled = !isRunning && step >= until();
    byId("grow-back").disabled = isRunning || step === 0;
    say("grow-told", isRunning ? "" : text("grow.told", { step, cost, answer: answers.at(-1) }));
    byId("grow-step").textContent = number(step);
    byId("grow-cost").textContent = number(cost);
    const x = Array.from(outputs, (_, i) => i + 1);
    chart(byId("grow-output"), {
      x: text("train.axis.step"), y: text("grow.axis", { target }), logX: true, share: true, height: 190, title: text("grow.curve", { target }),
      lines: [{ x: x.length > 1 ? x : [1, 2], y: x.length > 1 ? outputs : [outputs[0], NaN], color: "#00735a" }],
    });
    chart(byId("grow-costs"), {
      x: text("train.axis.step"), y: text("train.axis.cost"), logX: true, height: 190, title: text("train.curve", { name: text("train.axis.cost") }),
      lines: [{ x: records.map((one) => one.step + 1), y: records.map((one) => one.cost), color: "#0b5d94" }],
    });
  }
  return {
    update() {
      const next = JSON.stringify([settingsOf(page.state), page.image().key]);
      if (next !== shown && page.isReady()) {
        shown = next;
        begin();
      }
      if (grow()) show();
    },
  };
}
