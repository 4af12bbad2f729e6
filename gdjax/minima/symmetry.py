"""Different parameters of one network: neurons may change places, signs and scales.

    W_l[i] -> sign_i scale_i W_l[order_i],   W_{l+1}[:, i] -> sign_i / scale_i W_{l+1}[:, order_i]

and the same for biases. Order is free for every activation, signs are where s(-z) = c - s(z) (the
next layer's bias makes up for c: 1 for sigmoid, 0 for tanh), scales > 0 where s(a z) = a s(z).
What the network computes stays the same:

>>> network = Network((2, 3, 1))
>>> params = network.init(jax.random.key(0))
>>> other = arrange(network, params, random_arrangement(network, jax.random.key(1)))
>>> x = jnp.ones((1, 2))
>>> bool(jnp.allclose(network.apply(params, x), network.apply(other, x)))
True

A layer of 16 sigmoid neurons can be written down in 16! 2^16 ways, 1.4e18.

Flips and permutations are rotations of the parameters as soon as biases are counted from the middle
of a sigmoid (`coordinates`): distances there do not depend on how networks are written down.
"""

import math
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from gdjax.errors import InputError
from gdjax.problems.networks import Layer, Network
from gdjax.summaries import fields

# c in s(-z) = c - s(z); it holds at every temperature of a sigmoid.
FLIPS: Mapping[str, float] = MappingProxyType({"sigmoid": 1.0, "tanh": 0.0, "identity": 0.0})
# s(a z) = a s(z) for a > 0.
SCALES = ("relu", "identity")

Params = tuple[Layer, ...]

# Called alone, each of these is one program instead of dozens.
_of_network = partial(jax.jit, static_argnums=0)


class Arrangement(NamedTuple):
    """How the neurons of one hidden layer are written down anew.

    Args:
        order: neuron i of the new layer is neuron `order[i]` of the old one.
        sign: 1 or -1 for each new neuron; -1 exchanges what it does and the opposite.
        scale: > 0 for each new neuron: what comes in is multiplied, what goes out divided by it.
    """

    order: Int[Array, " neurons"]
    sign: Float[Array, " neurons"]
    scale: Float[Array, " neurons"]

    __repr__ = fields


def arrangement_count(network: Network) -> int:
    """In how many ways a network can be written down: n! a hidden layer, times 2^n with flips.

    Scales, where the activation has them, come on top: they are a continuum.

    Examples:
        >>> f"{arrangement_count(Network((784, 16, 16, 10))):.2g}"
        '1.9e+36'
    """
    flips = 2 if network.activation in FLIPS else 1
    return math.prod(math.factorial(n) * flips**n for n in network.widths[1:-1])


@_of_network
def arrange(network: Network, params: Params, arrangement: tuple[Arrangement, ...]) -> Params:
    """The same network with its hidden neurons written down in another way.

    Outputs do not change but for rounding. Order and sign of weights are exact; the biases behind
    flipped sigmoids, and everything that is scaled, are rounded.

    Args:
        network: whose activation decides what is allowed.
        params: of one network.
        arrangement: one for each hidden layer, first layer first. Signs are taken as 1 and scales
            as 1 where the activation has none.

    Raises:
        InputError: parameters or an arrangement of another network.
    """
    layers = checked("arrange", network, params)
    if len(arrangement) != len(params) - 1:
        raise InputError(
            f"arrange: arrangement has {len(arrangement)} entries, expected {len(params) - 1}, "
            f"one for each hidden layer"
        )
    for number, (order, sign, scale) in enumerate(arrangement):
        layers[number : number + 2] = _arranged(*layers[number : number + 2], order)
        if network.activation in FLIPS:
            layers[number : number + 2] = _flipped(network, *layers[number : number + 2], sign)
        if network.activation in SCALES:
            layers[number : number + 2] = _scaled(*layers[number : number + 2], scale)
    return tuple(layers)


@_of_network
def random_arrangement(network: Network, key: Key[Array, ""]) -> tuple[Arrangement, ...]:
    """Any order and signs, each as likely as any other; scales in (1/e, e)."""
    arrangements = []
    for width, layer_key in zip(
        network.widths[1:-1], jax.random.split(key, max(1, len(network.widths) - 2)), strict=False
    ):
        key_order, key_sign, key_scale = jax.random.split(layer_key, 3)
        one = identity(width)
        if network.activation in FLIPS:
            one = one._replace(sign=jax.random.rademacher(key_sign, (width,), one.sign.dtype))
        if network.activation in SCALES:
            exponent = jax.random.uniform(key_scale, (width,), one.scale.dtype, -1, 1)
            one = one._replace(scale=jnp.exp(exponent))
        arrangements.append(one._replace(order=jax.random.permutation(key_order, width)))
    return tuple(arrangements)


def identity(width: int) -> Arrangement:
    """The arrangement of a layer that changes nothing."""
    return Arrangement(jnp.arange(width), jnp.ones(width), jnp.ones(width))


@_of_network
def canonical(network: Network, params: Params) -> Params:
    """The one among a network's equivalents that all of them come to.

    Signs: each neuron's weights and bias are weighted with fixed random numbers, and the sum is
    made positive. Order: by a sum of all that a neuron has and that does not depend on how the
    others are written down: that sum, and the norm of its outgoing weights. Scales: each neuron's
    incoming weights and bias have norm 1.

    Nothing is rounded to a grid: the result is an equivalent of `params`, so different networks
    never become the same, and are never nearer than `match` brings them. Nothing can be said about
    ties: where two sums, or a sum and 0, differ by no more than rounding, two equivalents may come
    out differently (see `canonical_arrangement` for the margin). Neurons that are alike in all
    respects do tie, and do not matter. With "identity" there are more symmetries than these.

    Raises:
        InputError: parameters of another network.
    """
    return arrange(network, params, canonical_arrangement(network, params)[0])


@_of_network
def canonical_arrangement(
    network: Network, params: Params
) -> tuple[tuple[Arrangement, ...], Float[Array, ""]]:
    """The arrangement that `canonical` applies, and by how much its decisions were clear.

    Returns:
        The arrangements, and the margin: the smallest distance of a sum to 0 (for signs) or to the
        next sum (for order), relative to its layer's largest. Equivalents come to the same form if
        it is well above rounding, say 1e-5 in float32; infinite where nothing had to be decided.

    Raises:
        InputError: parameters of another network.
    """
    layers, scales = normalised(network, checked("canonical", network, params))
    arrangements, margins = [], [jnp.full((), jnp.inf, layers[0].bias.dtype)]
    for number, (width, scale) in enumerate(zip(network.widths[1:-1], scales, strict=True)):
        row = jnp.concatenate([layers[number].weights, layers[number].bias[:, None]], axis=1)
        probe = jax.random.normal(jax.random.key(number), row.shape[1:], row.dtype)
        key = jnp.sum(row * probe[None], axis=1)  # one by one: rows that are the same stay the same
        sign = jnp.ones(width, row.dtype)
        if network.activation in FLIPS:
            sign = jnp.where(key < 0, -sign, sign)
            margins.append(_smallest(jnp.abs(key), key))
            key = jnp.abs(key)
            layers[number : number + 2] = _flipped(network, *layers[number : number + 2], sign)
        # Neurons that differ only in what they send tie otherwise; no flip or order changes this.
        key = key + jnp.linalg.norm(layers[number + 1].weights, axis=0)
        order = jnp.argsort(key)
        margins.append(_smallest(jnp.diff(key[order]), key))
        layers[number : number + 2] = _arranged(*layers[number : number + 2], order)
        arrangements.append(Arrangement(order, sign[order], scale[order]))
    return tuple(arrangements), jnp.min(jnp.stack(margins))


@_of_network
def coordinates(network: Network, params: Params) -> Params:
    """Parameters in which order and signs are rotations and scales are gone.

        c_l = b_l + c/2 sum_j W_l[:, j]   (s(-z) = c - s(z)),   |(W_l[i], b_l[i])| = 1 (relu)

    Euclidean distances between them are the same however the two networks are written down; without
    this a flip of sigmoids moves the next layer's biases. The origin of scales is lost, nothing
    else: straight lines stay straight for sigmoid and tanh.

    Returns:
        A tree like `params`.

    Raises:
        InputError: parameters of another network.
    """
    (first, *behind), _ = normalised(network, checked("coordinates", network, params))
    shift = FLIPS.get(network.activation, 0.0) / 2
    return (first, *(Layer(w, b + shift * jnp.sum(w, axis=1)) for w, b in behind))


def normalised(
    network: Network, layers: list[Layer]
) -> tuple[list[Layer], list[Float[Array, " neurons"]]]:
    """Every hidden neuron's incoming weights and bias scaled to norm 1, and by what.

    A neuron without any, and activations that know no scales, are left as they are.
    """
    layers, scales = list(layers), []
    for number, width in enumerate(network.widths[1:-1]):
        scale = jnp.ones(width, layers[0].bias.dtype)
        if network.activation in SCALES:
            norm = jnp.sqrt(jnp.sum(layers[number].weights ** 2, axis=1) + layers[number].bias ** 2)
            scale = jnp.where(norm > 0, 1 / jnp.where(norm > 0, norm, 1), scale)
            layers[number : number + 2] = _scaled(*layers[number : number + 2], scale)
        scales.append(scale)
    return layers, scales


def _arranged(layer, behind, order):
    return (
        Layer(layer.weights[order], layer.bias[order]),
        behind._replace(weights=behind.weights[:, order]),
    )


def _flipped(network, layer, behind, sign):
    """w s(z) = w c - w s(-z): the constant goes to the bias behind."""
    sign = sign.astype(layer.bias.dtype)
    constant = FLIPS[network.activation] * jnp.sum(
        jnp.where(sign < 0, behind.weights, 0), axis=1
    ).astype(layer.bias.dtype)
    return (
        Layer(layer.weights * sign[:, None], layer.bias * sign),
        Layer(behind.weights * sign[None], behind.bias + constant),
    )


def _scaled(layer, behind, scale):
    scale = scale.astype(layer.bias.dtype)
    return (
        Layer(layer.weights * scale[:, None], layer.bias * scale),
        behind._replace(weights=behind.weights / scale[None]),
    )


def _smallest(distances, key):
    """The smallest of some distances, relative to the largest sum."""
    most = jnp.max(jnp.abs(key))
    smallest = jnp.min(distances, initial=jnp.inf)
    return smallest / jnp.where(most > 0, most, 1)


def checked(what: str, network: Network, params: Params) -> list[Layer]:
    """The layers of parameters that belong to a network.

    Raises:
        InputError: other layers or shapes.
    """
    pairs = zip(network.widths[:-1], network.widths[1:], strict=True)
    wanted = [shape for n_in, n_out in pairs for shape in ((n_out, n_in), (n_out,))]
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(params)]
    if shapes != wanted or not all(isinstance(layer, Layer) for layer in params):
        raise InputError(
            f"{what}: params have shapes {shapes}, expected {wanted}: the layers of a network with "
            f"widths {network.widths}, as its init gives them; map over several with jax.vmap"
        )
    return [Layer(jnp.asarray(weights), jnp.asarray(bias)) for weights, bias in params]
