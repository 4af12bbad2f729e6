// The worksheet: all questions of the course, to print, and their answers for teachers.

import { byId, element, fitted } from "../base.js";
import { writeAddress } from "./address.js";
import { QUESTIONS, WORKSHEET, headingOf, leadOf } from "./course.js";
import { NO_IMAGE } from "./draw.js";
import { letterOf, questionOf } from "./question.js";
import { settingsOf } from "./train.js";
import { say, text } from "./text.js";

function figureOf({ words, ratio = 1, draw }) {
  const canvas = element("canvas", { role: "img", "aria-label": words });
  fitted(canvas, ratio, draw);
  return element("figure", { className: ratio === 1 ? "" : "wide" }, canvas, element("figcaption", { textContent: words }));
}

export function worksheetCard(page) {
  let asked = null; // what the questions are about
  let answers = {}; // {right, words} of each question
  let isComputing = false;

  function show() {
    const { state } = page;
    const hasAnswers = state.teacher === 1;
    byId("worksheet-print").disabled = QUESTIONS.some(({ name }) => !questionOf(name) || (hasAnswers && !answers[name]));
    say("worksheet-code", text("worksheet.code", { code: writeAddress({ ...state, ...NO_IMAGE, lesson: WORKSHEET, teacher: null }) }));
    byId("worksheet-answers").setAttribute("aria-pressed", String(hasAnswers));
    byId("worksheet-questions").replaceChildren(...QUESTIONS.flatMap(({ name, step }, at) => {
      const question = questionOf(name);
      if (!question) return [];
      const predicted = state.answers[at];
      const choices = question.choices.map((words, i) => element("li", {
        textContent: letterOf(i) === predicted ? text("worksheet.predicted", { words }) : words,
        className: hasAnswers && answers[name]?.right === i ? "right" : "",
      }));
      const answer = answers[name];
      return [element(
        "li", {},
        ...(QUESTIONS[at - 1]?.step === step ? [] : [element("h3", { textContent: headingOf(step) }), element("p", { textContent: leadOf(page, step) })]),
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
      for (const { name } of QUESTIONS) {
        const question = questionOf(name);
        if (!question || answers[name] || page.lesson !== WORKSHEET) continue;
        try {
          answers[name] = await question.answer();
        } catch (error) {
          answers[name] = { right: null, words: text("question.failed", { reason: error.message }) };
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
        answers = {};
        page.askAll();
      }
      asked = now;
      show();
      compute();
    },
  };
}
