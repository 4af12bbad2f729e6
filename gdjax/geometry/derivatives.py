"""What the gradient of a cost says, entry by entry, and a proof by nudging.

    C(w + h e_i) - C(w) = g_i h + H_ii h^2 / 2 + O(h^3),   g = grad C,   H = grad grad C

The sign of an entry says which way to turn that weight, its size how much it matters next to the
others. On a bowl the steep direction matters ten times as much as the flat one:

>>> bowl = lambda w: 0.5 * (w["flat"] ** 2 + 10.0 * w["steep"] ** 2)
>>> found = anatomy(bowl, {"flat": jnp.array(1.0), "steep": jnp.array(-1.0)})
>>> {name: float(g) for name, g in found.gradient.items()}
{'flat': 1.0, 'steep': -10.0}
>>> {name: round(float(size), 3) for name, size in found.relative.items()}
{'flat': 0.1, 'steep': 1.0}

Everything is a pure function of `(cost, params, data)` for any pytree of parameters. A cost with
data is a mean over samples and is taken in blocks of them, with matrix products in full precision:
on a GPU the default precision would spoil second derivatives.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from gdjax.errors import InputError
from gdjax.geometry.products import hessian_vector_product, mean_over_blocks, of_two
from gdjax.problems.checks import check_params
from gdjax.problems.networks import Network

Positions = Int[Array, " entries"] | Int[np.ndarray, " entries"]

# Nudges looked at together: memory grows with it, and 8 already keep two cores busy.
TOGETHER = 8


class Anatomy(NamedTuple):
    """A gradient taken apart. Trees have one entry a parameter unless said otherwise.

    Args:
        cost: C at the point.
        gradient: g.
        sign: -1, 0 or 1; a descent step moves the other way.
        relative: |g_i| / max |g|, between 0 and 1; 0 everywhere where the gradient is 0.
        norm: Euclidean norm of the whole gradient.
        leaf_norms: one norm an array of parameters, in the tree of the parameters.
        part_norms: one norm a child of the root: a layer, for a network.
        zeros: how many entries of each array are exactly zero, in the tree of the parameters.
        zero_share: share of exactly zero entries among all.
    """

    cost: Float[Array, ""]
    gradient: PyTree
    sign: PyTree
    relative: PyTree
    norm: Float[Array, ""]
    leaf_norms: PyTree
    part_norms: PyTree
    zeros: PyTree
    zero_share: Float[Array, ""]


class Largest(NamedTuple):
    """The entries of a gradient that matter most, largest first.

    Args:
        position: of each entry among all, counted through the leaves in their order.
        value: of the gradient there, with its sign.
    """

    position: Int[Array, " entries"]
    value: Float[Array, " entries"]


class Place(NamedTuple):
    """Where one parameter stands.

    Args:
        leaf: path of its array, such as "params[0].weights".
        index: within that array.
        layer: 1 for the first layer behind the inputs; None where no network was given.
        to_neuron: of that layer, from 0; for the last layer this is the output.
        from_neuron: of the layer before, from 0; None for a bias.
        pixel: row and column of the input, for a weight that comes from an image.
    """

    leaf: str
    index: tuple[int, ...]
    layer: int | None = None
    to_neuron: int | None = None
    from_neuron: int | None = None
    pixel: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """The place in words, for tables and axes."""
        if self.layer is None:
            return self.leaf + (f"{list(self.index)}" if self.index else "")
        if self.from_neuron is None:
            return f"layer {self.layer}: bias of neuron {self.to_neuron}"
        origin = f"pixel {self.pixel}" if self.pixel else f"neuron {self.from_neuron}"
        return f"layer {self.layer}: {origin} to {self.to_neuron}"


class Nudges(NamedTuple):
    """Predicted and actual change of the cost when one entry alone is nudged.

    Args:
        position: of each entry among all.
        nudge: h, how far it was moved, > 0.
        predicted: g_i h.
        actual: C(w + h e_i) - C(w).
        second_order: H_ii h^2 / 2, what the prediction leaves out first.
        rounding: what rounding may add to `actual`.
    """

    position: Int[Array, " entries"]
    nudge: Float[Array, " entries"]
    predicted: Float[Array, " entries"]
    actual: Float[Array, " entries"]
    second_order: Float[Array, " entries"]
    rounding: Float[Array, " entries"]

    @property
    def expected_error(self) -> Float[Array, " entries"]:
        """Relative error that theory allows: (|second_order| + rounding) / |predicted|."""
        return (jnp.abs(self.second_order) + self.rounding) / jnp.abs(self.predicted)

    @property
    def relative_error(self) -> Float[Array, " entries"]:
        """Relative error that was found: |actual - predicted| / |predicted|."""
        return jnp.abs(self.actual - self.predicted) / jnp.abs(self.predicted)


def value_and_gradient(
    cost: Callable, params: PyTree, data: PyTree = None
) -> tuple[Float[Array, ""], PyTree]:
    """The cost and its gradient, over all samples, in blocks of them.

    Args:
        cost: `cost(params, batch) -> scalar`, a mean over samples; `cost(params)` without data.
        params: the point.
        data: a pytree of arrays with a leading sample axis, or None.

    Raises:
        InputError: parameters that are no real floats, or a cost that is no scalar.
    """
    check_params(params)
    return mean_over_blocks(jax.value_and_grad(of_two(cost)), params, data)


def anatomy(cost: Callable, params: PyTree, data: PyTree = None) -> Anatomy:
    """The gradient with the signs, relative sizes, norms and zeros of its entries.

    Args:
        cost: `cost(params, batch) -> scalar`, a mean over samples; `cost(params)` without data.
        params: the point, any pytree of real arrays.
        data: a pytree of arrays with a leading sample axis, or None.
    """
    value, gradient = value_and_gradient(cost, params, data)
    leaves = jax.tree.leaves(gradient)
    highest = jnp.max(jnp.stack([jnp.max(jnp.abs(g)) for g in leaves]))
    scale = jnp.where(highest > 0, highest, 1)
    zeros = jax.tree.map(lambda g: jnp.sum(g == 0), gradient)
    return Anatomy(
        cost=value,
        gradient=gradient,
        sign=jax.tree.map(lambda g: jnp.sign(g).astype(jnp.int8), gradient),
        relative=jax.tree.map(lambda g: jnp.abs(g) / scale, gradient),
        norm=optax.tree.norm(gradient),
        leaf_norms=jax.tree.map(optax.tree.norm, gradient),
        part_norms=jax.tree.map(optax.tree.norm, gradient, is_leaf=lambda a: a is not gradient),
        zeros=zeros,
        zero_share=sum(jax.tree.leaves(zeros)) / sum(g.size for g in leaves),
    )


def largest(gradient: PyTree, count: int) -> Largest:
    """The `count` entries of largest absolute value; of equal ones, the first.

    Raises:
        InputError: a count below 1, or more than there are entries.

    Examples:
        >>> largest({"a": jnp.array([0.1, -3.0]), "b": jnp.array(2.0)}, 2)
        Largest(position=Array([1, 2], dtype=int32), value=Array([-3.,  2.], dtype=float32))
    """
    flat, _ = ravel_pytree(gradient)
    if not 1 <= count <= flat.size:
        raise InputError(f"largest: count = {count}, expected 1 to {flat.size}, all entries")
    _, position = jax.lax.top_k(jnp.abs(flat), count)
    return Largest(position, flat[position])


def places(
    params: PyTree,
    position: Positions,
    *,
    network: Network | None = None,
    image_shape: tuple[int, int] | None = None,
) -> list[Place]:
    """Where entries stand: array and index, and for a network layer, neurons and pixel.

    Args:
        params: the parameters, or a gradient: any tree with their shapes.
        position: of the entries, as `largest` gives them.
        network: the layers that `params` belong to, such as `Problem.network`.
        image_shape: rows and columns, where the network's inputs are the pixels of an image.

    Raises:
        InputError: parameters that are not this network's, or an image of another size.

    Examples:
        >>> params = Network((4, 3)).init(jax.random.key(0))
        >>> places(params, jnp.array([6]), network=Network((4, 3)), image_shape=(2, 2))[0].label
        'layer 1: pixel (1, 0) to 1'
        >>> places({"slope": jnp.zeros(3)}, jnp.array([1]))[0].label
        "params['slope'][1]"
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    shapes = [jnp.shape(leaf) for _, leaf in leaves]
    if network is not None:
        _check_network(network, params, image_shape)
    starts = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    found = []
    for at in np.asarray(position):
        leaf = int(np.searchsorted(starts, at, side="right")) - 1
        index = tuple(int(i) for i in np.unravel_index(at - starts[leaf], shapes[leaf]))
        place = Place("params" + jax.tree_util.keystr(leaves[leaf][0]), index)
        if network is not None:  # leaves are weights and bias in turn, a layer after the other
            layer, origin = leaf // 2 + 1, index[1] if leaf % 2 == 0 else None
            place = place._replace(layer=layer, to_neuron=index[0], from_neuron=origin)
            if image_shape and layer == 1 and origin is not None:
                row, column = divmod(origin, image_shape[1])
                place = place._replace(pixel=(row, column))
        found.append(place)
    return found


def nudge(cost: Callable, params: PyTree, data: PyTree, position: Positions) -> Nudges:
    """Put the gradient to the proof: move one entry at a time and look what the cost does.

        actual = C(w + h e_i) - C(w),   predicted = g_i h,   error = H_ii h^2 / 2 + rounding

    A small nudge drowns in rounding, a large one in curvature. Each entry gets the one at which
    both are equal, h = sqrt(2 rounding / |H_ii|), but no more than eps^(1/4) max(1, |w_i|); the
    rounding of a difference of two costs is taken as 4 eps C.

    Args:
        cost: `cost(params, batch) -> scalar`, a mean over samples; `cost(params)` without data.
        params: the point w.
        data: a pytree of arrays with a leading sample axis, or None.
        position: of the entries, as `largest` gives them.

    Source: Nocedal and Wright, *Numerical Optimization* (2006), section 8.1.
    """
    flat, unravel = ravel_pytree(params)
    position = jnp.asarray(position)
    value, gradient = value_and_gradient(cost, params, data)
    g = ravel_pytree(gradient)[0][position]
    eps = jnp.finfo(flat.dtype).eps
    w = flat[position]

    def bend(i):
        unit = unravel(jnp.zeros_like(flat).at[i].set(1))
        return ravel_pytree(hessian_vector_product(cost, params, unit, data))[0][i]

    curvature = jax.lax.map(bend, position, batch_size=TOGETHER)
    rounding = 4 * eps * jnp.abs(value)
    most = eps**0.25 * jnp.maximum(1, jnp.abs(w))
    bent = jnp.where(curvature != 0, jnp.abs(curvature), 1)
    best = jnp.where(curvature != 0, jnp.sqrt(2 * rounding / bent), most)
    # What arrives is w + h rounded: the nudge that was really made is the difference.
    there = jax.lax.optimization_barrier(w + jnp.minimum(best, most))
    h = there - w

    def change(at, part):
        i, end = at
        return two(unravel(flat.at[i].set(end)), part) - two(params, part)

    two = of_two(cost)
    actual = jax.lax.map(
        lambda at: mean_over_blocks(change, at, data), (position, there), batch_size=TOGETHER
    )
    return Nudges(
        position=position,
        nudge=h,
        predicted=g * h,
        actual=actual,
        second_order=curvature * h**2 / 2,
        rounding=jnp.full_like(h, rounding),
    )


def _check_network(network: Network, params: Any, image_shape: tuple[int, int] | None) -> None:
    pairs = zip(network.widths[:-1], network.widths[1:], strict=True)
    wanted = [shape for n_in, n_out in pairs for shape in ((n_out, n_in), (n_out,))]
    found = [jnp.shape(leaf) for leaf in jax.tree.leaves(params)]
    if found != wanted:
        raise InputError(
            f"places: params have shapes {found}, expected {wanted}, those of a network with "
            f"widths {network.widths}; leave network out for parameters of another kind"
        )
    if image_shape and image_shape[0] * image_shape[1] != network.widths[0]:
        raise InputError(
            f"places: image_shape = {image_shape} has {image_shape[0] * image_shape[1]} pixels, "
            f"expected {network.widths[0]}, the network's inputs"
        )
