"""Print SHA-256 hashes of about forty results, or changes since a commit.

    python tests/gates/golden_bits.py                    # the table
    python tests/gates/golden_bits.py --against HEAD~1   # the differences

Only public functions are called. Hashes are compared between commits on one machine and are not
stored, since results differ bitwise between machines and versions of JAX.
"""

import hashlib
import os
import signal
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import commits
import names

CASES: dict[str, Callable[[Path], Any]] = {}


def case(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Register a case: a function that takes a temporary folder."""
    CASES[function.__name__] = function
    return function


def hashes(result: Any) -> dict[str, str]:
    """Return hashes of the variables of a Dataset or of named arrays."""
    arrays = result.variables if hasattr(result, "variables") else result
    return {names.variable(str(name)): digest(array) for name, array in arrays.items()}


def digest(array: Any) -> str:
    """Return a hash of the type, shape and bytes of an array."""
    import numpy as np

    array = np.asarray(getattr(array, "values", array))
    raw = repr(array.tolist()).encode() if array.dtype.kind in "OU" else array.tobytes()
    return hashlib.sha256(f"{array.dtype.kind} {array.shape} ".encode() + raw).hexdigest()[:16]


def table(only: str) -> dict[str, str]:
    """Return the hashes of the cases whose names contain a given text."""
    rows = {}
    for name, function in CASES.items():
        if only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                result = function(Path(folder))
            except Exception as error:  # recorded as a row, so that the other cases still run
                traceback.print_exc()
                rows[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                continue
            rows |= {f"{name} {array}": row for array, row in sorted(hashes(result).items())}
    return rows


# Problems


def bowl(**settings: Any) -> Any:
    return gd().problems.bowl([0.5, 3.0, 10.0], **settings)


def gd() -> Any:
    return names.library()


def network(kind: str = "plain", **settings: Any) -> Any:
    """Return a problem with a 2-6-1 tanh network on 30 samples.

    Args:
        kind: "plain", "noisy" (random cost), "stateful" (model state with a running mean) or
            "aging" (its cost depends on the step).
        settings: arguments of `Problem`.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    random = np.random.default_rng(11)
    inputs = random.normal(size=(30, 2)).astype(np.float32)
    data = inputs, np.sin(2 * inputs[:, :1] * inputs[:, 1:])

    def init(key, *, scale=1.0):
        first, second = jax.random.split(key)
        params = {
            "hidden": {
                "weights": scale * jax.random.normal(first, (2, 6)),
                "bias": jnp.zeros((1, 6)),
            },
            "output": scale * jax.random.normal(second, (6, 1)),
        }
        return (params, jnp.zeros(())) if kind == "stateful" else params

    def error(params, batch, decay, activation="tanh"):
        inputs, targets = batch
        bend = {"tanh": jnp.tanh, "sin": jnp.sin}[activation]
        hidden = bend(inputs @ params["hidden"]["weights"] + params["hidden"]["bias"])
        mean = jnp.mean((hidden @ params["output"] - targets) ** 2)
        return mean + decay * jnp.sum(params["output"] ** 2)

    def plain(params, batch, *, decay=0.0, activation="tanh"):
        return error(params, batch, decay, activation)

    def noisy(params, batch, *, key, decay=0.0):
        inputs, targets = batch
        return error(params, (inputs + 0.1 * jax.random.normal(key, inputs.shape), targets), decay)

    def stateful(params, batch, *, model_state, decay=0.0):
        mean = error(params, batch, decay)
        return mean * (1 + 0.01 * model_state), 0.9 * model_state + 0.1 * mean

    def aging(params, batch, *, step, decay=0.0):
        return error(params, batch, decay) * (1 + 0.1 * jnp.sin(0.1 * step))

    costs = {"plain": plain, "noisy": noisy, "stateful": stateful, "aging": aging}
    return gd().Problem(init=init, cost=names.user(costs[kind]), data=data, **settings)


def sweep(problem: Any, grid: Mapping[str, Any], num_steps: int, **settings: Any) -> Any:
    return gd().sweep(problem, gd().axes(**grid), num_steps, **settings)


def momentum() -> Any:
    import optax

    return partial(optax.sgd, momentum=0.9)


RATES = {"learning_rate": [0.01, 0.05, 0.2], "seed": [0, 1]}


# Update rules


@case
def plain(_):
    return sweep(network(), RATES, 40)


@case
def momentum_in_batches(_):
    return sweep(network(), RATES, 40, make_optimizer=momentum(), batch_size=7, record_every=5)


@case
def adam(_):
    import optax

    grid = {"learning_rate": [0.001, 0.02], "b1": [0.5, 0.9], "seed": [3]}
    return sweep(network(), grid, 30, make_optimizer=optax.adam, batch_size=10)


@case
def clipped_with_a_schedule(_):
    import optax

    def clipped(learning_rate, limit=1.0):
        rate = optax.cosine_decay_schedule(learning_rate, 30)
        return optax.chain(optax.clip_by_global_norm(limit), optax.adamw(rate))

    grid = {"learning_rate": [0.01, 0.1], "limit": [0.1, 10.0]}
    return sweep(network(), grid, 30, make_optimizer=clipped)


@case
def warm_up(_):
    import optax

    schedule = gd().descent.WarmupCosine(0.1, 5, 30)
    factory = partial(optax.sgd, learning_rate=schedule)
    return sweep(network(), {"momentum": [0.0, 0.9]}, 30, make_optimizer=factory)


@case
def schedule_free(_):
    from optax import contrib

    return sweep(
        network(),
        {"learning_rate": [0.1, 0.5]},
        30,
        make_optimizer=partial(contrib.schedule_free_sgd, b1=0.9),
        eval_params_fn=contrib.schedule_free_eval_params,
        batch_size=10,
    )


@case
def line_search(_):
    import optax

    return sweep(network(), {"seed": [0, 1, 2]}, 12, make_optimizer=optax.lbfgs)


# Axes


@case
def static_batch_sizes(_):
    return sweep(network(), {"batch_size": [5, 30], "learning_rate": [0.05, 0.2]}, 20)


@case
def static_names(_):
    import optax

    grid = {"activation": ["tanh", "sin"], "nesterov": [False, True], "learning_rate": [0.05]}
    rule = partial(optax.sgd, momentum=0.5)
    return sweep(network(), grid, 20, make_optimizer=rule)


@case
def zipped_axes(_):
    pairs = gd().zip_axes(learning_rate=[0.01, 0.1, 0.2], scale=[2.0, 1.0, 0.5])
    return sweep(network(), {"pair": pairs, "decay": [0.0, 0.01]}, 30)


@case
def own_orders(_):
    grid = {"learning_rate": [0.1], "seed": [0, 1], "data_seed": [0, 1, 2]}
    return sweep(network(), grid, 30, batch_size=4)


@case
def another_root_seed(_):
    return sweep(network(), RATES, 20, batch_size=4, root_seed=99)


# Costs


@case
def noise(_):
    grid = {"learning_rate": [0.05, 0.1], "noise_seed": [0, 1]}
    return sweep(network("noisy"), grid, 30, batch_size=10)


@case
def stateful_cost(_):
    return sweep(network("stateful"), RATES, 30, batch_size=10, record_every=3)


@case
def cost_of_the_step(_):
    return sweep(network("aging"), RATES, 30)


@case
def functions_of_the_plane(_):
    result = {}
    for name in ("rosenbrock", "himmelblau", "two_factors"):
        problem = gd().problems.function(name)
        runs = sweep(problem, {"learning_rate": [1e-4, 1e-3], "seed": [0, 1]}, 25)
        result |= {f"{name}.{key}": a for key, a in runs.variables.items()}
    return result


@case
def digits_in_batches(_):
    problem = gd().problems.digits(widths=(6,), samples=500)
    grid = {"learning_rate": [0.5, 3.0], "init_scale": [0.5, 1.0]}
    return sweep(problem, grid, 40, batch_size=32, record_every=10)


@case
def distorted_digits(_):
    problem = gd().problems.digits(
        widths=(5,),
        samples=200,
        activation="relu",
        loss="cross_entropy",
        distortion={"copies": 2, "shift": 1.5, "turn": 5.0, "seed": 1},
    )
    return sweep(problem, RATES, 20, batch_size=16, record_every=10)


# Records


def _positive(params, _data):
    import jax.numpy as jnp

    return jnp.packbits(params["hidden"]["weights"] > 0)


@case
def array_metrics(_):
    metrics = {
        "positive": gd().Metric(_positive, every=3, dims=("byte",), dtype="uint8"),
        "output": gd().Metric(lambda params, _: params["output"][:, 0], dims=("neuron",)),
    }
    return sweep(network(metrics=metrics), {"learning_rate": [0.1, 60.0], "seed": [0, 1]}, 20)


@case
def metrics_with_memory(_):
    import jax.numpy as jnp

    def largest(params, data, before):
        current = jnp.maximum(before, jnp.max(jnp.abs(params["output"])))
        return current, current

    def moment(params, data, *, opt_state, step):
        return step + sum(jnp.sum(a) for a in jax.tree.leaves(opt_state))

    import jax

    metrics = {
        "largest": gd().Metric(largest, every=2, init=lambda params, data: jnp.zeros(())),
        "moment": gd().Metric(names.user(moment)),
    }
    return sweep(network(), RATES, 20, metrics=metrics, make_optimizer=momentum())


@case
def sharpness(_):
    problem = network()
    metrics = {"sharpness": gd().curvature.sharpness_metric(problem)}
    return sweep(problem, {"learning_rate": [0.05, 0.2]}, 20, metrics=metrics, record_every=5)


@case
def snapshots(_):
    return sweep(network(), RATES, 33, snapshot_every=10, record_every=5, batch_size=6)


@case
def part_of_the_samples(_):
    return sweep(network(), RATES, 20, batch_size=6, record_samples=12, record_every=4)


# Outcomes


@case
def diverging(_):
    grid = {"learning_rate": [0.15, 0.19, 0.21, 0.6, 100.0], "seed": [0, 1]}
    return sweep(bowl(), grid, 60, divergence_threshold=1e6)


@case
def converging_early(_):
    grid = {"learning_rate": [0.001, 0.1, 0.15], "seed": [0, 1]}
    options = {"stop_when_converged": True, "gradient_tolerance": 1e-3}
    return sweep(bowl(), grid, 400, record_every=10, **options)


# Slabs, types, memory


@case
def devices(_):
    import jax

    result = {}
    for count in (1, 2):
        runs = sweep(network(), RATES, 20, batch_size=6, devices=jax.local_devices()[:count])
        result |= {f"{count}.{key}": a for key, a in runs.variables.items()}
    return result


@case
def double_precision(_):
    import jax

    with jax.enable_x64(True):
        return sweep(network(), RATES, 20, batch_size=6)


@case
def tables(_):
    runs = sweep(network(), RATES, 20, record_every=10)
    frame = gd().table(runs)
    return {str(column): frame[column].to_numpy() for column in frame.columns}


# Stores


def stored(path: Path, **changed: Any) -> Any:
    options: dict[str, Any] = {"batch_size": 6, "make_optimizer": momentum()} | changed
    return sweep(network(), RATES, 24, store=path / "s.zarr", snapshot_every=8, **options)


@case
def in_a_store(folder):
    return stored(folder)


@case
def replayed(folder):
    stored(folder)
    again = gd().replay(folder / "s.zarr", {"learning_rate": 0.05, "seed": 1}, problem=network())
    return {**again.dataset.variables, "equal": again.equal}


@case
def continuable(folder):
    return stored(folder, continuable=True)


@case
def branched(folder):
    stored(folder)
    result = {}
    for perturb in ("direction", "one_weight"):
        branches = gd().branch(
            folder / "s.zarr",
            {"learning_rate": 0.05, "seed": 1},
            gd().axes(branch_step=[0, 9, 24], perturbation=[0.0, 0.3], perturbation_seed=[0, 1]),
            problem=network(),
            perturb=perturb,
        )
        result |= {f"{perturb}.{key}": a for key, a in branches.variables.items()}
    return result


@case
def branched_into_another_order(folder):
    stored(folder)
    return gd().branch(
        folder / "s.zarr",
        {"learning_rate": 0.05, "seed": 1},
        gd().axes(branch_step=[9], data_seed=[0, 1], learning_rate=[0.05, 0.1]),
        problem=network(),
    )


def grow(folder: Path, grid: Mapping[str, Any], num_steps: int, **settings: Any) -> Any:
    """Extend the store of `folder`, in a new store if this commit requires one."""
    path = folder / "s.zarr"
    if not hasattr(gd(), "extend"):
        return sweep(network(), grid, num_steps, store=path, extend=True, **settings)
    larger = gd().axes(**grid)
    return gd().extend(path, larger, num_steps, to=folder / "larger.zarr", problem=network())


@case
def grown_along_axes(folder):
    options = {"batch_size": 6}
    sweep(network(), RATES, 20, store=folder / "s.zarr", **options)
    larger = {"learning_rate": [0.01, 0.02, 0.05, 0.2], "seed": [0, 1, 2]}
    return grow(folder, larger, 20, **options)


@case
def grown_along_steps(folder):
    options = {"batch_size": 6, "make_optimizer": momentum()}
    sweep(network(), RATES, 20, store=folder / "s.zarr", continuable=True, **options)
    return grow(folder, RATES, 33, **options)


@case
def grown_from_the_start(folder):
    options = {"record_every": 4}
    sweep(network(), RATES, 10, store=folder / "s.zarr", **options)
    return grow(folder, RATES, 17, **options)


@case
def interrupted_and_resumed(folder):
    path = folder / "s.zarr"
    grid = {"learning_rate": [0.01, 0.05], "seed": range(6)}
    ended = threading.Event()

    def interrupt():
        while not ended.is_set():
            time.sleep(0.05)
            try:
                with gd().open_dataset(path) as dataset:
                    started = bool((dataset.cost > 0).any())
            except Exception:  # the store is missing or incomplete
                continue
            if started:
                os.kill(os.getpid(), signal.SIGINT)
                return

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    try:
        options = {"batch_size": 6, "make_optimizer": momentum(), "width": 1, "record_every": 1000}
        sweep(network(), grid, 30_000, store=path, **options)
        raise AssertionError("the sweep finished before it could be interrupted")
    except KeyboardInterrupt:
        pass
    finally:
        ended.set()
        watcher.join()
    return gd().resume(path, problem=network())


# One descent


@case
def descents(_):
    import jax
    import numpy as np
    import optax

    result = {}

    def add(name, run):
        leaves = jax.tree.leaves((run.params, names.attribute(run, "model_state"), run.snapshots))
        result.update({f"{name}.{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)})
        for field in ("recorded_steps", "cost", "batch_cost", "gradient_norm"):
            value = names.attribute(run, field, (("recorded_steps", "step"),))
            result[f"{name}.{field}"] = np.asarray(value)

    key, problem = jax.random.key(4), network()
    start = problem.init(jax.random.key(5))
    add("whole", gd().descend(problem, optax.sgd(0.1), start, 20, key=key))
    options = {"batch_size": 7, "record_every": 4, "snapshot_every": 8}
    first = gd().descend(problem, optax.adam(0.01), start, 10, key=key, **options)
    add("first", first)
    add("continued", gd().descend(problem, optax.adam(0.01), first, 15, key=key, **options))
    return result


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    commits.main(__doc__ or "", __file__, table)
