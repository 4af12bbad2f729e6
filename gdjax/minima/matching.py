"""Two networks laid over each other as well as their symmetries allow.

    min over arrangements g of |g a - b|,   layer by layer:  max_P sum_i |S_{i P(i)}|

S holds, for neuron i of b and j of a, the product of all weights that go in and out of them. The
best order of one layer, the others given, is an assignment problem, solved exactly; the best signs
are those of S. Layers are taken in turn until nothing changes, from several starts. With one hidden
layer the result is the best there is; with more it need not be: the problem is NP-hard.

>>> from gdjax.minima.symmetry import random_arrangement
>>> network = Network((3, 4, 4, 2))
>>> params = network.init(jax.random.key(0))
>>> other = arrange(network, params, random_arrangement(network, jax.random.key(1)))
>>> laid = match(network, other, params, key=jax.random.key(2))
>>> laid.plain > 1, laid.distance < 1e-5
(True, True)

Distances are those of `coordinates`, the same however the two networks are written down, so that
matching never makes them larger. Everything happens on the host, in float64.

Source: Ainsworth et al. 2022, *Git Re-Basin*, arXiv 2209.04836, section 3 (signs are ours).
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num, PyTree

from gdjax.errors import InputError
from gdjax.minima.assignment import Arranged, assigned, settle
from gdjax.minima.symmetry import (
    FLIPS,
    SCALES,
    Arrangement,
    Params,
    arrange,
    checked,
    coordinates,
    normalised,
    random_arrangement,
)
from gdjax.problems.networks import Network
from gdjax.summaries import fields

RESTARTS = 2
TOGETHER = 2**24  # numbers of weights gathered at a time


class Matches(NamedTuple):
    """How some networks are laid over others. Entries have the shape of the pairs.

    Args:
        arrangement: for `arrange`, one a hidden layer; the identity for parameters that are not
            finite.
        distance: what is left afterwards; NaN for parameters that are not finite.
        plain: the same for the networks as they are written down; never less.
    """

    arrangement: tuple[Arrangement, ...]
    distance: Float[np.ndarray, "*pairs"]
    plain: Float[np.ndarray, "*pairs"]

    __repr__ = fields


class Match(NamedTuple):
    """How one network is laid over another.

    Args:
        params: the first network, written down so that it fits the other.
        arrangement: that did it, one a hidden layer.
        distance: what is left; NaN for parameters that are not finite.
        plain: the same for the networks as they are written down; never less.
    """

    params: Params
    arrangement: tuple[Arrangement, ...]
    distance: float
    plain: float

    __repr__ = fields


def match(
    network: Network,
    params: Params,
    reference: Params,
    *,
    key: Key[Array, ""],
    restarts: int = RESTARTS,
) -> Match:
    """The equivalent of one network whose weights are nearest to another's.

    Args:
        network: the layers of both.
        params: is rearranged.
        reference: stays as it is. Where there are scales, the result takes over its: the straight
            line between the two is that between the networks without scales.
        key: of the random starts.
        restarts: random starts beside two others: as they are, and layer by layer from the inputs.
            With one hidden layer none is needed.

    Raises:
        InputError: parameters of another network; restarts below 0.
    """
    stack = jax.tree.map(lambda *a: jnp.stack(a), *_two(network, params, reference))
    matches = match_pairs(network, stack, np.array([0]), np.array([1]), key=key, restarts=restarts)
    return _one(network, params, matches)


def match_pairs(
    network: Network,
    params: PyTree,
    first: Int[np.ndarray, " pairs"],
    second: Int[np.ndarray, " pairs"],
    *,
    key: Key[Array, ""],
    restarts: int = RESTARTS,
) -> Matches:
    """`match` for many pairs of networks at once; a pair's result does not depend on the others.

    Args:
        network: the layers of all.
        params: of all networks, with a leading axis.
        first: which are rearranged.
        second: which they are compared with.
        key: of the random starts, the same for all pairs.
        restarts: as for `match`.

    Raises:
        InputError: parameters of another network; restarts below 0.
    """
    if restarts < 0:
        raise InputError(f"match: restarts = {restarts}, expected 0 or more")
    rows, scales = _rows(network, params)
    starts = _starts(network, key, restarts)
    length = max(1, TOGETHER // sum(n_in * n_out for n_in, n_out in _inner(network)))
    left, plain = np.empty(len(first)), np.empty(len(first))
    hidden = network.widths[1:-1]
    order = [np.empty((len(first), n), np.int32) for n in hidden]
    sign, scale = ([np.empty((len(first), n)) for n in hidden] for _ in range(2))
    for begin in range(0, len(first), length):
        chosen = slice(begin, begin + length)
        i, j = first[chosen], second[chosen]
        orders, signs, left[chosen], plain[chosen] = _of_pairs(network, rows, i, j, starts)
        for number, (o, s, known) in enumerate(zip(orders, signs, scales, strict=True)):
            order[number][chosen], sign[number][chosen] = o, s
            scale[number][chosen] = np.take_along_axis(known[i], o, 1) / known[j]
    dtype = jax.tree.leaves(params)[0].dtype
    arrangement = tuple(
        Arrangement(jnp.asarray(o), jnp.asarray(s, dtype), jnp.asarray(a, dtype))
        for o, s, a in zip(order, sign, scale, strict=True)
    )
    return Matches(arrangement, left, plain)


def match_activations(
    network: Network,
    params: Params,
    reference: Params,
    inputs: Num[Array, "samples inputs"] | Num[np.ndarray, "samples inputs"],
) -> Match:
    """The equivalent of one network whose neurons are active most like another's.

        min over arrangements of sum_l sum_i mean_x (a'_li(x) - b_li(x))^2

    counted from the middle of activations that can be flipped, and with activations of mean square
    1 where there are scales. Layers do not depend on each other, and each is solved exactly.

    Args:
        network: the layers of both.
        params: is rearranged.
        reference: stays as it is.
        inputs: of the networks, such as those of the problem's data.

    Returns:
        The match; its distances are roots of the sum above, not distances of weights.

    Raises:
        InputError: parameters of another network, or inputs for another one.
    """
    if jnp.ndim(inputs) != 2 or jnp.shape(inputs)[1] != network.widths[0]:
        raise InputError(
            f"match_activations: inputs of shape {jnp.shape(inputs)}, expected "
            f"(samples, {network.widths[0]})"
        )
    both = _two(network, params, reference)
    order, sign, factor, left, plain = [], [], [], 0.0, 0.0
    scales = [_scales(network, one) for one in both]
    for number in range(len(network.widths) - 2):
        a, b = (_activity(network, one, inputs, number) for one in both)
        S = b @ a.T
        (o,), (s,), _ = assigned(S[None], network.activation in FLIPS)
        left += float(np.sum((a[o] * s[:, None] - b) ** 2))
        plain += float(np.sum((a - b) ** 2))
        order.append(o)
        sign.append(s)
        factor.append(scales[0][number][o] / scales[1][number])
    one = Matches(
        tuple(
            Arrangement(*(jnp.asarray(x)[None] for x in each))
            for each in zip(order, sign, factor, strict=True)
        ),
        np.sqrt([left]),
        np.sqrt([plain]),
    )
    return _one(network, params, one)


def _two(network, params, reference):
    return tuple(tuple(checked("match", network, one)) for one in (params, reference))


def _one(network, params, matches):
    arrangement = jax.tree.map(lambda a: a[0], matches.arrangement)
    return Match(
        arrange(network, params, arrangement),
        arrangement,
        float(matches.distance[0]),
        float(matches.plain[0]),
    )


@partial(jax.jit, static_argnums=0)
@partial(jax.vmap, in_axes=(None, 0))
def _normal_form(network, one):
    layers = checked("match", network, one)
    return coordinates(network, one), normalised(network, layers)[1]


def _rows(network, params):
    """Weights and bias of each layer side by side, in `coordinates`, and the scales they have."""
    layers, scales = _normal_form(network, params)
    rows = [
        np.concatenate([np.asarray(w, float), np.asarray(b, float)[..., None]], axis=-1)
        for w, b in layers
    ]
    return rows, [np.asarray(scale, float) for scale in scales]


def _scales(network, params):
    return [np.asarray(scale, float) for scale in normalised(network, list(params))[1]]


def _activity(network, params, inputs, number):
    """[neurons, samples] / sqrt(samples), so that sums of squares are means over samples."""
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


def _starts(network, key, restarts):
    """None for "as they are", "inputs" for "from the inputs on", or arrangements to begin with."""
    if len(network.widths) <= 3:
        return [None]
    drawn = [
        [
            (np.asarray(order), np.asarray(sign, float))
            for order, sign, _ in random_arrangement(network, k)
        ]
        for k in jax.random.split(key, restarts)
    ]
    return [None, "inputs", *drawn]


def _inner(network):
    """Shapes of what is held of every pair: products of first neurons, and the layers behind."""
    return [
        (network.widths[1], network.widths[1]),
        *zip(network.widths[1:-1], network.widths[2:], strict=True),
    ]


def _of_pairs(network, rows, i, j, starts):
    """Best order and signs over the starts, for pairs of networks; distances after and before."""
    finite = np.all([np.isfinite(layer).all(axis=(1, 2)) for layer in rows], axis=0)
    rows = [np.where(finite[:, None, None], layer, 0) for layer in rows]
    square = sum(np.sum(layer**2, axis=(1, 2)) for layer in rows)
    # What goes into the first layer is arranged by nobody: its products are needed only once.
    first = np.array([rows[0][m] @ rows[0][k].T for k, m in zip(i, j, strict=True)])
    a, b = [layer[i] for layer in rows[1:]], [layer[j] for layer in rows[1:]]
    best = Arranged(a, first)
    plain = value = best.value(b)
    for start in starts:
        one = Arranged(a, first)
        if isinstance(start, list):
            one.begin(start)
        settle(network, one, b, forward=start == "inputs")
        settled = one.value(b)
        better = settled > value
        value = np.where(better, settled, value)
        best.take(one, better)
    nan = np.where(finite[i] & finite[j], 0, np.nan)
    left, before = (
        np.sqrt(np.maximum(square[i] + square[j] - 2 * product, 0)) + nan
        for product in (value, plain)
    )
    return best.order, best.sign, left, before
