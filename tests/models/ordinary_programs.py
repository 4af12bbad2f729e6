"""Costs as users write them: solvers, callbacks, rules, control flow and model libraries.

`PROGRAMS` has a function for each, which returns a new problem as in a new session.
"""

from collections.abc import Callable
from functools import partial

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optax
import optimistix as optx
from jax.experimental import sparse

import gdjax as gd

PROGRAMS: dict[str, Callable[[], gd.Problem]] = {}
OPTIMIZERS: dict[str, Callable] = {}
X = np.linspace(-1, 1, 12, dtype=np.float32)


def problem(cost, data=None, start=None, **fields):
    start = jnp.array([0.7, -0.4, 0.9]) if start is None else start
    return gd.Problem(init=lambda key: start, cost=cost, data=data, **fields)


def of_w(function):
    """Register a cost of three numbers without data."""
    PROGRAMS[function.__name__] = lambda: problem(partial(function))
    return function


def program(function):
    """Register a function that returns a problem."""
    PROGRAMS[function.__name__] = function
    return function


def solve(w, adjoint=None):
    options = {} if adjoint is None else {"adjoint": adjoint}

    def end(y):
        term = dfx.ODETerm(lambda t, y, a: -a * y)
        solution = dfx.diffeqsolve(term, dfx.Tsit5(), 0.0, 1.0, 0.1, y, args=w[0], **options)
        return solution.ys[-1]

    return jnp.mean((jax.vmap(end)(jnp.arange(1.0, 4.0)) - 1) ** 2)


ADJOINTS = {
    "recursive_adjoint": dfx.RecursiveCheckpointAdjoint,
    "direct_adjoint": dfx.DirectAdjoint,
    "backsolve_adjoint": dfx.BacksolveAdjoint,
}
PROGRAMS["diffrax"] = lambda: problem(partial(solve))
for name, adjoint in ADJOINTS.items():
    PROGRAMS[name] = lambda adjoint=adjoint: problem(lambda w: solve(w, adjoint()))


@of_w
def root_find(w):
    solver = optx.Newton(rtol=1e-4, atol=1e-4)
    return optx.root_find(lambda y, a: y**3 + y - a, solver, jnp.array(0.5), w[0]).value ** 2


@of_w
def least_squares(w):
    solver = optx.LevenbergMarquardt(rtol=1e-4, atol=1e-4)
    residual = lambda y, a: jnp.stack([y - a, y**2])  # noqa: E731
    return optx.least_squares(residual, solver, jnp.array(0.5), w[0]).value ** 2


@of_w
def minimise(w):
    solver = optx.BFGS(rtol=1e-4, atol=1e-4)
    return optx.minimise(lambda y, a: (y - a) ** 2, solver, jnp.array(0.5), w[0]).value ** 2


@of_w
def deep_equilibrium(w):
    solver = optx.FixedPointIteration(rtol=1e-4, atol=1e-4)
    return jnp.sum(optx.fixed_point(lambda z, a: jnp.tanh(0.5 * z + a), solver, w, w).value ** 2)


@of_w
def conjugate_gradients(w):
    operator = lx.FunctionLinearOperator(
        lambda v: (1 + w[0] ** 2) * v, jax.eval_shape(lambda: w), lx.positive_semidefinite_tag
    )
    return jnp.sum(lx.linear_solve(operator, w, lx.CG(rtol=1e-5, atol=1e-5)).value ** 2)


@of_w
def custom_root(w):
    root = jax.lax.custom_root(
        lambda x: x**3 + x - w[0], jnp.array(0.5),
        lambda f, x: jax.lax.fori_loop(0, 9, lambda _, x: x - f(x) / 3, x),
        lambda g, y: y / g(jnp.ones(())),
    )  # fmt: skip
    return root**2


@of_w
def local_rule(w):
    @jax.custom_jvp
    def square(x):
        return x**2

    square.defjvp(lambda x, t: (square(*x), 2 * x[0] * t[0]))
    return jnp.sum(square(w))


@of_w
def local_reverse_rule(w):
    @jax.custom_vjp
    def clipped(x):
        return x

    clipped.defvjp(lambda x: (clipped(x), None), lambda _, g: (jnp.clip(g, -1, 1),))
    return jnp.sum(clipped(w) ** 2)


@of_w
def straight_through(w):
    return jnp.sum((w + jax.lax.stop_gradient(jnp.round(w) - w) - 0.2) ** 2)


@of_w
def checkpoint(w):
    return jnp.sum(jax.checkpoint(lambda x: jnp.sin(jnp.sin(x)))(w))


@of_w
def checkpoint_policy(w):
    policy = jax.checkpoint_policies.save_only_these_names("inner")
    return jnp.sum(jax.checkpoint(lambda x: jnp.sin(x) ** 2, policy=policy)(w))


@of_w
def local_policy(w):
    policy = lambda *_, **__: True  # noqa: E731
    return jnp.sum(jax.checkpoint(lambda x: jnp.tanh(x) ** 2, policy=policy)(w))


@of_w
def scan(w):
    step = lambda carry, x: (0.9 * carry + x * w, carry)  # noqa: E731
    return jnp.sum(jax.lax.scan(step, w, jnp.arange(3.0))[0] ** 2)


@of_w
def cond_and_switch(w):
    branches = [lambda x: x**2, lambda x: 2 * x**2]
    return jax.lax.cond(w[0] > 0, lambda x: x**2, jnp.abs, w[0]) + jax.lax.switch(
        jnp.int32(w[1] > 0), branches, w[1]
    )


@of_w
def loops(w):
    return jnp.sum(jax.lax.fori_loop(0, 3, lambda i, x: x - 0.1 * x**3, w) ** 2)


@of_w
def associative_scan(w):
    return jnp.sum(jax.lax.associative_scan(lambda a, b: a * b + a, w) ** 2)


@of_w
def compile_time_arrays(w):
    with jax.ensure_compile_time_eval():
        basis = jnp.arange(3.0) + 1
    return jnp.sum((basis * w) ** 2)


@of_w
def pure_callback(w):
    seen = jax.pure_callback(
        lambda x: np.float32(x) * 2, jax.eval_shape(lambda: w), jax.lax.stop_gradient(w),
        vmap_method="expand_dims",
    )  # fmt: skip
    return jnp.sum(w**2 + 0 * seen)


@of_w
def numpy_callback(w):
    constant = jax.lax.stop_gradient(w)
    sine = jax.pure_callback(
        np.sin, jax.eval_shape(lambda: w), constant, vmap_method="legacy_vectorized"
    )
    return jnp.sum(w**2 + 0 * sine)


@of_w
def debug_print(w):
    jax.debug.print("{}", w[0])
    return jnp.sum(w**2)


@of_w
def debug_callback(w):
    jax.debug.callback(lambda x: None, w)
    return jnp.sum(w**2)


@of_w
def error_if(w):
    return jnp.sum(eqx.error_if(w, jnp.any(w > 1e9), "too large") ** 2)


@of_w
def fft(w):
    return jnp.sum(jnp.abs(jnp.fft.rfft(w, 8)) ** 2)


def matrix(w):
    return jnp.outer(w, w) + 2 * jnp.eye(3)


@of_w
def cholesky(w):
    return jnp.sum(jnp.linalg.cholesky(matrix(w)) ** 2)


@of_w
def eigenvalues(w):
    return jnp.linalg.eigvalsh(matrix(w))[-1]


@of_w
def svd_and_solve(w):
    return jnp.linalg.svd(matrix(w), compute_uv=False)[0] + w @ jnp.linalg.solve(matrix(w), w)


@of_w
def sparse_product(w):
    entries = sparse.BCOO.fromdense(jnp.array([[1.0, 0, 2], [0, 3, 0]]), nse=3)
    return jnp.sum((entries @ w) ** 2)


@of_w
def physics_informed(w):
    u = lambda x: w[0] * jnp.sin(w[1] * x) + w[2] * x  # noqa: E731
    residual = jax.vmap(lambda x: jax.grad(jax.grad(u))(x) + u(x))(jnp.linspace(0, 1, 5))
    return jnp.mean(residual**2) + u(0.0) ** 2


@of_w
def graph(w):
    sender, receiver = jnp.array([0, 1, 2, 2]), jnp.array([1, 2, 0, 1])
    sums = jax.ops.segment_sum(jnp.tanh(w[sender]), receiver, num_segments=3)
    return jnp.mean((sums - w) ** 2)


@of_w
def einsum_and_sort(w):
    return jnp.einsum("i,j,ij->", w, w, jnp.eye(3) * 2) + jnp.sum(jnp.sort(w)[:2] ** 2)


@of_w
def special_functions(w):
    return jnp.sum(jax.scipy.special.logsumexp(w) + jax.nn.gelu(w) + jax.nn.softplus(w))


@program
def mini_batches():
    return problem(lambda w, x: jnp.mean((w[0] * x + w[1] - x**2) ** 2), X)


@program
def random_cost():
    def cost(w, x, *, key):
        return jnp.mean((w[0] * x + 0.1 * jax.random.normal(key, x.shape)) ** 2)

    return problem(cost, X)


@program
def masked_language_model():
    tokens = np.arange(48).reshape(12, 4) % 5
    mask = (tokens != 3).astype(np.float32)

    def cost(p, batch):
        tokens, mask = batch
        logits = p["embedding"][tokens] @ p["out"]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens)
        return jnp.sum(mask * losses) / jnp.sum(mask)

    start = {"embedding": jnp.ones((5, 2)) / 3, "out": jnp.arange(10.0).reshape(2, 5) / 10}
    return problem(cost, (tokens, mask), start, weight=lambda batch: jnp.sum(batch[1]))


@program
def equinox_module():
    model = eqx.nn.MLP(1, 1, 4, 1, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def cost(params, x):
        outputs = jax.vmap(eqx.combine(params, static))(x[:, None])
        return jnp.mean((outputs[:, 0] - x**2) ** 2)

    return problem(cost, X, params)


@program
def equinox_state():
    model, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(1, "batch", mode="batch")
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def cost(params, x, *, model_state):
        layer = jax.vmap(eqx.combine(params, static), (0, None), (0, None), axis_name="batch")
        outputs, model_state = layer(x[:, None], model_state)
        return jnp.mean((outputs[:, 0] - x) ** 2), model_state

    return gd.Problem(lambda key: (params, state), cost, X)


@program
def flax_linen():
    import flax.linen as nn

    model = nn.Sequential([nn.Dense(4), nn.tanh, nn.Dense(1)])
    params = model.init(jax.random.key(0), X[:1, None])
    return problem(lambda p, x: jnp.mean((model.apply(p, x[:, None])[:, 0] - x) ** 2), X, params)


@program
def flax_nnx():
    from flax import nnx

    graph, params = nnx.split(nnx.Linear(1, 1, rngs=nnx.Rngs(0)))

    def cost(params, x):
        return jnp.mean((nnx.merge(graph, params)(x[:, None])[:, 0] - x) ** 2)

    return problem(cost, X, params)


@program
def haiku():
    import haiku as hk

    model = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([4, 1])(x[:, None])[:, 0]))
    params = model.init(jax.random.key(0), X)
    return problem(lambda p, x: jnp.mean((model.apply(p, x) - x) ** 2), X, params)


def bowl():
    return problem(lambda w: jnp.sum(jnp.array([1.0, 2, 3]) * w**2))


for name, make in {
    "sam": lambda learning_rate: optax.contrib.sam(optax.sgd(learning_rate), optax.sgd(0.01)),
    "prodigy": optax.contrib.prodigy,
    "schedule_free": optax.contrib.schedule_free_sgd,
    "muon": optax.contrib.muon,
    "mechanized": lambda learning_rate: optax.contrib.mechanize(optax.sgd(learning_rate)),
}.items():
    PROGRAMS[name] = bowl
    OPTIMIZERS[name] = make
