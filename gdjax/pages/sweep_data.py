"""Data of a page with a sweep: its axes, records, outcomes and verdicts, within a limit of size.

    runs: [axes x step]  ->  {axes, metrics, outcome, verdicts, importance}

Records are omitted from a large sweep first, and then values of axes; notes state how many are
shown. Attributes and names of a sweep are not trusted.
"""

import json
from collections.abc import Mapping

import numpy as np
from scipy import stats

from gdjax.base import statistics
from gdjax.base.errors import InputError, printable
from gdjax.base.outcome_colors import OUTCOME_COLORS
from gdjax.base.signed_ranks import num_rejected_means
from gdjax.pages.compared import store_of
from gdjax.pages.notebook import is_logarithmic
from gdjax.pages.settings import importance, settings_by_seeds, verdicts
from gdjax.sweeps.axes import SEEDS

NUMBERS = 1_000_000  # maximum number of values in all curves together, 5.4 MB as text
RECORDS = 120  # maximum number of records per run
FEWEST = 5  # minimum number of records per run, before values of axes are omitted
RUNS = 100_000  # maximum number of runs
MAX_TABULATED = 64  # up to this number of seeds, intervals of fewer seeds are known to the page


def sweep_data(runs, numbers):
    """Return the axes, records and outcomes of a sweep, reduced to the limits."""
    for variable in ("outcome", "cost"):
        if variable not in getattr(runs, "variables", ()):
            raise InputError(
                f"explore: runs = {type(runs).__name__} without {variable!r}, expected a Dataset "
                f"of gd.sweep or gd.open_dataset, the path of a store, or a pandas DataFrame"
            )
    grid = tuple(str(dim) for dim in runs.outcome.dims)
    if "step" in grid or set(runs.cost.dims) != {*grid, "step"}:
        raise InputError(
            f"explore: runs.cost has the dimensions {runs.cost.dims}, expected those of "
            f"runs.outcome, {grid}, and step"
        )
    names = [
        str(key)
        for key, variable in runs.data_vars.items()
        if set(variable.dims) == {*grid, "step"} and variable.dtype.kind == "f"
    ]
    thin, notes = _thinned({str(k): int(v) for k, v in runs.sizes.items()}, grid, names, numbers)
    whole = {dim: int(runs.sizes[dim]) for dim in grid}
    store = store_of(runs)
    runs = runs[[*names, "outcome"]].isel(thin)
    metrics = [_metric(runs[key].transpose(*grid, "step")) for key in names]
    seeds = seed_axes(runs, grid)
    meanings = _meanings(runs.outcome)
    diverged = [int(code) for code, name in meanings.items() if name == "diverged"]
    finals = settings_by_seeds(metrics, runs.outcome.values, diverged, seeds)
    return {
        "axes": [_axis(runs, dim, whole[dim], thin.get(dim)) for dim in grid],
        "step": runs.step.values,
        "metrics": metrics,
        "outcome": runs.outcome.values.astype(np.int32),
        "outcomes": meanings,
        "colors": {name.replace("_", " "): color for name, color in OUTCOME_COLORS.items()},
        "seeds": seeds,
        "store": store,
        "compared": -1,
        "parent": None,
        "replayable": not runs.attrs.get("table"),
        "ranks": _ranks(max(finals[0].shape[-1], 1) if finals else 1),
        "verdicts": verdicts(metrics, finals, runs),
        "importance": importance(
            finals, metrics, [d for i, d in enumerate(grid) if i not in seeds]
        ),
        "told": notes,
        "about": _about(runs.attrs),
    }


def _metric(values):
    name = str(values.name)
    return {
        "name": name,
        "label": str(values.attrs.get("long_name", name.replace("_", " "))),
        "share": "accuracy" in name,
        "values": values.values.astype(np.float32),
    }


def _axis(runs, dim, whole, thin):
    """Return the values of a dimension, by coordinate, and how Python writes them."""
    coordinates = {str(k): c for k, c in runs.coords.items() if c.dims == (dim,)}
    kinds = {str(k): c.dtype.kind for k, c in coordinates.items()} or {dim: "i"}
    index = np.arange(whole) if thin is None else thin
    return {
        "dim": dim,
        "whole": whole,
        "index": index,
        "labeled": dim in coordinates,
        "log": is_logarithmic(runs[dim]),
        "kinds": kinds,
        "values": {k: _values(c) for k, c in coordinates.items()} or {dim: index},
    }


def seed_axes(runs, grid):
    """Return the positions of the dimensions that are seeds."""
    named = runs.attrs.get("seeds")
    names = {*(SEEDS if named is None else named)}
    coordinates = {dim: {k for k, c in runs.coords.items() if c.dims == (dim,)} for dim in grid}
    return [i for i, dim in enumerate(grid) if {dim, *coordinates[dim]} & names]


def _ranks(count):
    """Return k of the intervals of a median and of a paired difference, by number of seeds."""
    counts = range(1, count + 1) if count <= MAX_TABULATED else [count]
    tail = (1 - statistics.LEVEL) / 2
    return {
        str(n): [int(stats.binom.ppf(tail, n, 0.5)), num_rejected_means(n, tail)] for n in counts
    }


def _thinned(sizes, grid, names, numbers):
    """Return indices to keep along shortened dimensions, and notes for the page."""
    records = sizes["step"]
    indices = {dim: np.arange(sizes[dim]) for dim in (*grid, "step")}

    def count():
        return int(np.prod([len(indices[dim]) for dim in grid], initial=1))

    # Fewer records still show the course of a run, so records are omitted before values of axes.
    fitting = numbers // (count() * len(names)) if count() else records
    records_shown = min(records, RECORDS, max(fitting, FEWEST))
    indices["step"] = np.unique(np.round(np.linspace(0, records - 1, records_shown)).astype(int))
    while count() > 1 and (count() * len(names) * len(indices["step"]) > numbers or count() > RUNS):
        longest = max(grid, key=lambda dim: len(indices[dim]))
        indices[longest] = indices[longest][::2]
    notes = []
    if len(indices["step"]) < records:
        notes.append(f"Curves show {len(indices['step'])} of {records:,} records of each run.")
    notes += [
        f"{len(indices[dim]):,} of {sizes[dim]:,} values of {printable(dim).replace('_', ' ')} are "
        f"shown, evenly spaced; the store contains all values."
        for dim in grid
        if len(indices[dim]) < sizes[dim]
    ]
    return {dim: index for dim, index in indices.items() if len(index) < sizes[dim]}, notes


def _values(coordinate):
    """Return the values of an axis as numbers, or as the words that `gdjax replay` takes."""
    values = np.asarray(coordinate.values)
    if values.dtype.kind in "iuf":
        return values.astype(np.float64)
    return [str(v).lower() if values.dtype.kind == "b" else str(v) for v in values]


def _meanings(outcome):
    codes = np.atleast_1d(outcome.attrs.get("flag_values", [])).tolist()
    names = [name.replace("_", " ") for name in str(outcome.attrs.get("flag_meanings", "")).split()]
    return {str(code): name for code, name in zip(codes, names, strict=False)}


def _about(attributes):
    """Return a description of a sweep from its attributes, which are not trusted."""
    try:
        identity = json.loads(attributes.get("identity", "{}"))
    except (ValueError, TypeError, RecursionError):
        identity = {}
    identity = identity if isinstance(identity, Mapping) else {}
    words = []
    tiles, finished = attributes.get("tiles"), attributes.get("tiles_finished")
    if isinstance(tiles, int) and isinstance(finished, int) and finished < tiles:
        words.append(f"{finished} of {tiles} tiles are finished; the other runs are empty")
    batch = identity.get("batch_size")
    if isinstance(identity.get("samples"), int) and isinstance(batch, int | None):
        how = " samples drawn with replacement" if identity.get("replacement") is True else ""
        words.append("full batch" if batch is None else f"batches of {batch}{how}")
    problem = identity.get("problem")
    if isinstance(problem, Mapping) and isinstance(problem.get("name"), str):
        words.insert(0, problem["name"])
    trunk = identity.get("trunk")
    if isinstance(trunk, Mapping) and trunk:
        settings = ", ".join(f"{name} = {value}" for name, value in trunk.items())
        words.append(f"branches of the run {settings}".replace("_", " "))
    if attributes.get("bits_checked") == "false":
        words.append("last bits of a run may depend on the other runs")
    return {"words": words}
