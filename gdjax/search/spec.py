"""Specification of a search: a sweep whose runs end at rungs.

    rung r:  of the n runs of a bracket, the best n / reduction_factor^(r - b + 1) continue

The runs of bracket b are compared for the first time at rung b. Hyperband has several brackets.

>>> from gdjax import problems
>>> from gdjax.sweeps import axes
>>> grid = axes(learning_rate=[0.1, 0.2, 0.3, 0.4])
>>> spec = search_spec(Sweep(problems.bowl([1.0, 9.0]), grid, 40), [10], reduction_factor=2)
>>> spec.num_survivors(4, rung=0)
2
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from gdjax.base.arguments import check_choice, check_increasing, check_whole
from gdjax.base.errors import InputError
from gdjax.descent.outcome import Outcome
from gdjax.sweeps.spec import Sweep, require_sweep, validate_spec

DIRECTIONS = ("minimize", "maximize")
SEARCH_VARIABLES = ("ended_at", "rung", "bracket")
"""Names of the variables of a search that a sweep does not have."""


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SearchSpec(Sweep):
    """Specification of a search: a sweep, with arguments of `successive_halving`.

    Args:
        rungs: numbers of steps after which runs are compared; the last one is `num_steps`.
    """

    rungs: tuple[int, ...]
    reduction_factor: int | None = 4
    metric: str = "cost"
    direction: str = "minimize"
    num_brackets: int = 1
    median_over: str | None = None

    RESERVED = (*Sweep.RESERVED, *SEARCH_VARIABLES)

    def __post_init__(self):
        if self.reduction_factor is not None:
            check_whole("reduction_factor", self.reduction_factor, 2)
        check_whole("num_brackets", self.num_brackets, 1, len(self.rungs))
        if self.reduction_factor is None and self.num_brackets > 1:
            raise InputError(
                f"num_brackets = {self.num_brackets}, expected 1 with reduction_factor=None, which "
                f"compares no runs"
            )
        check_choice("direction", self.direction, DIRECTIONS)
        validate_spec(self)
        if self.median_over is not None:
            check_choice("median_over", self.median_over, self.axes.dimensions)
        _check_metric(self)

    @property
    def ending_outcomes(self) -> tuple[Outcome, ...]:
        """Outcomes with which a run ends at a rung."""
        ended = (Outcome.DIVERGED, Outcome.STALLED)
        return ended if self.reduction_factor is not None else (*ended, Outcome.CONVERGED)

    def steps_to(self, rung: int) -> tuple[int, int]:
        """Return the steps of the previous rung (0 if there is none) and of a rung."""
        return (0, *self.rungs)[rung], self.rungs[rung]

    @cached_property
    def runs_of_settings(self) -> Int[np.ndarray, "settings runs"]:
        """Runs that continue or end together: one each, or those along `median_over`."""
        runs = np.arange(self.axes.runs)
        if self.median_over is None:
            return runs[:, None]
        axis = list(self.axes.dimensions).index(self.median_over)
        runs = np.moveaxis(runs.reshape(self.axes.shape), axis, -1)
        return runs.reshape(-1, runs.shape[-1])

    @cached_property
    def bracket_of_runs(self) -> Int[np.ndarray, " runs"]:
        """Bracket of each run.

        The sizes of brackets have the ratios of Hyperband, n_b ~ reduction_factor^s / (s + 1) with
        s rungs after rung b, and settings are assigned at random.
        """
        if self.reduction_factor is None:
            return np.zeros(self.axes.runs, int)
        settings = len(self.runs_of_settings)
        after = len(self.rungs) - 1 - np.arange(self.num_brackets)
        sizes = float(self.reduction_factor) ** after / (after + 1)
        last = np.round(np.cumsum(sizes) / sizes.sum() * settings)
        order = np.random.default_rng(self.root_seed).permutation(settings)
        brackets = np.empty(self.axes.runs, int)
        own = np.searchsorted(last, np.arange(settings), side="right")
        brackets[self.runs_of_settings[order]] = own[:, None]
        return brackets

    def num_survivors(self, settings: int, rung: int, bracket: int = 0) -> int:
        """Return the number of settings of a bracket that continue after a rung (at least 1)."""
        if self.reduction_factor is None:
            return settings
        return max(1, settings // self.reduction_factor ** (rung - bracket + 1))

    def survivors(
        self,
        values: Float[np.ndarray, " runs"],
        candidates: Bool[np.ndarray, " runs"],
        rung: int,
    ) -> Bool[np.ndarray, " runs"]:
        """Return which runs continue after a rung.

        Settings with equal values are ordered by their position in the grid. In the median of a
        setting, a run that is not a candidate counts as the worst, and does not continue.
        """
        together = self.runs_of_settings
        brackets = self.bracket_of_runs[together[:, 0]]
        sign = 1 if self.direction == "minimize" else -1
        scores = np.median(np.where(candidates, sign * values, np.inf)[together], axis=1)
        remaining = candidates[together].any(axis=1)
        survive = remaining & (brackets > rung)
        for bracket in range(min(rung + 1, self.num_brackets)):
            members = brackets == bracket
            settings = np.flatnonzero(members & remaining)
            order = np.argsort(scores[settings], kind="stable")
            best = order[: self.num_survivors(int(members.sum()), rung, bracket)]
            survive[settings[best]] = True
        runs = np.zeros(len(values), bool)
        runs[together[survive]] = True
        return runs & candidates


def search_spec(
    sweep: Sweep, rungs: Sequence[int], *, num_brackets: int | None = 1, **settings: Any
) -> SearchSpec:
    """Return the specification of a search over the runs of a sweep.

    The number of steps of the sweep is added to the rungs. If `num_brackets` is None, there are as
    many brackets as rungs.
    """
    require_sweep("sweep", sweep)
    steps = check_increasing("rungs", rungs, sweep.num_steps, may_be_empty=True)
    if steps[-1:] != [sweep.num_steps]:
        steps.append(sweep.num_steps)
    for name in ("stop_when_converged", "continuable"):
        if getattr(sweep, name):
            raise InputError(f"sweep: {name} = True, expected False for a search")
    return SearchSpec(
        **replace(sweep, continuable=False).settings,
        rungs=tuple(steps),
        num_brackets=len(steps) if num_brackets is None else num_brackets,
        **settings,
    )


def _check_metric(spec):
    """Check that the metric is a number that is recorded at each rung."""
    metrics = spec.recorded_metrics
    numbers = [name for name in metrics if not any(name in f.array_metrics for f in spec.facts)]
    check_choice("metric", spec.metric, ["cost", *numbers])
    every = spec.record_every
    if spec.metric in metrics:
        every *= metrics[spec.metric].every
    for rung in spec.rungs[:-1]:
        if rung % every:
            raise InputError(
                f"rungs: {spec.metric} is recorded every {every} steps, but {rung} is not a "
                f"multiple of {every}; choose multiples, such as {-(-rung // every) * every}, or a "
                f"smaller record_every"
            )
