"""Programs lowered for accelerators, which must not call the host."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import optax
import pytest

import gdjax as gd
from gdjax.sweeps import Sweep
from gdjax.sweeps.program import programs_of

PLATFORMS = ("cuda", "tpu")
HOST = ("callback", "xla_python", "xla_ffi_python", "lapack_", "outfeed", "infeed")

SMALL = gd.Problem(
    init=lambda key: jax.random.normal(key, (40, 20)),
    cost=lambda w, x: jnp.mean(jnp.tanh(x @ w) ** 2) + 1e-3 * jnp.sum(w**2),
    data=jnp.ones((6, 40)),
    metrics={"norm": gd.Metric(lambda _, w: jnp.linalg.norm(w))},
)
W, KEY = jax.ShapeDtypeStruct((40, 20), jnp.float32), jax.random.key(0)


def of_a_point(function):
    """Return a program that calls a function above and below the dense limit."""
    few = lambda w: jnp.sum(jnp.cos(w)) + w[0] * w[1]  # noqa: E731

    def both(w, key):
        return function(SMALL, w, key=key), function(few, w[0, :5], key=key)

    return jax.jit(both), (W, KEY)


def block():
    """Return the block program of a sweep with mini-batches, and its arguments."""
    grid = gd.axes(learning_rate=[0.1, 0.2], seed=range(2))
    settings = {"make_optimizer": optax.adam, "batch_size": 2, "snapshot_every": 1}
    (program,) = programs_of(Sweep(SMALL, grid, 4, **settings), jax.local_devices()[:1])
    return program.descent.block.jitted, program.block_example(program.devices[0])


@pytest.mark.long
@pytest.mark.parametrize(
    "make",
    [
        block,
        lambda: of_a_point(gd.curvature.extreme_eigenpairs),
        lambda: of_a_point(gd.curvature.hessian_trace),
        lambda: of_a_point(gd.curvature.classify),
    ],
    ids=["block", "eigenpairs", "trace", "classify"],
)
def test_programs_for_accelerators_do_not_call_the_host(make):
    jitted, arguments = make()
    # Shardings refer to this machine, but the program is exported for one device of another.
    arguments = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype) if hasattr(a, "dtype") else a, arguments
    )
    exported = jax.export.export(jitted, platforms=PLATFORMS)(*arguments)
    text = exported.mlir_module()
    assert exported.platforms == PLATFORMS
    assert "stablehlo" in text
    assert [name for name in HOST if name in text] == []


def digits_block(runs, batch_size, own_orders):
    """Return the text of a block of digit networks, lowered for an accelerator."""
    seeds = {"data_seed" if own_orders else "seed": range(runs)}
    settings = {"batch_size": batch_size, "record_every": 10, "snapshot_every": 20}
    problem = gd.problems.digits("mnist5k")
    sweep = Sweep(problem, gd.axes(learning_rate=[0.1], **seeds), 20, **settings)
    (program,) = programs_of(sweep, jax.local_devices()[:1])
    program = dataclasses.replace(program, width=runs)
    example = program.block_example(program.devices[0])
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), example)
    return jax.export.export(program.descent.block.jitted, platforms=["cuda"])(
        *shapes
    ).mlir_module()


@pytest.mark.long
@pytest.mark.parametrize(("batch_size", "own_orders"), [(None, False), (32, False), (32, True)])
def test_an_accelerator_computes_all_runs_of_a_block_together(batch_size, own_orders):
    runs, more = 6, 7
    text, wider = (digits_block(n, batch_size, own_orders) for n in (runs, more))
    # A loop over runs would be an additional loop, or have products without an axis of runs.
    assert text.count("stablehlo.while") == wider.count("stablehlo.while")
    products = re.findall(r"stablehlo.dot_general.*-> tensor<([\dx]+)xf32>", text)
    assert len(products) > 5
    assert [shape for shape in products if not shape.startswith(f"{runs}x")] == []
    # A scatter that adds is a sum over samples or classes, which a product computes faster.
    # Scatters that replace values write one row of the records and snapshots.
    scatters = re.findall(r'"stablehlo.scatter".*?\}\) :', text, flags=re.DOTALL)
    assert scatters
    assert [scatter for scatter in scatters if "stablehlo.add" in scatter] == []
    assert [name for name in HOST if name in text] == []
