// The lesson: its state, the descent of the network, and the cards that show both.

import { DATA, byId, element, soon } from "../base.js";
import { mergedAnswers, readAddress, writeAddress } from "./address.js";
import { compareCard } from "./compare.js";
import { QUESTIONS, courseCard } from "./course.js";
import { baselineOf, modelOf, startingPoint, stepped } from "./descent.js";
import { drawCard, imageOf, reading } from "./draw.js";
import { fairCard } from "./fair.js";
import { featuresCard } from "./features.js";
import { growCard } from "./grow.js";
import { imageSet, inflated, inflatedText } from "./images.js";
import { knobsCard } from "./knobs.js";
import { openLaboratory } from "./laboratory.js";
import { matterCard } from "./matter.js";
import { meanCard } from "./mean.js";
import { movedCard } from "./moved.js";
import { networksOf } from "./many.js";
import { parameterCount } from "./network.js";
import { ownCard } from "./own.js";
import { outputsCard } from "./outputs.js";
import { pictureCard } from "./picture.js";
import { openQuestions, refreshQuestions } from "./question.js";
import { sixteenCard } from "./sixteen.js";
import { slideCard } from "./slide.js";
import { sureCard } from "./sure.js";
import { teachingImages } from "./teaching.js";
import { LANGUAGES, fillTexts, openTexts, say, speak, text } from "./text.js";
import { settingsOf, trainCard } from "./train.js";
import { valleysCard } from "./valleys.js";
import { voteCard } from "./vote.js";
import { weightCard } from "./weight.js";
import { wishCard } from "./wish.js";
import { worksheetCard } from "./worksheet.js";

const placeOf = (question) => QUESTIONS.findIndex(({ name }) => name === question);
const MILLISECONDS_AFTER_LINE = 50; // until the address has the drawing
const SECONDS_BETWEEN_ADDRESSES = 1; // while a network is trained

async function openLesson() {
  await openTexts();
  const { widths, trained } = DATA;
  const { directions } = trained.plane;
  directions.codes = new Int8Array((await inflated(directions.codes)).buffer);
  const sets = { widths, train: await imageSet(DATA.train), test: await imageSet(DATA.test) };
  const networks = DATA.networks && networksOf({ ...DATA.networks, bytes: await inflated(DATA.networks.bytes) }, widths);
  const blank = ["header", "main", "footer"].map((tag) => document.querySelector(tag).cloneNode(true));
  const defaults = readAddress("").state;
  const shipped = { model: modelOf(defaults, widths), params: Float64Array.from(trained.params) };
  const teaching = teachingImages(shipped, sets.test);
  const state = {};
  let image = null;
  let course = null;
  let matter = null;
  let draw = null;
  let looked = null; // {step, params} of an earlier record; null is the newest network
  let nudged = []; // parameters after each step for one image alone
  let hasGaps = false; // whether records of a network trained elsewhere are missing
  let isOpening = false; // while the steps of an address are taken, the address stays
  let rememberTimer = null;
  let written = 0; // time of the last change of the address

  const changed = soon(() => {
    refreshQuestions();
    if (!page.descent()) return;
    if (state.step !== page.descent().step && !isOpening) {
      state.step = page.descent().step;
      if (!lab.isRunning() || Date.now() - written > 1000 * SECONDS_BETWEEN_ADDRESSES) remember();
    }
    course.update();
    const asks = QUESTIONS.filter(({ step }) => step === page.lesson).map(({ card }) => card);
    page.cards.forEach(([id, { update }]) => (byId(id).hidden && !asks.includes(id)) || update());
    course.update();
    course.showWait();
    refreshQuestions();
  });
  const lab = openLaboratory(await inflatedText(DATA.worker), sets, changed);
  const page = {
    state, sets, lab, changed, trained,
    cards: [],
    get lesson() {
      return state.lesson === 10 && !networks ? 0 : state.lesson;
    },
    image: () => image,
    descent: () => lab.descents.first,
    // Questions about the network wait until it is there and stays the same.
    isReady: () => Boolean(page.descent()) && !lab.isRunning() && !isOpening,
    baseline: () => baselineOf(state.cost, sets.train.labels, widths.at(-1)),
    looked() {
      const { records } = page.descent();
      return looked ? records.findIndex(({ step }) => step === looked.step) : records.length - 1;
    },
    // In the step that trains, the network that is being trained.
    network() {
      const { grow } = lab.descents;
      if (page.lesson === 7 && grow) return { model: grow.model, params: grow.params, step: grow.step, nudges: 0 };
      const { model, params, step } = page.descent();
      return { model, params: nudged.at(-1) ?? looked?.params ?? params, step: looked?.step ?? step, nudges: nudged.length };
    },
    // The network before its training.
    start: () => ({ model: modelOf(state, widths), params: startingPoint(settingsOf(state), widths) }),
    reading: () => reading(page.network(), image.pixels),
    change(part) {
      const isNewStep = "lesson" in part && part.lesson !== state.lesson;
      if (isNewStep) remember();
      // An image that the learner chose stays; otherwise each step opens with an image of its own.
      if (isNewStep) Object.assign(state, { noise: null, isEmpty: false });
      Object.assign(state, part);
      showImage();
      // The browser takes longer to keep an address than the page to draw a line.
      clearTimeout(rememberTimer);
      if (part.drawing) rememberTimer = setTimeout(remember, MILLISECONDS_AFTER_LINE);
      else remember(isNewStep);
      if (isNewStep) {
        draw.forget();
        course.open();
        window.scrollTo(0, 0);
      }
      changed();
      if (isNewStep) requestAnimationFrame(() => byId("course-title").focus({ preventScroll: true }));
    },
    async restart(part) {
      isOpening = false;
      Object.assign(state, part, { step: 0 });
      forgetLooked();
      showImage();
      remember();
      await lab.begin("first", settingsOf(state));
    },
    run: (until) => moved(() => lab.run(["first"], [until])),
    step: () => moved(() => lab.step("first")),
    undo: () => moved(() => lab.undo("first")),
    // The records between the start and a network trained elsewhere, for the curves.
    fillGaps() {
      if (hasGaps) lab.retrace("first");
      hasGaps = false;
    },
    async look(at) {
      const { records } = page.descent();
      forgetLooked();
      const { step } = records[at];
      if (at < records.length - 1) looked = { step, params: Float64Array.from(await lab.paramsAt("first", step)) };
      changed();
    },
    nudge(gradient, rate) {
      nudged.push(stepped(page.network().params, gradient, rate));
      changed();
    },
    undoNudge() {
      nudged.pop();
      changed();
    },
    // Asks the question of every step, with the image that its step opens with, for the worksheet.
    askAll() {
      const shown = image;
      for (const { card, step } of QUESTIONS) {
        image = opened(step);
        page.cards.find(([id]) => id === card)[1].update();
      }
      image = shown;
    },
  };

  async function moved(move) {
    forgetLooked();
    await move();
    state.step = page.descent().step;
    remember();
    changed();
  }
  function forgetLooked() {
    looked = null;
    forgetNudges();
  }
  function forgetNudges() {
    nudged = [];
    matter?.forget();
  }
  // The image of the state; without one, the image that the step of the course opens with.
  const opened = (step = page.lesson) => imageOf(state, sets.test, teaching[step] ?? (page.lesson === 1 ? null : 0));
  function showImage() {
    const next = opened();
    if (next.key === image?.key) return;
    image = next;
    forgetNudges();
    if (!state.drawing) draw.reset();
  }
  // A page in a frame may not have an address.
  function remember(isNewEntry = false) {
    written = Date.now();
    if (location.protocol === "about:") return;
    if (isNewEntry) history.pushState(null, "", writeAddress(state));
    else history.replaceState(null, "", writeAddress(state));
  }

  async function openAddress() {
    const { state: next, ignored } = readAddress(location.hash);
    if (course) next.answers = mergedAnswers(state.answers, next.answers);
    const language = next.lang ?? (navigator.language.startsWith("zh") ? "zh" : "en");
    const isSame = page.descent() && JSON.stringify(settingsOf(next)) === JSON.stringify(settingsOf(state)) && next.step === page.descent().step;
    Object.assign(state, next, { isEmpty: false });
    if (course) {
      remember();
      course.open();
    }
    if (document.documentElement.lang !== language || !course) furnish(language);
    say("address-told", ignored.length ? text("address.ignored", { names: ignored.join(", ") }) : "");
    showImage();
    draw.reset();
    changed();
    if (isSame) return;
    const until = next.step;
    const isShipped = JSON.stringify(settingsOf(next)) === JSON.stringify(settingsOf(defaults)) && until >= trained.step;
    forgetLooked();
    isOpening = true;
    hasGaps = isShipped;
    await lab.begin("first", settingsOf(state), isShipped ? { trained: { step: trained.step, params: shipped.params } } : {});
    if (until > page.descent().step) await lab.run(["first"], [until]);
    isOpening = false;
    changed();
  }

  // Builds the page in a language; its state and its networks stay.
  function furnish(language) {
    ["header", "main", "footer"].forEach((tag, i) => document.querySelector(tag).replaceWith(blank[i].cloneNode(true)));
    speak(language);
    if (image) image = opened(); // its description is in the new language
    fillTexts({ parameters: parameterCount(widths) });
    openQuestions({
      earlier: (name) => state.answers[placeOf(name)],
      predicted(name, letter) {
        const at = placeOf(name);
        if (at >= 0) page.change({ answers: state.answers.slice(0, at) + letter + state.answers.slice(at + 1) });
      },
    });
    for (const one of LANGUAGES) {
      const button = element("button", { type: "button", textContent: DATA.texts[one].name, lang: one, "aria-pressed": String(one === language) });
      button.addEventListener("click", () => {
        page.change({ lang: one });
        furnish(one);
        changed();
      });
      byId("languages").append(button);
    }
    draw = drawCard(page);
    matter = matterCard(page);
    course = courseCard(page);
    page.cards = [
      ["draw", draw],
      ["moved", movedCard(page)],
      ["sure", sureCard(page)],
      ["outputs", outputsCard(page)],
      ["weight", weightCard(page)],
      ["wish", wishCard(page)],
      ["picture", pictureCard(page)],
      ["mean", meanCard(page)],
      ["knobs", knobsCard(page)],
      ["slide", slideCard(page)],
      ["valleys", valleysCard(page)],
      ["own", ownCard(page)],
      ["grow", growCard(page)],
      ["train", trainCard(page)],
      ["sixteen", sixteenCard(page)],
      ["fair", fairCard(page)],
      ["compare", compareCard(page)],
      ["features", featuresCard(page)],
      ["matter", matter],
      ["worksheet", worksheetCard(page)],
    ];
    if (networks) page.cards.push(["vote", voteCard(page, networks, { ...DATA.networks.model, widths })]);
    else byId("vote").remove();
    if (image) draw.reset();
    say("made", text("made", {
      version: DATA.version, set: DATA.set, train: sets.train.labels.length, test: sets.test.labels.length,
    }));
  }

  window.addEventListener("popstate", openAddress);
  await openAddress();
  return page;
}

// Available to the developer tools of the browser.
const lesson = openLesson();
