"""`gdjax minima`: count the minima that descents end in, and measure barriers."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gdjax import interrupts
from gdjax.cli import checks, problem_file
from gdjax.cli.problem_file import Given
from gdjax.cli.store import exists, parse_at
from gdjax.errors import InputError

DATA = "mnist5k"
STARTS = 400  # default number of starts for a function
NETWORKS = 16
STEPS = 5000  # default number of steps for networks, with momentum
FUNCTION_STEPS = 1000
MOMENTUM = 0.9  # default momentum for networks
LEARNING_RATE = 3.0  # for networks
OF_LIMIT = 0.2  # default learning rate of a function, as a share of its lowest stability limit
NO_LIMIT = 0.5  # upper bound of that limit, used for a function without isolated minima
ROWS = 20  # maximum number of printed rows per table
POINTS = ("strict minimum", "degenerate minimum")
MANIFOLD = "manifold of minima"  # kind of an end point on a manifold of minima


@dataclass(frozen=True)
class Minima:
    """Count the distinct minima in which descents from many starts end.

    Without --store or --function, digit networks are trained on a subset (--samples) that is small
    enough for the gradients to become small. They are trained with weight decay, without which
    their minima are not isolated.
    """

    store: str | None = None
    """Zarr store of a sweep whose end points are analyzed."""
    at: Annotated[tuple[str, ...], tyro.conf.arg(metavar="AXIS=VALUE")] = ()
    """Selection of the runs in the store, such as learning_rate=0.5."""
    problem: Given = None
    """Problem of the sweep in the store, if it is user-defined."""
    skip_damaged: bool = False
    """Omit damaged runs of the store instead of stopping with an error."""
    allow_unverified: bool = False
    """Go on if a version, a numeric flag or a function of the host cannot be compared."""
    function: (
        Literal[
            "quartic",
            "sine_bowl",
            "two_sines",
            "rosenbrock",
            "himmelblau",
            "beale",
            "rastrigin",
            "six_hump_camel",
            "styblinski_tang",
            "ackley",
            "goldstein_price",
            "monkey_saddle",
            "two_factors",
        ]
        | None
    ) = None
    """Test function to minimize from random starts."""
    data: str | None = None
    """Data set of the digit networks; mnist5k by default."""
    seeds: int | None = None
    """Number of random starts; by default 16 for networks, and 400 for a function."""
    learning_rate: float | None = None
    """Learning rate; by default 3 for networks; for a function, 0.2 times the stability limit at
    its sharpest minimum, but at most 0.1."""
    num_steps: int | None = None
    """Number of steps of each descent; by default 5000 for networks (full batch, momentum 0.9), and
    1000 for a function."""
    samples: int = 50
    """Number of training images of the networks."""
    widths: tuple[int, ...] = (16, 16)
    """Number of sigmoid neurons in each hidden layer of the networks."""
    decay: float = 1e-3
    """Weight decay of the networks: the cost of a weight of 1. Biases are not decayed."""
    tolerance: float = 1e-3
    """Largest distance at which two end points count as one minimum, directly or through other end
    points between them, in units of the parameters."""
    polishing: int = 200
    """Maximum number of Newton steps that polish an end point."""
    out: Path | None = None
    """Folder for results; by default results/minima/<hash of these settings>."""

    def run(self) -> None:
        """Compute the census, write data, summary and figures, and print a table."""
        self._check()
        from gdjax._runtime import process, results

        process.configure()
        from gdjax.minima import count_minima

        folder = results.folder("minima", self, self.out)
        with interrupts.resumable(f"gdjax minima with --out {folder} and these settings"):
            store = self.store or self._swept(folder / "runs.zarr")
            census = count_minima(
                problem_file.load(self.problem),
                store,
                parse_at(self.at),
                allow_unverified=self.allow_unverified,
                skip_damaged=self.skip_damaged,
                distance_tolerance=self.tolerance,
                max_steps=self.polishing,
            )
        self._write(folder, census)

    def _check(self):
        """Check the flags before JAX is imported."""
        origins = {"--store": self.store, "--function": self.function, "--data": self.data}
        sources = [flag for flag, value in origins.items() if value is not None]
        if len(sources) > 1:
            raise InputError(f"{' and '.join(sources)}: expected one of them")
        if self.at and self.store is None:
            raise InputError(f"--at {' '.join(self.at)}: requires --store, the store of the sweep")
        checks.only_of_store(self.store, self.problem, skip_damaged=self.skip_damaged)
        if self.store is not None:
            exists(self.store)
            parse_at(self.at)
            for flag in ("seeds", "num_steps", "learning_rate"):
                if getattr(self, flag) is not None:
                    raise InputError(
                        f"--{flag.replace('_', '-')}: applies to new descents, but --store "
                        f"contains finished runs; leave it out"
                    )
        checks.at_least(1, self, "seeds", "num_steps", "samples", "widths", "polishing")
        checks.positive(self, "learning_rate", "tolerance")
        if not 0 <= self.decay < float("inf"):
            raise InputError(f"--decay {self.decay}: expected a number >= 0")

    def _swept(self, store: Path) -> Path:
        """Run the descents that the store lacks, each from a random start."""
        import optax

        from gdjax.problems import few_digits, from_function
        from gdjax.sweeps import axes, sweep

        if self.function is not None:
            problem, rate, momentum = from_function(self.function), self._rate(self.function), 0.0
            seeds, steps = self.seeds or STARTS, self.num_steps or FUNCTION_STEPS
        else:
            problem = few_digits(
                self.data or DATA, samples=self.samples, widths=self.widths, decay=self.decay
            )
            rate, momentum = self.learning_rate or LEARNING_RATE, MOMENTUM
            seeds, steps = self.seeds or NETWORKS, self.num_steps or STEPS
        sweep(
            problem,
            axes(learning_rate=[rate], momentum=[momentum], seed=range(seeds)),
            steps,
            make_optimizer=optax.sgd,
            record_every=steps,
            metrics={},
            store=store,
        )
        return store

    def _rate(self, name: str) -> float:
        from gdjax.minima import learning_rate_limits

        if self.learning_rate is not None:
            return self.learning_rate
        return OF_LIMIT * float(learning_rate_limits(name).min(initial=NO_LIMIT))

    def _write(self, folder: Path, census: Any) -> None:
        from gdjax._runtime import results
        from gdjax.minima import basins_of_attraction, count_kinds
        from gdjax.plots import minima
        from gdjax.plots.barriers import barrier_matrix
        from gdjax.plots.basin_maps import basin_maps

        rows, summary = table(census), numbers(census)
        manifolds = table_of_manifolds(census)
        results.save_data(census, folder / "data.zarr")
        title = f"{len(rows)} minima and {len(manifolds)} manifolds in {census.sizes['run']} runs"
        figures = {}
        share = census.share.values
        if len(rows) and census["count"].max() > 1:
            other_shares = {
                k: n / census.sizes["run"]
                for k, n in count_kinds(census).items()
                if k not in POINTS
            }
            figures["shares"] = minima.frequencies(
                share,
                census.share_low.values,
                census.share_high.values,
                census.minimum_cost.values,
                others=other_shares,
                title=title,
            ).figure
        if "barrier" in census:
            compared = census.sizes["compared"]
            lowest = f", the {compared} lowest" if compared < len(rows) else ""
            figures["map"] = minima.embedding(
                census.position.values,
                float(census.position_share),
                share[:compared],
                census.minimum_cost.values[:compared],
                title=title + lowest,
            ).figure
            barriers = {"straight": census.barrier.values}
            if "canonical" in census.attrs["compared"]:  # without a network there is no matching
                barriers["after matching"] = census.matched_barrier.values
            figures["barriers"] = barrier_matrix(
                barriers, unit="minimum", label="barrier in cost", title=title + lowest
            )
        if self.function is not None and _coordinates(census) == 2:
            basin_dataset = basins_of_attraction(self.function, census.learning_rate.values[:1])
            results.save_data(basin_dataset, folder / "basins.zarr")
            figures["basins"] = basin_maps(
                basin_dataset,
                title=f"{basin_dataset.attrs['formula']}: minimum reached from each start",
            )
        results.write_summary(
            folder, "minima", self, {**summary, "minima": rows, "manifolds": manifolds}
        )
        for name, figure in figures.items():
            results.save_figure(figure, folder / f"{name}.png")
        _print(rows, manifolds, summary, census.attrs["distance_tolerance"])
        print(f"written to {folder}")
        print(results.next_command("explore", "--minima", folder / "data.zarr"))


def table(census: Any) -> list[dict[str, Any]]:
    """Return one row per minimum, lowest cost first."""
    metrics = [name for name in ("test_accuracy",) if name in census]
    names = {
        "runs": "count",
        "share": "share",
        "share_low": "share_low",
        "share_high": "share_high",
        "cost": "minimum_cost",
        **{name: name for name in metrics},
        "sharpness": "sharpness",
        "nullity": "minimum_nullity",
    }
    columns = {name: census[variable].values.tolist() for name, variable in names.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if 0 < _coordinates(census) <= 2:
        positions = census["params"].values.reshape(len(rows), _coordinates(census)).tolist()
        rows = [{**row, "at": at} for row, at in zip(rows, positions, strict=True)]
    return [{"minimum": number, **row} for number, row in enumerate(rows)]


def table_of_manifolds(census: Any) -> list[dict[str, Any]]:
    """Return one row per connected manifold of minima, lowest cost first."""
    names = ("count", "share", "share_low", "share_high", "cost", "sharpness", "nullity")
    columns = [census[f"manifold_{name}"].values.tolist() for name in names]
    return [
        {"manifold": number, "runs": count, **dict(zip(names[1:], row, strict=True))}
        for number, (count, *row) in enumerate(zip(*columns, strict=True))
    ]


def _coordinates(census):
    """Return the number of parameters if they are a single array; 0 otherwise."""
    return math.prod(census["params"].shape[1:]) if "params" in census else 0


def numbers(census: Any) -> dict[str, Any]:
    """Return the summary of a census without its table."""
    from gdjax.minima import count_kinds

    summary: dict[str, Any] = {"runs": census.sizes["run"], "ended": count_kinds(census)}
    for name in census.data_vars:
        if str(name).startswith("unseen_") or name in (
            "gap",
            "stable_from",
            "stable_to",
            "functions",
        ):
            summary[str(name)] = float(census[name])
    for name in ("barrier", "matched_barrier", "distance", "matched_distance"):
        if name in census and not census[name].isnull().all():
            summary[f"{name}_median"] = _median(census[name].values)
    return summary


def _median(matrix):
    """Return the median of the entries above the diagonal of a matrix."""
    import numpy as np

    return float(np.median(matrix[np.triu_indices(len(matrix), 1)]))


def _print(rows, manifolds, summary, tolerance):
    accurate = bool(rows) and "test_accuracy" in rows[0]
    accuracy = "  test accuracy" if accurate else ""
    position = "  at" if rows and "at" in rows[0] else ""
    print(
        f"minimum  runs  share, 95 % interval         cost{accuracy}  sharpness  nullity{position}"
    )
    for row in rows[:ROWS]:
        accuracy = f"  {row['test_accuracy']:>13.1%}" if accurate else ""
        position = f"  {_place(row['at'])}" if "at" in row else ""
        print(_row("minimum", row, accuracy) + position)
    if len(rows) > ROWS:
        print(f"... and {len(rows) - ROWS} more, in summary.json")
    if manifolds:
        print("manifold runs  share, 95 % interval         cost  sharpness  dimension")
        for row in manifolds[:ROWS]:
            print(_row("manifold", row, ""))
        if len(manifolds) > ROWS:
            print(f"... and {len(manifolds) - ROWS} more, in summary.json")
    ended = summary["ended"]
    points = sum(count for kind, count in ended.items() if kind in POINTS)
    others = ", ".join(
        f"{count} {kind}" for kind, count in ended.items() if kind not in (*POINTS, MANIFOLD)
    )
    print(
        f"{points} of {summary['runs']} runs ended in {len(rows)} minima, "
        f"{ended.get(MANIFOLD, 0)} on {len(manifolds)} manifolds of minima; other runs: "
        f"{others or 'none'}"
    )
    if "no derivative" in ended:
        print(
            "points without a derivative of the cost are not classified; the lowest of them may be "
            "minima, which are not counted"
        )
    if rows:
        _print_unseen("minima", summary, "unseen")
        print(
            f"the number of minima is the same for all tolerances from "
            f"{summary['stable_from']:.2g} to {summary['stable_to']:.2g} (used: {tolerance:g})"
        )
    if manifolds:
        _print_unseen("manifolds", summary, "unseen_manifold")
    if "functions" in summary:
        print(f"number of different functions: {summary['functions']:.0f}")


def _row(name, row, accuracy):
    return (
        f"{row[name]:>7}  {row['runs']:>4}  {row['share']:>6.1%} "
        f"({row['share_low']:>5.1%} - {row['share_high']:>5.1%})  {row['cost']:>11.5g}"
        f"{accuracy}  {row['sharpness']:>9.4g}  {row['nullity']:>7}"
    )


def _print_unseen(kind, summary, prefix):
    number = summary[f"{prefix}_number"]
    estimate = "" if math.isnan(number) else f"; estimated number at least {number:.0f}"
    mass, low, high = (summary[f"{prefix}_mass{end}"] for end in ("", "_low", "_high"))
    print(
        f"unseen {kind}: reached from {mass:.1%} of random starts ({low:.1%} - {high:.1%})"
        f"{estimate}, with 95 % confidence at least {summary[f'{prefix}_number_low']:.0f}"
    )


def _place(at):
    return "(" + ", ".join(f"{x:.5g}" for x in at) + ")"
