// Two descents from one start with two learning rates, on a curve or on the plane of the network.

import { DATA, byId, option, soon } from "../base.js";
import { chart } from "../chart.js";
import { CURVES } from "../functions.js";
import { number } from "../numbers.js";
import { surface } from "../surface.js";
import { directionsOf, pointOnPlane } from "./descent.js";
import { questionOf, showQuestion } from "./question.js";
import { text } from "./text.js";
import { settingsOf, stepsOf } from "./train.js";
import { DEFAULTS } from "./address.js";
import { MAX_POINTS, endOf, routeOf, valleyOf } from "./valley.js";
import { curvePicture, limitsChart } from "./valleypicture.js";

const NETWORK = "network";
const NAMES = ["A", "B"];
const PAIR_COLORS = ["#0b5d94", "#b3420a"];
const MILLISECONDS_PER_STEP = 130;
const NETWORK_EPOCHS = 4; // of the descents of the network
const OPENING = { // rates of both descents, and the start as a share of the domain
  quartic: { rates: [0.02, 0.1], at: 0.94 }, sine_bowl: { rates: [0.02, 0.35], at: 0.9 },
  two_sines: { rates: [0.02, 0.15], at: 0.5 }, [NETWORK]: { rates: [0.3, 3] },
};
const ZOOMED = { rates: [1.8, 2.1], share: 0.06, at: 0.2 }; // rates in units of 1/λ, half a width, a start

export function valleysCard(page) {
  const { plane } = page.trained;
  const origin = Float64Array.from(page.trained.params);
  const along = directionsOf(plane.directions);
  const kind = byId("valleys-kind");
  const canvases = [byId("valleys-curve"), byId("valleys-plane")];
  const sliders = [0, 1].map((i) => byId(`valleys-rate-${i}`));
  for (const name of Object.keys(DATA.curves)) kind.append(option(name, CURVES[name].formula));
  kind.append(option(NETWORK, text("valleys.network")));
  let start = null; // x, or [a, b]
  let routes = []; // the points of both descents on a curve
  let taken = 0; // number of steps that are shown
  let zoom = null; // {low, high} of a curve
  let timer = null;
  let landscape = null;
  let isDrawn = false;
  const isNetwork = () => kind.value === NETWORK;
  const rateOf = (i) => 10 ** Number(sliders[i].value);
  const curve = () => ({ ...CURVES[kind.value], ...DATA.curves[kind.value] });
  const until = () => stepsOf(NETWORK_EPOCHS, DEFAULTS.batch, page.sets.train.labels.length);
  const networks = () => NAMES.map((name) => page.lab.descents[`rate ${name}`]).filter(Boolean);
  const valleyOfStart = () => valleyOf(curve(), start);

  const drawCurve = curvePicture(canvases[0], () => isDrawn && !isNetwork() && {
    curve: curve(), zoom, routes: routes.map((route) => route.slice(0, taken + 1)), colors: PAIR_COLORS, valley: zoom && valleyOfStart(),
  }, (x) => begin(x));
  function drawPlane() {
    landscape ??= surface(
      canvases[1],
      { ...plane, a: { ...plane.a, label: text("valleys.first") }, b: { ...plane.b, label: text("valleys.second") } },
      () => plane.path.step.length,
      [text("train.axis.cost"), text("valleys.log")],
      { routes: () => [{ mark: start, from: start, color: "#00735a" }, ...networks().map((one, i) => ({ path: pathOf(one), color: PAIR_COLORS[i] }))], pick: (a, b) => begin([a, b]) },
    );
    landscape.redraw();
  }
  const pathOf = ({ records }) => Object.fromEntries(
    [["path_a", "a"], ["path_b", "b"], ["path_cost", "cost"], ["path_cost_in_slice", "slice"]].map(([to, from]) => [to, records.map((one) => one[from])]),
  );

  function tell() {
    canvases.forEach((canvas, i) => (canvas.hidden = isNetwork() !== (i === 1)));
    byId("valleys-limits").toggleAttribute("hidden", isNetwork());
    byId("valleys-zoom").hidden = isNetwork();
    byId("valleys-zoom").setAttribute("aria-pressed", String(Boolean(zoom)));
    const isRunning = isNetwork() ? page.lab.isRunning() : Boolean(timer);
    byId("valleys-run").textContent = text(isRunning ? "valleys.stop" : "valleys.run");
    byId("valleys-run").setAttribute("aria-pressed", String(isRunning));
    byId("valleys-step").disabled = byId("valleys-back").disabled = isRunning;
    byId("valleys-note").textContent = text(isNetwork() ? "valleys.note.network" : "valleys.note.curve");
    NAMES.forEach((name, i) => {
      byId(`valleys-rate-out-${i}`).textContent = number(rateOf(i));
      byId(`valleys-told-${i}`).textContent = isNetwork() ? networkWords(name, i) : curveWords(name, i);
    });
    if (isNetwork()) drawPlane();
    else {
      drawCurve();
      const valley = valleyOfStart();
      limitsChart(byId("valleys-limits"), { curvature: valley && valley.curvature, at: valley && valley.x, rates: [0, 1].map(rateOf), colors: PAIR_COLORS });
    }
    drawCosts();
  }
  function curveWords(name, i) {
    const route = routes[i];
    const step = Math.min(taken, route.length - 1);
    const x = route[step];
    const rate = rateOf(i);
    if (!Number.isFinite(x)) return text("valleys.away", { name, rate, step });
    const { f, slope } = curve();
    const valley = valleyOf(curve(), x);
    const steep = Math.abs(slope(x));
    const next = text(slope(x) > 0 ? "valleys.left" : "valleys.right", { rate, steep, length: rate * steep });
    const told = text("valleys.told", { name, step, x, cost: f(x), next });
    if (!valley) return told;
    const swings = rate * valley.curvature;
    return told + text("space") + text(`valleys.swing.${swings < 1 ? 0 : swings < 2 ? 1 : 2}`, { product: swings });
  }
  function networkWords(name, i) {
    const records = networks()[i]?.records;
    if (!records) return "";
    const { step, cost, off, slice } = records.at(-1);
    return text("valleys.off", { name, rate: rateOf(i), step, cost, off, slice });
  }
  function drawCosts() {
    const lines = isNetwork()
      ? networks().map(({ records }, i) => ({ x: records.map((one) => one.step), y: records.map((one) => one.cost), color: PAIR_COLORS[i] }))
      : routes.map((route, i) => ({ x: [...route.keys()].slice(0, taken + 1), y: route.slice(0, taken + 1).map(shownCost), color: PAIR_COLORS[i] }));
    const frame = { x: [0, 10], y: [NaN, NaN] };
    chart(byId("valleys-costs"), {
      x: text("train.axis.plain"), y: text(isNetwork() ? "train.axis.cost" : "valleys.cost"), height: 170, title: text("valleys.costs"), lines: [frame, ...lines],
    });
  }
  // Costs above the picture are left out of the chart.
  function shownCost(x) {
    const { f, domain: [low, high] } = curve();
    return x < low - 1 || x > high + 1 || !Number.isFinite(x) ? NaN : f(x);
  }

  function stop() {
    clearInterval(timer);
    timer = null;
  }
  // What still arrives of the descents of the network belongs to the start before.
  function begin(at) {
    stop();
    if (networks().length && page.lab.isRunning()) return page.lab.pause().then(() => begin(at));
    [start, taken, isDrawn] = [at, 0, true];
    NAMES.forEach((name) => delete page.lab.descents[`rate ${name}`]);
    if (!isNetwork()) routes = [0, 1].map((i) => routeOf(curve(), start, rateOf(i)));
    ask();
    return tell();
  }
  function open() {
    const { rates, at } = OPENING[kind.value];
    zoom = null;
    sliders.forEach((slider, i) => {
      [slider.min, slider.max] = isNetwork() ? ["-2", "2"] : ["-3", "0"];
      slider.value = String(Math.log10(rates[i]));
    });
    if (isNetwork()) return begin([plane.path.path_a[0], plane.path.path_b[0]]);
    const [low, high] = curve().domain;
    return begin(low + at * (high - low));
  }
  function toggleZoom() {
    const valley = valleyOfStart();
    if (zoom || !valley) return open();
    const [low, high] = curve().domain;
    const half = ZOOMED.share * (high - low);
    zoom = { low: valley.x - half, high: valley.x + half };
    sliders.forEach((slider, i) => (slider.value = String(Math.log10(ZOOMED.rates[i] / valley.curvature))));
    begin(valley.x + ZOOMED.at * half);
  }
  function step() {
    if (taken + 1 >= Math.max(...routes.map((route) => route.length)) || !byId("valleys-run").isConnected) stop();
    else taken += 1;
    tell();
  }
  // The descents of the network begin at a point of the plane, in the worker.
  async function readyNetworks() {
    if (networks().length) return;
    const own = { plane: { origin, along }, start: pointOnPlane(origin, along, start) };
    for (const [i, name] of NAMES.entries()) await page.lab.begin(`rate ${name}`, { ...settingsOf(DEFAULTS), rate: rateOf(i) }, own);
  }
  async function runNetworks(end, options = { isPaced: true }) {
    await readyNetworks();
    await page.lab.run(NAMES.map((name) => `rate ${name}`), [end, end], options);
    page.changed();
  }
  function run() {
    if (isNetwork()) return page.lab.isRunning() ? page.lab.pause() : runNetworks(until());
    if (timer) stop();
    else timer = setInterval(step, MILLISECONDS_PER_STEP);
    return tell();
  }

  function ask() {
    const rates = { a: rateOf(0), b: rateOf(1) };
    const names = isNetwork() ? ["a", "b"] : ["a", "b", "both", "neither"];
    showQuestion(byId("valleys-question"), {
      ask: text(isNetwork() ? "valleys.ask.network" : "valleys.ask.curve", { ...rates, count: isNetwork() ? until() : MAX_POINTS, start: isNetwork() ? "" : start }),
      choices: names.map((name) => text(`valleys.choice.${name}`)),
      isReady: page.isReady,
      answer: isNetwork() ? answerNetwork : answerCurve,
    });
  }
  async function answerNetwork() {
    await runNetworks(until(), { isPaced: page.lesson === 6 });
    const [a, b] = networks().map(({ records }) => records.at(-1).cost);
    return { right: a < b ? 0 : 1, words: text("valleys.answer.network", { a, b, steps: until() }) };
  }
  async function answerCurve() {
    const ends = routes.map((route) => endOf(curve(), route));
    const deepest = curve().minima.reduce((best, one) => (one[1] < best[1] ? one : best));
    const [a, b] = ends.map((end) => end !== null && Math.abs(end - deepest[0]) < 1e-3);
    const words = ends.map((end, i) => (end === null ? text("valleys.restless", { name: NAMES[i] }) : text("valleys.rests", { name: NAMES[i], x: end, cost: curve().f(end) })));
    const valley = valleyOf(curve(), deepest[0]);
    taken = Math.max(...routes.map((route) => route.length)) - 1;
    tell();
    return {
      right: a && b ? 2 : a ? 0 : b ? 1 : 3,
      words: [...words, text("valleys.answer.curve", { x: deepest[0], cost: deepest[1], limit: 2 / valley.curvature })].join(text("space")),
    };
  }

  kind.addEventListener("change", open);
  const rated = soon(() => begin(start));
  for (const slider of sliders) slider.addEventListener("input", rated);
  byId("valleys-step").addEventListener("click", () => (isNetwork() ? runNetworks((networks()[0]?.step ?? 0) + 1) : step()));
  byId("valleys-back").addEventListener("click", () => begin(start));
  byId("valleys-run").addEventListener("click", run);
  byId("valleys-zoom").addEventListener("click", toggleZoom);
  return {
    update() {
      if (!isDrawn || !questionOf("valleys")) open();
      else tell();
    },
  };
}
