// What one image wishes of the network: first of the outputs, then of what one output is made of, then,
// summed over all outputs, of the layers before. The factors of a slope come last.

import { byId, option } from "../base.js";
import { number } from "../numbers.js";
import { reading } from "./draw.js";
import { COSTS, largest } from "./network.js";
import { showQuestion } from "./question.js";
import { differenceOf, factorsOf, pathsInto, slopesOf } from "./wishes.js";
import { wishPicture, wishesInto } from "./wishpicture.js";
import { outputWords, say, text } from "./text.js";
import { settingsOf } from "./train.js";

const PATHS = 12; // at most as many are drawn between two layers
const WAYS = ["bias", "weights", "activations"];
const CANCELED = 0.02; // of the largest sum: such wishes cancel

const wishHeight = (width) => (width < 420 ? 236 : 330);
const argBest = (values, isBetter) => values.reduce((best, v, i) => (isBetter(v, values[best]) ? i : best), 0);

export function wishCard(page) {
  let now = null; // {network, read, target, slopes, neuron} that the questions are about
  let shown = null;
  let stage = 0; // number of answered questions
  let way = "weights";
  let rank = 0; // of the path whose factors are shown
  const show = wishPicture(byId("wish-picture"), wishHeight);
  const select = byId("wish-network");
  select.append(...["start", "trained"].map((name) => option(name, text(`wish.network.${name}`))));
  select.addEventListener("change", page.changed);
  for (const name of WAYS) {
    byId(`wish-${name}`).addEventListener("click", () => {
      way = name;
      update();
    });
  }
  byId("wish-next").addEventListener("click", () => {
    rank += 1;
    showFactors();
  });

  const wishesOf = (layer) => now.slopes[layer].outer.map((slope) => -slope);
  // What the picture shows after a number of answers.
  function figureAt(count) {
    const { read, target, slopes } = now;
    const last = read.layers.length - 1;
    const wishes = read.layers.map(() => null);
    if (count > 0) wishes[last] = wishesOf(last);
    let [paths, bias] = [[], null];
    if (count === 2) {
      const one = (kind) => pathsInto(last, slopes, read, kind, target).slice(0, PATHS);
      if (way === "bias") bias = -slopes[last].sums[target];
      else paths = one(way);
      if (way === "activations") wishes[last - 1] = fromFocus();
    }
    if (count === 3) {
      for (let l = last; l > 0; l -= 1) {
        wishes[l - 1] = wishesOf(l - 1);
        paths.push(...pathsInto(l, slopes, read, "activations").slice(0, PATHS));
      }
    }
    return { read, target, focus: count > 1 ? target : null, wishes, bias, paths };
  }
  // What the right output alone wishes of the activations before it.
  function fromFocus() {
    const last = now.read.layers.length - 1;
    const wishes = new Array(now.read.layers[last].from).fill(0);
    for (const { from, wish } of pathsInto(last, now.slopes, now.read, "activations", now.target)) wishes[from] = wish;
    return wishes;
  }

  function update() {
    const figure = figureAt(stage);
    show(figure);
    const last = now.read.layers.length - 1;
    const words = Array.from(wishesOf(last), (wish, digit) => `${digit}: ${number(wish, 2)}`).join(", ");
    byId("wish-picture").setAttribute("aria-label", stage ? text("wish.picture", { words }) : text("wish.picture.hidden"));
    byId("wish-ways").hidden = stage !== 2;
    for (const name of WAYS) byId(`wish-${name}`).setAttribute("aria-pressed", String(name === way));
    say("wish-told", stage === 2 ? text(`wish.way.${way}`, { target: now.target }) : text(`wish.told.${stage}`, { target: now.target }));
    byId("wish-factors").hidden = stage < 3;
    showFactors();
  }
  const reached = (count) => {
    stage = Math.max(stage, count);
    update();
  };

  // The slope along one of the strongest paths, as a product, and by a difference of the cost.
  function showFactors() {
    const { network, read, target, slopes } = now;
    const last = read.layers.length - 1;
    const path = pathsInto(last, slopes, read, "weights")[rank % PATHS];
    const factors = factorsOf(slopes, read, path);
    const { begin, from } = read.layers[last];
    const costAt = (h) => {
      const params = network.params.slice();
      params[begin + path.to * from + path.from] += h;
      return COSTS[network.model.cost].value(reading({ ...network, params }, read.pixels).activities.at(-1), target);
    };
    const difference = differenceOf(costAt);
    say("wish-name", text("wish.factors.name", { from: path.from, to: path.to }));
    for (const [name, value] of Object.entries({ ...factors, difference })) byId(`wish-${name}-factor`).textContent = number(value, 5);
  }

  function ask() {
    const { read, target, slopes, network } = now;
    const last = read.layers.length - 1;
    const { sure } = read;
    const isReady = page.isReady;
    const figures = [0, 1, 1].map(figureAt);
    const picture = (i) => ({ words: text("wish.picture.hidden"), ratio: wishHeight, draw: (pen, width) => wishesInto(pen, width, wishHeight(width), figures[i]) });
    const others = Array.from(sure.keys()).filter((digit) => digit !== target);
    const worst = others.reduce((best, digit) => (sure[digit] > sure[best] ? digit : best));
    const least = others.reduce((best, digit) => (sure[digit] < sure[best] ? digit : best));
    const outputs = [target, worst, least].sort((a, b) => a - b);
    const wishes = wishesOf(last);
    showQuestion(byId("wish1-question"), {
      ask: text("wish.1.ask", { target }),
      choices: outputs.map((digit) => text("wish.1.choice", { digit, output: outputWords(network.model, sure[digit]) })),
      isReady, pictures: [picture(0)],
      async answer() {
        reached(1);
        const strongest = outputs.map((digit) => Math.abs(wishes[digit]));
        const right = largest(strongest);
        return { right, words: text("wish.1.answer", { digit: outputs[right], wish: wishes[outputs[right]], target, own: wishes[target] }) };
      },
    });
    const before = Array.from(read.activities[last - 1], Math.abs);
    const weights = Array.from(read.layers[last].weights.subarray(target * before.length, (target + 1) * before.length), Math.abs);
    const active = argBest(before, (a, b) => a > b);
    const idle = argBest(before, (a, b) => a < b);
    const heavy = argBest(weights.map((w, j) => (j === active || j === idle ? 0 : w)), (a, b) => a > b);
    const neurons = [active, idle, heavy].sort((a, b) => a - b);
    const kindOf = (j) => (j === active ? "active" : j === idle ? "idle" : "heavy");
    showQuestion(byId("wish2-question"), {
      ask: text("wish.2.ask", { target, count: before.length }),
      choices: neurons.map((j) => text(`wish.2.${kindOf(j)}`, { neuron: j })),
      isReady, pictures: [picture(1)],
      async answer() {
        reached(2);
        return { right: neurons.indexOf(active), words: text("wish.2.answer", { neuron: active, activity: read.activities[last - 1][active] }) };
      },
    });
    const sums = wishesOf(last - 1);
    const alone = fromFocus();
    const steepest = Math.max(...sums.map(Math.abs));
    const isTurned = (j) => Math.sign(sums[j]) !== Math.sign(alone[j]) && Math.abs(sums[j]) > CANCELED * steepest;
    const turned = sums.map((sum, j) => (isTurned(j) ? Math.abs(sum) : 0));
    const neuron = Math.max(...turned) ? largest(turned) : largest(sums.map(Math.abs));
    showQuestion(byId("wish3-question"), {
      ask: text("wish.3.ask", { target, neuron, way: text(alone[neuron] > 0 ? "wish.up" : "wish.down") }),
      choices: ["wish.up", "wish.down", "wish.none"].map((name) => text(name)),
      isReady, pictures: [],
      async answer() {
        reached(3);
        const parts = Array.from(slopes[last].sums, (s, i) => -s * read.layers[last].weights[i * before.length + neuron]);
        const ups = parts.filter((part) => part > 0).length;
        return {
          right: Math.abs(sums[neuron]) <= CANCELED * steepest ? 2 : sums[neuron] > 0 ? 0 : 1,
          words: text("wish.3.answer", { neuron, sum: sums[neuron], ups, downs: parts.length - ups, alone: alone[neuron] }),
        };
      },
    });
  }
  return {
    update() {
      if (!page.isReady()) return;
      const next = [select.value, JSON.stringify(settingsOf(page.state)), page.network().params, page.image().key];
      if (shown && next.every((one, i) => one === shown[i])) return;
      shown = next;
      const network = select.value === "start" ? page.start() : page.network();
      const read = reading(network, page.image().pixels);
      const target = page.image().label ?? page.reading().best;
      now = { network, read, target, slopes: slopesOf(network, read, target) };
      [stage, rank, way] = [0, 0, "weights"];
      ask();
      update();
    },
  };
}
