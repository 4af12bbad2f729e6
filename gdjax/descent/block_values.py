"""The values that a block takes and returns: configuration, shared arrays, carry, records."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import optax
from jax.tree_util import PyTreeDef
from jaxtyping import Array, Bool, Float, Int, PyTree

from gdjax.descent.step import State
from gdjax.problems.evaluation import with_data
from gdjax.problems.measurement import StaticMetric
from gdjax.problems.problem import Problem

SNAPSHOTS = "snapshots"
"""Name of the buffer of parameters that are kept along a descent."""


class Carry(NamedTuple):
    """State of one run between two blocks.

    Args:
        state: parameters, optimizer state, model state and step of divergence.
        metric_states: states of the metrics that have one, by name.
        batch_cost_sum: sum of the costs of the steps since the last record.
        batch_count: number of these steps.
        stopped_at: step from which the run takes no further steps because it has converged, or -1.
    """

    state: State
    metric_states: Mapping[str, PyTree]
    batch_cost_sum: Float[Array, ""]
    batch_count: Int[Array, ""]
    stopped_at: Int[Array, ""]


class Records(NamedTuple):
    """Values of a run at its records; NaN where not recorded.

    Costs and the gradient norm are inf from divergence on.
    """

    cost: Float[Array, "*records"]
    batch_cost: Float[Array, "*records"]
    gradient_norm: Float[Array, "*records"]
    metrics: Mapping[str, Float[Array, "*records"]]


class Chunks(NamedTuple):
    """Chunks of a block: several steps each, and the record before them.

    The leading axis indexes the chunks; unused rows begin at step -1.

    Args:
        first: number of the first step.
        count: number of steps; 0 only evaluates the cost at the first step.
        batch: row of the sample indices of the first step.
        record: 1 if the first step is recorded, 2 if its record also needs the gradient.
        is_measured: whether each metric is computed at the record, by name.
        buffer_index: row in its buffer at which the record is kept, for snapshots and array
            metrics, by name. A value that is not kept is overwritten by the next.
    """

    first: Int[np.ndarray, "*chunks"]
    count: Int[np.ndarray, "*chunks"]
    batch: Int[np.ndarray, "*chunks"]
    record: Int[np.ndarray, "*chunks"]
    is_measured: Mapping[str, Bool[np.ndarray, "*chunks"]]
    buffer_index: Mapping[str, Int[np.ndarray, "*chunks"]]


class BlockConfig(NamedTuple):
    """Static configuration of a block: the settings of a descent except arrays.

    Args:
        problem_structure: cost and evaluation, without data (see `evaluation.without_data`).
        make_optimizer: factory `make_optimizer(**settings)` of the optimizer.
        metrics: metrics to record besides the cost, by name, without data.
        batched: whether a step uses a mini-batch instead of the whole training set.
        divergence_threshold: cost above which a run counts as diverged.
        buffers: name and number of rows of each buffer: `SNAPSHOTS`, and array metrics.
        stop_tolerance: gradient norm at or below which a run takes no further steps, if every
            record has the gradient; None never stops a run.
        eval_params_fn: function `eval_params_fn(opt_state, params) -> params` that gives the
            parameters at which to record; None uses those of the run.
        records_part: whether records use a subset of the samples.
        chunk_steps: number of steps of every chunk, of which those after its end change nothing;
            None for chunks of any number of steps.
        largest_microbatch: maximum number of samples that are evaluated together; None for that of
            the platform.
    """

    problem_structure: PyTreeDef
    make_optimizer: Callable[..., optax.GradientTransformation]
    metrics: tuple[tuple[str, StaticMetric], ...]
    batched: bool
    divergence_threshold: float
    buffers: tuple[tuple[str, int], ...] = ()
    stop_tolerance: float | None = None
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None
    records_part: bool = False
    chunk_steps: int | None = None
    largest_microbatch: int | None = None

    @property
    def problem(self) -> Problem:
        """Cost and evaluation, without data."""
        return with_data(self.problem_structure, None)

    @property
    def record_equals_step(self) -> bool:
        """Whether the recorded cost is the one that its step computes for the update."""
        problem, whole = self.problem, not self.batched and not self.records_part
        deterministic = problem.evaluation is None and not problem.random
        return whole and deterministic and self.eval_params_fn is None


class Shared(NamedTuple):
    """Arrays that all runs share.

    Args:
        data: training set.
        recorded: samples of the records; None if a record needs no separate samples.
        metrics: data of each metric that has its own, by name; others use the training set.
        rows: sample indices of the batches of a record, [batches, batch], if a record is a mean
            over batches; None otherwise.
    """

    data: PyTree
    recorded: PyTree
    metrics: Mapping[str, PyTree]
    rows: PyTree = None
