// A question that is asked before a computation. The computed answer is compared with the
// prediction.

import { element } from "../base.js";
import { sentences, text } from "./text.js";

// Shows a question; answer() returns {right, words}: the number of the correct choice, and a
// description of the result.
export function showQuestion(box, { ask, choices, answer }) {
  const options = choices.map((words, i) =>
    element("label", { className: "choice" }, element("input", { type: "radio", name: box.id, value: String(i) }), words),
  );
  const group = element("fieldset", {}, element("legend", { textContent: ask }), ...options);
  const check = element("button", { type: "button", className: "main", textContent: text("question.check"), disabled: true });
  const told = element("p", { className: "told", role: "status" });
  group.addEventListener("change", () => (check.disabled = false));
  check.addEventListener("click", async () => {
    const predicted = Number(group.querySelector(":checked").value);
    check.disabled = true;
    told.textContent = text("question.computing");
    const { right, words } = await answer();
    told.textContent = sentences(text(predicted === right ? "question.right" : "question.wrong", { choice: choices[right] }), words);
    check.disabled = false;
  });
  box.replaceChildren(group, check, told);
}

// The number of limits that a value reaches.
export const classOf = (value, limits) => limits.filter((limit) => value >= limit).length;
