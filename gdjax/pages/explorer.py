"""Interactive page with a sweep, landscapes, minima and the test functions.

    runs: [settings x settings x ...]  ->  a map of any metric over any two axes, and its runs

The page has a map, curves, a table of settings, and the runs of a selection as Python or CSV.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from gdjax import __version__
from gdjax.base.arguments import check_limits, check_text, check_whole
from gdjax.base.errors import InputError
from gdjax.base.limits import Count
from gdjax.pages.compared import compared_runs, parent_run, store_of
from gdjax.pages.notebook import Selection, finer_values, is_logarithmic, selection_of
from gdjax.pages.page import Page, build, read
from gdjax.pages.sweep_data import NUMBERS, sweep_data
from gdjax.pages.table_runs import runs_of_table
from gdjax.pages.zoom import compute_region, stored_sweep
from gdjax.problems import Problem
from gdjax.stores.location import StoreLike
from gdjax.stores.reader import opened
from gdjax.sweeps import extend
from gdjax.sweeps.axes import axes as make_axes
from gdjax.sweeps.spec import Sweep

SIDE = 151  # maximum number of points along each side of a landscape
SCRIPTS = (
    "numbers.js",
    "base.js",
    "chart.js",
    "functions.js",
    "map.js",
    "cells.js",
    "strips.js",
    "state.js",
    "sweep.js",
    "selection.js",
    "parallel.js",
    "settings.js",
    "curves.js",
    "saving.js",
    "runs.js",
    "surface.js",
    "landscape.js",
    "minima.js",
    "descend.js",
    "explore.js",
)


@dataclass(frozen=True, repr=False)
class Explorer(Page):
    """Page of a sweep, whose selection is known in a notebook with `gdjax[notebook]`.

    Args:
        html: content of the whole file.
        runs: Dataset of the sweep.
        indices: positions of the shown values along each dimension.
        spec: specification of the sweep, after `zoom`.
    """

    runs: xr.Dataset | None
    indices: dict[str, np.ndarray]
    spec: Sweep | None = None
    _widgets: list = field(default_factory=list)

    @property
    def selection(self) -> Selection:
        """Runs that were last selected in the notebook; none before."""
        flat = self._widgets[0].selected if self._widgets else []
        return selection_of(self._sweep("selection").outcome, self.indices, flat)

    def _sweep(self, purpose: str) -> xr.Dataset:
        if self.runs is None:
            raise InputError(f"{purpose}: the page has no runs; pass runs to explore")
        return self.runs

    def refine(
        self,
        *,
        to: StoreLike,
        problem: Problem | None = None,
        make_optimizer: Callable | None = None,
    ) -> "Explorer":
        """Compute a finer grid around the selected runs, and show it.

        The grid gets a number between each two values of an axis near the selection, as
        `gd.extend` does, so its stored runs keep their bits.

        Args:
            to: path or URL of the new store.
            problem: problem of the sweep; required if it was user-defined.
            make_optimizer: optimizer factory of the sweep; required if it was user-defined.
        """
        runs = self._sweep("refine")
        source = store_of(runs)
        if source is None:
            raise InputError(
                "refine: the runs have no store, which gd.extend needs; explore a sweep with "
                "store=..., or repeat the sweep with more values"
            )
        box = self.selection.box
        values: dict[str, Any] = {
            name: finer_values(runs[name].values, chosen, is_logarithmic(runs[name]))
            for name, chosen in box.items()
        }
        if all(len(v) == runs.sizes[name] for name, v in values.items()):
            raise InputError(
                "refine: no numbers can be added around the selected runs; select runs in the "
                "notebook (brush a range, or click a cell) with at least two values of an axis"
            )
        finer = extend(
            source, make_axes(**values), to=to, problem=problem, make_optimizer=make_optimizer
        )
        finer.encoding["source"] = str(to)
        return explore(finer, name=str(to))

    def zoom(
        self,
        *,
        to: StoreLike | None = None,
        points: int = 33,
        problem: Problem | None = None,
        make_optimizer: Callable | None = None,
    ) -> "Explorer":
        """Compute the selected region alone with more values of its axes, and show it.

        Each value is a middle of two values of the page, of two of these middles, and so on, so
        zooms in any order share the numbers of a region. Runs that both pages show are computed
        again; where one of them has other bits, the new page says that the last bits of a run may
        depend on the other runs. No number is added where float32 cannot tell it from its
        neighbors.

        Args:
            to: path or URL of a store for the runs of the region; None keeps them in memory.
            points: minimum number of values along each axis of real numbers that is not one of
                seeds.
            problem: problem of the sweep; required if it was user-defined.
            make_optimizer: optimizer factory of the sweep; required if it was user-defined.
        """
        check_whole("zoom: points", points, 2)
        runs = self._sweep("zoom")
        spec = self.spec or stored_sweep(runs, problem, make_optimizer)
        region, finer = compute_region(spec, runs, self.selection.mask, points, to)
        return replace(explore(region, name=str(to or "a region")), spec=finer)

    def _widget(self) -> Any:
        """Return the widget of the page; without the extra, the page without its selection."""
        try:
            from gdjax.pages.widget import widget
        except ImportError:
            return Page(self.html)
        if not self._widgets:
            self._widgets.append(widget(self.html, read("widget.js")))
        return self._widgets[0]

    def _display_(self) -> Any:  # what marimo shows
        return self._widget()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if isinstance(shown := self._widget(), Page):
            return {"text/html": shown._repr_html_(), "text/plain": repr(self)}
        return shown._repr_mimebundle_(**options)


def explore(
    runs: Any = None,
    *,
    parent: Any = None,
    planes: Mapping[str, Any] | Any = None,
    minima: Any = None,
    name: str = "",
    numbers: int = NUMBERS,
    axes: Sequence[str] = (),
    seeds: Sequence[str] = (),
    metrics: Sequence[str] = (),
    outcome: str | None = None,
) -> Explorer:
    """Return an interactive page for a sweep, landscapes and minima.

    The page works offline. With only a sweep and the default `numbers`, it has at most 8 MB.

    Args:
        runs: Dataset of a sweep, from `sweep` or `open_dataset`; path or URL of its store;
            DataFrame with one row per run, such as an export of W&B or Optuna; or several sweeps
            by name, whose runs with equal settings are compared. None omits it.
        parent: Dataset, path or URL of the sweep that branches left, if `runs` are from `branch`:
            the page shows the run from which they branched.
        planes: Datasets from `landscape.plane` or `landscape.trajectory_plane` by title, or one
            such Dataset; a descent on a plane is animated.
        minima: Dataset of a census, from `minima.count_minima`.
        name: name of the sweep, for the title.
        numbers: maximum number of values in all curves together; the page states how many of the
            records and of the values of each axis are shown.
        axes: columns of a DataFrame that are settings. The page shows the grid of all their values.
        seeds: columns of a DataFrame by which equal settings differ.
        metrics: columns of a DataFrame with results; the first one is the cost.
        outcome: column of a DataFrame with the outcome in words, of which "diverged" has a meaning;
            None: runs diverged whose cost is missing or infinite.

    Returns:
        The page, written to a file by `page.save("explore.html")`. It also contains the test
        functions, on which a click starts a descent. In a notebook with `gdjax[notebook]`, its
        `selection` has the runs that are selected there, and `refine` and `zoom` compute more near
        them.

    Examples:
        >>> import numpy as np, xarray as xr
        >>> runs = xr.Dataset(
        ...     {"cost": (("rate", "step"), np.ones((3, 2))), "outcome": ("rate", [0, 0, 0])},
        ...     {"rate": [0.1, 1.0, 10.0], "step": [0, 10]})
        >>> explore(runs, name="a small sweep").html[:15]
        '<!doctype html>'
    """
    check_text("explore: name", name)
    check_limits("explore: numbers", numbers, Count)
    stores, notes, runs = [], [], opened(runs)
    if isinstance(runs, Mapping) and not isinstance(runs, xr.Dataset):
        runs, stores, notes = compared_runs(runs)
    if hasattr(runs, "columns"):
        runs = runs_of_table(runs, axes, seeds, metrics, outcome)
    sweep = None if runs is None else sweep_data(runs, numbers)
    if sweep:
        sweep["told"] += notes
        sweep |= {"stores": stores, "compared": len(sweep["axes"]) - 1 if stores else -1}
    if parent is not None:
        if sweep is None:
            raise InputError("explore: parent needs runs; pass the result of gd.branch as runs")
        sweep["parent"] = parent_run(runs, parent, [metric["name"] for metric in sweep["metrics"]])
    page = build(
        f"{name or 'gdjax'}: explore",
        "explore.html",
        {
            "version": __version__,
            "name": name,
            "sweep": sweep,
            "planes": _planes(planes),
            "census": None if minima is None else _census(minima),
            "functions": _functions(),
        },
        styles=("base.css", "explore.css"),
        scripts=SCRIPTS,
    )
    indices = {axis["dim"]: np.asarray(axis["index"]) for axis in sweep["axes"]} if sweep else {}
    return Explorer(page.html, runs, indices)


def _planes(planes):
    if planes is None:
        return []
    if hasattr(planes, "cost") or not isinstance(planes, Mapping):
        planes = {"": planes}
    # The root of a stored tree of planes is empty.
    return [plane_data(str(k), plane) for k, plane in planes.items() if getattr(plane, "sizes", 1)]


def plane_data(title, dataset):
    """Return a landscape as data of a page."""
    if getattr(getattr(dataset, "cost", None), "dims", None) != ("a", "b"):
        raise InputError(
            f"explore: planes[{title!r:.80}] of type {type(dataset).__name__} has no cost with "
            f"dimensions a and b; pass the result of landscape.plane or landscape.trajectory_plane"
        )
    every = {dim: slice(None, None, -(-dataset.sizes[dim] // SIDE)) for dim in ("a", "b")}
    notes = []
    if any(step.step > 1 for step in every.values()):
        notes = [f"One of every {every['a'].step} points along each side of the plane is shown."]
    drawn = dataset.isel(every)
    plane = {
        "title": title,
        "told": notes,
        "cost": drawn.cost.values.astype(np.float32),
        **{
            axis: {
                "values": drawn[axis].values.astype(np.float64),
                "label": str(drawn[axis].attrs.get("long_name", axis)),
                "length": _finite(drawn[axis].attrs.get("length")) or 1.0,
            }
            for axis in ("a", "b")
        },
        "path": None,
    }
    if "path_a" in dataset:
        plane["path"] = {
            name: dataset[name].values.astype(np.float64)
            for name in ("path_a", "path_b", "path_cost", "path_cost_in_slice", "path_off")
        } | {
            "step": dataset.snapshot_step.values.astype(np.float64),
            "explained": _finite(dataset.explained.values[:2].sum())
            if "explained" in dataset
            else None,
        }
    return plane


def _census(census):
    """Return the minima of a census, their positions, barriers and distances."""
    if "minimum_cost" not in getattr(census, "variables", ()):
        raise InputError("explore: minima is not a census; pass the result of minima.count_minima")
    columns = {
        "runs": "count",
        "share": "share",
        "cost": "minimum_cost",
        "sharpness": "sharpness",
        "accuracy": "test_accuracy",
    }
    summary = {
        name: census[variable].values.astype(np.float64)
        for name, variable in columns.items()
        if variable in census and census[variable].dims == ("minimum",)
    }
    for name in ("barrier", "matched_barrier", "distance", "matched_distance", "position"):
        if name in census:
            summary[name] = census[name].values.astype(np.float64)
    summary["ended"] = int(census.sizes["run"])
    summary["matched"] = "canonical" in str(census.attrs.get("compared", ""))
    summary["shown"] = _finite(census.position_share) if "position_share" in census else None
    return summary


def _finite(value):
    """Return a value as a finite float, or None, since JSON has no NaN."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _functions():
    from gdjax.problems.test_functions import FUNCTIONS

    return {
        known.name: {
            "domain": known.domain,
            "points": [[*np.ravel(point.x), point.value] for point in known.critical_points],
            "kinds": [point.kind for point in known.critical_points],
            "source": known.source,
        }
        for known in FUNCTIONS.values()
        if len(known.domain) == 2
    }
