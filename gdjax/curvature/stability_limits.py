"""Stability limits of optimizers on a quadratic, and their preconditioners.

    w_{t+1} = w_t - eta P^-1 m_t,   stable on a quadratic while lambda_max(P^-1 H) is below a limit

The optimizer divides its steps by the diagonal P, which is held fixed. P is 1 for gradient descent;
for RMSProp and Adam it follows from the average of squared gradients in the optimizer's state (see
`preconditioner`). If P is not held fixed, an adaptive optimizer stays bounded on a quadratic at any
learning rate, since its P grows with the gradient.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, PyTree

from gdjax.base.arguments import check_numbers, is_traced
from gdjax.base.errors import GdjaxError, InputError
from gdjax.base.limits import Positive

# Optimizers that divide updates by the root of an average of squared gradients; P = 1 otherwise.
ADAPTIVE = (optax.rmsprop, optax.adam, optax.adamw)
PROBES = 5  # number of steps of a probe
TOLERANCE = 2e-5  # of the updates of a linear rule, relative to its largest; float32 rounds them
SIZE = 1e10  # of probes in units of a held average, whose squares are then above 0
AFTER = 2**30  # number of steps after which averages need no correction of their bias


def stability_threshold(
    learning_rate: ArrayLike | Callable, make_optimizer: Callable = optax.sgd
) -> Float[Array, "..."]:
    """Return the largest eigenvalue of P^-1 H at which an optimizer is stable.

    The optimizer is known by what it computes: a few steps are taken for given gradients, with
    averages of squared gradients held fixed. If an update is -P^-1 (k g_t + c g_{t-1} + c b g_{t-2}
    + ...) - d eta w, where b, c and k are any numbers, the limit is that of this recurrence.
    Otherwise, as for sign descent, an error says that the limit is not known. For Optax's rules it
    is

        SGD, RMSProp:  2 / eta
        heavy ball:    (2 + 2 b) / eta
        Adam:          (2 + 2 b1) / ((1 - b1) eta)
        AdamW:         (2 - d eta) (1 + b1) / ((1 - b1) eta)

    Nesterov's momentum divides these limits by 1 + 2 b, or by 1 + 2 b1 for Adam and AdamW, if this
    momentum is above -1/3. For -1 < b <= -1/3 the eigenvalues of a step leave the unit circle as a
    complex pair instead, whose product b (1 - eta lambda) reaches 1 at (1 - 1 / b) / eta, divided
    by 1 - b1 for Adam.

    The conventions are those of Optax: heavy ball sums gradients, v <- b v + g, and Adam averages
    them, with m <- b1 m + (1 - b1) g. The decay d of AdamW is not divided by P. For gradient
    descent and momentum P is 1 as well, so the limit applies to the sharpness itself. For
    `gdjax.descent.non_euclidean_descent` the limit is 2 / eta and applies to the generalized
    sharpness in its norm (see `generalized_sharpness`).

    Args:
        learning_rate: learning rate eta > 0, of any shape. Traced values are not validated.
        make_optimizer: factory of an optimizer, as for `sweep`, such as `optax.adam`, a
            `functools.partial` of it, or a function of the learning rate.

    Returns:
        The threshold, in the shape to which the learning rate and the settings broadcast; NaN
        where it is not known and values are traced.

    Examples:
        With a learning rate of 0.5, gradient descent is stable up to a curvature of 4:

        >>> import optax
        >>> float(stability_threshold(0.5))
        4.0
        >>> float(stability_threshold(0.1, partial(optax.sgd, momentum=0.9)))
        38.0
        >>> float(stability_threshold(0.1, partial(optax.sgd, momentum=-0.5)))
        10.0
        >>> float(stability_threshold(0.1, partial(optax.sgd, momentum=0.5, nesterov=True)))
        15.0
        >>> adam = optax.scale_by_adam()
        >>> rule = lambda rate: optax.chain(adam, optax.scale_by_learning_rate(rate))
        >>> float(stability_threshold(0.1, rule))
        380.0

    References: Cohen et al. 2021, arXiv 2103.00065; Cohen et al. 2022, *Adaptive Gradient Methods
    at the Edge of Stability*, arXiv 2207.14484.
    """
    remedy = "; of a schedule pass the value at one step, such as schedule(step)"
    check_numbers("stability_threshold: learning_rate", learning_rate, Positive, remedy=remedy)
    rate = jnp.asarray(learning_rate, float)
    k, c, b, keep, is_known = _recurrence(rate, make_optimizer)
    # z^2 + z (q k - keep - b) + keep b + q (c - k b) has a root of size 1 at these q.
    tiny = jnp.finfo(k.dtype).tiny
    real = (1 + keep) * (1 + b) / jnp.maximum(k * (1 + b) - c, tiny)
    slope = jnp.where(c == k * b, tiny, c - k * b)
    pair = (jnp.sign(slope) - keep * b) / slope
    return jnp.where(is_known, jnp.minimum(real, pair), jnp.nan)


def _recurrence(rate, make_optimizer):
    """Return k, c, b of updates -(k g_t + c sum_i b^i g_{t-1-i}) / P, 1 - d, whether it is known.

    d is the share of the parameters that a step subtracts. Updates are functions of gradients and
    parameters, all in units of P, which are probed with an impulse of each and with both together.
    """
    try:
        optimizer = _made(make_optimizer, rate)
        impulse, none = (1.0, *[0.0] * (PROBES - 1)), (0.0,) * PROBES
        to_gradient = _updates(optimizer, impulse, none, 1.0)
        to_params = _updates(optimizer, none, impulse, 1.0)
        g, w = (0.6, -1.0, 0.3, 0.5, -0.2), (0.7, -0.4, 0.2, 0.9, -0.5)
        both = _updates(optimizer, g, w, 4.0)
    except Exception as error:  # any error of the function, and of a rule that needs more
        raise _unknown(make_optimizer) from error
    k, c, after = to_gradient[:3]
    b = jnp.where(c == 0, 0, after / jnp.where(c == 0, 1, c))
    decay = to_params[0]
    expected = [k, *(c * b**i for i in range(PROBES - 1))]
    errors = [expected[i] - to_gradient[i] for i in range(PROBES)]
    errors += to_params[1:]
    errors += [
        sum(expected[i] * g[t - i] for i in range(t + 1)) + decay * w[t] - both[t]
        for t in range(PROBES)
    ]
    size = jnp.maximum(jnp.abs(k), jnp.abs(c))
    is_linear = reduce(jnp.maximum, map(jnp.abs, errors)) <= TOLERANCE * jnp.maximum(size, decay)
    is_linear &= (size > 0) & (k * (1 - b) + c > 0)
    is_known = is_linear & (jnp.abs(b) < 1) & (decay >= 0) & (decay <= 2)
    if is_traced(is_known) or jnp.all(is_known):
        return k, c, b, 1 - decay, is_known
    if not jnp.all(is_linear):
        raise _unknown(make_optimizer)
    if jnp.any(jnp.abs(b) >= 1):
        raise InputError(
            f"stability_threshold: make_optimizer = {make_optimizer!r:.80} multiplies the weight "
            f"of past gradients by {np.max(np.abs(b)):.6g} in each step, expected a momentum "
            f"between -1 and 1; for other values no step is stable"
        )
    raise InputError(
        f"stability_threshold: weight_decay * learning_rate = {np.max(decay):.6g}, expected a "
        f"number from 0 to 2, above which the decay alone is unstable; choose another weight_decay "
        f"or learning_rate"
    )


def _unknown(make_optimizer):
    return InputError(
        f"stability_threshold: make_optimizer = {make_optimizer!r:.80}, whose stability limit is "
        f"not known; expected a factory such as optax.adam, whose argument is the learning rate "
        f"and whose updates are linear in gradients, with a constant preconditioner, b1 below 1 "
        f"and no mask. Without momentum the limit of sign descent and Lion (norm = 'linf') and of "
        f"Muon ('spectral') and other steps of fixed length (scaled = False) is 2 / learning_rate "
        f"times the dual_norm of gd.curvature.generalized_sharpness(problem, params, norm, key=key)"
    )


def _made(make_optimizer, rate):
    """Return the optimizer at a learning rate, the first argument if none has its name."""
    parameters = inspect.signature(make_optimizer).parameters
    if "learning_rate" in parameters:
        return make_optimizer(learning_rate=rate)
    first = next(iter(parameters.values()))
    if first.default is not first.empty:
        raise TypeError("the learning rate is fixed")
    return make_optimizer(rate)


def _updates(optimizer, gradients, params, average):
    """Return minus the updates for gradients at params, both in units of P, a list of numbers.

    Averages of squared gradients are held at a value to which those of the probes add nothing, and
    at which the numbers that a rule adds to them or to their roots do not count.
    """
    zero = jnp.zeros(())
    held = average * (float(jnp.finfo(zero.dtype).max) / 1000)

    def update(state, g, w):
        update, state = optimizer.update(zero + g, _with_average(state, held), zero + w)
        averages = [part.nu for part in _states(state) if "nu" in part._fields]
        return update, state, jnp.sqrt(averages[0]) / SIZE if averages else 1.0, len(averages)

    state = optimizer.init(zero)
    _, _, unit, num_averages = update(state, 0, 0)
    size, updates = SIZE if num_averages else 1.0, []
    for g, w in zip(gradients, params, strict=True):
        step, state, root, _ = update(state, size * g, w / unit)
        updates.append(-step * root)
    return updates


def _with_average(state, held):
    """Return the state of an optimizer whose average of squared gradients, if any, has a value."""
    if isinstance(state, optax.MaskedState) or hasattr(state, "inner_states"):
        raise TypeError("parameters have different rules")
    if not isinstance(state, tuple | list):
        return state
    parts = [_with_average(part, held) for part in state]
    if not hasattr(state, "_fields"):
        return type(state)(parts)
    fields = dict(zip(state._fields, parts, strict=True))
    if "nu" in fields:
        fields["nu"] = jnp.full_like(fields["nu"], held)
        if "count" in fields:
            fields["count"] = jnp.full_like(fields["count"], AFTER)
    return type(state)(**fields)


def relative_stability(
    make_optimizer: Callable | None,
    arguments: Mapping[str, Any],
    sharpness: Float[np.ndarray, "*runs"],
) -> Float[np.ndarray, "*runs"]:
    """Return the sharpness relative to the stability limit of the optimizer; NaN if unknown.

    The limit is known for gradient descent with or without momentum. For adaptive optimizers, the
    result is NaN: their limits apply to the preconditioned Hessian, which depends on the state of
    the optimizer (`preconditioner`).

    Args:
        make_optimizer: factory of the optimizer; None if it is not known.
        arguments: arguments of the factory, such as the learning rate of each run.
        sharpness: largest eigenvalue of the Hessian.

    Examples:
        At a rate of 0.1, gradient descent is stable up to a sharpness of 20:

        >>> import optax
        >>> relative_stability(optax.sgd, {"learning_rate": 0.1}, np.array([5.0, 40.0])).tolist()
        [0.25, 2.0]
    """
    unknown = np.full(np.shape(sharpness), np.nan)
    factory = make_optimizer
    while isinstance(factory, partial):
        factory = factory.func
    if factory is not optax.sgd or make_optimizer is None:
        return unknown
    given = {**getattr(make_optimizer, "keywords", {}), **arguments}
    rate, rest = given.pop("learning_rate", None), given
    if rate is None or callable(rate):
        return unknown
    try:
        limit = stability_threshold(np.asarray(rate, float), partial(optax.sgd, **rest))
    except GdjaxError:  # such as a momentum of 1, for which no sharpness is stable
        return unknown
    return np.asarray(np.asarray(sharpness, float) / np.asarray(limit, float))


def preconditioner(make_optimizer: Callable) -> Callable[[PyTree], PyTree]:
    """Return a function from an optimizer's state to the P of its last step.

        Adam, AdamW:  P = (1 - b1^t) (sqrt(nu / (1 - b2^t) + eps_root) + eps)
        RMSProp:      P = sqrt(nu + eps),   or sqrt(nu) + eps without eps_in_sqrt

    Here nu is the average of squared gradients after t steps; with `bias_correction`, RMSProp's nu
    is divided by 1 - decay^t. Adam's P includes the bias corrections of both averages, so that the
    momentum is the uncorrected average m, to which `stability_threshold` applies.

    Args:
        make_optimizer: factory of an optimizer, as for `sweep`: Optax's `rmsprop`, `adam`, `adamw`,
            or a `functools.partial` of one, such as `partial(optax.adam, b2=0.99)`.

    Examples:
        >>> rule = optax.adam(0.1)
        >>> _, opt_state = rule.update(jnp.array([3.0, -4.0]), rule.init(jnp.zeros(2)))
        >>> preconditioner(optax.adam)(opt_state).round(3).tolist()
        [0.3, 0.4]
    """
    factory = make_optimizer
    while isinstance(factory, partial):
        factory = factory.func
    if factory not in ADAPTIVE:
        raise InputError(
            f"preconditioner: make_optimizer = {make_optimizer!r:.80}, expected optax.rmsprop, "
            f"adam or adamw, or functools.partial of one; for others use `Sharpness` without a "
            f"preconditioner"
        )
    settings = {name: p.default for name, p in inspect.signature(make_optimizer).parameters.items()}
    if settings.get("centered"):
        raise InputError("preconditioner: centered = True, expected RMSProp that is not centered")
    if factory is optax.rmsprop:
        mean_decay, square_decay = 0.0, settings["decay"] if settings["bias_correction"] else 0.0
        eps = settings["eps"]
        inside, outside = (eps, 0.0) if settings["eps_in_sqrt"] else (0.0, eps)
    else:
        mean_decay, square_decay = settings["b1"], settings["b2"]
        inside, outside = settings["eps_root"], settings["eps"]

    def preconditioner_of(opt_state):
        averages = [state for state in _states(opt_state) if "nu" in state._fields]
        if len(averages) != 1:
            raise InputError(
                f"preconditioner: the state has {len(averages)} averages of squared gradients, "
                f"expected exactly one, as in the states of optax.adam, optax.adamw and "
                f"optax.rmsprop"
            )
        (state,) = averages
        mean = square = 1.0
        if "count" in state._fields:
            t = jnp.asarray(state.count, float)
            # Before the first step P is NaN, from 0 / 0.
            mean, square = (1 - jnp.power(b, t) for b in (mean_decay, square_decay))
        return jax.tree.map(
            lambda nu: (mean * (jnp.sqrt(nu / square + inside) + outside)).astype(nu.dtype),
            state.nu,
        )

    return preconditioner_of


def _states(opt_state):
    """Yield the named parts of an optimizer's state, at any depth."""
    if hasattr(opt_state, "_fields"):
        yield opt_state
    if isinstance(opt_state, tuple | list):
        for part in opt_state:
            yield from _states(part)
