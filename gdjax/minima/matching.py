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
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Num, PyTree
from scipy.optimize import linear_sum_assignment

from gdjax.arguments import check_whole
from gdjax.errors import InputError
from gdjax.keys import check_key
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
from gdjax.summaries import fields

NUM_STARTS = 2
MAX_GATHERED = 2**24  # maximum number of weights gathered at a time
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

    __repr__ = fields


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
    check_whole("match: num_starts", num_starts)
    check_key(key)
    pair = _check_pair("match", network, params, reference)
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *pair)
    matches = match_pairs(
        network, stacked, np.array([0]), np.array([1]), key=key, num_starts=num_starts
    )
    return _first_match(network, params, matches)


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
    """
    rows, scales = _host_coordinates(network, params)
    starts = _starts(network, key, num_starts)
    inner = zip(network.widths[1:-1], network.widths[2:], strict=True)
    gathered = network.widths[1] ** 2 + sum(n_in * n_out for n_in, n_out in inner)
    length = max(1, MAX_GATHERED // gathered)
    before, after = np.empty(len(first)), np.empty(len(first))
    hidden = network.widths[1:-1]
    order = [np.empty((len(first), n), np.int32) for n in hidden]
    sign, scale = ([np.empty((len(first), n)) for n in hidden] for _ in range(2))
    for begin in range(0, len(first), length):
        chosen = slice(begin, begin + length)
        i, j = first[chosen], second[chosen]
        best, before[chosen], after[chosen] = _match_rows(network, rows, i, j, starts)
        for number, (o, s, factor) in enumerate(zip(best.order, best.sign, scales, strict=True)):
            order[number][chosen], sign[number][chosen] = o, s
            scale[number][chosen] = np.take_along_axis(factor[i], o, 1) / factor[j]
    dtype = jax.tree.leaves(params)[0].dtype
    symmetry = tuple(
        NeuronSymmetry(jnp.asarray(o), jnp.asarray(s, dtype), jnp.asarray(a, dtype))
        for o, s, a in zip(order, sign, scale, strict=True)
    )
    return Match(None, symmetry, before, after)


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
        (order,), (sign,), _ = _solve_assignment((b @ a.T)[None], network.activation in FLIPS)
        before += float(np.sum((a - b) ** 2))
        after += float(np.sum((a[order] * sign[:, None] - b) ** 2))
        scale = scales[0][number][order] / scales[1][number]
        symmetry.append(NeuronSymmetry(*(jnp.asarray(x)[None] for x in (order, sign, scale))))
    matches = Match(None, tuple(symmetry), np.sqrt([before]), np.sqrt([after]))
    return _first_match(network, params, matches)


def _check_pair(caller, network, params, reference):
    arguments = {"params": params, "reference": reference}
    return [
        tuple(check_layers(caller, network, layers, argument))
        for argument, layers in arguments.items()
    ]


def _first_match(network, params, matches):
    symmetry = jax.tree.map(lambda a: a[0], matches.symmetry)
    return Match(
        apply_symmetry(network, params, symmetry),
        symmetry,
        float(matches.distance[0]),
        float(matches.matched_distance[0]),
    )


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


class _Aligned(NamedTuple):
    """Networks with permuted and flipped neurons, and inner products with references.

    Args:
        order: order of the neurons of each hidden layer.
        sign: signs of the neurons of each hidden layer.
        first: inner products of the rows of the first layers, for each neuron of the reference and
            of the network.
        later: weights and biases of the later layers.
    """

    order: tuple[Int[np.ndarray, "pairs neurons"], ...]
    sign: tuple[Float[np.ndarray, "pairs neurons"], ...]
    first: Float[np.ndarray, "pairs neurons neurons"]
    later: tuple[Float[np.ndarray, "pairs outputs inputs"], ...]


def _starts(network, key, num_starts):
    """Return the starts; one for a single hidden layer, where all are equivalent.

    A start is a symmetry (empty for the original network), and whether the first round of ascent
    uses only the weights into each layer.
    """
    original = ()
    if len(network.widths) <= 3:
        return [(original, False)]
    random = [random_symmetry(network, key=k) for k in jax.random.split(key, num_starts)]
    return [(original, False), (original, True), *((symmetry, False) for symmetry in random)]


def _match_rows(network, rows, i, j, starts):
    """Return the best alignment over the starts, and the distances before and after."""
    finite = np.all([np.isfinite(layer).all(axis=(1, 2)) for layer in rows], axis=0)
    rows = [np.where(finite[:, None, None], layer, 0) for layer in rows]
    square = sum(np.sum(layer**2, axis=(1, 2)) for layer in rows)
    # The inputs of the first layer are not permuted, so its inner products are computed once.
    first = np.array([rows[0][m] @ rows[0][k].T for k, m in zip(i, j, strict=True)])
    reference = tuple(layer[j] for layer in rows[1:])
    widths = network.widths[1:-1]
    unmatched = _Aligned(
        tuple(np.tile(np.arange(n), (len(i), 1)) for n in widths),
        tuple(np.ones((len(i), n)) for n in widths),
        first,
        tuple(layer[i] for layer in rows[1:]),
    )
    best, product = unmatched, _inner_product(unmatched, reference)
    unmatched_product = product
    for symmetry, forward in starts:
        aligned = unmatched
        for number, layer in enumerate(symmetry):
            order, sign = np.asarray(layer.order)[None], np.asarray(layer.sign, float)[None]
            aligned = _rearrange_layer(
                aligned, number, np.repeat(order, len(i), 0), np.repeat(sign, len(i), 0)
            )
        aligned = _ascend(aligned, reference, flips=network.activation in FLIPS, forward=forward)
        new_product = _inner_product(aligned, reference)
        better = new_product > product
        best, product = select_rows(better, (aligned, new_product), (best, product))
    nan = np.where(finite[i] & finite[j], 0, np.nan)
    before, after = (
        np.sqrt(np.maximum(square[i] + square[j] - 2 * inner, 0)) + nan
        for inner in (unmatched_product, product)
    )
    return best, before, after


def select_rows(condition: Bool[np.ndarray, " rows"], a: PyTree, b: PyTree) -> PyTree:
    """Return the rows of `a` that satisfy a condition, and the other rows of `b`."""
    return jax.tree.map(
        lambda x, y: np.where(condition.reshape(-1, *[1] * (x.ndim - 1)), x, y), a, b
    )


def _inner_product(aligned, reference):
    """Return the inner product of all weights with those of the references."""
    total = np.trace(aligned.first, axis1=1, axis2=2)
    for ours, theirs in zip(aligned.later, reference, strict=True):
        total = total + np.sum(ours * theirs, axis=(1, 2))
    return total


def _rearrange_layer(aligned, number, order, sign):
    """Permute and flip the neurons of one hidden layer."""
    first, later = aligned.first, list(aligned.later)
    if number:
        layer = later[number - 1]
        later[number - 1] = np.take_along_axis(layer, order[..., None], 1) * sign[..., None]
    else:
        first = np.take_along_axis(first, order[:, None], 2) * sign[:, None]
    layer = later[number]
    weights = np.take_along_axis(layer[..., :-1], order[:, None], 2) * sign[:, None]
    later[number] = np.concatenate([weights, layer[..., -1:]], axis=2)
    orders, signs = list(aligned.order), list(aligned.sign)
    orders[number] = np.take_along_axis(orders[number], order, 1)
    signs[number] = np.take_along_axis(signs[number], order, 1) * sign
    return _Aligned(tuple(orders), tuple(signs), first, tuple(later))


def _incoming(aligned, reference, number):
    """Return the inner products of the weights into neuron i of b and neuron j of a."""
    if number == 0:
        return aligned.first
    return reference[number - 1] @ aligned.later[number - 1].swapaxes(1, 2)


def _outgoing(aligned, reference, number):
    """Return the inner products of the weights out of neurons, without biases."""
    ours, theirs = aligned.later[number], reference[number]
    return theirs[..., :-1].swapaxes(1, 2) @ ours[..., :-1]


def _ascend(aligned, reference, *, flips, forward):
    """Improve the layers in turn until no layer changes."""
    active = np.arange(len(aligned.first))
    for turn in range(MAX_ROUNDS):
        part, target = jax.tree.map(lambda a, rows=active: a[rows], (aligned, reference))
        changed = np.zeros(len(active), bool)
        for number in range(len(part.order)):
            S = _incoming(part, target, number)
            if not (forward and turn == 0):
                S = S + _outgoing(part, target, number)
            order, sign, total = _solve_assignment(S, flips)
            # An improvement within rounding is ignored, so equal alignments cannot alternate.
            size = np.max(np.abs(S), axis=(1, 2)) * S.shape[1]
            better = total > np.trace(S, axis1=1, axis2=2) + 1e-12 * size
            part = select_rows(better, _rearrange_layer(part, number, order, sign), part)
            changed |= better
        aligned = jax.tree.map(partial(_put, active), aligned, part)
        active = active[changed]
        if not len(active):
            break
    return aligned


def _put(rows, array, values):
    """Return a copy of an array with some of its rows replaced."""
    array = array.copy()
    array[rows] = values
    return array


def _solve_assignment(S, flips):
    """Return the order P and signs that maximize sum_i sign_i S_{i P(i)}, and this sum."""
    gain = np.abs(S) if flips else S
    order = np.array([linear_sum_assignment(matrix, maximize=True)[1] for matrix in gain])
    chosen = np.take_along_axis(S, order[..., None], 2)[..., 0]
    sign = np.where(flips & (chosen < 0), -1.0, 1.0)
    return order, sign, np.sum(chosen * sign, axis=1)
