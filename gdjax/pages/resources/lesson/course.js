// The course: eight steps through the page, each with an exercise and a question.

import { DATA, byId, element } from "../base.js";
import { parameterCount } from "./network.js";
import { text } from "./text.js";

const LAST = DATA.networks ? 8 : 7; // the last step uses many networks; 0 shows the whole page

export function courseCard(page) {
  const steps = Array.from({ length: LAST + 1 }, (_, step) => {
    const button = element("button", {
      type: "button", textContent: step ? String(step) : text("course.all"),
      "aria-label": step ? text("course.step", { step, title: text(`course.${step}.title`) }) : text("course.all"),
    });
    button.addEventListener("click", () => page.change({ lesson: step }));
    return button;
  });
  byId("course-steps").append(...steps.slice(1), steps[0]);
  byId("course-back").addEventListener("click", () => page.change({ lesson: page.state.lesson - 1 }));
  byId("course-on").addEventListener("click", () => page.change({ lesson: (page.state.lesson + 1) % (LAST + 1) }));

  function update() {
    const lesson = Math.min(page.state.lesson, LAST);
    steps.forEach((button, step) => {
      if (step === lesson) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
    });
    byId("course-title").textContent = lesson
      ? text("course.heading", { step: lesson, title: text(`course.${lesson}.title`) })
      : text("course.all");
    byId("course-lead").textContent = text(`course.${lesson}.lead`, { parameters: parameterCount(page.sets.widths) });
    byId("course-do").textContent = text(`course.${lesson}.do`);
    byId("course-back").disabled = lesson < 2;
    byId("course-on").hidden = !lesson;
    byId("course-on").textContent = text(lesson === LAST ? "course.all" : "course.on");
    for (const card of document.querySelectorAll("[data-lessons]")) {
      card.hidden = !card.dataset.lessons.split(" ").includes(String(lesson));
    }
  }
  return { update };
}
