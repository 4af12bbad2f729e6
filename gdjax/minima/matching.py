"""Matching of two networks: the equivalent form of one nearest to the other.

    min over symmetries g of |g a - b|,   layer by layer:  max_P sum_i |S_{i P(i)}|

S_ij is the inner product of the bias and all weights into and out of neuron i of b with those of
neuron j of a. With the other layers fixed, the best order of one layer is the exact solution of an
assignment problem, and the best signs are those of the chosen entries of S. Coordinate ascent over
the layers ends when no layer changes, and is repeated from several starts. With one hidden layer
the result is optimal; with more it need not be, since the problem is NP-hard.

Distances are those of `coordinates`, in which symmetries are isometries, and matching never
increases them. All computations are on the host, in float64.

References:
    Ainsworth et al. 2022, *Git Re-Basin*, arXiv 2209.04836, section 3, extended here to signs.
"""

import dataclasses
import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num, PyTree
from scipy.optimize import linear_sum_assignment

from gdjax.base.arguments import check_limits
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.base.limits import Whole
from gdjax.base.reprs import fields
from gdjax.minima.symmetry import (
    FLIPS,
    SCALES,
    NeuronSymmetry,
    Params,
    apply_symmetry,
    check_layers,
    coordinates,
    normalize_scales,
    random_symmetry,
)
from gdjax.problems.networks import Network

NUM_STARTS = 2
MAX_ROUNDS = 100  # safeguard, since every round increases the sum and the loop ends much earlier


class Match(NamedTuple):
    """Match of one network to another, or of many pairs along leading axes.

    Args:
        params: equivalent form of the first network, the nearest to the other that was found; None
            from `match_pairs`.
        symmetry: symmetry for `apply_symmetry`, one entry for each hidden layer; the identity for
            parameters that are not finite.
        distance: distance before matching; NaN for parameters that are not finite.
        matched_distance: distance after matching, at most `distance`.
    """

    params: Params | None
    symmetry: tuple[NeuronSymmetry, ...]
    distance: Float[np.ndarray, "*pairs"] | float
    matched_distance: Float[np.ndarray, "*pairs"] | float

    __repr__, _repr_html_ = fields


def match(
    network: Network,
    params: Params,
    reference: Params,
    *,
    key: Key[Array, ""],
    num_starts: int = NUM_STARTS,
) -> Match:
    """Find the equivalent form of a network with weights nearest to those of another.

    Args:
        network: layers of both networks.
        params: parameters of the network whose neurons are permuted, flipped and scaled.
        reference: parameters of the other network, whose scales the result has.
        key: random key for the starts.
        num_starts: number of random starts. Two further starts are at the original network, one of
            them with a first round that uses only the weights into each layer. With one hidden
            layer, no random starts are used.

    Examples:
        >>> from gdjax.minima.symmetry import random_symmetry
        >>> network = Network((3, 4, 4, 2))
        >>> params = network.init(jax.random.key(0))
        >>> other = apply_symmetry(network, params, random_symmetry(network, key=jax.random.key(1)))
        >>> result = match(network, other, params, key=jax.random.key(2))
        >>> result.distance > 1, result.matched_distance < 1e-5
        (True, True)
    """
    check_limits("match: num_starts", num_starts, Whole)
    check_key(key)
    pair = _check_pair("match", network, params, reference)
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *pair)
    matches = match_pairs(
        network, stacked, np.array([0]), np.array([1]), key=key, num_starts=num_starts
    )
    symmetry = jax.tree.map(lambda a: a[0], matches.symmetry)
    distances = (np.asarray(d).item() for d in (matches.distance, matches.matched_distance))
    return Match(apply_symmetry(network, params, symmetry), symmetry, *distances)


def match_pairs(
    network: Network,
    params: PyTree,
    first: Int[np.ndarray, " pairs"],
    second: Int[np.ndarray, " pairs"],
    *,
    key: Key[Array, ""],
    num_starts: int = NUM_STARTS,
) -> Match:
    """Match many pairs of networks, each independently of the others.

    Args:
        network: layers of all networks.
        params: parameters of all networks, in arrays whose leading axis indexes the networks.
        first: indices of the networks that are permuted, flipped and scaled.
        second: indices of the networks to which they are matched.
        key: random key for the starts, which all pairs share.
        num_starts: number of random starts (see `match`).

    Examples:
        >>> network = Network((3, 4, 2))
        >>> params = jax.vmap(network.init)(jax.random.split(jax.random.key(0), 3))
        >>> first, second = np.array([0, 0]), np.array([1, 2])
        >>> match_pairs(network, params, first, second, key=jax.random.key(1)).distance.shape
        (2,)
    """
    rows, scales = _host_coordinates(network, params)
    finite = np.all([np.isfinite(layer).all(axis=(1, 2)) for layer in rows], axis=0)
    rows = [np.where(finite[:, None, None], layer, 0) for layer in rows]
    square = sum(np.sum(layer**2, axis=(1, 2)) for layer in rows)
    starts = _starts(network, key, num_starts)
    alignments, products = [], np.zeros((len(first), 2))
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        a, b = ([layer[k] for layer in rows] for k in (i, j))
        alignment, *products[pair] = _align(a, b, starts, network.activation in FLIPS)
        alignments.append(alignment)
    distances = np.sqrt(np.maximum((square[first] + square[second])[:, None] - 2 * products, 0))
    distances[~(finite[first] & finite[second])] = np.nan
    dtype = jax.tree.leaves(params)[0].dtype
    symmetry = []
    for number, (width, scale) in enumerate(zip(network.widths[1:-1], scales, strict=True)):
        order, sign = (
            np.reshape([alignment[number][k] for alignment in alignments], (-1, width))
            for k in range(2)
        )
        order = order.astype(np.int32)
        ratio = np.take_along_axis(scale[first], order, 1) / scale[second]
        arrays = order, sign.astype(dtype), ratio.astype(dtype)
        symmetry.append(NeuronSymmetry(*map(jnp.asarray, arrays)))
    return Match(None, tuple(symmetry), *distances.T)


def match_activations(
    network: Network,
    params: Params,
    reference: Params,
    inputs: Num[Array, "samples inputs"] | Num[np.ndarray, "samples inputs"],
) -> Match:
    """Find the equivalent form of a network with activations nearest to another's.

        min over symmetries of sum_l sum_i mean_x (a'_li(x) - b_li(x))^2

    The activations of neuron i of layer l are a'_li after the symmetry and b_li in the reference.
    Activations that can be flipped are measured from their center, and those that can be scaled are
    normalized to mean square 1. The layers are independent, and each is solved exactly.

    Args:
        network: layers of both networks.
        params: parameters of the network whose neurons are permuted, flipped and scaled.
        reference: parameters of the other network.
        inputs: inputs of the networks, such as those of the problem's data.

    Returns:
        The match. Its two distances are those of activations, square roots of the sum above.

    Examples:
        >>> network = Network((3, 4, 2))
        >>> params = network.init(jax.random.key(0))
        >>> other = apply_symmetry(network, params, random_symmetry(network, key=jax.random.key(1)))
        >>> inputs = jax.random.normal(jax.random.key(2), (5, 3))
        >>> match_activations(network, other, params, inputs).matched_distance < 1e-5
        True
    """
    pair = _check_pair("match_activations", network, params, reference)
    if jnp.ndim(inputs) != 2 or jnp.shape(inputs)[1] != network.widths[0]:
        raise InputError(
            f"match_activations: inputs of shape {jnp.shape(inputs)}, expected "
            f"(samples, {network.widths[0]})"
        )
    scales = [
        [np.asarray(scale, float) for scale in normalize_scales(network, list(one))[1]]
        for one in pair
    ]
    symmetry, before, after = [], 0.0, 0.0
    for number in range(len(network.widths) - 2):
        a, b = (_activations(network, one, inputs, number) for one in pair)
        order, sign, _ = _solve_assignment(b @ a.T, network.activation in FLIPS)
        before += float(np.sum((a - b) ** 2))
        after += float(np.sum((a[order] * sign[:, None] - b) ** 2))
        scale = scales[0][number][order] / scales[1][number]
        symmetry.append(NeuronSymmetry(*map(jnp.asarray, (order, sign, scale))))
    symmetry = tuple(symmetry)
    matched = apply_symmetry(network, params, symmetry)
    return Match(matched, symmetry, math.sqrt(before), math.sqrt(after))


def _check_pair(caller, network, params, reference):
    arguments = {"params": params, "reference": reference}
    return [
        tuple(check_layers(caller, network, layers, argument))
        for argument, layers in arguments.items()
    ]


@partial(jax.jit, static_argnums=0)
@partial(jax.vmap, in_axes=(None, 0))
def _normal_form(network, params):
    layers = check_layers("match_pairs", network, params)
    return coordinates(network, params), normalize_scales(network, layers)[1]


def _host_coordinates(network, params):
    """Return `coordinates` of each layer, with the bias as last column, and scales."""
    layers, scales = _normal_form(network, params)
    rows = [
        np.concatenate([np.asarray(w, float), np.asarray(b, float)[..., None]], axis=-1)
        for w, b in layers
    ]
    return rows, [np.asarray(scale, float) for scale in scales]


def _activations(network, params, inputs, number):
    """Return activations / sqrt(samples), [neurons, samples]; squares sum to means."""
    widths = network.widths[: number + 2]
    part = dataclasses.replace(network, widths=widths, output_activation=None)
    with jax.default_matmul_precision("highest"):
        values = np.asarray(part.apply(params[: number + 1], jnp.asarray(inputs)), float).T
    values = values - FLIPS.get(network.activation, 0.0) / 2
    values = values / np.sqrt(values.shape[1])
    if network.activation in SCALES:
        norm = np.linalg.norm(values, axis=1, keepdims=True)
        values = values / np.where(norm > 0, norm, 1)
    return values


# -- coordinate ascent over the layers


# Layers `a` are aligned to layers `b`, whose last columns are the biases. An alignment lists the
# order and the signs of the neurons of each layer, including those of the outputs, which are fixed.


def _starts(network, key, num_starts):
    """Return the starts; one for a single hidden layer, where all are equivalent.

    A start is a pair: an alignment, and whether the first round of ascent uses only the weights
    into each layer.
    """
    original = [(np.arange(n), np.ones(n)) for n in network.widths[1:]]
    if len(network.widths) <= 3:
        return [(original, False)]
    starts = [(original, False), (original, True)]
    for start_key in jax.random.split(key, num_starts):
        hidden = random_symmetry(network, key=start_key)
        drawn = [(np.asarray(layer.order), np.asarray(layer.sign, float)) for layer in hidden]
        starts.append(([*drawn, original[-1]], False))
    return starts


def _align(a, b, starts, flips):
    """Return the best alignment over the starts, and the inner products before and after."""
    # The inputs of the first layer are not permuted, so its inner products are computed once.
    first = b[0] @ a[0].T
    best = starts[0][0]
    before = product = _inner_product(a, b, first, best)
    for start, forward in starts:
        alignment = _ascend(a, b, first, start, flips=flips, forward=forward)
        new_product = _inner_product(a, b, first, alignment)
        if new_product > product:
            best, product = alignment, new_product
    return best, before, product


def _inner_product(a, b, first, alignment):
    """Return the inner product of all aligned weights with those of the reference."""
    total = _aligned_trace(first, *alignment[0])
    for number in range(1, len(a)):
        order, sign = alignment[number]
        aligned = _align_inputs(a[number], *alignment[number - 1])[order] * sign[:, None]
        total += np.sum(aligned * b[number])
    return total


def _aligned_trace(S, order, sign):
    return np.sum(S[np.arange(len(S)), order] * sign)


def _align_inputs(layer, order, sign):
    """Permute and flip the columns of a layer, except its biases."""
    return layer[:, np.append(order, -1)] * np.append(sign, 1)


def _ascend(a, b, first, start, *, flips, forward):
    """Improve the layers in turn until no layer changes."""
    alignment = list(start)
    for turn in range(MAX_ROUNDS):
        is_changed = False
        for number in range(len(alignment) - 1):
            S = first
            if number:
                S = b[number] @ _align_inputs(a[number], *alignment[number - 1]).T
            if not (forward and turn == 0):
                order, sign = alignment[number + 1]
                S = S + b[number + 1][:, :-1].T @ (a[number + 1][order, :-1] * sign[:, None])
            order, sign, total = _solve_assignment(S, flips)
            # An improvement within rounding is ignored, so equal alignments cannot alternate.
            rounding = 1e-12 * np.max(np.abs(S)) * len(S)
            if total > _aligned_trace(S, *alignment[number]) + rounding:
                alignment[number] = order, sign
                is_changed = True
        if not is_changed:
            break
    return alignment


def _solve_assignment(S, flips):
    """Return the order P and signs that maximize sum_i sign_i S_{i P(i)}, and this sum."""
    order = linear_sum_assignment(np.abs(S) if flips else S, maximize=True)[1]
    sign = np.where(flips & (S[np.arange(len(S)), order] < 0), -1.0, 1.0)
    return order, sign, _aligned_trace(S, order, sign)
