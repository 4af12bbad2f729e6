"""`gdjax minima`: count the minima that descents end in, and measure barriers."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gdjax.base import interrupts, process, results
from gdjax.base.errors import InputError
from gdjax.base.limits import Count, NotNegative, Positive
from gdjax.cli.emit import emit, table
from gdjax.cli.options import MOMENTUM, DataOption, StoredRuns

Function = Literal[
    "quartic", "sine_bowl", "two_sines", "rosenbrock", "himmelblau", "beale", "rastrigin",
    "six_hump_camel", "styblinski_tang", "ackley", "goldstein_price", "monkey_saddle",
    "two_factors",
]  # fmt: skip
DATA = "mnist5k"
STARTS = 400  # default number of starts for a function
NETWORKS = 16
STEPS = 5000  # default number of steps for networks, with momentum
FUNCTION_STEPS = 1000
LEARNING_RATE = 3.0  # for networks
OF_LIMIT = 0.2  # default learning rate of a function, as a share of its lowest stability limit
NO_LIMIT = 0.5  # upper bound of that limit, used for a function without isolated minima
ROWS = 20  # maximum number of printed rows per table
POINTS = ("strict minimum", "degenerate minimum")
MANIFOLD = "manifold of minima"  # kind of an end point on a manifold of minima
COLUMNS = (
    "count",
    "share",
    "share_low",
    "share_high",
    "cost",
    "test_accuracy",
    "sharpness",
    "nullity",
)
"""Variables of minima and manifolds in a census."""
TABLE = {
    "runs": "{runs}",
    "share, 95 % interval": "{share:.1%} ({share_low:.1%} - {share_high:.1%})",
    "cost": "{cost:.5g}",
    "test accuracy": "{test_accuracy:.1%}",
    "sharpness": "{sharpness:.4g}",
    "nullity": "{nullity}",
}
"""Printed columns, in terms of the entries of a row of the summary."""


@dataclass(frozen=True)
class Minima(StoredRuns):
    """Count the distinct minima in which descents from many starts end.

    Without --store or --function, digit networks are trained on a subset (--samples) that is small
    enough for the gradients to become small. They are trained with weight decay, without which
    their minima are not isolated.
    """

    function: Function | None = None
    """Test function to minimize from random starts."""
    data: DataOption | None = None
    """Data set of the digit networks; mnist5k by default."""
    seeds: Count | None = None
    """Number of random starts; by default 16 for networks, and 400 for a function."""
    learning_rate: Positive | None = None
    """Learning rate; by default 3 for networks; for a function, 0.2 times the stability limit at
    its sharpest minimum, but at most 0.1."""
    num_steps: Count | None = None
    """Number of steps of each descent; by default 5000 for networks (full batch, momentum 0.9), and
    1000 for a function."""
    samples: Count = 50
    """Number of training images of the networks."""
    widths: tuple[Count, ...] = (16, 16)
    """Number of sigmoid neurons in each hidden layer of the networks."""
    decay: NotNegative = 1e-3
    """Weight decay of the networks: the cost of a weight of 1. Biases are not decayed."""
    tolerance: Positive = 1e-3
    """Largest distance at which two end points count as one minimum, directly or through other end
    points between them, in units of the parameters."""
    polish_steps: Count = 200
    """Maximum number of Newton steps that polish an end point."""
    graph: bool = False
    """Also search for saddles between the minima of --function, and draw the tree of the lowest
    passes."""
    out: Path | None = None
    """Folder for results; by default results/minima/<hash of these settings>."""

    def run(self) -> None:
        """Compute the census, write data, summary and figures, and print a table."""
        self._check()
        process.configure()
        from gdjax.minima import basins_of_attraction, count_minima

        folder = results.folder("minima", self, self.out)
        with interrupts.resumable(f"gdjax minima with --out {folder} and these settings"):
            census = count_minima(
                runs=self.store or self._swept(folder / "runs.zarr"),
                distance_tolerance=self.tolerance,
                max_steps=self.polish_steps,
                **self.selection(),
            )
        data = {"data": census}
        if self.function is not None and _coordinates(census) == 2:
            data["basins"] = basins_of_attraction(self.function, census.learning_rate.values[:1])
        if self.graph:
            data["graph"] = self._graph(census)
        summary = numbers(census)
        if self.graph:
            summary |= tree_numbers(data["graph"])
        summary |= {"minima": rows(census, "minimum"), "manifolds": rows(census, "manifold")}
        emit(
            "minima",
            self,
            folder,
            data=data,
            summary=summary,
            draw=lambda: figures(**data),
            report=report(summary, self.tolerance),
            next_command=("explore", "--minima", folder / "data.zarr"),
        )

    def _check(self):
        """Check the flags before JAX is imported."""
        names = ("store", "function", "data")
        sources = [f"--{name}" for name in names if getattr(self, name) is not None]
        if len(sources) > 1:
            raise InputError(f"{' and '.join(sources)}: expected one of them")
        self.check_store()
        if self.graph and self.function is None:
            raise InputError(
                "--graph: requires --function, such as himmelblau; for a network of up to 200 "
                "parameters with decay of all of them, use gd.minima.graph"
            )
        for flag in ("seeds", "num_steps", "learning_rate"):
            if self.store is not None and getattr(self, flag) is not None:
                raise InputError(
                    f"--{flag.replace('_', '-')}: applies to new descents, but --store contains "
                    f"finished runs; leave it out"
                )

    def _graph(self, census: Any) -> Any:
        """Return the graph of the function's minima and saddles."""
        import jax

        from gdjax.minima import graph
        from gdjax.problems import from_function

        assert self.function is not None
        return graph(from_function(self.function), census, key=jax.random.key(0))

    def _swept(self, store: Path) -> Path:
        """Run the descents that the store lacks, each from a random start."""
        import optax

        from gdjax.minima import learning_rate_limits
        from gdjax.problems import few_digits, from_function
        from gdjax.sweeps import axes, sweep

        if self.function is not None:
            problem, momentum = from_function(self.function), 0.0
            rate = OF_LIMIT * float(learning_rate_limits(self.function).min(initial=NO_LIMIT))
            seeds, steps = STARTS, FUNCTION_STEPS
        else:
            problem = few_digits(
                self.data or DATA, samples=self.samples, widths=self.widths, decay=self.decay
            )
            rate, momentum, seeds, steps = LEARNING_RATE, MOMENTUM, NETWORKS, STEPS
        rate, steps = self.learning_rate or rate, self.num_steps or steps
        sweep(
            problem,
            axes(learning_rate=[rate], momentum=[momentum], seed=range(self.seeds or seeds)),
            steps,
            make_optimizer=optax.sgd,
            record_every=steps,
            metrics={},
            store=store,
        )
        return store


def rows(census: Any, kind: str) -> list[dict[str, Any]]:
    """Return one row per "minimum" or connected "manifold" of minima, lowest cost first."""
    columns = {}
    for name in COLUMNS:
        for variable in (f"{kind}_{name}", name):
            if variable in census and census[variable].dims == (kind,):
                columns["runs" if name == "count" else name] = census[variable].values.tolist()
                break
    if kind == "minimum" and 0 < (count := _coordinates(census)) <= 2:
        columns["at"] = census["params"].values.reshape(-1, count).tolist()
    return [
        {kind: number, **dict(zip(columns, row, strict=True))}
        for number, row in enumerate(zip(*columns.values(), strict=True))
    ]


def _coordinates(census):
    """Return the number of parameters if they are a single array; 0 otherwise."""
    return math.prod(census["params"].shape[1:]) if "params" in census else 0


def numbers(census: Any) -> dict[str, Any]:
    """Return the summary of a census without its table."""
    import numpy as np

    from gdjax.minima import count_kinds
    from gdjax.minima.end_states import EndState

    summary: dict[str, Any] = {"runs": census.sizes["run"], "ended": count_kinds(census)}
    for name in map(str, census.data_vars):
        if name.startswith("unseen_") or name in ("gap", "stable_from", "stable_to", "functions"):
            summary[name] = float(census[name])
    states = census["minimum_state"].values
    summary["states"] = {s.label: int(np.sum(states == s)) for s in EndState if s}
    summary["advice"] = census.attrs["advice"]
    for name in ("barrier", "matched_barrier", "distance", "matched_distance"):
        if name in census and not census[name].isnull().all():
            pairs = census[name].values[np.triu_indices(len(census[name]), 1)]
            summary[f"{name}_median"] = float(np.median(pairs))
    return summary


def figures(data: Any, basins: Any = None, graph: Any = None) -> dict[str, Any]:
    """Draw a census: shares of minima, their map and barriers, basins, and the tree of passes."""
    from gdjax.plots import barriers, minima, surfaces
    from gdjax.plots.graph import merge_tree

    drawn: dict[str, Any] = {}
    if data.sizes["minimum"] and data["count"].max() > 1:
        drawn["shares"] = minima.frequencies(data)
    if "barrier" in data:
        drawn["map"] = minima.embedding(data)
        title = minima.count_title(data, lowest=data.sizes["compared"])
        drawn["barriers"] = barriers.pairwise_barriers(data, unit="minimum", title=title)
    if basins is not None:
        title = f"{basins.attrs['formula']}: minimum reached from each start"
        drawn["basins"] = surfaces.basin_maps(basins, title=title)
    if graph is not None:
        drawn["graph"] = merge_tree(graph)
    return drawn


def tree_numbers(graph: Any) -> dict[str, Any]:
    """Return the saddles of a graph and the heights at which its minima merge."""
    from gdjax.minima.saddle_results import SearchStatus

    return {
        "saddles": int((graph["index"] == 1).sum()),
        "search": SearchStatus(int(graph.status)).label,
        "merge_heights": graph.merge_height.values.tolist(),
    }


def report(summary: dict[str, Any], tolerance: float) -> list[str]:
    """Return the printed tables of minima and manifolds, and sentences on their numbers."""
    minima, manifolds, ended = (summary[name] for name in ("minima", "manifolds", "ended"))
    points = sum(count for kind, count in ended.items() if kind in POINTS)
    other_kinds = ", ".join(
        f"{count} {kind}" for kind, count in ended.items() if kind not in (*POINTS, MANIFOLD)
    )
    lines = [
        *_table("minimum", minima),
        *_table("manifold", manifolds),
        f"{points} of {summary['runs']} runs ended in {len(minima)} minima, "
        f"{ended.get(MANIFOLD, 0)} on {len(manifolds)} manifolds of minima; other runs: "
        f"{other_kinds or 'none'}",
    ]
    if "no derivative" in ended:
        lines.append(
            "points without a derivative of the cost are not classified; the lowest of them may be "
            "minima, which are not counted"
        )
    if minima:
        states = summary["states"].items()
        lines.append(
            "minima by the state of the descents that ended there: "
            + ", ".join(f"{count} {state}" for state, count in states)
        )
        lines += [summary["advice"]] if summary["advice"] else []
    if "unseen_number" in summary:
        lines.append(_unseen("minima", summary, "unseen"))
    if minima:
        lines.append(
            f"the number of minima is the same for all tolerances from "
            f"{summary['stable_from']:.2g} to {summary['stable_to']:.2g} (used: {tolerance:g})"
        )
    if "unseen_manifold_number" in summary:
        lines.append(_unseen("manifolds", summary, "unseen_manifold"))
    if "saddles" in summary:
        heights = ", ".join(f"{height:.5g}" for height in summary["merge_heights"])
        lines.append(
            f"saddles found: {summary['saddles']} (search {summary['search']}); "
            f"minima merge at {heights or 'no known pass'}, each an upper bound"
        )
    if "functions" in summary:
        lines.append(f"number of different functions: {summary['functions']:.0f}")
    return lines


def _table(kind, rows):
    """Return the table of some minima or manifolds, and the number of further ones."""
    if not rows:
        return []
    shown = rows[:ROWS]
    forms = {kind: f"{{{kind}}}", **TABLE}
    if "test_accuracy" not in rows[0]:
        del forms["test accuracy"]
    columns = {name: [form.format(**row) for row in shown] for name, form in forms.items()}
    if "at" in rows[0]:
        columns["at"] = ["(" + ", ".join(f"{x:.5g}" for x in row["at"]) + ")" for row in shown]
    more = len(rows) - len(shown)
    return [table(columns), *([f"... and {more} more, in summary.json"] if more else [])]


def _unseen(kind, summary, prefix):
    number = summary[f"{prefix}_number"]
    estimate = "" if math.isnan(number) else f"; estimated number at least {number:.0f}"
    mass, low, high = (summary[f"{prefix}_mass{end}"] for end in ("", "_low", "_high"))
    return (
        f"unseen {kind}: reached from {mass:.1%} of random starts ({low:.1%} - {high:.1%})"
        f"{estimate}, with 95 % confidence at least {summary[f'{prefix}_number_low']:.0f}"
    )
