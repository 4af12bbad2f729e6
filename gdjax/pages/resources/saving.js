// Buttons below the map, which give the selected runs to other programs.

// `selectedRuns()` are the brushed or chosen runs, `chosen()` the chosen ones, and `left()` is the
// left edge of the color bar. Returns a function that shows the command of the chosen runs.
function savingButtons(select, sweep, state, map, selectedRuns, chosen, left) {
  // Of several runs, the command is that of the one with the median value or, on a map of outcomes,
  // of the first one with the most common outcome.
  function showCommand() {
    const runs = [...chosen()];
    const { outcomes } = map.view();
    const valueShown = outcomes ? sweep.outcomeOf : map.valueOf;
    const middle = runs.length ? (outcomes ? mostCommon : median)(runs.map(valueShown)) : null;
    const run = runs.find((one) => Object.is(valueShown(one), middle)) ?? runs[0];
    const text = run === undefined ? null : replayCommand(sweep, run);
    const why = sweep.replayable ? "These runs are in memory; runs in a store (gd.sweep(..., store=...)) can be replayed." : "These runs are from a table, so they cannot be replayed.";
    select("command").textContent = text ?? "";
    select("command").hidden = select("copy").hidden = text === null;
    select("command-field").hidden = run === undefined;
    select("command-told").textContent =
      text === null ? (run !== undefined && sweep.storeOf(run) === null ? why : "") : runs.length > 1 ? `It replays ${outcomes ? "a run with the most common outcome" : "the run with the median value"}.` : "";
  }
  const showPython = (text, why) => {
    select("python-field").hidden = false;
    select("python").textContent = text ?? "";
    select("python").hidden = select("copy-python").hidden = !text;
    select("python-told").textContent = text ? "" : why;
    if (text) copyText(select("python"), select("python-told"));
  };
  select("copy").addEventListener("click", () => copyText(select("command"), select("command-told")));
  select("copy-python").addEventListener("click", () => copyText(select("python"), select("python-told")));
  select("as-python").addEventListener("click", () => {
    const runs = selectedRuns();
    showPython(runs.length && sweep.replayable ? pythonSelection(sweep, runs) : null, sweep.replayable ? "Select runs first: click a cell, or brush a range." : "Runs of a table have no Dataset; the CSV has a column of the selected runs.");
  });
  select("finer").addEventListener("click", () => {
    const runs = selectedRuns();
    const text = runs.length ? finerCall(sweep, runs) : null;
    showPython(text, runs.length ? "There are no numbers between those of the selected runs." : "Select runs first: click a cell, or brush a range.");
  });
  select("finer").hidden = !sweep.replayable || sweep.compared >= 0;
  select("save-png").addEventListener("click", () => {
    const [shown, colors] = [select("map"), select("bar")];
    const dense = shown.width / shown.clientWidth;
    const bar = colors.hidden ? 0 : colors.height;
    const picture = element("canvas", { width: shown.width, height: shown.height + bar + Math.round(40 * dense) });
    const pen = picture.getContext("2d");
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, picture.width, picture.height);
    pen.fillStyle = "#1d2530";
    pen.font = `${13 * dense}px Inter, system-ui, sans-serif`;
    pen.fillText(select("map-caption").textContent, 12 * dense, 24 * dense, picture.width - 24 * dense);
    pen.drawImage(shown, 0, 40 * dense);
    if (bar) pen.drawImage(colors, left() * dense, 40 * dense + shown.height);
    picture.toBlob((blob) => save("map.png", blob), "image/png");
  });
  select("save-csv").addEventListener("click", () => {
    const selected = new Set(selectedRuns());
    save("runs.csv", new Blob([csvOf(sweep, state.at, (run) => selected.has(run))], { type: "text/csv" }));
  });
  return showCommand;
}
