"""Which samples a record sees.

    cost_t = mean of c(w_t, x_i) over i in S,   S the same at every record

With mini-batches a record costs as much as many steps: S may be a part of the training set.

A cost that couples the samples of a batch (a contrastive loss) is another number for another number
of samples. With mini-batches of b samples its record is the mean over fixed batches of b, too, so
that records and costs of steps can be compared, and a record needs no more memory than a step.

>>> straight = Problem(init=lambda key: 0.0, cost=lambda w, x: np.mean(x), data=np.arange(9.0))
>>> recorded_samples(straight, 3, free=False).shape, recorded_samples(straight, None, free=True)
((3,), None)
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
import optax.contrib
from jaxtyping import Int, PyTree

from gdjax.errors import InputError
from gdjax.problems.problem import Problem
from gdjax.whole import is_whole


def check_records(
    problem: Problem,
    record_samples: Any,
    eval_params_fn: Callable | None,
    batch_size: int | None = None,
) -> None:
    """Check the arguments that decide what a record is.

    Raises:
        InputError: a number of samples that the problem does not have, or that makes no batch for
            a cost that couples samples; an `eval_params_fn` that is not a function.
    """
    if record_samples is not None and not is_whole(record_samples, 1, problem.samples):
        raise InputError(
            f"record_samples = {record_samples!r:.80}, expected a whole number from 1 to "
            f"{problem.samples}, the number of samples; None takes all"
            if problem.samples
            else f"record_samples = {record_samples!r:.80}, but the problem has no data; leave "
            f"it out"
        )
    if record_samples is not None and records_batches(problem, batch_size):
        assert batch_size is not None
        if record_samples < batch_size:
            raise InputError(
                f"record_samples = {record_samples}, expected at least batch_size = {batch_size}: "
                f"the cost couples samples, so that a record is a mean over batches of that size"
            )
    if eval_params_fn is not None and not callable(eval_params_fn):
        raise InputError(
            f"eval_params_fn = {eval_params_fn!r:.80}, expected a function of an optimizer's state "
            f"and parameters, such as optax.contrib.schedule_free_eval_params"
        )


def default_eval_params_fn(
    opt_state: PyTree, params: PyTree
) -> Callable[[PyTree, PyTree], PyTree] | None:
    """Return where an optimizer wants to be evaluated; None for the parameters of the run.

    Schedule-free optimizers compute gradients at y and are evaluated at x (Defazio et al. 2024):

        x = (y - (1 - b1) z) / b1

    Args:
        opt_state: state of the optimizer (arrays, or their shapes).
        params: the parameters it was made for.

    Raises:
        InputError: several `ScheduleFreeState`s, or one that covers a part of the parameters.
    """
    found = _schedule_free_states(opt_state)
    if not found:
        return None
    if len(found) > 1:
        problem = f"has {len(found)} ScheduleFreeStates"
    elif jax.tree.structure(found[0].z) != jax.tree.structure(params):
        problem = "has a ScheduleFreeState for a part of the parameters only"
    else:
        return schedule_free_params
    raise InputError(
        f"optimizer: its state {problem}, so it is not clear at which parameters to record; give "
        f"eval_params_fn=function of (opt_state, params), such as "
        f"eval_params_fn=lambda opt_state, params: params for those of the run"
    )


def schedule_free_params(opt_state: PyTree, params: PyTree) -> PyTree:
    """Return the evaluation parameters of the one `ScheduleFreeState` in an optimizer's state."""
    (state,) = _schedule_free_states(opt_state)
    return optax.contrib.schedule_free_eval_params(state, params)


def _schedule_free_states(opt_state):
    def is_schedule_free(node):
        return isinstance(node, optax.contrib.ScheduleFreeState)

    return [n for n in jax.tree.leaves(opt_state, is_leaf=is_schedule_free) if is_schedule_free(n)]


def records_batches(problem: Problem, batch_size: int | None) -> bool:
    """Return whether a record is the mean over fixed batches, not over samples."""
    return batch_size is not None and problem.couples_samples and problem.evaluation is None


def recorded_rows(
    problem: Problem, record_samples: int | None, batch_size: int | None
) -> Int[np.ndarray, "batches batch"] | None:
    """Return the samples of each batch of a record; None where it is a mean over samples.

    The batches are drawn once, always the same ones, and all of the batch size: samples left over
    at the end are not recorded.
    """
    if not records_batches(problem, batch_size):
        return None
    assert batch_size is not None
    rows = np.random.default_rng(0).permutation(problem.samples)[:record_samples]
    count = len(rows) // batch_size
    return rows[: count * batch_size].reshape(count, batch_size).astype(np.int32)


def recorded_samples(
    problem: Problem, record_samples: int | None, *, free: bool, batch_size: int | None = None
) -> PyTree:
    """Return the samples that records see: all, or a random choice that is always the same.

    Args:
        problem: whose data.
        record_samples: how many; None takes all.
        free: whether records are what the steps compute anyway; then they need none.
        batch_size: samples of a step; None for all. Records over batches need row numbers instead
            (`recorded_rows`).
    """
    if free or records_batches(problem, batch_size):
        return None
    if record_samples is None or problem.data is None:
        return problem.data
    rows = np.random.default_rng(0).choice(problem.samples, record_samples, replace=False)
    return jax.tree.map(lambda a: a[np.sort(rows)], problem.data)
