"""What gdjax knows of the inside of JAX, XLA and Optax, each with what happens if it changes.

Public functions of these libraries change with a notice, and what stands here in any version. It
was written for JAX 0.10 to 0.12 and Optax 0.2.8. `tests/base/test_internals.py` compares the names
with the programs that JAX makes. Names of public operations, such as `dot_general` and `scan`,
are written in the modules that read them. The text of programs compiled for another machine is
read in `sweeps/continued/absent_device.py`, for its numbers of kernels and bytes only.

>>> import jax, jax.numpy as jnp
>>> program = jax.make_jaxpr(jax.jit(lambda x: jnp.sum(jnp.tanh(x))))(jnp.ones(3)).jaxpr
>>> [equation.primitive.name for equation in equations(program)]
['jit', 'tanh', 'reduce_sum']
"""

import re
from collections.abc import Callable, Iterator, Mapping, Set
from types import MappingProxyType
from typing import Any

import jax
import optax

# Programs as data. `jax.extend` is not stable; without one of these names nothing can be traced,
# so that importing gdjax fails.
from jax.extend.core import (
    ClosedJaxpr,
    Jaxpr,
    Literal,
    Primitive,
    Var,
    jaxpr_as_fun,
    jaxprs_in_params,
)
from optax import contrib

from gdjax.base.errors import InputError

__all__ = [
    "ClosedJaxpr",
    "Jaxpr",
    "Literal",
    "Primitive",
    "Var",
    "jaxpr_as_fun",
    "jaxprs_in_params",
]

# Primitives, by the beginning of their names. If a name changes: a derivative rule is not found,
# so that functions which differ in their rules alone share programs; a print is not removed from
# checks; second derivatives through a custom_vjp end in JAX's error.
RULES = ("custom_jvp", "custom_vjp")
# Primitives whose effect on derivatives the text of a lowered program does not show.
HIDDEN = (*RULES, "custom_linear_solve", "stop_gradient")
PRINTS = ("debug_callback", "debug_print")  # primitives without results
# Parameters that hold the derivative rule of a primitive, a new function in each trace. If they
# are renamed, a rule is "of unknown source" in messages.
RULE_PARAMETERS = ("jvp_jaxpr_fun", "bwd")
NAMES = ("name", "debug_info")  # parameters and attributes without effect on results

# Settings that affect numerical results or compilation. Those that only change the text of a
# program are covered by its trace. A setting that JAX drops is an error: results may depend on the
# one that takes its place.
NUMERIC_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_threefry_gpu_kernel_lowering",
    "jax_random_seed_offset",
    "jax_use_simplified_jaxpr_constants",
    "jax_high_dynamic_range_gumbel",
    "jax_allow_f16_reductions",
    "jax_compiler_enable_remat_pass",
    "jax_disable_most_optimizations",
    "jax_memory_fitting_level",
    "jax_optimization_level",
    *(  # those that JAX had before 0.12
        name
        for name in ("jax_exec_time_optimization_effort", "jax_memory_fitting_effort")
        if name in jax.config.values
    ),
)
# Settings whose context managers apply to one thread only, so that other threads enter them anew.
THREAD_SETTINGS: Mapping[str, Callable[[Any], Any]] = MappingProxyType({
    "jax_enable_x64": jax.enable_x64,
    "jax_default_matmul_precision": jax.default_matmul_precision,
    "jax_numpy_dtype_promotion": jax.numpy_dtype_promotion,
    "jax_numpy_rank_promotion": jax.numpy_rank_promotion,
    "jax_default_prng_impl": jax.default_prng_impl,
    "jax_threefry_partitionable": jax.threefry_partitionable,
})  # fmt: skip
# Options of XLA for programs that run once: optimization level 1 of 3; at level 0, the last bits of
# results differ. An unknown option is an error of the compiler.
FAST_COMPILATION = {"xla_backend_optimization_level": 1}
# Calls of LAPACK in the text of a lowered program, of which one device at a time may wait for
# threads (see `slabs.concurrent_devices`). If they are renamed, two devices may deadlock; a test
# lowers each decomposition.
DECOMPOSITIONS = re.compile(r"\b(lapack_|blas_[a-z]trsm)")
# XLA flags that do not affect results, such as those of output and timeouts. All other flags are
# recorded, so that a new flag without effect only makes a record longer.
FLAGS_WITHOUT_EFFECT = re.compile(
    r"_(dump|dumping|log|logging|print|warn|timeout)(_|$)"
    r"|^xla_(force_host_platform_device_count|gpu_cuda_data_dir|hlo_profile)$"
)

_OPTAX = """
    adabelief adadelta adafactor adagrad adam adamax adamaxw adamw adan amsgrad fromage lamb lars
    lbfgs lion nadam nadamw noisy_sgd novograd optimistic_adam_v2 optimistic_gradient_descent
    polyak_sgd radam rmsprop rprop sgd sign_sgd signum sm3 yogi
"""
_CONTRIB = """
    acprop ademamix adopt cocob dadapt_adamw dog dowg madgrad momo momo_adam muon prodigy
    schedule_free_adamw schedule_free_sgd simplified_ademamix sophia
"""


def equations(program: Jaxpr) -> Iterator[Any]:
    """Return an iterator over the equations of a program, and those of its subprograms."""
    for equation in program.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


def subprograms(equation: Any) -> tuple[list[Jaxpr], slice]:
    """Return the inner programs that compute the results of an equation, and its carried inputs.

    The condition of a `while` gives no results. A `scan` has constants, what it carries, and arrays
    of which each iteration takes a row. If a parameter of `while` is renamed, a program seems to
    carry nothing, and the rounding of a loop is that of its first iteration.
    """
    params, inputs, results = equation.params, equation.invars, equation.outvars
    if "body_jaxpr" in params:  # while
        return [params["body_jaxpr"].jaxpr], slice(len(inputs) - len(results), None)
    programs = list(jaxprs_in_params(params))
    if equation.primitive.name != "scan":
        return programs, slice(0, 0)

    def rows(outer, inner):
        return sum(a.aval.ndim > b.aval.ndim for a, b in zip(outer, inner, strict=True))

    carried = len(results) - rows(results, programs[0].outvars)
    last = len(inputs) - rows(inputs, programs[0].invars)
    return programs, slice(last - carried, last)


def setting(name: str) -> Any:
    """Return the value of a setting of JAX in this thread.

    Examples:
        >>> setting("jax_disable_jit")
        False
    """
    try:  # some settings are attributes, and `read` returns the others
        return getattr(jax.config, name) if hasattr(jax.config, name) else jax.config.read(name)
    except AttributeError:
        raise InputError(
            f"jax {jax.__version__}: it has no setting {name}, on which results may depend; "
            f"expected a version that gdjax was tested with"
        ) from None


def optimizers(public: Any = optax, contributed: Any = contrib) -> dict[str, Any]:
    """Return the factories of Optax that a record of a sweep may name, those that exist."""
    modules = {"optax": (public, _OPTAX), "optax.contrib": (contributed, _CONTRIB)}
    return {
        f"{prefix}.{name}": getattr(module, name)
        for prefix, (module, names) in modules.items()
        for name in names.split()
        if hasattr(module, name)
    }


def others_than_prints(effects: Set[Any]) -> frozenset[Any]:
    """Return the effects of a program that are not those of prints, ordered or not."""
    return frozenset(e for e in effects if not type(e).__name__.endswith("DebugEffect"))


def has_custom_vjp(program: Jaxpr) -> bool:
    """Return whether a program contains a function with a custom_vjp, at any depth."""
    return any(e.primitive.name.startswith("custom_vjp_call") for e in equations(program))
