// The cost along the negative gradient, w - t g: at which t is it lowest?

import { byId } from "../base.js";
import { chart } from "../chart.js";
import { number } from "../numbers.js";
import { classOf, showQuestion } from "./question.js";
import { say, text } from "./text.js";

export function slideCard(page) {
  let line = null; // {t, cost, params}
  let isAnswered = false;

  async function compute() {
    const { model, params } = page.network();
    line = { t: [], cost: [], params };
    say("slide-told", text("question.computing"));
    line = { ...(await page.lab.costsAlong(model, params)), params };
    isAnswered = false;
    byId("slide-t").max = String(line.t.length - 1);
    byId("slide-t").value = "0";
    const end = line.t.at(-1);
    const limits = [0.25, 0.5, 0.75].map((share) => share * end);
    showQuestion(byId("slide-question"), {
      ask: text("slide.ask"),
      choices: [0, 1, 2, 3].map((i) => text("slide.choice", { low: (i * end) / 4, high: ((i + 1) * end) / 4 })),
      isReady: page.isReady,
      async answer() {
        const at = line.cost.indexOf(Math.min(...line.cost));
        isAnswered = true;
        byId("slide-t").value = String(at);
        show();
        return {
          right: classOf(line.t[at], limits),
          words: text("slide.answer", { t: line.t[at], cost: line.cost[at], start: line.cost[0] }),
        };
      },
    });
    show();
    page.changed();
  }

  function show() {
    if (!line?.t.length) return;
    const at = Number(byId("slide-t").value);
    byId("slide-out").textContent = number(line.t[at]);
    say("slide-told", text("slide.told", { t: line.t[at], cost: line.cost[at] }));
    const seen = isAnswered ? line.t.length : at + 1; // the rest is hidden until the prediction
    const [x, y] = [line.t.slice(0, seen), line.cost.slice(0, seen)];
    const frame = { x: [0, line.t.at(-1)], y: [line.cost[0], line.cost[0]], color: "#868d98", width: 1, dash: "2 4" };
    chart(byId("slide-curve"), {
      x: text("slide.axis.t"), y: text("train.axis.cost"), height: byId("slide-curve").clientWidth < 420 ? 170 : 240, mark: line.t[at],
      title: text("slide.title"), lines: [frame, { x, y }],
    });
  }
  byId("slide-t").addEventListener("input", show);
  return {
    update() {
      if (!page.isReady() || line?.params === page.network().params) return;
      compute();
    },
  };
}
