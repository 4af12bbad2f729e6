"""Symmetries of networks: permutations, sign flips and scales of hidden neurons.

    W_l[i] -> sign_i scale_i W_l[order_i],   W_{l+1}[:, i] -> sign_i / scale_i W_{l+1}[:, order_i]

Biases are transformed like the incoming weights. Every activation allows permutations. Activations
with s(-z) = c - s(z) allow sign flips (c is 1 for sigmoid and 0 for tanh; the next layer's bias
compensates for it), and those with s(a z) = a s(z) allow scales > 0. The outputs of the network do
not change.

A layer of 16 sigmoid neurons has 16! 2^16 = 1.4e18 equivalent forms.

Flips and permutations are isometries of the parameters if biases are measured from the center of a
sigmoid (`coordinates`), so a symmetry applied to both networks leaves their distance unchanged.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from gdjax.base.arguments import check_type
from gdjax.base.errors import InputError
from gdjax.base.reprs import fields
from gdjax.problems.checks import check_like
from gdjax.problems.networks import Layer, Network

# The constant c in s(-z) = c - s(z), which is the same at every temperature of a sigmoid.
FLIPS: Mapping[str, float] = MappingProxyType({"sigmoid": 1.0, "tanh": 0.0, "identity": 0.0})
# Activations with s(a z) = a s(z) for a > 0.
SCALES = ("relu", "identity")

Params = tuple[Layer, ...]

# When called outside of jit, each of these functions is one program instead of dozens.
_jit_of_network = partial(jax.jit, static_argnums=0)


class NeuronSymmetry(NamedTuple):
    """A permutation of the neurons of one hidden layer, with their signs and scales.

    Args:
        order: neuron i of the new layer is neuron `order[i]` of the old one.
        sign: 1 or -1 for each new neuron.
        scale: factor > 0 of the incoming weights of each new neuron; its outgoing weights are
            divided by it.
    """

    order: Int[Array, " neurons"]
    sign: Float[Array, " neurons"]
    scale: Float[Array, " neurons"]

    __repr__, _repr_html_ = fields


@_jit_of_network
def apply_symmetry(
    network: Network, params: Params, symmetry: tuple[NeuronSymmetry, ...]
) -> Params:
    """Return an equivalent form of a network.

    The outputs do not change beyond rounding. Permutations and signs of weights are exact; biases
    of layers after flipped sigmoids, and all scaled parameters, are rounded.

    Args:
        network: the network, whose activation determines which symmetries exist.
        params: parameters of one network.
        symmetry: one entry for each hidden layer, first layer first. Signs and scales are ignored
            if the activation does not allow them.

    Examples:
        >>> network = Network((2, 3, 1))
        >>> params = network.init(jax.random.key(0))
        >>> other = apply_symmetry(network, params, random_symmetry(network, key=jax.random.key(1)))
        >>> x = jnp.ones((1, 2))
        >>> bool(jnp.allclose(network.apply(params, x), network.apply(other, x)))
        True
    """
    layers = check_layers("apply_symmetry", network, params)
    if len(symmetry) != len(params) - 1:
        raise InputError(
            f"apply_symmetry: symmetry has {len(symmetry)} entries, expected {len(params) - 1}, "
            f"one for each hidden layer"
        )
    for number, neurons in enumerate(symmetry):
        layers[number : number + 2] = _transform(network, *layers[number : number + 2], neurons)
    return tuple(layers)


@_jit_of_network
def random_symmetry(network: Network, *, key: Key[Array, ""]) -> tuple[NeuronSymmetry, ...]:
    """Draw a symmetry: order and signs uniform, scales log-uniform in (1/e, e).

    Examples:
        >>> (symmetry,) = random_symmetry(Network((2, 3, 1)), key=jax.random.key(0))
        >>> sorted(symmetry.order.tolist()), jnp.abs(symmetry.sign).tolist()
        ([0, 1, 2], [1.0, 1.0, 1.0])
    """
    symmetries = []
    for width, layer_key in zip(
        network.widths[1:-1], jax.random.split(key, max(1, len(network.widths) - 2)), strict=False
    ):
        key_order, key_sign, key_scale = jax.random.split(layer_key, 3)
        symmetry = identity_symmetry(width)
        if network.activation in FLIPS:
            sign = jax.random.rademacher(key_sign, (width,), symmetry.sign.dtype)
            symmetry = symmetry._replace(sign=sign)
        if network.activation in SCALES:
            exponent = jax.random.uniform(key_scale, (width,), symmetry.scale.dtype, -1, 1)
            symmetry = symmetry._replace(scale=jnp.exp(exponent))
        symmetries.append(symmetry._replace(order=jax.random.permutation(key_order, width)))
    return tuple(symmetries)


def identity_symmetry(width: int) -> NeuronSymmetry:
    """Return the identity symmetry of a layer."""
    return NeuronSymmetry(jnp.arange(width), jnp.ones(width), jnp.ones(width))


@_jit_of_network
def canonicalize(network: Network, params: Params) -> Params:
    """Return the canonical form of a network, equal for all equivalent forms.

    Signs are chosen so that a fixed random linear form of each neuron's weights and bias is
    positive. The order of neurons is ascending in the sum of this form and the norm of the outgoing
    weights, which are equal for all equivalent forms. Scales give the incoming weights and bias
    of each neuron the norm 1.

    The result is an equivalent form of `params` and is not rounded to a grid, so different networks
    never become equal, and are never nearer than after `match`. Ties are not resolved: if two sums,
    or a form and 0, differ only by rounding, two equivalent forms may have different canonical
    forms. The order of identical neurons does not matter. The activation "identity" has more
    symmetries than these.

    Examples:
        >>> network = Network((2, 3, 1))
        >>> params = network.init(jax.random.key(0))
        >>> other = apply_symmetry(network, params, random_symmetry(network, key=jax.random.key(1)))
        >>> forms = canonicalize(network, params), canonicalize(network, other)
        >>> bool(jnp.allclose(forms[0][0].weights, forms[1][0].weights, atol=1e-5))
        True
    """
    original = check_layers("canonicalize", network, params)
    layers, scales = normalize_scales(network, original)
    symmetries = []
    for number, (width, scale) in enumerate(zip(network.widths[1:-1], scales, strict=True)):
        row = jnp.concatenate([layers[number].weights, layers[number].bias[:, None]], axis=1)
        probe = jax.random.normal(jax.random.key(number), row.shape[1:], row.dtype)
        # Each row is summed separately, so that equal rows have equal sums.
        form = jnp.sum(row * probe[None], axis=1)
        sign = jnp.ones(width, row.dtype)
        if network.activation in FLIPS:
            sign = jnp.where(form < 0, -sign, sign)
            form = jnp.abs(form)
        # Without this norm, neurons that differ only in their outgoing weights would tie.
        order = jnp.argsort(form + jnp.linalg.norm(layers[number + 1].weights, axis=0))
        symmetry = NeuronSymmetry(order, sign[order], jnp.ones_like(scale))
        layers[number : number + 2] = _transform(network, *layers[number : number + 2], symmetry)
        symmetries.append(symmetry._replace(scale=scale[order]))
    return apply_symmetry(network, tuple(original), tuple(symmetries))


@_jit_of_network
def coordinates(network: Network, params: Params) -> Params:
    """Return coordinates without scales, in which other symmetries are isometries.

        c_l = b_l + c/2 sum_j W_l[:, j]   (s(-z) = c - s(z)),   |(W_l[i], b_l[i])| = 1 (relu)

    A symmetry applied to two networks does not change the Euclidean distance between their
    coordinates; without the shift, a flip of sigmoids would move the next layer's biases. Only
    scales are removed, so straight lines remain straight for sigmoid and tanh.

    Returns:
        A pytree with the structure of `params`.

    Examples:
        >>> network = Network((1, 1, 1))
        >>> layers = (Layer(jnp.ones((1, 1)), jnp.zeros(1)), Layer(jnp.ones((1, 1)), jnp.zeros(1)))
        >>> coordinates(network, layers)[1].bias.tolist()
        [0.5]
    """
    (first, *later), _ = normalize_scales(network, check_layers("coordinates", network, params))
    shift = FLIPS.get(network.activation, 0.0) / 2
    return (first, *(Layer(w, b + shift * jnp.sum(w, axis=1)) for w, b in later))


def normalize_scales(
    network: Network, layers: list[Layer]
) -> tuple[list[Layer], list[Float[Array, " neurons"]]]:
    """Scale incoming weights and biases to norm 1; return the layers and the scales.

    Neurons whose weights and bias are all zero, and activations without scales, are left unchanged.
    """
    layers, scales = list(layers), []
    for number, width in enumerate(network.widths[1:-1]):
        scale = jnp.ones(width, layers[0].bias.dtype)
        if network.activation in SCALES:
            norm = jnp.sqrt(jnp.sum(layers[number].weights ** 2, axis=1) + layers[number].bias ** 2)
            scale = jnp.where(norm > 0, 1 / jnp.where(norm > 0, norm, 1), scale)
            symmetry = identity_symmetry(width)._replace(scale=scale)
            layers[number : number + 2] = _transform(
                network, *layers[number : number + 2], symmetry
            )
        scales.append(scale)
    return layers, scales


def _transform(network, layer, next_layer, symmetry):
    """Transform the neurons of a layer, which are the inputs of the next one."""
    order, *factors = symmetry
    sign, scale = (factor.astype(layer.bias.dtype) for factor in factors)
    weights, bias = layer.weights[order], layer.bias[order]
    next_weights, next_bias = next_layer.weights[:, order], next_layer.bias
    if network.activation in FLIPS:  # w s(z) = w c - w s(-z), with the constant in the next bias
        lost = jnp.sum(jnp.where(sign < 0, next_weights, 0), axis=1)
        next_bias = next_bias + FLIPS[network.activation] * lost.astype(bias.dtype)
        weights, bias, next_weights = (
            weights * sign[:, None],
            bias * sign,
            next_weights * sign[None],
        )
    if network.activation in SCALES:
        weights, bias = weights * scale[:, None], bias * scale
        next_weights = next_weights / scale[None]
    return Layer(weights, bias), Layer(next_weights, next_bias)


def check_layers(
    caller: str, network: Network, params: Params, argument: str = "params"
) -> list[Layer]:
    """Check that parameters match a network, and return their layers.

    Args:
        caller: name of the public function, for error messages.
        network: network that the parameters must match.
        params: parameters of one network.
        argument: name of the argument, for error messages.
    """
    expected = "a gdjax.problems.Network, such as problem.network, whose symmetries are known"
    check_type(f"{caller}: network", network, Network, expected)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    check_like(f"{caller}: {argument}", params, shapes, "the network; use jax.vmap for several")
    return [Layer(jnp.asarray(weights), jnp.asarray(bias)) for weights, bias in params]
