// The explorer: a section for each part of the page's data.

let explored = null; // the sweep, its state and its selected runs

function explorer() {
  const { sweep, planes, census, functions } = DATA;
  byId("title").textContent = "Descend yourself";
  const sections = { runs: Boolean(sweep), landscape: planes.length > 0, minima: Boolean(census && census.cost.length), try: true };
  for (const [name, there] of Object.entries(sections)) {
    byId(name).hidden = !there;
    byId(`to-${name}`).hidden = !there;
  }
  byId("sections").hidden = Object.values(sections).filter(Boolean).length < 2;
  const lead = [];
  if (sweep) {
    explored = exploreRuns(byId("runs"), sweep);
    const axes = sweep.axes.map((axis) => `${number(axis.whole)} × ${Object.keys(axis.values).map(words).join(" with ")}`);
    const whole = sweep.axes.reduce((n, axis) => n * axis.whole, 1);
    byId("title").textContent = count(whole, sweep.replayable ? "descent" : "run");
    if (DATA.name) lead.push(`${DATA.name}:`);
    lead.push(`${axes.join(", ")};`, ...sweep.about.words.map((text) => `${text};`));
    if (sweep.replayable) lead.push(`${number(sweep.step[sweep.step.length - 1])} steps each.`);
  }
  if (sections.landscape) exploreLandscapes(byId("landscape"), planes);
  if (sections.minima) exploreMinima(byId("minima"), census);
  byId("lead").textContent = lead.join(" ") || "Functions with known critical points: click to choose a starting point.";
  const tried = tryDescents(byId("try"), functions);
  byId("made").textContent = `Made by gdjax ${DATA.version}. This file works offline.`;
  return tried;
}

const tried = explorer();
