// A question that is asked before a computation. The computed answer is compared with the
// prediction, and then explained.

import { element } from "../base.js";
import { sentences, text } from "./text.js";

// The page of the documentation that explains the answer to each question.
const LEARN = {
  moved: "network", sure: "network", outputs: "cost", weight: "slope", wish1: "gradient", wish2: "gradient", wish3: "gradient",
  picture: "gradient", mean: "gradient", slide: "steepest", valleys: "rates", grow: "network", sixteen: "rates", fair: "rates", vote: "valleys",
  train: "rates", compare: "rates", own: "network",
};
const LETTERS_OF_CHOICES = "abcde";

const questions = new Map(); // the current question of each box, by its name
let listen = () => {}; // called with the name and the letter of each prediction
let predictedEarlier = () => undefined; // the letter of an earlier visit

export const nameOfBox = (box) => box.id.replace("-question", "");
export const questionOf = (name) => questions.get(name);
export const letterOf = (choice) => LETTERS_OF_CHOICES[choice];

export function openQuestions({ predicted, earlier }) {
  questions.clear();
  listen = predicted;
  predictedEarlier = earlier;
}

// Questions whose network is not there, or still changes, wait.
export function refreshQuestions() {
  for (const question of questions.values()) question.refresh();
}

// Removes a question that has nothing to be about.
export function dropQuestion(box) {
  questions.delete(nameOfBox(box));
  box.replaceChildren();
}

// Shows a question. answer() returns {right, words}: the number of the correct choice, and a
// description of the result. isReady() tells whether it can be computed. pictures, {words, ratio,
// draw} each, are what the question is about, for the worksheet.
export function showQuestion(box, { ask, choices, answer, isReady = () => true, pictures = [] }) {
  const name = nameOfBox(box);
  const options = choices.map((words, i) =>
    element("label", { className: "choice" }, element("input", { type: "radio", name: box.id, value: String(i) }), words),
  );
  const group = element("fieldset", {}, element("legend", { textContent: ask }), ...options);
  const check = element("button", { type: "button", className: "main", textContent: text("question.check"), disabled: true });
  const told = element("p", { className: "told", role: "status" });
  const why = explanation(name);
  const radios = options.map((label) => label.firstChild);
  const earlier = questions.has(name) ? -1 : LETTERS_OF_CHOICES.indexOf(predictedEarlier(name) ?? "-");
  let [isComputing, reply] = [false, ""];
  if (radios[earlier]) radios[earlier].checked = true;

  function refresh() {
    const isBlocked = !isComputing && !isReady();
    check.disabled = isComputing || isBlocked || !radios.some((radio) => radio.checked);
    const words = isComputing ? text("question.computing") : isBlocked ? text("question.waits") : reply;
    if (told.textContent !== words) told.textContent = words;
  }
  group.addEventListener("change", refresh);
  check.addEventListener("click", async () => {
    const predicted = radios.findIndex((radio) => radio.checked);
    const scrolled = window.scrollY;
    isComputing = true;
    refresh();
    try {
      const { right, words } = await answer();
      reply = sentences(text(predicted === right ? "question.right" : "question.wrong", { choice: choices[right] }), words);
      why.hidden = false;
      box.classList.add("answered");
      questions.get(name).isAnswered = true;
      listen(name, letterOf(predicted));
    } catch (error) {
      reply = text("question.failed", { reason: error.message });
    } finally {
      isComputing = false;
      refresh();
    }
    // Shows the reply, unless the reader has moved on.
    if (!why.hidden && window.scrollY === scrolled) why.scrollIntoView({ block: "nearest", behavior: "instant" });
  });
  questions.set(name, { ask, choices, answer, isReady, pictures, refresh, isAnswered: false });
  refresh();
  group.append(check);
  box.classList.remove("answered");
  box.replaceChildren(group, told, why);
}

// In the documentation, the page is beside the pages of Learn.
function explanation(name) {
  const page = LEARN[name];
  const title = text(`learn.${page}`);
  const inSite = location.pathname.endsWith("/live/lesson.html");
  const link = inSite ? element("a", { href: `../learn/${page}.html`, textContent: title }) : element("em", { textContent: title });
  return element(
    "details", { className: "why", hidden: true },
    element("summary", { textContent: text("question.why") }),
    element("p", {}, text(`why.${name}`)),
    element("p", {}, text("question.more"), link),
  );
}

// The number of limits that a value reaches.
export const classOf = (value, limits) => limits.filter((limit) => value >= limit).length;
// Choices below, between and above limits, in the words of a function.
export const rangesOf = (limits, words) => [
  text("range.below", { limit: words(limits[0]) }),
  ...limits.slice(1).map((limit, i) => text("range.between", { low: words(limits[i]), high: words(limit) })),
  text("range.above", { limit: words(limits.at(-1)) }),
];
