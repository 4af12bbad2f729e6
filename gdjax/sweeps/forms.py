"""What one run of a sweep consists of, before anything is computed: shapes, and what has no effect.

    init -> parameters, state -> carry;   metrics of them -> arrays

It depends on what is swept, not on how many runs are computed at a time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax.descent import block
from gdjax.keys import streams
from gdjax.problems.problem import Metric, Problem
from gdjax.problems.validation import check_metrics, check_params
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.keywords import Role, Traced, by_role, numbers, traced


@dataclass(frozen=True, eq=False)
class Form:
    """Shapes and types of one run of a sweep.

    Args:
        problem: what is minimised.
        axes: of the sweep.
        roles: which keyword each axis sets.
        optimizer: factory.
        watched: metrics by name.
        root: seed of the study.
    """

    problem: Problem
    axes: Axes
    roles: Mapping[str, Role]
    optimizer: Callable
    watched: Mapping[str, Metric]
    root: int

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Values of the first run's keywords, by role."""
        read = {a: v for a, v in self.axes.first.items() if a in numbers(self.roles)}
        return by_role(self.roles, read)

    @cached_property
    def begun(self) -> Traced:
        """What a run starts with: parameters, what the cost carries, axes without effect.

        Raises:
            InputError: parameters that cannot be descended; an axis that cannot be swept.
        """

        def begin(**settings):
            params, state = self.problem.begin(streams(self.root).init, **settings)
            check_params(params)
            return params, state

        return traced(begin, "init", self.roles, self.axes)

    @property
    def params(self) -> PyTree:
        """Parameters."""
        return self.begun.shapes[0]

    @cached_property
    def carry(self) -> block.Carry:
        """What is carried from step to step, metrics' own memory aside."""
        given = jax.tree.map(
            lambda v: np.asarray(v, jax.dtypes.canonicalize_dtype(np.asarray(v).dtype)),
            self.settings,
        )
        return jax.eval_shape(
            partial(block.initial_carry, self.optimizer), *self.begun.shapes, given
        )

    @cached_property
    def measured(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Each metric that is an array.

        Raises:
            InputError: a metric that cannot be taken.
        """
        params, state = self.begun.shapes
        shapes = check_metrics(
            self.watched,
            params,
            self.settings["cost"],
            state=state,
            memory=self.carry.state.opt_state,
        )
        return block.array_shapes(self.watched, shapes, params)

    @property
    def state_bytes(self) -> int:
        """Bytes of parameters, gradient, the optimiser's memory and the cost's state."""
        leaves = jax.tree.leaves((self.carry, self.params))  # as large is the gradient
        return sum(a.size * a.dtype.itemsize for a in leaves)
