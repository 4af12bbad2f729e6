// The course: eight steps through the page, each with an exercise and a question; then a worksheet.

import { DATA, byId, element } from "../base.js";
import { parameterCount } from "./network.js";
import { questionOf } from "./question.js";
import { say, text } from "./text.js";

const LAST = DATA.networks ? 8 : 7; // the last step uses many networks; 0 shows the whole page
export const WORKSHEET = 9;
// The question of each step, which is shown beside its figure.
export const QUESTIONS = [null, "sure", "outputs", "weight", "picture", "slide", "sixteen", "fair", "vote"].slice(0, LAST + 1);

// What a step explains; the second explains the cost of the network.
export function leadOf({ state, sets }, step) {
  const name = step === 2 ? `course.2.lead.${state.cost}` : `course.${step}.lead`;
  return text(name, { parameters: parameterCount(sets.widths) });
}

export function courseCard(page) {
  const places = [...Array.from({ length: LAST }, (_, i) => i + 1), 0, WORKSHEET];
  const named = { 0: text("course.all"), [WORKSHEET]: text("course.worksheet") };
  const buttons = places.map((step) => {
    const button = element("button", {
      type: "button", textContent: named[step] ?? String(step),
      "aria-label": named[step] ?? text("course.step", { step, title: text(`course.${step}.title`) }),
    });
    button.addEventListener("click", () => page.change({ lesson: step }));
    return button;
  });
  byId("course-steps").append(...buttons);
  byId("course-back").addEventListener("click", () => page.change({ lesson: page.state.lesson - 1 }));
  byId("course-on").addEventListener("click", () => page.change({ lesson: page.state.lesson === LAST ? 0 : page.state.lesson + 1 }));
  // A question returns to its card when the step is left.
  const homes = QUESTIONS.map((name) => {
    if (!name) return null;
    const mark = document.createComment(name);
    byId(`${name}-question`).before(mark);
    return mark;
  });

  function update() {
    const { lesson } = page;
    const isStep = lesson > 0 && lesson <= LAST;
    buttons.forEach((button, i) => {
      if (places[i] === lesson) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
    });
    document.querySelector("main").dataset.lesson = lesson;
    document.querySelector("main").classList.toggle("steps", isStep);
    document.querySelector("main").classList.toggle("compact", lesson > 1 && isStep);
    byId("course-title").textContent = isStep ? text("course.heading", { step: lesson, title: text(`course.${lesson}.title`) }) : named[lesson];
    document.title = `${byId("course-title").textContent} – ${text("title")}`;
    byId("course-lead").textContent = leadOf(page, lesson);
    byId("course-do").textContent = text(`course.${lesson}.do`);
    byId("course-back").hidden = byId("course-on").hidden = !isStep;
    byId("course-back").disabled = lesson < 2;
    byId("course-on").textContent = text(lesson === LAST ? "course.all" : "course.on");
    byId("course-on").classList.toggle("main", Boolean(questionOf(QUESTIONS[lesson])?.isAnswered));
    QUESTIONS.forEach((name, step) => {
      if (!name) return;
      const box = byId(`${name}-question`);
      const place = step === lesson ? byId("course-question") : homes[step].parentElement;
      if (box.parentElement === place) return;
      if (step === lesson) place.append(box);
      else homes[step].after(box);
    });
    const cards = [...document.querySelectorAll("[data-lessons]")];
    for (const card of cards) card.hidden = !card.dataset.lessons.split(" ").includes(String(lesson));
    // What the question is about comes before it on a narrow screen.
    const visible = cards.filter((card) => !card.hidden);
    const about = Math.max(visible.findIndex(({ id }) => id === QUESTIONS[lesson]), 0);
    visible.forEach((card, i) => card.classList.toggle("first", i <= about));
  }
  // Says why a step has no question yet; called when the cards have asked theirs.
  function showWait() {
    const name = QUESTIONS[page.lesson];
    say("course-wait", name && !questionOf(name) ? text(page.isReady() ? "question.computing" : "question.waits") : "");
  }
  return { update, showWait };
}
