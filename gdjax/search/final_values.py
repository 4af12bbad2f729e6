"""Final values of runs by setting, tuned value and seed, from sweeps, stores and tables.

    rows: one per (compared value, tuned values);   columns: one per seed

Values are negated if larger ones are better, so that smaller is always better, and a run that
diverged has the value +inf.

>>> frame = pd.DataFrame({"width": [1, 1, 2, 2], "seed": [0, 1, 0, 1], "cost": [3, 1, 2, np.inf]})
>>> final_values(frame, "width", [], None, "cost", "minimize").values.tolist()
[[3.0, 1.0], [2.0, inf]]
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gdjax.base import documents
from gdjax.base.arguments import check_choice
from gdjax.base.arrays import check_sweep_dataset
from gdjax.base.errors import InputError
from gdjax.stores.reader import opened
from gdjax.sweeps.axes import SEEDS
from gdjax.sweeps.dataset import check_equal_costs, check_last_records
from gdjax.sweeps.table import table

AGREEING = ("data_hash", "root_seed")  # entries of identities that compared sweeps have in common
VALUE = "__value"


def final_values(
    runs: Any,
    of: str,
    tune: Sequence[str],
    seeds: Sequence[str] | None,
    metric: str,
    direction: str,
) -> pd.DataFrame:
    """Return the final values, indexed by the compared and the tuned axes.

    With two crossed seed axes, the runs are not independent. The axis with more values then counts
    as the seeds, and each value is the median over the other axis.
    """
    if isinstance(runs, Mapping) and not isinstance(runs, xr.Dataset):
        parts = {name: _opened(part) for name, part in runs.items()}
        _check_agreement(parts)
        check_equal_costs(metric, *(p for p in parts.values() if isinstance(p, xr.Dataset)))
        frames = {
            name: _frame(part, [*tune], seeds, metric, where=f"runs[{name!r}]").assign(**{of: name})
            for name, part in parts.items()
        }
        names = {name: [*map(str, frame.attrs["seeds"])] for name, frame in frames.items()}
        if len(set(map(tuple, names.values()))) > 1:
            raise InputError(f"runs: the seed axes differ ({names}); compare equal seeds")
        frame = pd.concat(frames.values(), ignore_index=True)
        frame.attrs = {"seeds": next(iter(names.values()))}
    else:
        frame = _frame(_opened(runs), [of, *tune], seeds, metric, where="runs")
    worst = np.inf if direction == "minimize" else -np.inf
    frame[VALUE] = frame[VALUE].where(np.isfinite(frame[VALUE]), worst)
    frame[VALUE] *= 1.0 if direction == "minimize" else -1.0
    return _by_seeds(frame, [of, *tune], frame.attrs["seeds"])


def _opened(runs):
    runs = opened(runs)
    if not isinstance(runs, pd.DataFrame):
        others = ", a path or URL of a store, a pandas DataFrame, or a mapping of names to these"
        check_sweep_dataset("runs", runs, or_else=others)
    return runs


def _check_agreement(parts):
    """Check that sweeps have the same data and draw equal starts for equal seeds."""
    identities = {
        name: documents.recorded_identity(part)
        for name, part in parts.items()
        if isinstance(part, xr.Dataset) and "identity" in part.attrs
    }
    for entry in AGREEING:
        values = {name: identity.get(entry) for name, identity in identities.items()}
        if len(set(values.values())) > 1:
            raise InputError(f"runs: {entry} differs ({values}); compare sweeps where it is equal")


def _frame(runs, axes, seeds, metric, *, where):
    """Return the axes and the final value of each run; `attrs` has the names of the seeds."""
    frame = runs if isinstance(runs, pd.DataFrame) else table(runs)
    is_table = isinstance(runs, pd.DataFrame)
    if seeds is None:
        seeds = [name for name in SEEDS if name in frame]
    for name in (*axes, *seeds):
        check_choice(f"{where}: axis", name, map(str, frame.columns))
    if not seeds:
        raise InputError(f"{where}: no seeds, expected an axis such as seed=range(16)")
    check_choice("metric", metric, [str(c) for c in frame if frame[c].dtype.kind in "iuf"])
    if not is_table:
        check_equal_costs(metric, runs)
        left = [d for d in _axes_of(runs) if d not in (*axes, *seeds) and frame[d].nunique() > 1]
        if left:
            raise InputError(
                f"{where}: the axis {left[0]} is neither compared nor tuned nor a seed; add it to "
                f"tune, or select one of its values"
            )
        check_last_records(metric, runs)
        frame = frame.assign(**{metric: frame[metric].where(frame["outcome"] != "diverged")})
    columns = dict.fromkeys((*axes, *seeds))
    values = frame[[*columns]].assign(**{VALUE: frame[metric].astype(float)})
    values.attrs = {"seeds": [*seeds]}
    return values


def _axes_of(runs):
    """Return the names of the axes of a sweep."""
    grid = set(runs["outcome"].dims)
    named = [n for n, c in runs.coords.items() if c.ndim and set(c.dims) <= grid]
    along = {dim for name in named for dim in runs[name].dims}
    return [str(name) for name in (*named, *(grid - along))]


def _by_seeds(frame, rows, seeds):
    """Arrange values by settings and seeds; each setting has the same seeds, each once."""
    if frame.duplicated([*rows, *seeds]).any():
        first = frame[frame.duplicated([*rows, *seeds])].to_dict("records")[0]
        at = ", ".join(f"{name} = {first[name]}" for name in (*rows, *seeds))
        raise InputError(
            f"runs: several have {at}, expected one; name the other axes in tune or in seeds, or "
            f"select one of their values"
        )
    order = [pd.Index(frame[name].unique(), name=name) for name in rows]
    values = frame.pivot(index=rows, columns=seeds, values=VALUE)
    if values.isna().to_numpy().any():
        row, column = np.argwhere(values.isna().to_numpy())[0]
        raise InputError(
            f"runs: {', '.join(rows)} = {values.index[row]} lacks {', '.join(seeds)} = "
            f"{values.columns[column]}; all settings must have the same seeds"
        )
    counts = [values.columns.get_level_values(name).nunique() for name in seeds]
    if values.shape[1] > max(counts):
        unit = seeds[int(np.argmax(counts))]
        values = values.T.groupby(level=unit).agg(np.median).T
    by_order = (
        values.reindex(order[0], level=rows[0]) if len(rows) > 1 else values.reindex(order[0])
    )
    return by_order
