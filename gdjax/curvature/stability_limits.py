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

from gdjax.base.arguments import is_traced, real_array
from gdjax.base.errors import GdjaxError, InputError
from gdjax.descent.norms import non_euclidean_descent

# Optimizers that divide updates by the root of an average of squared gradients; P = 1 otherwise.
ADAPTIVE = (optax.rmsprop, optax.adam, optax.adamw)
KNOWN = (optax.sgd, *ADAPTIVE)

# Conditions on settings: what is expected, and whether a value meets it.
POSITIVE = ("a number above 0", lambda x: x > 0)
NOT_NEGATIVE = ("a number >= 0", lambda x: x >= 0)
WITHIN_1 = ("a number between -1 and 1", lambda x: jnp.abs(x) < 1)


def stability_threshold(
    learning_rate: ArrayLike | Callable, make_optimizer: Callable = optax.sgd
) -> Float[Array, "..."]:
    """Return the largest eigenvalue of P^-1 H at which an optimizer is stable.

    On a quadratic cost the limits are

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
        make_optimizer: factory of an optimizer, as for `sweep`: Optax's `sgd`, `rmsprop`, `adam`,
            `adamw`, or a `functools.partial` of one, such as `optax.nadam` and `optax.nadamw`.

    Returns:
        The threshold, in the shape to which the learning rate and the settings broadcast.

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
        >>> float(stability_threshold(0.1, optax.adam))
        380.0

    References: Cohen et al. 2021, arXiv 2103.00065; Cohen et al. 2022, *Adaptive Gradient Methods
    at the Edge of Stability*, arXiv 2207.14484.
    """
    caller = "stability_threshold"
    rate = _as_floats(caller, "learning_rate", learning_rate, POSITIVE)
    limits, decay = _limits(caller, make_optimizer)
    shrinkage = decay * rate
    if not is_traced(shrinkage) and jnp.max(shrinkage, initial=0.0) > 2:
        raise InputError(
            f"{caller}: weight_decay * learning_rate = {jnp.max(shrinkage):.6g}, expected at most "
            f"2, above which the decay alone is unstable; choose a smaller weight_decay or "
            f"learning_rate"
        )
    return _smallest((k - slope * shrinkage) / rate for k, slope in limits)


def relative_stability(
    make_optimizer: Callable | None,
    arguments: Mapping[str, Any],
    sharpness: Float[np.ndarray, "*runs"],
) -> Float[np.ndarray, "*runs"]:
    """Return the sharpness relative to the stability limit of the optimizer; NaN if unknown.

    The limit is known for gradient descent with or without momentum. Those of adaptive optimizers
    apply to another matrix than the Hessian, which depends on their state (`preconditioner`).

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


def _smallest(values):
    return reduce(jnp.minimum, values)


def _limits(caller, make_optimizer):
    """Return (k, c) for each limit k / eta - c d of the eigenvalue, and the weight decay d.

    Error messages name the caller.
    """
    factory, settings = _known(caller, make_optimizer)
    if factory is non_euclidean_descent:
        if not settings["scaled"]:
            raise InputError(
                f"{caller}: scaled = False, expected True; the limit of steps of fixed length, 2 "
                f"|g|_* / learning_rate, depends on the gradient: |g|_* is the dual_norm of "
                f"gd.curvature.generalized_sharpness(problem, params, norm, key=key)"
            )
        return [(2.0, 0.0)], 0.0
    averaged = factory in (optax.adam, optax.adamw)
    name = "b1" if averaged else "momentum"
    # At an absolute value of 1 or more, past gradients never decay, and no curvature is stable.
    b = _as_floats(caller, name, 0.0 if settings[name] is None else settings[name], WITHIN_1)
    if settings.get("mask") is not None:
        raise InputError(
            f"{caller}: mask = {settings['mask']!r:.80}, expected None; with a mask the limit of "
            f"some parameters is another: leave it out, with weight_decay=0 for those without decay"
        )
    decay = _as_floats(caller, "weight_decay", settings.get("weight_decay", 0.0), NOT_NEGATIVE)
    weight = 1 - b if averaged else 1.0  # of a new gradient
    k = (2 + 2 * b) / weight
    if not settings["nesterov"]:
        return [(k, k / 2)], decay
    # One eigenvalue of a step reaches -1, or a complex pair reaches the unit circle.
    can_reach = b > -0.5
    real = k / jnp.where(can_reach, 1 + 2 * b, 1)
    pair = jnp.where(b < 0, 1 - 1 / jnp.where(b < 0, b, -1), jnp.inf) / weight
    real, slope = jnp.where(can_reach, real, jnp.inf), jnp.where(can_reach, real / 2, 0)
    return [(real, slope), (pair, 1 / weight)], decay


def _as_floats(caller, name, value, condition):
    """Return a setting as an array of floats; traced values are not validated."""
    expected, is_valid = condition
    if not is_traced(value):
        array = real_array(value)
        if array is None or not np.all(np.isfinite(array) & is_valid(array)):
            raise InputError(
                f"{caller}: {name} = {value!r:.80}, expected {expected}; for other values no step "
                f"is stable, and of a schedule pass the value at one step, such as schedule(step)"
            )
    return jnp.asarray(value, float)


def _known(caller, make_optimizer):
    """Return the factory inside `functools.partial` objects, and its settings with defaults."""
    factory = make_optimizer
    while isinstance(factory, partial):
        factory = factory.func
    if factory not in (*KNOWN, non_euclidean_descent):
        raise InputError(
            f"{caller}: make_optimizer = {make_optimizer!r:.80}, whose stability limit is not "
            f"known; expected one of optax's {', '.join(rule.__name__ for rule in KNOWN)}, or "
            f"functools.partial of one. Without momentum the limit of sign descent and Lion "
            f"(norm = 'linf') and of Muon ('spectral') is 2 / learning_rate times the dual_norm of "
            f"gd.curvature.generalized_sharpness(problem, params, norm, key=key)"
        )
    try:
        parameters = inspect.signature(make_optimizer).parameters
    except ValueError:  # a partial function with an argument that the factory does not accept
        parameters = {}
    if "learning_rate" not in parameters:
        raise InputError(
            f"{caller}: make_optimizer = {make_optimizer!r:.80} fixes arguments by position or "
            f"others than those of the factory, expected its keywords, such as "
            f"functools.partial(optax.sgd, momentum=0.9)"
        )
    return factory, {name: p.default for name, p in parameters.items()}


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
    factory, settings = _known("preconditioner", make_optimizer)
    if factory not in ADAPTIVE:
        raise InputError(
            f"preconditioner: make_optimizer = {make_optimizer!r:.80} has no preconditioner; "
            f"use `Sharpness` without a preconditioner"
        )
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
