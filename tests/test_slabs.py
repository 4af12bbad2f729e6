"""Invariants of slabs and of compiled programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax import machine
from gdjax.errors import InputError
from gdjax.slabs import FAST_COMPILATION, Program, Slab, in_slabs, memory_limit, over_runs

DEVICES = tuple(jax.local_devices())


# -- slabs


@pytest.mark.parametrize(("width", "devices"), [(1, 1), (4, 1), (2, 2), (1, 4)])
def test_a_slab_of_runs_equals_a_loop_over_runs(width, devices):
    slab = Slab(width, DEVICES[:devices])
    run = {"w": np.linspace(-1, 1, slab.runs * 3, dtype=np.float32).reshape(-1, 3)}
    shared = np.array([1.0, 2.0, 3.0], np.float32)
    call = Program(over_runs(lambda r, s: (r["w"] * s, r["w"].sum()), slab, (0, None)))
    products, sums = call(slab.place(run), slab.share(shared))
    np.testing.assert_array_equal(products, run["w"] * shared)
    np.testing.assert_allclose(sums, run["w"].sum(axis=1), rtol=1e-6)


def test_all_slots_of_a_slab_give_bitwise_equal_results():
    slab = Slab(4, DEVICES[:2])
    weights = jax.random.normal(jax.random.key(0), (16, 16))
    w = jnp.broadcast_to(weights, (slab.runs, 16, 16))

    def chaotic(w, x):
        return jax.lax.fori_loop(0, 200, lambda _, x: jnp.sin(3 * w @ x), x)

    result = np.asarray(Program(over_runs(chaotic, slab, (0, None)))(slab.place(w), jnp.ones(16)))
    np.testing.assert_array_equal(result, np.broadcast_to(result[0], result.shape))


@pytest.mark.parametrize("count", [1, 6, 13])
def test_any_number_of_runs_can_be_computed_in_slabs(count):
    """Results are in the order of the runs, without the padding of the last slab."""
    slab = Slab(3, DEVICES[:2])

    def one(run, shift):
        key, x = run
        return {"moved": x + shift, "drawn": jax.random.uniform(key)}

    program = Program(over_runs(one, slab, (0, None)))
    keys = jax.random.split(jax.random.key(0), count)
    x = np.arange(2.0 * count, dtype=np.float32).reshape(count, 2)
    result = in_slabs(program, slab, (keys, x), slab.share((jnp.full(2, 10.0),)))
    np.testing.assert_array_equal(result["moved"], x + 10)
    np.testing.assert_array_equal(result["drawn"], jax.vmap(jax.random.uniform)(keys))
    assert len(program.compiled) == 1


def test_arrays_placed_on_devices_are_copies():
    slab = Slab(2, DEVICES[:2])
    call = Program(over_runs(lambda x: x + 1, slab, (0,)), donate=(0,))
    for user_defined in (jnp.arange(4.0), np.arange(4, dtype=np.float32)):
        placed = slab.place(user_defined)
        call(placed)
        assert placed.is_deleted()
        assert user_defined.tolist() == [0.0, 1.0, 2.0, 3.0]


# -- programs


def test_a_program_is_compiled_once_for_each_shape():
    traces = []

    def double(x):
        traces.append(x.shape)
        return 2 * x

    program = Program(double)
    for shape in [(3,), (3,), (4,), (3,)]:
        assert program(jnp.ones(shape)).tolist() == [2.0] * shape[0]
    assert traces == [(3,), (4,)]


def test_compilation_time_is_counted_once():
    program = Program(jnp.sin)
    assert program.seconds == 0
    program(jnp.ones(3))
    spent = program.seconds
    assert spent > 0
    program(jnp.ones(3))
    assert program.seconds == spent


def test_only_equal_programs_have_equal_hashes():
    x = jnp.ones(3)
    first, again, other = (Program(f) for f in (jnp.sin, jnp.sin, jnp.cos))
    assert first.compile(x).hash == again.compile(x).hash != other.compile(x).hash


def test_a_program_compiled_in_float32_is_not_used_in_float64():
    program = Program(lambda x: jnp.asarray(np.float64(1) / 3) * x)
    single = program(np.float32(1))
    with jax.enable_x64(True):
        double = program(np.float32(1))
    assert (single.dtype, double.dtype) == (jnp.float32, jnp.float64)


def test_a_program_compiled_in_advance_is_compiled_once():
    traced = []

    def third(x):
        traced.append(x.dtype)
        return x / 3

    program = Program(third)
    with jax.enable_x64(True):
        x = jnp.ones(2)
        program.ahead(jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding))
        assert program(x).tolist() == [1 / 3, 1 / 3]
        assert program.compile(x) is program.compile(x)
    assert traced == [jnp.float64]
    assert program.seconds > 0


def test_the_memory_limit_of_a_cpu_device_is_that_of_the_host():
    assert memory_limit(jax.local_devices(backend="cpu")[0]) == machine.memory()


@pytest.mark.long
def test_the_default_adjoint_of_diffrax_works_in_slabs_of_one_and_two_devices():
    """Diffrax's adjoint rejects arrays whose types `shard_map` has changed."""
    import diffrax

    def cost(w, y0):
        term = diffrax.ODETerm(lambda t, y, w: w * y)
        solution = diffrax.diffeqsolve(term, diffrax.Euler(), 0.0, 1.0, 0.5, y0, args=w)
        return jnp.sum(solution.ys)

    starts, y0 = jnp.arange(4.0), jnp.ones(1)
    result = []
    for devices in (jax.local_devices()[:1], jax.local_devices()[:2]):
        slab = Slab(2, tuple(devices))
        program = Program(over_runs(jax.grad(cost), slab, (0, None)))
        result.append(in_slabs(program, slab, starts, (slab.share(y0),)))
    np.testing.assert_array_equal(result[0], result[1])
    np.testing.assert_allclose(result[0], 1 + starts / 2, rtol=1e-6)  # derivative of (1 + w/2)^2


# -- LAPACK on several CPU devices


@pytest.mark.parametrize("call", [jnp.linalg.eigvalsh, jnp.linalg.svd, jnp.linalg.eigvals])
def test_computing_eigenvalues_on_several_cpu_devices_raises_an_error(call):
    many = Slab(1, DEVICES[:2])
    matrices = many.place(np.eye(20)[None].repeat(2, axis=0))
    with pytest.raises(InputError, match=r"2 CPU devices uses LAPACK.s eig.*local_devices"):
        Program(over_runs(call, many, (0,)))(matrices)
    one = Slab(2, DEVICES[:1])
    assert jax.tree.leaves(Program(over_runs(call, one, (0,)))(one.place(matrices)))
    for fine in (lambda a: a @ a, lambda a: jnp.linalg.qr(a)[0]):
        Program(over_runs(fine, many, (0,))).compile(matrices)


@pytest.mark.long
def test_random_numbers_do_not_depend_on_compiler_optimizations():
    def drawn(key):
        return jax.random.normal(key, (7, 5)), jax.random.truncated_normal(key, -1, 1, (9,))

    keys = jax.random.split(jax.random.key(0), 3)
    lowered = jax.jit(jax.vmap(drawn)).lower(keys)
    usual = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
    less, more = (lowered.compile(options)(keys) for options in (FAST_COMPILATION, usual))
    for a, b in zip(less, more, strict=True):
        assert np.array_equal(a, b)
