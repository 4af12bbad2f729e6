"""Summary of the gradient of a cost, and a check by finite differences.

    C(w + h e_i) - C(w) = g_i h + H_ii h^2 / 2 + O(h^3),   g = grad C,   H = grad grad C

The sign of an entry is the direction in which its parameter increases the cost, and its absolute
value, compared with those of other entries, is the influence of the parameter.
"""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree
from msgspec import Meta

from gdjax.base.arguments import check_numbers, check_whole
from gdjax.base.errors import InputError
from gdjax.base.reprs import fields
from gdjax.curvature.directional_derivatives import averaged
from gdjax.curvature.operators import HessianOperator
from gdjax.problems.checks import check_like, check_params, ravel_params
from gdjax.problems.facts import problem_at
from gdjax.problems.networks import Network
from gdjax.problems.problem import Problem

Positions = Int[Array, " entries"] | Int[np.ndarray, " entries"]

BATCH = 8  # number of displacements evaluated together; memory is proportional to it


class GradientSummary(NamedTuple):
    """Summary of a gradient.

    Pytrees have one entry per parameter unless stated otherwise.

    Args:
        cost: cost C at the point.
        gradient: gradient g.
        sign: signs of the entries: -1, 0 or 1. A descent step has the opposite sign.
        relative: |g_i| / max |g|, between 0 and 1; 0 everywhere if the gradient is 0.
        norm: Euclidean norm of the whole gradient.
        layer_norms: norm of each child of the pytree's root; for the parameters of a network, the
            children are its layers.
        zeros: number of exactly zero entries of each array, in the structure of the parameters.
        zero_share: share of exactly zero entries among all entries.
    """

    cost: Float[Array, ""]
    gradient: PyTree
    sign: PyTree
    relative: PyTree
    norm: Float[Array, ""]
    layer_norms: PyTree
    zeros: PyTree
    zero_share: Float[Array, ""]

    __repr__, _repr_html_ = fields

    @property
    def by_array(self) -> dict[str, tuple[float, float]]:
        """Norm of the gradient and share of exact zeros, by the name of each array."""
        leaves = jax.tree_util.tree_leaves_with_path(self.gradient)
        return {
            jax.tree_util.keystr(path, simple=True, separator=" ") or "parameters": (
                float(optax.tree.norm(leaf)),
                int(count) / max(leaf.size, 1),
            )
            for (path, leaf), count in zip(leaves, jax.tree.leaves(self.zeros), strict=True)
        }


class Entries(NamedTuple):
    """Entries of a gradient, largest first.

    Args:
        position: positions of the entries in the order of `ravel_pytree`.
        value: signed values of the gradient at these positions.
    """

    position: Int[Array, " entries"]
    value: Float[Array, " entries"]


class ParameterLocation(NamedTuple):
    """Location of one parameter.

    Args:
        leaf: path of its array, such as "params[0].weights".
        index: index within that array. For a weight of a network, these are its neuron and that of
            the previous layer, both counted from 0.
        label: location in words, for tables and axes. The first layer after the inputs is layer 1.
    """

    leaf: str
    index: tuple[int, ...]
    label: str


class GradientCheck(NamedTuple):
    """Predicted and actual changes of the cost when single entries are displaced.

    Args:
        position: positions of the entries in the order of `ravel_pytree`.
        displacement: displacement h > 0.
        predicted: predicted change g_i h.
        actual: actual change C(w + h e_i) - C(w).
        second_order: H_ii h^2 / 2, the leading term that the prediction omits.
        rounding: bound on the rounding error of `actual`.
    """

    position: Int[Array, " entries"]
    displacement: Float[Array, " entries"]
    predicted: Float[Array, " entries"]
    actual: Float[Array, " entries"]
    second_order: Float[Array, " entries"]
    rounding: Float[Array, " entries"]

    __repr__, _repr_html_ = fields

    @property
    def expected_error(self) -> Float[Array, " entries"]:
        """Expected relative error, (|second_order| + rounding) / |predicted|."""
        return (jnp.abs(self.second_order) + self.rounding) / jnp.abs(self.predicted)

    @property
    def relative_error(self) -> Float[Array, " entries"]:
        """Relative error, |actual - predicted| / |predicted|."""
        return jnp.abs(self.actual - self.predicted) / jnp.abs(self.predicted)


def value_and_gradient(
    problem: Problem | Callable, params: PyTree
) -> tuple[Float[Array, ""], PyTree]:
    """Return the cost and its gradient over all samples, computed in microbatches.

    Args:
        problem: a Problem, or a cost `cost(params)` without data.
        params: parameters at which to evaluate.

    Examples:
        >>> value, gradient = value_and_gradient(lambda w: jnp.sum(w**2), jnp.array([3.0, 1.0]))
        >>> float(value), gradient.tolist()
        (10.0, [6.0, 2.0])
    """
    check_params(params)
    return averaged(problem_at(problem, params), jax.value_and_grad, params)


def gradient_summary(problem: Problem | Callable, params: PyTree) -> GradientSummary:
    """Return the gradient with its signs, relative sizes, norms and numbers of zeros.

    Args:
        problem: a Problem or a cost, as for `value_and_gradient`.
        params: parameters at which to evaluate, any pytree of real arrays.

    Examples:
        On a quadratic cost the entry of the steep direction is ten times as large as that of the
        flat one, in absolute value:

        >>> bowl = lambda w: 0.5 * (w["flat"] ** 2 + 10.0 * w["steep"] ** 2)
        >>> summary = gradient_summary(bowl, {"flat": jnp.array(1.0), "steep": jnp.array(-1.0)})
        >>> {name: float(g) for name, g in summary.gradient.items()}
        {'flat': 1.0, 'steep': -10.0}
        >>> {name: round(float(size), 3) for name, size in summary.relative.items()}
        {'flat': 0.1, 'steep': 1.0}
    """
    value, gradient = value_and_gradient(problem, params)
    leaves = jax.tree.leaves(gradient)
    highest = jnp.max(jnp.stack([jnp.max(jnp.abs(g)) for g in leaves]))
    scale = jnp.where(highest > 0, highest, 1)
    zeros = jax.tree.map(lambda g: jnp.sum(g == 0), gradient)
    return GradientSummary(
        cost=value,
        gradient=gradient,
        sign=jax.tree.map(lambda g: jnp.sign(g).astype(jnp.int8), gradient),
        relative=jax.tree.map(lambda g: jnp.abs(g) / scale, gradient),
        norm=optax.tree.norm(gradient),
        layer_norms=jax.tree.map(optax.tree.norm, gradient, is_leaf=lambda a: a is not gradient),
        zeros=zeros,
        zero_share=sum(jax.tree.leaves(zeros)) / sum(g.size for g in leaves),
    )


def largest_entries(gradient: PyTree, count: int) -> Entries:
    """Return the `count` entries of largest absolute value, ties ordered by position.

    Args:
        gradient: pytree of arrays.
        count: number of entries to return.

    Examples:
        >>> largest_entries({"a": jnp.array([0.1, -3.0]), "b": jnp.array(2.0)}, 2)
        Entries(position=Array([1, 2], dtype=int32), value=Array([-3.,  2.], dtype=float32))
    """
    flat, _ = ravel_params(gradient, "largest_entries: gradient: ")
    remedy = ", the number of entries"
    check_whole("largest_entries: count", count, 1, flat.size, remedy=remedy)
    _, position = jax.lax.top_k(jnp.abs(flat), count)
    return Entries(position, flat[position])


def locate_entries(
    params: PyTree,
    position: Positions,
    *,
    network: Network | None = None,
    image_shape: tuple[int, int] | None = None,
) -> list[ParameterLocation]:
    """Return the location of each entry: array, index, and a label.

    Args:
        params: parameters, or any pytree like them, such as a gradient.
        position: positions of the entries, as returned by `largest_entries`.
        network: network with these parameters, such as `Problem.network`.
        image_shape: rows and columns of the images whose pixels are the network's inputs.

    Examples:
        >>> params = Network((4, 3)).init(jax.random.key(0))
        >>> network, position = Network((4, 3)), jnp.array([6])
        >>> locate_entries(params, position, network=network, image_shape=(2, 2))[0].label
        'layer 1: pixel (1, 0) to 1'
        >>> locate_entries({"slope": jnp.zeros(3)}, jnp.array([1]))[0].label
        "params['slope'][1]"
    """
    check_params(params)
    if network is not None:
        like = jax.eval_shape(network.init, jax.random.key(0))
        remedy = "; leave network out for parameters of another kind"
        check_like("locate_entries: params", params, like, "the network", remedy)
        if image_shape and np.prod(image_shape) != network.widths[0]:
            raise InputError(
                f"locate_entries: image_shape = {image_shape} has {np.prod(image_shape)} pixels, "
                f"expected {network.widths[0]}, the network's inputs"
            )
    leaves = jax.tree_util.tree_leaves_with_path(params)
    shapes = [jnp.shape(leaf) for _, leaf in leaves]
    starts = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    _check_positions("locate_entries", position, starts[-1])
    locations = []
    for entry in np.asarray(position):
        leaf = int(np.searchsorted(starts, entry, side="right")) - 1
        index = tuple(int(i) for i in np.unravel_index(entry - starts[leaf], shapes[leaf]))
        path = "params" + jax.tree_util.keystr(leaves[leaf][0])
        label = path + (f"{list(index)}" if index else "")
        if network is not None:  # leaves alternate between weights and biases, layer by layer
            label = _label(leaf // 2 + 1, *index, image_shape=image_shape)
        locations.append(ParameterLocation(path, index, label))
    return locations


def _label(layer, neuron, origin=None, *, image_shape):
    """Return the location of a bias of a neuron, or of the weight from a neuron or pixel to it."""
    if origin is None:
        return f"layer {layer}: bias of neuron {neuron}"
    is_pixel = image_shape and layer == 1
    start = f"pixel {divmod(origin, image_shape[1])}" if is_pixel else f"neuron {origin}"
    return f"layer {layer}: {start} to {neuron}"


def _check_positions(caller, position, size):
    """Check that positions are whole numbers below the number of parameters."""
    kind = Annotated[int, Meta(ge=0, le=int(size) - 1)]
    remedy = ", such as the positions returned by largest_entries"
    check_numbers(f"{caller}: position", position, kind, ndim=1, remedy=remedy)


def check_gradient(
    problem: Problem | Callable, params: PyTree, position: Positions
) -> GradientCheck:
    """Compare the gradient with changes of the cost along single coordinates.

        actual = C(w + h e_i) - C(w),   predicted = g_i h,   error = H_ii h^2 / 2 + rounding

    Rounding dominates the error of a small displacement, and curvature that of a large one. Each
    entry is displaced by the h at which both are equal, h = sqrt(2 rounding / |H_ii|), but by at
    most eps^(1/4) max(1, |w_i|). The rounding error of a difference of two costs is taken as 4 eps
    |C|.

    Args:
        problem: a Problem or a cost, as for `value_and_gradient`.
        params: parameters w at which to evaluate.
        position: positions of the entries, as returned by `largest_entries`.

    Examples:
        >>> check = check_gradient(lambda w: jnp.sum(w**3), jnp.array([1.0, 2.0]), jnp.array([1]))
        >>> bool(check.relative_error[0] < 2 * check.expected_error[0])
        True

    References: Nocedal and Wright, *Numerical Optimization* (2006), section 8.1.
    """
    problem = problem_at(problem, params)
    hessian = HessianOperator(problem, params)
    flat, unravel = ravel_pytree(params)
    _check_positions("check_gradient", position, flat.size)
    position = jnp.asarray(position)
    value, gradient = value_and_gradient(problem, params)
    g = ravel_pytree(gradient)[0][position]
    eps = jnp.finfo(flat.dtype).eps
    w = flat[position]

    def second_derivative(i):
        return hessian.flat_mv(jnp.zeros_like(flat).at[i].set(1))[i]

    curvature = jax.lax.map(second_derivative, position, batch_size=BATCH)
    rounding = 4 * eps * jnp.abs(value)
    max_displacement = eps**0.25 * jnp.maximum(1, jnp.abs(w))
    abs_curvature = jnp.where(curvature != 0, jnp.abs(curvature), 1)
    balanced = jnp.where(curvature != 0, jnp.sqrt(2 * rounding / abs_curvature), max_displacement)
    # w + h is rounded, so the actual displacement is the difference.
    displaced = jax.lax.optimization_barrier(w + jnp.minimum(balanced, max_displacement))
    h = displaced - w

    def change_of(cost):
        def change(entry, batch):
            i, w_i = entry
            return cost(unravel(flat.at[i].set(w_i)), batch) - cost(params, batch)

        return change

    actual = jax.lax.map(
        lambda entry: averaged(problem, change_of, entry), (position, displaced), batch_size=BATCH
    )
    return GradientCheck(
        position=position,
        displacement=h,
        predicted=g * h,
        actual=actual,
        second_order=curvature * h**2 / 2,
        rounding=jnp.full_like(h, rounding),
    )
