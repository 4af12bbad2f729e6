"""Runs of others: a pandas table with one row per run, as a Dataset like that of a sweep."""

import numpy as np
import pandas as pd
import xarray as xr

from gdjax.base.errors import InputError

MAX_CELLS = 1_000_000  # maximum number of combinations of all values of the axes


def runs_of_table(frame, axes, seeds, metrics, outcome):
    """Return a Dataset with the grid of all values of the axes; missing runs are not finished."""
    names = [*axes, *seeds]
    metrics = [*metrics]
    _check_columns(frame, names, metrics, outcome)
    if frame.duplicated(names).any():
        first = frame[frame.duplicated(names)].iloc[0]
        raise InputError(
            f"explore: several rows have {', '.join(f'{n} = {first[n]}' for n in names)}, expected "
            f"one; name the other axes in axes, or the repetitions in seeds"
        )
    values = {name: pd.Index(frame[name]).unique().sort_values() for name in names}
    shape = tuple(len(v) for v in values.values())
    if np.prod(shape, dtype=float) > MAX_CELLS:
        raise InputError(
            f"explore: axes = {axes} have {np.prod(shape, dtype=float):,.0f} combinations, "
            f"expected at most {MAX_CELLS:,}; name fewer axes, or round their values"
        )
    places = tuple(values[name].get_indexer(frame[name]) for name in names)
    words, codes = _outcomes(frame, metrics[0], outcome)
    grid = np.full(shape, -1, np.int8)
    grid[places] = codes
    variables = {"outcome": (names, grid, {"flag_values": [*range(len(words))]})}
    variables["outcome"][2]["flag_meanings"] = " ".join(words)
    for k, metric in enumerate(metrics):
        array = np.full((*shape, 1), np.nan)
        array[(*places, 0)] = frame[metric]
        if k == 0 and "diverged" in words:
            array[grid == words.index("diverged")] = np.inf
        name = "cost" if k == 0 else str(metric)
        variables[name] = ((*names, "step"), array, {"long_name": str(metric)})
    coordinates = {name: _numbers_or_words(v) for name, v in values.items()}
    attrs = {"table": True, "seeds": [*seeds]}
    return xr.Dataset(variables, {**coordinates, "step": [0]}, attrs)


def _check_columns(frame, names, metrics, outcome):
    expected = f"expected columns of runs: {', '.join(map(str, frame.columns))[:300]}"
    for name in [*names, *metrics, *([] if outcome is None else [outcome])]:
        if name not in frame.columns:
            raise InputError(f"explore: runs has no column {name!r:.80}, {expected}")
    if not names or not metrics:
        raise InputError(
            "explore: runs is a DataFrame; pass axes=[...], the columns of settings, and "
            "metrics=[...], the columns of results, of which the first is the cost"
        )
    for name in metrics:
        if frame[name].dtype.kind not in "iuf":
            raise InputError(f"explore: metrics = {name!r:.80} has no numbers; {expected}")
    if frame[names].isna().to_numpy().any():
        raise InputError(f"explore: axes = {names} have missing values; drop these rows")


def _outcomes(frame, metric, outcome):
    """Return names of outcomes, and a code for each row."""
    if outcome is None:
        return ["finished", "diverged"], (~np.isfinite(frame[metric])).to_numpy().astype(np.int8)
    text = frame[outcome].astype(str).str.replace(r"\s+", "_", regex=True)
    codes, words = pd.factorize(text)
    if len(words) > 100:
        raise InputError(f"explore: outcome = {outcome!r:.80} has more than 100 different values")
    return [*words], codes.astype(np.int8)


def _numbers_or_words(values):
    return values.to_numpy() if values.dtype.kind in "iufb" else values.astype(str).to_numpy()
