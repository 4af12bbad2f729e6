// The texts of the page, one file for each language.
//
//   text("train.steps", { count: 3 })   "{count} step" or "{count} steps": "3 steps"

import { DATA, byId } from "../base.js";
import { number, percent } from "../numbers.js";
import { inflatedText } from "./images.js";
import { isShare } from "./network.js";

export const LANGUAGES = Object.keys(DATA.texts);
let texts = {};
let plural = new Intl.PluralRules("en");

// Inflates the texts of all languages; to be called first.
export async function openTexts() {
  for (const language of LANGUAGES) DATA.texts[language] = JSON.parse(await inflatedText(DATA.texts[language]));
}

export function speak(language) {
  texts = DATA.texts[language];
  plural = new Intl.PluralRules(language);
  document.documentElement.lang = language;
  document.title = text("title");
}

export function text(name, values = {}) {
  const entry = texts[name];
  if (entry === undefined) throw new Error(`no text ${name}`);
  const pattern = typeof entry === "string" ? entry : entry[plural.select(values.count)];
  const filled = pattern.replace(/\{(\w+)\}/g, (_, key) => {
    const value = values[key];
    return typeof value === "number" ? number(value) : value;
  });
  return filled.replaceAll(" %", document.documentElement.lang === "zh" ? "%" : "\u00a0%");
}

// An output of a network: a share if outputs are between 0 and 1, otherwise a number.
export const outputWords = (model, value) => (isShare(model) ? percent(value) : number(value));

export const limitWords = (model, value) => (isShare(model) ? `${Math.round(100 * value)} %` : number(value));

// Joins the sentences that are not empty.
export const sentences = (...parts) => parts.filter(Boolean).join(text("space"));

// Texts in the markup: the content and the accessible name of an element.
export function fillTexts(values) {
  for (const node of document.querySelectorAll("[data-text]")) node.append(text(node.dataset.text, values));
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", text(node.dataset.label, values));
}

export const say = (id, words) => {
  if (byId(id).textContent !== words) byId(id).textContent = words;
};
