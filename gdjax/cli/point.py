"""Network to analyze: a stored run, parameters in a file, or a new network."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

from gdjax.base.errors import InputError
from gdjax.base.limits import Count, Positive, Seed
from gdjax.cli.options import MOMENTUM, DataOption, Optimizer, StoredRuns, format_value

SNAPSHOTS = 50  # approximate number of snapshots of a newly trained network


class Point(NamedTuple):
    """Parameters to analyze, and the descent that led to them.

    `step` and `snapshots` are None if none are stored, and `learning_rate` is None unless the
    optimizer was SGD (with or without momentum) at a constant rate. Figures and reports show
    `label` in their titles.
    """

    problem: Any
    params: Any
    step: Any
    snapshots: Any
    learning_rate: float | None
    momentum: float
    label: str


@dataclass(frozen=True)
class Origin(StoredRuns):
    """Source of the point; by default, a network is trained."""

    params: Path | None = None
    """params.npz written by `gdjax train`; the summary.json beside it describes the network."""
    data: DataOption = "mnist5k"
    """Data set of the network to train."""
    learning_rate: Positive = 1.0
    """Learning rate of the network to train."""
    batch_size: Count = 32
    """Number of samples per step."""
    epochs: Count = 10
    """Number of passes over the training set."""
    seed: Seed = 0
    """Seed of the initial parameters."""

    def check(self) -> None:
        """Check the flags before JAX is imported."""
        self.check_store()
        if self.store is not None and self.params is not None:
            raise InputError("--store and --params: expected one of them")
        if self.params is not None:
            _summary(self.params)

    def find(self) -> Point:
        """Load the point, or train a network."""
        if self.store is not None:
            return self._of_store(self.store)
        if self.params is not None:
            return _of_file(self.params)
        return self._trained()

    def _of_store(self, store):
        from gdjax.sweeps import run_of

        run = run_of(store, **self.selection())
        axes = ", ".join(
            f"{name.replace('_', ' ')} {format_value(value)}" for name, value in run.at.items()
        )
        is_sgd = run.optimizer["name"] == "optax.sgd"
        return Point(
            run.problem,
            run.params,
            run.snapshot_step if run.snapshots is not None else None,
            run.snapshots,
            run.optimizer.get("learning_rate") if is_sgd else None,
            run.optimizer.get("momentum") or 0.0,
            f"{axes}, {run.outcome.label}",
        )

    def _trained(self):
        import optax

        from gdjax import problems
        from gdjax.base import keys
        from gdjax.descent import descend, steps_for

        problem = problems.digits(self.data)
        epoch = steps_for(1, problem.samples, self.batch_size)
        steps = self.epochs * epoch
        every = max(1, steps // SNAPSHOTS)
        streams = keys.run_keys(0, seed=self.seed)
        run = descend(
            problem,
            optax.sgd(self.learning_rate),
            problem.init(streams.init),
            steps,
            key=streams,
            batch_size=self.batch_size,
            record_every=every,
            snapshot_every=every,
            metrics={},
        )
        if run.interrupted:
            raise KeyboardInterrupt
        return Point(
            problem,
            run.params,
            run.snapshot_step,
            run.snapshots,
            self.learning_rate,
            0.0,
            f"{self.data}, learning rate {self.learning_rate:g}, "
            f"{self.epochs} epoch{'s' * (self.epochs > 1)}, "
            f"{run.outcome.label}",
        )


def _of_file(file):
    import jax
    import numpy as np

    from gdjax.sweeps.dataset import from_named
    from gdjax.sweeps.factories import problem_from

    described, trained, outcome = _summary(file)
    problem = problem_from(described, file)
    structure = jax.eval_shape(problem.init, jax.random.key(0))
    try:
        with np.load(file) as arrays:
            params = from_named("params", structure, arrays)
    except Exception as error:  # a damaged file can cause any exception in NumPy
        raise InputError(
            f"--params {file}: the file does not contain the parameters of the network in "
            f"summary.json ({error}); train the network again"
        ) from None
    rate, held = trained["learning_rate"], trained["held"]
    return Point(
        problem,
        params,
        None,
        None,
        # The stability threshold is that of SGD with a constant learning rate.
        rate if held and trained["optimizer"] in ("sgd", "momentum") else None,
        MOMENTUM if trained["optimizer"] == "momentum" else 0.0,
        f"{trained['data']}, learning rate {rate:g}{'' if held else ' at its peak'}, "
        f"{outcome.replace('_', ' ')}",
    )


def _summary(file):
    """Return the problem, settings and outcome from the summary of `gdjax train`."""
    if not file.is_file():
        raise InputError(f"--params {file}: there is no such file; check the path")
    try:
        summary = json.loads((file.parent / "summary.json").read_text())
        described, trained, outcome = (summary[k] for k in ("problem", "trained", "outcome"))
        if not (
            outcome.isidentifier()
            and trained["data"].isprintable()
            and trained["optimizer"] in get_args(Optimizer)
            and 0 < trained["learning_rate"] < float("inf")
            and isinstance(trained["held"], bool)
        ):
            raise ValueError("unexpected values")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"--params {file}: the folder has no valid summary.json of `gdjax train` "
            f"({error!r:.120}), which describes the network; keep both files in one folder, or "
            f"train the network again"
        ) from None
    return described, trained, outcome
