// The texts of the page, all in texts.json, so that a translation is one file.
//
//   text("train.steps", { count: 3 })   "{count} step" or "{count} steps": "3 steps"

import { DATA, byId } from "../base.js";
import { number } from "../numbers.js";

const plural = new Intl.PluralRules(DATA.texts.language);

export function text(name, values = {}) {
  const entry = DATA.texts[name];
  if (entry === undefined) throw new Error(`no text ${name}`);
  const pattern = typeof entry === "string" ? entry : entry[plural.select(values.count)];
  return pattern.replace(/\{(\w+)\}/g, (_, key) => {
    const value = values[key];
    return typeof value === "number" ? number(value) : value;
  });
}

// Joins the sentences that are not empty.
export const sentences = (...parts) => parts.filter(Boolean).join(" ");

// Texts in the markup: the content and the accessible name of an element.
export function fillTexts(values) {
  for (const node of document.querySelectorAll("[data-text]")) node.append(text(node.dataset.text, values));
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", text(node.dataset.label, values));
}

export const say = (id, words) => {
  if (byId(id).textContent !== words) byId(id).textContent = words;
};
