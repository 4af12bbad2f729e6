// The course: ten steps through the page, each with an exercise and questions; then a worksheet.

import { DATA, byId, element } from "../base.js";
import { parameterCount } from "./network.js";
import { questionOf } from "./question.js";
import { say, text } from "./text.js";

const MANY = 10; // the step that uses many networks
const LAST = DATA.networks ? MANY : MANY - 1; // 0 shows the whole page
export const WORKSHEET = 11;
const MINUTES = [0, 2, 3, 3, 6, 4, 7, 3, 4, 4, 4]; // of each step
// The questions, with the cards that ask them. The first questions of a step are asked beside its
// figure, one after the other; extra questions stay in their card.
export const QUESTIONS = [
  { name: "moved", step: 1 }, { name: "outputs", step: 2 }, { name: "weight", step: 3 },
  { name: "wish1", step: 4, card: "wish" }, { name: "wish2", step: 4, card: "wish" }, { name: "wish3", step: 4, card: "wish" },
  { name: "picture", step: 4, isExtra: true }, { name: "mean", step: 5 }, { name: "slide", step: 6 }, { name: "valleys", step: 6 }, { name: "grow", step: 7 },
  { name: "sixteen", step: 8 }, { name: "fair", step: 9 }, { name: "vote", step: 10 }, { name: "sure", step: 10, isExtra: true },
].map((one) => ({ card: one.name, ...one })).filter(({ step }) => step <= LAST);
const asksOf = (step) => QUESTIONS.filter((one) => one.step === step && !one.isExtra);

// What a step explains; the second explains the cost of the network.
export function leadOf({ state, sets }, step) {
  const name = step === 2 ? `course.2.lead.${state.cost}` : `course.${step}.lead`;
  return text(name, { parameters: parameterCount(sets.widths) });
}
export const headingOf = (step) => text("course.heading", { step, title: text(`course.${step}.title`) });

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
  byId("course-steps").append(...buttons.slice(0, LAST));
  byId("course-places").append(...buttons.slice(LAST));
  byId("course-back").addEventListener("click", () => page.change({ lesson: page.state.lesson - 1 }));
  byId("course-on").addEventListener("click", () => {
    if (hasMore()) {
      asked += 1;
      update();
      byId("course-question").querySelector(".question:not([hidden]) input").focus();
    } else page.change({ lesson: page.state.lesson === LAST ? 0 : page.state.lesson + 1 });
  });
  // A question returns to its card when the step is left.
  const homes = new Map(QUESTIONS.filter(({ isExtra }) => !isExtra).map(({ name }) => {
    const mark = document.createComment(name);
    byId(`${name}-question`).before(mark);
    return [name, mark];
  }));
  let asked = 0; // number of the question of the step that is shown
  const isAnswered = ({ name }) => Boolean(questionOf(name)?.isAnswered);
  const hasMore = () => {
    const asks = asksOf(page.lesson);
    return asked + 1 < asks.length && isAnswered(asks[asked]);
  };

  function update() {
    const { lesson } = page;
    const isStep = lesson > 0 && lesson <= LAST;
    const asks = asksOf(lesson);
    // An image that has been changed is asked about from the first question on.
    const open = asks.findIndex((one) => !isAnswered(one));
    asked = Math.max(0, Math.min(asked, open < 0 ? asks.length - 1 : open));
    buttons.forEach((button, i) => {
      if (places[i] === lesson) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
    });
    document.querySelector("main").dataset.lesson = lesson;
    document.querySelector("main").classList.toggle("steps", isStep);
    document.querySelector("main").classList.toggle("compact", lesson > 1 && isStep);
    byId("course-title").textContent = isStep ? headingOf(lesson) : named[lesson];
    document.title = `${byId("course-title").textContent} – ${text("title")}`;
    byId("course-lead").textContent = leadOf(page, lesson);
    const minutes = isStep ? [element("span", { className: "time", textContent: text("course.time", { count: MINUTES[lesson] }) }), " "] : [];
    byId("course-do").replaceChildren(...minutes, text(`course.${lesson}.do`, { parameters: parameterCount(page.sets.widths) }));
    byId("course-more").open ||= !isStep;
    byId("course-back").hidden = byId("course-on").hidden = !isStep;
    byId("course-back").disabled = lesson < 2;
    byId("course-on").textContent = text(hasMore() ? "course.ask" : lesson === LAST ? "course.all" : "course.on");
    byId("course-on").classList.toggle("main", asks.length > 0 && isAnswered(asks[asked]));
    for (const { name, step, isExtra } of QUESTIONS) {
      if (isExtra) continue;
      const box = byId(`${name}-question`);
      box.hidden = step === lesson && name !== asks[asked].name;
      const place = step === lesson ? byId("course-question") : homes.get(name).parentElement;
      if (box.parentElement === place) continue;
      if (step === lesson) place.append(box);
      else homes.get(name).after(box);
    }
    const cards = [...document.querySelectorAll("[data-lessons]")];
    for (const card of cards) card.hidden = !card.dataset.lessons.split(" ").includes(String(lesson));
    // What the question is about comes before it on a narrow screen.
    const visible = cards.filter((card) => !card.hidden);
    for (const { id, classList } of visible) classList.toggle("first", id === asks[asked]?.card || (id === "draw" && lesson !== MANY));
  }
  // Called when a step is opened.
  function open() {
    asked = 0;
    byId("course-more").open = false;
  }
  // Says why a step has no question yet; called when the cards have asked theirs.
  function showWait() {
    const isMissing = page.lesson > 1 && asksOf(page.lesson).some(({ name }) => !questionOf(name));
    say("course-wait", isMissing ? text(page.isReady() ? "question.computing" : "question.waits") : "");
  }
  return { update, open, showWait };
}
