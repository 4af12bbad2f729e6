// Which of all numbers matter most for the digit that was drawn: the slopes of its cost.

const SHOWN = 8; // numbers, those with the largest slopes

function matter(root, step) {
  const select = root.querySelector("#target");
  const rate = root.querySelector("#nudge-rate");
  const canvas = root.querySelector("canvas");
  const told = root.querySelector("#matter-told");
  const rows = root.querySelector("tbody");
  const shares = root.querySelector("#shares");
  let now = null;
  let chosen = null; // by hand; else the label, or what the network answers
  let slopes = null;

  const neurons = DATA.widths[1];
  const redraw = fitted(canvas, (width) => (width < 520 ? width : width * 0.25), (pen, width) => {
    if (!slopes) return;
    const inputs = now.layers[0].from;
    const each = Array.from({ length: neurons }, (_, i) => slopes.subarray(i * inputs, (i + 1) * inputs));
    const most = slopes.subarray(0, neurons * inputs).reduce((best, v) => Math.max(best, Math.abs(v)), 0);
    const columns = width < 520 ? 4 : 8;
    const cell = width / columns;
    each.slice(0, 16).forEach((one, i) => {
      const [left, top] = [(i % columns) * cell, Math.floor(i / columns) * cell];
      signedInto(pen, one.map((v) => Math.sign(v) * Math.sqrt(Math.abs(v))), left + 3, top + 3, cell - 6, Math.sqrt(most));
      pen.strokeStyle = "#dcd7cc";
      pen.lineWidth = 1;
      pen.strokeRect(left + 3, top + 3, cell - 6, cell - 6);
    });
  });

  function update(next) {
    now = next;
    const { layers, activities } = now;
    const outputs = activities[activities.length - 1];
    const target = chosen ?? now.label ?? largest(outputs);
    select.value = String(target);
    slopes = gradient(layers, activities, target);
    const squares = slopes.map((v) => v * v).sort(); // typed: by size, the smallest first
    const total = squares.reduce((sum, v) => sum + v, 0);
    let [sum, half] = [0, 0];
    while (half < squares.length && sum < total / 2) sum += squares[squares.length - 1 - half++];
    const least = squares[squares.length - SHOWN];
    const order = Array.from(slopes.keys())
      .filter((at) => slopes[at] ** 2 >= least)
      .sort((a, b) => Math.abs(slopes[b]) - Math.abs(slopes[a]));
    const still = slopes.reduce((n, v) => n + (v === 0 ? 1 : 0), 0);
    told.textContent =
      (now.nudges ? `After ${count(now.nudges, "step")} for this digit alone: ` : "") +
      `The cost of this digit, read as ${target}, is ${number(costOf(outputs, target))}. ` +
      (total === 0
        ? "No number changes it."
        : `Of ${number(slopes.length)} numbers, ${number(half)} make up half of the squared length of the gradient; ` +
          `${number(still)} do not matter at all for it: their pixels are dark.`);
    rows.replaceChildren(
      ...order.slice(0, SHOWN).map((at) =>
        element(
          "tr",
          {},
          element("td", { textContent: parameterName(layers, at) }),
          element("td", { className: "number", textContent: number(now.params[at]) }),
          element("td", { className: "number", textContent: number(slopes[at]) }),
          element("td", { textContent: slopes[at] > 0 ? "less" : "more" }),
        ),
      ),
    );
    shares.replaceChildren(
      ...layers.map(({ begin, to, from }, l) => {
        const part = slopes.subarray(begin, begin + to * (from + 1)).reduce((s, v) => s + v * v, 0);
        const name = l === layers.length - 1 ? "output layer" : `hidden layer ${l + 1}`;
        return element(
          "tr",
          {},
          element("td", { textContent: name }),
          element("td", { className: "number", textContent: number(to * (from + 1)) }),
          element("td", { className: "number", textContent: total ? percent(part / total) : "–" }),
        );
      }),
    );
    redraw();
  }
  for (let digit = 0; digit < DATA.widths[DATA.widths.length - 1]; digit += 1) select.append(option(digit, String(digit)));
  select.addEventListener("change", () => {
    chosen = Number(select.value);
    update(now);
  });
  root.querySelector("#nudge").addEventListener("click", () => step(slopes, 10 ** Number(rate.value)));
  const rateTold = () => (root.querySelector("#nudge-rate-out").textContent = number(10 ** Number(rate.value)));
  rate.addEventListener("input", rateTold);
  rateTold();
  return {
    update,
    forget: () => (chosen = null),
    slopes: () => slopes,
  };
}
