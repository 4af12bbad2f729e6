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
STEPS = 5000  # per network, with momentum
FUNCTION_STEPS = 1000
MOMENTUM = 0.9  # for networks
LEARNING_RATE = 3.0  # for networks
OF_LIMIT = 0.2  # share of the stability limit at the sharpest minimum of a function
NO_LIMIT = 0.5  # limit assumed for a function without isolated minima
ROWS = 20  # maximum number of printed rows per table
POINTS = ("strict minimum", "degenerate minimum")
MANIFOLD = "manifold of minima"  # kind of an end point on a manifold of minima


@dataclass(frozen=True)
class Minima:
    """Count the distinct minima in which descents from many starts end.

    Without --store or --function, digit networks are trained on a subset (--samples), so small that
    gradients become small, with weight decay, without which their minima are not isolated.
    """

    store: str | None = None
    """Zarr store of a sweep whose end points are analyzed."""
    at: Annotated[tuple[str, ...], tyro.conf.arg(metavar="AXIS=VALUE")] = ()
    """Selection of the runs in the store, such as learning_rate=0.5."""
    problem: Given = None
    """Problem of the sweep in the store, if it is user-defined."""
    skip_damaged: bool = False
    """Omit damaged runs of the store instead of stopping with an error."""
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
    """Number of random starts; by default 16 for networks, 400 for a function."""
    learning_rate: float | None = None
    """Learning rate; by default 3 for networks, 0.2 of the stability limit at the sharpest minimum
    for a function."""
    num_steps: int | None = None
    """Steps of each descent; by default 5000 for networks (full batch, momentum 0.9), 1000 for a
    function."""
    samples: int = 50
    """Number of training images of the networks."""
    widths: tuple[int, ...] = (16, 16)
    """Hidden sigmoid neurons per layer of the networks."""
    decay: float = 1e-3
    """Weight decay of the networks: the cost of a weight of 1. Biases do not decay."""
    tolerance: float = 1e-3
    """Largest distance between end points in one minimum, in units of the parameters."""
    polishing: int = 200
    """Maximum number of Newton steps that polish an end point."""
    out: Path | None = None
    """Folder for results; by default results/minima/<hash of these settings>."""

    def run(self) -> None:
        """Take the census, write data, summary and figures, and print a table."""
        self._check()
        from gdjax._runtime import process, results

        process.own()
        from gdjax.minima import count_stored_minima

        folder = results.folder("minima", self, self.out)
        with interrupts.resumable(f"gdjax minima with --out {folder} and these settings"):
            store = self.store or self._swept(folder / "runs.zarr")
            found = count_stored_minima(
                store,
                parse_at(self.at),
                problem=problem_file.load(self.problem),
                skip_damaged=self.skip_damaged,
                distance_tolerance=self.tolerance,
                max_steps=self.polishing,
            )
        self._write(folder, found)

    def _check(self):
        """Check the flags before JAX is imported."""
        origins = {"--store": self.store, "--function": self.function, "--data": self.data}
        given = [flag for flag, value in origins.items() if value is not None]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)}: expected one of them")
        if self.at and self.store is None:
            raise InputError(f"--at {' '.join(self.at)}: needs --store, the sweep it is a part of")
        checks.only_of_store(self.store, self.problem, skip_damaged=self.skip_damaged)
        if self.store is not None:
            exists(self.store)
            parse_at(self.at)
            for flag in ("seeds", "num_steps", "learning_rate"):
                if getattr(self, flag) is not None:
                    raise InputError(
                        f"--{flag.replace('_', '-')}: is of descents that are still to be made; "
                        f"leave it out, --store has its own"
                    )
        whole = {
            "--seeds": self.seeds,
            "--num-steps": self.num_steps,
            "--samples": self.samples,
            "--widths": min(self.widths, default=1),
            "--polishing": self.polishing,
        }
        for flag, number in whole.items():
            if number is not None and number < 1:
                raise InputError(f"{flag} {number}: expected at least 1")
        for flag, number in (
            ("--learning-rate", self.learning_rate),
            ("--tolerance", self.tolerance),
        ):
            if number is not None and not 0 < number < float("inf"):
                raise InputError(f"{flag} {number}: expected a number above 0")
        if not 0 <= self.decay < float("inf"):
            raise InputError(f"--decay {self.decay}: expected a number >= 0")

    def _swept(self, store: Path) -> Path:
        """Descend from random starts into a store; stored runs are not recomputed."""
        import optax

        from gdjax.problems import few_digits, function
        from gdjax.sweeps import axes, sweep

        if self.function is not None:
            problem, rate, momentum = function(self.function), self._rate(self.function), 0.0
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

    def _write(self, folder: Path, found: Any) -> None:
        from gdjax._runtime import results
        from gdjax.minima import basins_of_attraction, count_kinds
        from gdjax.plots import minima
        from gdjax.plots.barriers import barrier_matrix
        from gdjax.plots.basin_maps import basin_maps

        rows, told = table(found), numbers(found)
        manifolds = table_of_manifolds(found)
        results.save_data(found, folder / "data.zarr")
        title = f"{len(rows)} minima and {len(manifolds)} manifolds of {found.sizes['run']} runs"
        figures = {}
        share = found.share.values
        if len(rows) and found["count"].max() > 1:
            rest = {
                k: n / found.sizes["run"] for k, n in count_kinds(found).items() if k not in POINTS
            }
            figures["shares"] = minima.frequencies(
                share,
                found.share_low.values,
                found.share_high.values,
                found.minimum_cost.values,
                others=rest,
                title=title,
            ).figure
        if "barrier" in found:
            compared = found.sizes["compared"]
            lowest = f", the {compared} lowest" if compared < len(rows) else ""
            figures["map"] = minima.embedding(
                found.position.values,
                float(found.position_share),
                share[:compared],
                found.minimum_cost.values[:compared],
                title=title + lowest,
            ).figure
            barriers = {"straight": found.barrier.values}
            if "canonical" in found.attrs["compared"]:  # otherwise there is no matching
                barriers["after matching"] = found.matched_barrier.values
            figures["barriers"] = barrier_matrix(
                barriers, unit="minimum", label="barrier in cost", title=title + lowest
            )
        if self.function is not None and _coordinates(found) == 2:
            seen = basins_of_attraction(self.function, found.learning_rate.values[:1])
            results.save_data(seen, folder / "basins.zarr")
            figures["basins"] = basin_maps(
                seen, title=f"{seen.attrs['formula']}: where a start ends"
            )
        results.write_summary(
            folder, "minima", self, {**told, "minima": rows, "manifolds": manifolds}
        )
        for name, figure in figures.items():
            results.save_figure(figure, folder / f"{name}.png")
        _print(rows, manifolds, told, found.attrs["distance_tolerance"])
        print(f"written to {folder}")
        print(results.next_command("explore", "--minima", folder / "data.zarr"))


def table(found: Any) -> list[dict[str, Any]]:
    """Return one row per minimum, lowest cost first."""
    metrics = [name for name in ("test_accuracy",) if name in found]
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
    columns = {name: found[variable].values.tolist() for name, variable in names.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if 0 < _coordinates(found) <= 2:
        places = found["params"].values.reshape(len(rows), _coordinates(found)).tolist()
        rows = [{**row, "at": at} for row, at in zip(rows, places, strict=True)]
    return [{"minimum": number, **row} for number, row in enumerate(rows)]


def table_of_manifolds(found: Any) -> list[dict[str, Any]]:
    """Return one row per connected manifold of minima, lowest cost first."""
    names = ("count", "share", "share_low", "share_high", "cost", "sharpness", "nullity")
    columns = [found[f"manifold_{name}"].values.tolist() for name in names]
    return [
        {"manifold": number, "runs": count, **dict(zip(names[1:], row, strict=True))}
        for number, (count, *row) in enumerate(zip(*columns, strict=True))
    ]


def _coordinates(found):
    """Return the number of parameters if they are one array; 0 for other trees."""
    return math.prod(found["params"].shape[1:]) if "params" in found else 0


def numbers(found: Any) -> dict[str, Any]:
    """Return the summary of a census without its table."""
    from gdjax.minima import count_kinds

    told: dict[str, Any] = {"runs": found.sizes["run"], "ended": count_kinds(found)}
    for name in found.data_vars:
        if str(name).startswith("unseen_") or name in (
            "gap",
            "stable_from",
            "stable_to",
            "functions",
        ):
            told[str(name)] = float(found[name])
    for name in ("barrier", "matched_barrier", "distance", "matched_distance"):
        if name in found and not found[name].isnull().all():
            told[f"{name}_median"] = _median(found[name].values)
    return told


def _median(matrix):
    """Return the median over the pairs of a symmetric matrix."""
    import numpy as np

    return float(np.median(matrix[np.triu_indices(len(matrix), 1)]))


def _print(rows, manifolds, told, tolerance):
    accurate = bool(rows) and "test_accuracy" in rows[0]
    accuracy = "  test accuracy" if accurate else ""
    place = "  at" if rows and "at" in rows[0] else ""
    print(f"minimum  runs  share, 95 % interval         cost{accuracy}  sharpness  nullity{place}")
    for row in rows[:ROWS]:
        accuracy = f"  {row['test_accuracy']:>13.1%}" if accurate else ""
        place = f"  {_place(row['at'])}" if "at" in row else ""
        print(_row("minimum", row, accuracy) + place)
    if len(rows) > ROWS:
        print(f"... and {len(rows) - ROWS} more, in summary.json")
    if manifolds:
        print("manifold runs  share, 95 % interval         cost  sharpness  dimension")
        for row in manifolds[:ROWS]:
            print(_row("manifold", row, ""))
        if len(manifolds) > ROWS:
            print(f"... and {len(manifolds) - ROWS} more, in summary.json")
    ended = told["ended"]
    points = sum(count for kind, count in ended.items() if kind in POINTS)
    others = ", ".join(
        f"{count} {kind}" for kind, count in ended.items() if kind not in (*POINTS, MANIFOLD)
    )
    print(
        f"{points} of {told['runs']} runs ended in {len(rows)} minima, {ended.get(MANIFOLD, 0)} on "
        f"{len(manifolds)} manifolds of minima; in none: {others or 'not one'}"
    )
    if "no derivative" in ended:
        print(
            "where the cost has no derivative nothing is certified: its lowest points may be "
            "minima and are not counted"
        )
    if rows:
        _print_unseen("minima", told, "unseen")
        print(
            f"as many minima for every tolerance from {told['stable_from']:.2g} to "
            f"{told['stable_to']:.2g} (taken: {tolerance:g})"
        )
    if manifolds:
        _print_unseen("manifolds", told, "unseen_manifold")
    if "functions" in told:
        print(f"different functions computed: {told['functions']:.0f}")


def _row(name, row, accuracy):
    return (
        f"{row[name]:>7}  {row['runs']:>4}  {row['share']:>6.1%} "
        f"({row['share_low']:>5.1%} - {row['share_high']:>5.1%})  {row['cost']:>11.5g}"
        f"{accuracy}  {row['sharpness']:>9.4g}  {row['nullity']:>7}"
    )


def _print_unseen(what, told, prefix):
    number = told[f"{prefix}_number"]
    about = "" if math.isnan(number) else f", about {number:.0f} or more"
    print(
        f"{what} not seen yet: with {told[f'{prefix}_mass']:.1%} of such starts "
        f"({told[f'{prefix}_mass_low']:.1%} - {told[f'{prefix}_mass_high']:.1%}){about}; at least "
        f"{told[f'{prefix}_number_low']:.0f} (95 %)"
    )


def _place(at):
    return "(" + ", ".join(f"{x:.5g}" for x in at) + ")"
