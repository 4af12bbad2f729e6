"""Optax optimizers, compared with loops that pass their arguments by hand."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from gdjax.base.errors import InputError
from gdjax.descent.step import init, step

SGD, NUDGE = optax.sgd(0.1), optax.chain(contrib.normalize(), optax.sgd(0.01))
START = {"w": jnp.array([[1.0, -2.0, 0.5], [0.3, 0.2, -1.0]]), "b": jnp.array([0.5, -0.5])}
WEIGHTS, BIASES = {"w": True, "b": False}, {"w": False, "b": True}

WITH_A_RATE = (
    *("adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adamw"),
    *("adan", "amsgrad", "fromage", "lamb", "lars", "lion", "nadam", "nadamw", "novograd"),
    *("optimistic_adam_v2", "optimistic_gradient_descent", "radam", "rmsprop"),
    *("rprop", "sgd", "sign_sgd", "signum", "sm3", "yogi"),
    *("acprop", "ademamix", "adopt", "galore", "madgrad", "muon", "schedule_free_adamw"),
    *("schedule_free_sgd", "simplified_ademamix", "sophia"),
)
OPTIMIZERS = {
    "lbfgs": optax.lbfgs(),
    "noisy_sgd": optax.noisy_sgd(0.05, key=0),
    "polyak_sgd": optax.polyak_sgd(),
    "cocob": contrib.cocob(),
    "dadapt_adamw": contrib.dadapt_adamw(),
    "dog": contrib.dog(1.0),
    "dowg": contrib.dowg(1.0),
    "mechanize": contrib.mechanize(SGD),
    "momo": contrib.momo(),
    "momo_adam": contrib.momo_adam(),
    "prodigy": contrib.prodigy(),
    "reduce_on_plateau": optax.chain(SGD, contrib.reduce_on_plateau()),
    "sam": contrib.sam(SGD, NUDGE),
    "sam, opaque": contrib.sam(SGD, NUDGE, opaque_mode=True),
    "sam, chained": optax.chain(optax.clip(1.0), contrib.sam(SGD, NUDGE)),
    "schedule_free": contrib.schedule_free(SGD, 0.1),
    "split_real_and_imaginary": contrib.split_real_and_imaginary(SGD),
    "multi_transform": optax.multi_transform(
        {"plain": SGD, "adam": optax.adam(0.05)}, {"w": "plain", "b": "adam"}
    ),
    "masked": optax.chain(optax.masked(SGD, WEIGHTS), optax.masked(optax.set_to_zero(), BIASES)),
    "MultiSteps": optax.MultiSteps(SGD, 2).gradient_transformation(),
    "backtracking": optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(15)),
    "inject_hyperparams": optax.inject_hyperparams(optax.sgd)(learning_rate=0.1),
    "apply_every": optax.chain(optax.apply_every(2), SGD),
    **{name: getattr(optax, name, getattr(contrib, name, None))(0.05) for name in WITH_A_RATE},
}


def cost(p):
    target = jnp.array([[0.2, 0.1, -0.3], [1.0, 0.5, 0.2]])
    return jnp.sum((p["w"] - target) ** 2 * jnp.array([[1.0, 3.0, 0.5]])) + jnp.sum(p["b"] ** 2)


def descended(optimizer, num_steps):
    """Return the parameters after some steps."""
    advance = lambda t, state: step(cost, optimizer, state, step=t)[0]  # noqa: E731
    return jax.lax.fori_loop(0, num_steps, advance, init(optimizer, START)).params


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:`params` has no attribute")
def test_every_optimizer_decreases_the_cost():
    costs = jax.jit(lambda: {name: cost(descended(rule, 60)) for name, rule in OPTIMIZERS.items()})
    result = {name: float(value) for name, value in costs().items()}
    assert {name for name, value in result.items() if not value < cost(START)} == set()


def test_every_optimizer_of_optax_is_tested_or_excluded_with_a_reason():
    aliases = {
        name
        for module in (optax, contrib)
        for name, created in vars(module).items()
        if inspect.isfunction(created)
        and "learning_rate" in inspect.signature(created).parameters
        and not name.startswith(("scale_by", "_"))
    }
    # The first one is deprecated, and the other needs a gradient per sample.
    assert aliases - OPTIMIZERS.keys() == {"optimistic_adam", "dpsgd"}


@pytest.mark.parametrize("reason", ["unsupported operand", "missing 1 required"])
def test_an_update_that_fails_is_not_called_again_with_fewer_arguments(reason):
    """An update with a TypeError of its own where it uses the value, and one without a value."""

    def update(updates, state, params=None, *, value=None, **extra):
        return (updates if value is None else value + "a"), state

    def without_names(updates, state, params, other, **extra):
        return updates, state

    made = optax.GradientTransformationExtraArgs(
        SGD.init, update if "operand" in reason else without_names
    )
    with pytest.raises(InputError, match=f"optimizer: its update failed: TypeError: .*{reason}"):
        step(cost, made, init(made, START))


def test_an_update_gets_what_its_signature_declares():
    def update(updates, state, params=None, *, value):
        return jax.tree.map(lambda g: -value * g, updates), state

    for kind in (optax.GradientTransformation, optax.GradientTransformationExtraArgs):
        made = kind(optax.identity().init, update)
        state, info = step(cost, made, init(made, START))
        expected = START["b"] - info.cost * info.gradient["b"]
        np.testing.assert_allclose(state.params["b"], expected, rtol=1e-6)


EXTRA_ARGUMENTS = {
    "sam, opaque": ("grad_fn",),
    "sophia": ("obj_fn",),
    **dict.fromkeys(("lbfgs", "backtracking"), ("value", "grad", "value_fn")),
    **dict.fromkeys(("polyak_sgd", "reduce_on_plateau"), ("value",)),
    **dict.fromkeys(("adam", "adamw", "adagrad", "rmsprop", "lion", "lamb", "adafactor"), ()),
    **dict.fromkeys(("sam", "schedule_free_sgd", "noisy_sgd", "inject_hyperparams", "muon"), ()),
    **dict.fromkeys(("prodigy", "multi_transform", "MultiSteps", "masked"), ()),
}


@pytest.mark.long
def test_steps_equal_those_of_loops_that_pass_the_required_arguments():
    """One program compares `step` with a hand-written loop for each optimizer."""

    def by_hand(optimizer, names):
        def body(_, carry):
            w, memory = carry
            value, gradient = jax.value_and_grad(cost)(w)
            every = {
                "value": value,
                "grad": gradient,
                "value_fn": cost,
                "obj_fn": cost,
                "grad_fn": lambda w, _: jax.grad(cost)(w),
            }
            options = {name: every[name] for name in names}
            updates, memory = optimizer.update(gradient, memory, w, **options)
            return optax.apply_updates(w, updates), memory

        return jax.lax.fori_loop(0, 5, body, (START, optimizer.init(START)))[0]

    @jax.jit
    def both():
        return {
            name: (descended(OPTIMIZERS[name], 5), by_hand(OPTIMIZERS[name], names))
            for name, names in EXTRA_ARGUMENTS.items()
        }

    for name, (left, right) in both().items():
        for a, b in zip(*map(jax.tree.leaves, (left, right)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=name)
