// Landscapes: selection, rotation by hand, and a slider for the steps of a descent.

function exploreLandscapes(root, planes) {
  const select = (id) => root.querySelector(`#${id}`);
  const time = select("moment");
  planes.forEach((plane, i) => select("plane").append(option(i, plane.title || "the plane")));
  select("plane-field").hidden = planes.length < 2;
  let shown = null;
  let canvas = select("surface");

  function show(i) {
    const plane = planes[i];
    // A new canvas, without the event listeners of the previous landscape.
    const fresh = canvas.cloneNode(false);
    canvas.replaceWith(fresh);
    canvas = fresh;
    const { path } = plane;
    for (const id of ["moment-field", "way-cost", "way-note"]) select(id).hidden = !path;
    if (path) {
      time.max = String(path.path_a.length);
      time.value = time.max;
    }
    shown = surface(canvas, plane, () => Number(time.value));
    tell(plane);
  }
  function tell(plane) {
    const { path } = plane;
    const [low, high] = extent(plane.cost);
    const bad = Array.from(plane.cost).filter((v) => !Number.isFinite(v)).length;
    const parts = [`Cost from ${number(low)} to ${number(high)}.`, ...plane.told];
    if (bad) parts.push(`${count(bad, "point")} without a finite cost are omitted.`);
    if (path) {
      const i = Number(time.value) - 1;
      select("moment-told").textContent = number(path.step[i]);
      parts.push(
        `At step ${number(path.step[i])} the cost of the descent is ${number(path.path_cost[i])}, that of its projection onto the plane ` +
          `${number(path.path_cost_in_slice[i])}; the distance from the plane is ${number(path.path_off[i])}.`,
      );
      if (path.explained !== null) parts.push(`The plane explains ${percent(path.explained)} of the squared distance from the end.`);
      chart(select("way-cost"), {
        x: "step", y: "cost", logY: true, height: 230, mark: path.step[i],
        lines: [
          { x: path.step, y: path.path_cost, color: "#1d2530" },
          { x: path.step, y: path.path_cost_in_slice, color: "#b3420a", dash: "6 3" },
        ],
      });
    }
    select("landscape-told").textContent = parts.join(" ");
  }
  select("plane").addEventListener("change", (event) => show(Number(event.target.value)));
  time.addEventListener("input", () => {
    tell(planes[Number(select("plane").value)]);
    shown.redraw();
  });
  show(0);
}
