"""Layers taken in turn: the best order and signs of one, the others given, are an assignment.

    max_P sum_i |S_{i P(i)}|,   S_ij = products of the weights in and out of neurons i and j

>>> order, sign, total = assigned(np.array([[[0.0, -3.0], [2.0, 0.0]]]), flips=True)
>>> order.tolist(), sign.tolist(), total.tolist()
([[1, 0]], [[-1.0, 1.0]], [5.0])

Source: Ainsworth et al. 2022, *Git Re-Basin*, arXiv 2209.04836, section 3 (signs are ours).
"""

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from gdjax.minima.symmetry import FLIPS
from gdjax.problems.networks import Network

ROUNDS = 100  # every round makes it better, so this is never reached; a loop must have an end


class Arranged:
    """Networks with their hidden neurons in some order and signs, next to others.

    Args:
        behind: weights and bias of all layers but the first, of each network.
        first: products of the first layers' neurons, [pairs, of the other network, of this one].
    """

    def __init__(self, behind, first):
        widths = [layer.shape[2] - 1 for layer in behind]
        self.order = [np.tile(np.arange(n), (len(first), 1)) for n in widths]
        self.sign = [np.ones((len(first), n)) for n in widths]
        self.first = first.copy()
        self.behind = [layer.copy() for layer in behind]

    def begin(self, start):
        every = np.arange(len(self.first))
        for number, (order, sign) in enumerate(start):
            shape = (len(every), len(order))
            self.turn(number, every, np.broadcast_to(order, shape), np.broadcast_to(sign, shape))

    def turn(self, number, rows, order, sign):
        """Rearrange one layer of some of the pairs."""
        self.order[number][rows] = np.take_along_axis(self.order[number][rows], order, 1)
        self.sign[number][rows] = np.take_along_axis(self.sign[number][rows], order, 1) * sign
        if number:
            layer = self.behind[number - 1]
            layer[rows] = np.take_along_axis(layer[rows], order[..., None], 1) * sign[..., None]
        else:
            first = np.take_along_axis(self.first[rows], order[:, None], 2)
            self.first[rows] = first * sign[:, None]
        layer = self.behind[number]
        weights = np.take_along_axis(layer[rows][..., :-1], order[:, None], 2) * sign[:, None]
        layer[rows] = np.concatenate([weights, layer[rows][..., -1:]], axis=2)

    def take(self, other, where):
        """Become like another arrangement of the same networks, for some of them."""
        self.first[where] = other.first[where]
        for name in ("order", "sign", "behind"):
            for mine, theirs in zip(getattr(self, name), getattr(other, name), strict=True):
                mine[where] = theirs[where]

    def value(self, b):
        """The sum of products of all weights with those of the other networks."""
        total = np.trace(self.first, axis1=1, axis2=2)
        for ours, theirs in zip(self.behind, b, strict=True):
            total = total + np.sum(ours * theirs, axis=(1, 2))
        return total

    def into(self, b, number, rows):
        """Products of what goes into neuron i of b and neuron j of this: [pairs, i, j]."""
        if number == 0:
            return self.first[rows]
        return b[number - 1][rows] @ self.behind[number - 1][rows].swapaxes(1, 2)

    def out_of(self, b, number, rows):
        """The same for what goes out; the bias behind has no part in it."""
        ours, theirs = self.behind[number][rows], b[number][rows]
        return theirs[..., :-1].swapaxes(1, 2) @ ours[..., :-1]


def settle(network: Network, one: Arranged, b: list[np.ndarray], *, forward: bool) -> None:
    """Take layer after layer until nothing changes.

    Args:
        network: the layers of all.
        one: is rearranged.
        b: what it is laid over: weights and bias of all layers but the first, of each network.
        forward: whether in the first round each layer looks only at what goes in.
    """
    flips = network.activation in FLIPS
    active = np.arange(len(one.first))
    for turn in range(ROUNDS):
        changed = np.zeros(len(one.first), bool)
        for number in range(len(one.order)):
            S = one.into(b, number, active)
            if not (forward and turn == 0):
                S = S + one.out_of(b, number, active)
            order, sign, then = assigned(S, flips)
            now = np.trace(S, axis1=1, axis2=2)
            # More than rounding: two equal arrangements must not take turns for ever.
            size = np.max(np.abs(S), axis=(1, 2)) * S.shape[1]
            better = then > now + 1e-12 * size
            one.turn(number, active[better], order[better], sign[better])
            changed[active[better]] = True
        active = active[changed[active]]
        if not len(active):
            break


def assigned(
    S: Float[np.ndarray, "pairs n n"], flips: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which j goes to each place i, with which sign, and the sum of products: the largest.

    Args:
        S: products of what belongs to neuron i of one network and neuron j of the other.
        flips: whether signs can be chosen.
    """
    gain = np.abs(S) if flips else S
    order = np.array([linear_sum_assignment(one, maximize=True)[1] for one in gain])
    picked = np.take_along_axis(S, order[..., None], 2)[..., 0]
    sign = np.where(flips & (picked < 0), -1.0, 1.0)
    return order, sign, np.sum(picked * sign, axis=1)
