"""Tests that JAX and Optax are inside as `gdjax.base.internals` says."""

from pathlib import Path
from types import SimpleNamespace

import jax
import optax
import pytest

import gdjax
from gdjax import errors
from gdjax.base import internals, slabs


def with_rule(decorator, forward, backward):
    function = decorator(lambda x: 2 * x)
    function.defjvp(forward) if backward is None else function.defvjp(forward, backward)
    return function


def linear_solve(x):
    return jax.lax.custom_linear_solve(
        lambda v: 2 * v, x, lambda _, b: b / 2, lambda _, b: b / 2, symmetric=True
    )


CUSTOM_JVP = with_rule(jax.custom_jvp, lambda x, t: (2 * x[0], 2 * t[0]), None)
CUSTOM_VJP = with_rule(jax.custom_vjp, lambda x: (2 * x, None), lambda _, g: (2 * g,))
HIDDEN = (CUSTOM_JVP, CUSTOM_VJP, linear_solve)


def program_of(function, x=1.0):
    return jax.make_jaxpr(function)(x).jaxpr


@pytest.mark.parametrize(("name", "function"), list(zip(internals.HIDDEN, HIDDEN, strict=False)))
def test_hidden_primitives_have_these_names_at_any_depth(name, function):
    program = program_of(lambda x: jax.lax.scan(lambda c, _: (function(c), c), x, length=3))
    names = [equation.primitive.name for equation in internals.equations(program)]
    assert any(found.startswith(name) for found in names), names
    assert internals.has_custom_vjp(program) == (function is CUSTOM_VJP)


@pytest.mark.parametrize("function", [CUSTOM_JVP, CUSTOM_VJP])
def test_the_parameter_of_a_derivative_rule_has_one_of_these_names(function):
    (equation,) = program_of(function).eqns
    assert sum(name in equation.params for name in internals.RULE_PARAMETERS) == 1


@pytest.mark.parametrize("ordered", [True, False])
def test_prints_have_these_names_and_effects(ordered):
    def function(x):
        jax.debug.print("{}", x, ordered=ordered)
        jax.debug.callback(lambda x: None, x, ordered=ordered)
        return x

    program = program_of(function)
    assert {e.primitive.name for e in program.eqns} <= {*internals.PRINTS}
    assert program.effects
    assert not internals.others_than_prints(frozenset(program.effects))


@pytest.mark.parametrize(
    ("loop", "carried"),
    [
        (
            lambda x: jax.lax.while_loop(
                lambda c: c[0] < 9, lambda c: (c[0] + x, 2 * c[1]), (x, 1)
            ),
            2,
        ),
        (lambda x: jax.lax.scan(lambda c, _: (c + x, c), x, length=3), 1),
        (lambda x: jax.lax.cond(x > 0, lambda x: x, lambda x: -x, x), 0),
        (jax.jit(lambda x: x + 1), 0),
    ],
)
def test_inputs_that_a_loop_carries_are_found(loop, carried):
    equation = next(e for e in program_of(loop).eqns if internals.subprograms(e)[0])
    programs, carry = internals.subprograms(equation)
    assert len(equation.invars[carry]) == carried
    assert all(len(program.outvars) == len(equation.outvars) for program in programs)


def test_a_setting_is_read_and_an_unknown_one_is_an_error():
    with jax.default_matmul_precision("highest"):
        assert internals.setting("jax_default_matmul_precision") == "highest"
    with pytest.raises(errors.InputError, match="it has no setting jax_no_such"):
        internals.setting("jax_no_such")


def test_programs_compiled_with_other_optimizations_differ():
    before = slabs.compiled_config()
    name = "jax_disable_most_optimizations"
    is_disabled = internals.setting(name)
    jax.config.update(name, not is_disabled)
    try:
        assert slabs.compiled_config() != before
    finally:
        jax.config.update(name, is_disabled)


def test_an_optimizer_that_optax_lacks_is_absent_from_the_list():
    assert len(internals.optimizers()) > 40
    some = internals.optimizers(SimpleNamespace(sgd=optax.sgd), SimpleNamespace())
    assert some == {"optax.sgd": optax.sgd}


def test_no_other_module_imports_internals_of_jax():
    files = Path(gdjax.__file__).parent.rglob("*.py")
    found = {path.name for path in files if "jax.extend" in path.read_text()}
    assert found == {"internals.py"}
