// The descent of the trained network on the plane in which it moves most.

import { byId, soon } from "../base.js";
import { number } from "../numbers.js";
import { surface } from "../surface.js";
import { say, text } from "./text.js";

const MILLISECONDS_PER_POINT = 120;

export function planeCard(page) {
  const { plane } = page.trained;
  const { path } = plane;
  const moment = byId("plane-moment");
  const play = byId("plane-play");
  const last = path.step.length;
  let timer = null;
  let shown = null;
  moment.max = String(last);
  moment.value = String(last);
  const labeled = { ...plane, a: { ...plane.a, label: text("plane.first") }, b: { ...plane.b, label: text("plane.second") } };

  // Distance of a point of the path from its last.
  const fromEnd = (i) => Math.hypot((path.path_a[i] - path.path_a.at(-1)) * plane.a.length, (path.path_b[i] - path.path_b.at(-1)) * plane.b.length, path.path_off[i]);
  function show() {
    const i = Number(moment.value) - 1;
    byId("plane-step").textContent = number(path.step[i]);
    say("plane-told", text("plane.told", {
      step: path.step[i], cost: path.path_cost[i], slice: path.path_cost_in_slice[i], off: path.path_off[i], distance: fromEnd(i),
    }));
    shown.redraw();
  }
  const showSoon = soon(show);
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = text("plane.play");
    play.setAttribute("aria-pressed", "false");
  }
  function advance() {
    if (!play.isConnected || Number(moment.value) >= last) return stop();
    moment.value = String(Number(moment.value) + 1);
    show();
  }
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(moment.value) >= last) moment.value = "1";
    play.textContent = text("ball.stop");
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(advance, MILLISECONDS_PER_POINT);
  });
  moment.addEventListener("input", showSoon);
  stop();
  return {
    update() {
      if (shown) return;
      shown = surface(byId("plane-surface"), labeled, () => Number(moment.value), [text("train.axis.cost"), text("plane.log")]);
      show();
    },
  };
}
