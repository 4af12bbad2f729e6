// The lesson: its state, the descent of the network, and the cards that show both.

import { DATA, byId, soon } from "../base.js";
import { readAddress, writeAddress } from "./address.js";
import { ballCard } from "./ball.js";
import { compareCard } from "./compare.js";
import { courseCard } from "./course.js";
import { baselineOf, stepped } from "./descent.js";
import { drawCard, imageOf, reading } from "./draw.js";
import { imageSet, inflated } from "./images.js";
import { openLaboratory } from "./laboratory.js";
import { matterCard } from "./matter.js";
import { networksOf } from "./many.js";
import { parameterCount } from "./network.js";
import { outputsCard } from "./outputs.js";
import { pictureCard } from "./picture.js";
import { sixteenCard } from "./sixteen.js";
import { slideCard } from "./slide.js";
import { sureCard } from "./sure.js";
import { fillTexts, say, text } from "./text.js";
import { settingsOf, trainCard } from "./train.js";
import { voteCard } from "./vote.js";
import { weightCard } from "./weight.js";

async function openLesson() {
  const { widths } = DATA;
  const parameters = parameterCount(widths);
  fillTexts({ parameters });
  const sets = { widths, train: await imageSet(DATA.train), test: await imageSet(DATA.test) };
  const state = {};
  let image = null;
  let looked = null; // {at, params} of an earlier record; null is the newest network
  let nudged = []; // parameters after each step for one image alone

  const changed = soon(() => {
    if (!page.descent()) return;
    course.update();
    page.cards.forEach(([id, { update }]) => byId(id).hidden || update());
  });
  const lab = openLaboratory(DATA.worker, sets, changed);
  const page = {
    state, sets, lab, changed,
    cards: [],
    image: () => image,
    descent: () => lab.descents.first,
    baseline: () => baselineOf(state.cost, sets.train.labels, widths.at(-1)),
    looked: () => looked?.at ?? page.descent().records.length - 1,
    network() {
      const { model, params, step, records } = page.descent();
      return {
        model,
        params: nudged.at(-1) ?? looked?.params ?? params,
        step: looked ? records[looked.at].step : step,
        nudges: nudged.length,
      };
    },
    chosen: () => draw.chosen(),
    reading: () => reading(page.network(), image.pixels),
    change(part) {
      Object.assign(state, part);
      if ("digit" in part || "noise" in part || "drawing" in part) {
        image = imageOf(state, sets.test);
        forgetNudges();
      }
      remember();
      changed();
    },
    async restart(part) {
      Object.assign(state, part, { step: 0 });
      forgetLooked();
      remember();
      await lab.begin("first", settingsOf(state));
    },
    run: (until) => moved(() => lab.run(["first"], [until])),
    step: () => moved(() => lab.step("first")),
    undo: () => moved(() => lab.undo("first")),
    async look(at) {
      const { records } = page.descent();
      forgetLooked();
      if (at < records.length - 1) looked = { at, params: Float64Array.from(await lab.paramsAt("first", records[at].step)) };
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
  // A page in a frame may not have an address.
  function remember() {
    if (location.protocol !== "about:") history.replaceState(null, "", writeAddress(state));
  }

  async function openAddress() {
    const { state: found, ignored } = readAddress(location.hash);
    Object.assign(state, found, { digit: found.drawing || found.noise ? null : found.digit });
    say("address-told", ignored.length ? text("address.ignored", { names: ignored.join(", ") }) : "");
    image = imageOf(state, sets.test);
    const until = state.step;
    await page.restart({});
    draw.reset();
    if (until) await page.run(until);
  }

  let matter = null;
  const draw = drawCard(page);
  matter = matterCard(page);
  const course = courseCard(page);
  page.cards = [
    ["draw", draw],
    ["sure", sureCard(page)],
    ["outputs", outputsCard(page)],
    ["weight", weightCard(page)],
    ["picture", pictureCard(page)],
    ["slide", slideCard(page)],
    ["train", trainCard(page)],
    ["sixteen", sixteenCard(page)],
    ["compare", compareCard(page)],
    ["matter", matter],
  ];
  if (DATA.networks) {
    const bytes = await inflated(DATA.networks.bytes);
    const networks = networksOf({ ...DATA.networks, bytes }, widths);
    page.cards.push(["vote", voteCard(page, networks, { ...DATA.networks.model, widths })]);
  } else {
    byId("vote").remove();
  }
  ballCard(byId("ball"));
  say("made", text("made", {
    version: DATA.version, set: DATA.set, train: sets.train.labels.length, test: sets.test.labels.length,
  }));
  window.addEventListener("hashchange", openAddress);
  await openAddress();
  return page;
}

// Available to the developer tools of the browser.
const lesson = openLesson();
