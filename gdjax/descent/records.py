"""Which samples a record sees.

    cost_t = mean of c(w_t, x_i) over i in S,   S the same at every record

With mini-batches a record costs as much as many steps: S may be a part of the training set.

>>> straight = Problem(init=lambda key: 0.0, cost=lambda w, x: np.mean(x), data=np.arange(9.0))
>>> recorded_samples(straight, 3, free=False).shape, recorded_samples(straight, None, free=True)
((3,), None)
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax.errors import InputError
from gdjax.problems.problem import Problem
from gdjax.whole import is_whole


def check_records(problem: Problem, record_samples: Any, readout: Callable | None) -> None:
    """Make sure that records can be made as asked.

    Raises:
        InputError: a number of samples that there are not, or a readout that is no function.
    """
    if record_samples is not None and not is_whole(record_samples, 1, problem.samples):
        raise InputError(
            f"record_samples = {record_samples!r:.80}, expected a whole number from 1 to "
            f"{problem.samples}, the number of samples; None takes all"
            if problem.samples
            else f"record_samples = {record_samples!r:.80}, but the problem has no data; leave "
            f"it out"
        )
    if readout is not None and not callable(readout):
        raise InputError(
            f"readout = {readout!r:.80}, expected a function of the optimiser's memory and the "
            f"parameters, such as optax.contrib.schedule_free_eval_params"
        )


def recorded_samples(problem: Problem, record_samples: int | None, *, free: bool) -> PyTree:
    """The samples that records see: all, or a random choice that is always the same.

    Args:
        problem: whose data.
        record_samples: how many; None takes all.
        free: whether records are what the steps compute anyway; then they need none.
    """
    if free:
        return None
    if record_samples is None or problem.data is None:
        return problem.data
    rows = np.random.default_rng(0).choice(problem.samples, record_samples, replace=False)
    return jax.tree.map(lambda a: a[np.sort(rows)], problem.data)
