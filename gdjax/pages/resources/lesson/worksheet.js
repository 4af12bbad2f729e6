// The worksheet: all questions of the course, to print, and their answers for teachers.

import { byId, element, fitted } from "../base.js";
import { QUESTIONS, WORKSHEET, leadOf } from "./course.js";
import { letterOf, questionOf } from "./question.js";
import { settingsOf } from "./train.js";
import { text } from "./text.js";

function figureOf({ words, ratio = 1, draw }) {
  const canvas = element("canvas", { role: "img", "aria-label": words });
  fitted(canvas, ratio, draw);
  return element("figure", { className: ratio === 1 ? "" : "wide" }, canvas, element("figcaption", { textContent: words }));
}

export function worksheetCard(page) {
  let asked = null; // what the questions are about
  let answers = []; // {right, words} of each step
  let isComputing = false;

  function show() {
    const { state } = page;
    const hasAnswers = state.teacher === 1;
    byId("worksheet-print").disabled = QUESTIONS.some((name, step) => name && (!questionOf(name) || (hasAnswers && !answers[step])));
    byId("worksheet-answers").setAttribute("aria-pressed", String(hasAnswers));
    byId("worksheet-questions").replaceChildren(...QUESTIONS.flatMap((name, step) => {
      const question = name && questionOf(name);
      if (!question) return [];
      const predicted = state.answers[step - 1];
      const choices = question.choices.map((words, i) => element("li", {
        textContent: letterOf(i) === predicted ? text("worksheet.predicted", { words }) : words,
        className: hasAnswers && answers[step]?.right === i ? "right" : "",
      }));
      const answer = answers[step];
      return [element(
        "li", {},
        element("h3", { textContent: text("course.heading", { step, title: text(`course.${step}.title`) }) }),
        element("p", { textContent: leadOf(page, step) }),
        element("p", {}, element("strong", { textContent: question.ask })),
        element("div", { className: "pictures" }, ...question.pictures.map(figureOf)),
        element("ul", { className: "boxes" }, ...choices),
        ...(hasAnswers
          ? [element("p", { className: "solution", textContent: answer ? answer.words : text("question.computing") }), element("p", { textContent: text(`why.${name}`) })]
          : [element("p", { className: "lines", textContent: text("worksheet.because") })]),
      )];
    }));
  }
  // The computations of some questions take the worker, so answers are computed one by one.
  async function compute() {
    if (isComputing || page.state.teacher !== 1) return;
    isComputing = true;
    const count = () => Object.keys(answers).length;
    const before = count();
    try {
      for (const [step, name] of QUESTIONS.entries()) {
        const question = name && questionOf(name);
        if (!question || answers[step] || page.lesson !== WORKSHEET) continue;
        try {
          answers[step] = await question.answer();
        } catch (error) {
          answers[step] = { right: null, words: text("question.failed", { reason: error.message }) };
        }
        show();
      }
    } finally {
      isComputing = false;
      // A question that was not ready before may be ready now.
      if (count() > before) page.changed();
    }
  }
  byId("worksheet-print").addEventListener("click", () => window.print());
  byId("worksheet-answers").addEventListener("click", () => page.change({ teacher: page.state.teacher === 1 ? null : 1 }));
  return {
    update() {
      if (!page.isReady()) return;
      const now = JSON.stringify([settingsOf(page.state), page.state.step, page.image().key]);
      if (now !== asked) {
        answers = [];
        page.askAll();
      }
      asked = now;
      show();
      compute();
    },
  };
}
