"""Weight decay that an optimizer adds to the gradient of the cost.

    w_{t+1} = w_t - rate (g_t + d w_t):   fixed points are minima of C + d |w|^2 / 2, not of C

Decay that is added before or after the momentum of gradient descent has such a cost. The decay of
AdamW is not divided by its preconditioner, so that its fixed points are minima of no cost.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from gdjax.base.errors import InputError, warn
from gdjax.minima.finished_runs import FinishedRuns

STEADY = 1000  # number of steps after which the update for a constant gradient has settled
BISECTIONS = 60  # number of halvings of the range of log d
DECAYS = (1e-12, 1e4)  # smallest and largest d that is found
VANISHES = 1e-6  # largest update at the fixed point, relative to that without a gradient


def optimizer_decay(
    make_optimizer: Callable, arguments: Mapping[str, Any], params: PyTree
) -> list[float] | None:
    """Return the decay d of each leaf for which an optimizer minimizes C + d |leaf|^2 / 2.

    At a fixed point of the descent, the update for the gradient -d params is 0. The coefficients d
    are found by bisection. They are 0 for an optimizer that leaves the parameters where the
    gradient is 0.

    Returns:
        None if no d makes the update vanish, as for AdamW, whose fixed points are minima of no
        cost.

    Examples:
        >>> import optax
        >>> def sgdw(learning_rate):
        ...     return optax.chain(optax.add_decayed_weights(0.01), optax.sgd(learning_rate))
        >>> [round(d, 6) for d in optimizer_decay(sgdw, {"learning_rate": 0.1}, jnp.ones(3))]
        [0.01]
        >>> optimizer_decay(optax.adamw, {"learning_rate": 0.1}, jnp.ones(3)) is None
        True
    """
    with jax.enable_x64(True):
        rule = make_optimizer(**arguments)
        leaves, tree = jax.tree.flatten(params)
        # Different numbers, since an update that has one size for all numbers is no linear decay.
        leaves = [
            jnp.asarray(np.linspace(0.5, 2.0, max(np.size(leaf), 1))[: np.size(leaf)]).reshape(
                np.shape(leaf)
            )
            for leaf in leaves
        ]
        point = tree.unflatten(leaves)
        still = jax.tree.map(jnp.zeros_like, point)
        if not any(map(np.any, jax.tree.leaves(rule.update(still, rule.init(point), point)[0]))):
            return [0.0] * len(leaves)

        def settled(decay):
            gradient = tree.unflatten([-d * leaf for d, leaf in zip(decay, leaves, strict=True)])

            def step(_, carry):
                return rule.update(gradient, carry[1], point)

            return jax.tree.leaves(
                jax.lax.fori_loop(0, STEADY, step, rule.update(gradient, rule.init(point), point))[
                    0
                ]
            )

        def bisect(_, bounds):
            low, high = bounds
            middle = (low + high) / 2
            pulls = [jnp.sum(u * p) for u, p in zip(settled(jnp.exp(middle)), leaves, strict=True)]
            is_below = jnp.stack(pulls) < 0  # the parameters still shrink
            return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

        @jax.jit
        def solve():
            ends = (jnp.full(len(leaves), np.log(end)) for end in DECAYS)
            low, high = jax.lax.fori_loop(0, BISECTIONS, bisect, tuple(ends))
            decay = jnp.where(low > np.log(DECAYS[0]), jnp.exp((low + high) / 2), 0)
            before, after = settled(jnp.zeros(len(leaves))), settled(decay)
            size = [jnp.max(jnp.abs(u), initial=0.0) for u in before]
            rest = [jnp.max(jnp.abs(u), initial=0.0) for u in after]
            return decay, jnp.stack(size), jnp.stack(rest)

        decay, size, rest = map(np.asarray, solve())
    return decay.tolist() if np.all(rest <= VANISHES * size.max()) else None


def cost_of_descent(
    ended: FinishedRuns, index: np.ndarray, params: PyTree
) -> tuple[float, ...] | None:
    """Return the decay of each leaf that the optimizer of some runs adds; None without any.

    Args:
        ended: all runs.
        index: numbers of the runs, whose optimizers must add the same decay.
        params: end points of these runs.
    """
    if ended.make_optimizer is None:
        return None
    one = jax.tree.map(lambda leaf: leaf[0], params)
    decays = set()
    for row in {tuple(v[i].item() for v in ended.optimizer.values()) for i in index}:
        arguments = dict(zip(ended.optimizer, row, strict=True))
        try:
            decay = optimizer_decay(ended.make_optimizer, arguments, one)
        except Exception:  # optimizers that need more than gradient and parameters
            return None
        if decay is None:
            raise InputError(
                f"count_minima: the optimizer adds weight decay that the cost lacks, and no cost "
                f"has minima where its update is 0, as with decoupled decay under a "
                f"preconditioner ({arguments}). Put the decay into the cost and use an optimizer "
                f"without it, such as optax.adam, or count minima of the bare cost near the ends: "
                f"count_minima(problem, gd.params_of(runs, ...), key=key)"
            )
        decays.add(tuple(float(f"{d:.6g}") for d in decay))
    if len(decays) > 1:
        raise InputError(
            f"count_minima: the optimizer adds different weight decays to the cost of these runs: "
            f"{sorted(decays)!r:.80}; choose one by at={{...}}, or count them separately by=..."
        )
    (decay,) = decays
    if not any(decay):
        return None
    warn(
        f"count_minima: the optimizer adds weight decay {max(decay):.3g} that the cost lacks; its "
        f"descents minimize cost + {max(decay) / 2:.3g} |params|^2, whose minima are counted"
    )
    return decay
