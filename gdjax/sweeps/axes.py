"""Named axes, the grid of runs they span, and the tiles that the grid is cut into.

    runs = product of dimensions;   a dimension carries one axis, or several that vary together

>>> grid = axes(learning_rate=[0.1, 1.0], seed=range(3))
>>> grid.shape, sorted(grid.sizes)
((2, 3), ['learning_rate', 'seed'])
>>> axes(pair=together(learning_rate=[0.1, 1.0], init_scale=[2.0, 1.0])).shape
(2,)
"""

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from gdjax.descent.step import cost_type
from gdjax.errors import InputError
from gdjax.problems.problem import Problem, declared

SEEDS = ("seed", "data_seed")
ROLES = ("init", "cost", "optimizer")
RESERVED = ("step", "snapshot_step", "finished")  # what a sweep's own dimensions and arrays have


@dataclass(frozen=True)
class Together:
    """Axes that vary together, along one dimension."""

    values: Mapping[str, np.ndarray]


def together(**values: Iterable[Any]) -> Together:
    """Axes that vary together: the i-th run takes the i-th value of each.

    Args:
        values: equally long lists of numbers, by axis name.

    Raises:
        InputError: lists of different lengths, or none.
    """
    arrays = {name: _values(name, entries) for name, entries in values.items()}
    lengths = {name: len(a) for name, a in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"together: lengths differ ({lengths}); give equally many values")
    return Together(arrays)


@dataclass(frozen=True, eq=False)
class Axes:
    """The grid: for each dimension, the axes along it and their values."""

    dimensions: Mapping[str, Mapping[str, np.ndarray]]

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each dimension, in order."""
        return {name: len(next(iter(along.values()))) for name, along in self.dimensions.items()}

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.sizes.values())

    @property
    def runs(self) -> int:
        return math.prod(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """All axes, over all dimensions."""
        return tuple(name for along in self.dimensions.values() for name in along)

    def values(self, index: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        """Values of each axis for runs at `index`, one array of positions a dimension."""
        return {
            axis: values[i]
            for i, along in zip(index, self.dimensions.values(), strict=True)
            for axis, values in along.items()
        }


def axes(**named: Iterable[Any] | Together) -> Axes:
    """Named axes, one dimension each; `together` puts several on one.

    Args:
        named: values by axis: `seed`, `data_seed`, a keyword of the problem's `init` or `cost`, or
            of the optimizer factory. Qualify a name that two of them have: `**{"init.scale": ...}`.

    Raises:
        InputError: an axis without values, with values that are not finite numbers, a name that is
            given twice or is one of the sweep's own.
    """
    if not named:
        raise InputError("axes: none given; name at least one, such as seed=range(8)")
    dimensions = {
        name: dict(given.values) if isinstance(given, Together) else {name: _values(name, given)}
        for name, given in named.items()
    }
    # A dimension that carries other axes has a coordinate of its own name, too.
    flat = [axis for along in dimensions.values() for axis in along]
    flat += [name for name, along in dimensions.items() if name not in along]
    twice = {axis for axis in flat if flat.count(axis) > 1}
    if twice:
        raise InputError(f"axes: {', '.join(sorted(twice))} is given on two dimensions; keep one")
    for name in RESERVED:
        if name in flat:
            raise InputError(
                f"axes: {name} is a name that a sweep's Dataset has for itself; qualify a keyword, "
                f"as in **{{'cost.{name}': [...]}}, or give the dimension another name"
            )
    return Axes(dimensions)


def _values(name, given):
    """An axis's values as int64 or float64, whatever they came as: the same in a store's record."""
    try:
        values = np.atleast_1d(np.asarray(list(given) if not np.isscalar(given) else given))
    except (TypeError, ValueError):  # no list, or lists of different lengths
        values = np.asarray([])
    kind_ok = values.dtype.kind in "iuf" and values.ndim == 1 and len(values)
    if not kind_ok or not np.all(np.isfinite(values)):
        raise InputError(
            f"axes: {name} = {given!r:.80}, expected a list of finite numbers, such as [0.1, 1.0]"
        )
    if name.split(".")[-1] in SEEDS:
        whole = values.astype(np.int64)
        if np.any(whole != values) or np.any(whole < 0) or np.any(whole >= 2**32):
            raise InputError(f"axes: {name} = {given!r:.80}, expected whole numbers in [0, 2^32)")
        return whole
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)


class Role(NamedTuple):
    """What an axis sets: a seed, or a keyword of `init`, `cost` or the optimizer factory."""

    role: str
    keyword: str


def roles(problem: Problem, optimizer: Callable, grid: Axes) -> dict[str, Role]:
    """Which keyword each axis sets.

    Raises:
        InputError: an axis that nothing takes (the message lists the valid names), one that two
            things take, two for the same keyword, or an optimizer that is no factory.
    """
    taken = {
        "init": tuple(declared(problem.init)),
        "cost": tuple(declared(problem.cost)),
        "optimizer": tuple(arguments(optimizer)),
    }
    valid = [*SEEDS, *(name for names in taken.values() for name in names)]
    found: dict[str, Role] = {}
    for axis in grid.names:
        role, _, keyword = axis.rpartition(".")
        homes = [r for r in ROLES if keyword in taken[r] and role in ("", r)]
        if axis in SEEDS:
            found[axis] = Role("seed", axis)
        elif len(homes) > 1:
            choices = " or ".join(f"{home}.{keyword}" for home in homes)
            raise InputError(
                f"axes: {axis} is a keyword of {' and of '.join(homes)}; say which: {choices}"
            )
        elif not homes:
            near = difflib.get_close_matches(axis, valid, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(
                f"axes: nothing takes {axis!r}; valid are {', '.join(dict.fromkeys(valid))}.{hint}"
            )
        elif (wanted := Role(homes[0], keyword)) in found.values():
            raise InputError(f"axes: {axis} is given twice, as {keyword} too; keep one")
        else:
            found[axis] = wanted
    return found


def arguments(optimizer: Callable) -> dict[str, inspect.Parameter]:
    """The arguments that an optimizer factory takes by name.

    Raises:
        InputError: it is no function.
    """
    try:
        parameters = inspect.signature(optimizer).parameters.values()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"optimizer = {optimizer!r:.80}, expected a function that makes a transformation, such "
            f"as optax.sgd or functools.partial(optax.sgd, momentum=0.9): it is called inside the "
            f"program, with the axes it names"
        ) from error
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: p for p in parameters if p.kind in by_name}


def check_arguments(optimizer: Callable, found: Mapping[str, Role]) -> None:
    """Make sure that an optimizer factory gets all its arguments.

    Raises:
        InputError: one has neither an axis nor a default.
    """
    swept = {role.keyword for role in found.values() if role.role == "optimizer"}
    missing = [
        name
        for name, parameter in arguments(optimizer).items()
        if parameter.default is parameter.empty and name not in swept
    ]
    if missing:
        raise InputError(
            f"optimizer: {', '.join(missing)} has no value; add an axis of that name, or fix it "
            f"with functools.partial(..., {missing[0]}=0.1)"
        )


def traced(
    function: Callable[..., PyTree], role: str, found: Mapping[str, Role], grid: Axes
) -> PyTree:
    """Shapes of what a function returns while the axes that set its keywords are traced.

    Args:
        function: takes the keywords that the role's axes set.
        role: one of `ROLES`.
        found: which keyword each axis sets.
        grid: the axes; their first values serve as an example.

    Raises:
        InputError: an axis that cannot be swept, since its keyword decides how the program looks
            (`nesterov`, step counts of Optax's schedules, anything that sets a shape).
    """
    example = {
        axis: values[0] for along in grid.dimensions.values() for axis, values in along.items()
    }
    axis_of = {r.keyword: axis for axis, r in found.items() if r.role == role}

    def shapes(*names):
        fixed = {k: example[axis].item() for k, axis in axis_of.items() if k not in names}
        return jax.eval_shape(
            lambda given: function(**fixed, **given),
            {k: jnp.asarray(example[axis_of[k]]) for k in names},
        )

    def fails(*names):
        try:
            shapes(*names)
        except Exception:  # whatever a user's function makes of a tracer
            return True
        return False

    try:
        return shapes(*axis_of)
    except Exception as error:
        culprits = [axis for k, axis in axis_of.items() if fails(k)]
        if not culprits or fails():  # it is not the tracing
            raise
        raise InputError(
            f"axes: {culprits[0]} cannot be swept: {role} decides with it how the program looks; "
            f"run a sweep for each value, or `gd.compare` problems that differ in it"
        ) from error


def check_update(
    optimizer: Callable, found: Mapping[str, Role], grid: Axes, params: PyTree
) -> None:
    """Make sure that a factory builds an optimiser inside the program, and that it can be used.

    Args:
        optimizer: such as `optax.sgd`.
        found: which keyword each axis sets.
        grid: the axes.
        params: shapes of the parameters.

    Raises:
        InputError: an axis that cannot be swept.
    """

    def update(**given):
        transformation = optax.with_extra_args_support(optimizer(**given))
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), params)
        value = jnp.zeros((), cost_type(zeros))
        return transformation.update(
            zeros,
            transformation.init(zeros),
            zeros,
            value=value,
            grad=zeros,
            value_fn=lambda p: value + optax.tree.norm(p, squared=True),
        )

    traced(update, "optimizer", found, grid)
