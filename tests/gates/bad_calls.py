"""Invalid calls of public functions and invalid command lines.

`bad(argument, function, ...)` is a call whose error names an argument, or a store; with `any_of`,
one call for each of these values. `vary(function, ...)(argument=[...])` is one call for each value
of each argument, which its error names. Errors are `InputError` unless `raises` is given. Errors
with `golden` are also compared with `messages.json`, which may be written anew:

    .venv/bin/pytest tests/gates --regenerate

The variables `n` are those that `prepare` defines, among them `bowl` and `net` (problems), `w` and
`v` (their parameters), `ax` and `grid` (axes), `spec` (a `Sweep` of the bowl), `runs` (its
Dataset), `store` (its store), `at` (a run of it), `own` (a store of a user-defined problem),
`with_state` (a store of `counted`, whose cost has a model state), `damaged` (a store with a flipped
bit), `folder` (an empty folder), `flat` (a direction) and `masked` (an array with a masked entry).
"""
# fmt: off

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax as gd
from gdjax.base.errors import DataError, StoreError
from gdjax.curvature.gradient_summary import value_and_gradient
from gdjax.data.sets import available
from gdjax.descent.norms import dual_norm
from gdjax.landscape.components import principal_components, project
from gdjax.landscape.directions import at_coordinates, filter_normalize
from gdjax.landscape.learning_coefficient import extrapolate
from gdjax.landscape.mcmc import effective_sample_size, rhat
from gdjax.minima.clustering import cluster_points
from gdjax.problems.augmentation import distorted
from gdjax.problems.keywords import declared
from gdjax.sweeps.continued.parts import count_tiles

inf, nan, random = float("inf"), float("nan"), np.random.default_rng(0)
SMALL = "--learning-rate 0.1 --seed 0 --widths 2 --num-steps 2 --record-every 2 --out out"
"""Arguments of a fast sweep, in case an invalid value is accepted; written SMALL in commands."""
GOLDEN = True
"""Third entry of a command whose message is compared with `messages.json`."""


class any_of(tuple):
    """Values of one argument, each of which gives an invalid call."""

    def __new__(cls, *values):
        return super().__new__(cls, values)


def axes(bad, vary, n):
    bad("axes", gd.axes, golden=True)
    vary(gd.axes)(learning_rate=[[], [nan], [0.1, inf], [0.1, 0.1], 0.1, None, "abc", {"a": 1},
        [[0.1]], [0.1, "a"], (0.1, "a"), [1j]])
    vary(gd.axes)(seed=[[-1], [0.5], [2 ** 32], range(10 ** 7 + 1)])
    vary(gd.axes)(batch_size=[[0], [1.5]])
    bad("axes", gd.axes, p=gd.zip_axes(a=[1, 2, 1], b=[0.5, 3, 0.5]))
    bad("a", gd.axes, a=gd.zip_axes(b=[1.0]), p=gd.zip_axes(a=[1.0]))
    vary(gd.axes)(x=[np.array([2 ** 63], "uint64"), [2 ** 63 + 1, 1], n.masked])
    bad("axes", lambda value: gd.axes(**{value: [1.0]}), any_of("", " a", "a ", "a.", ".a", "__a",
        "a/b", "a\\b", "a:b", "a\nb", "a\x1b", "zarr.json", "ZARR.json", "AUX", "nul.txt", "com1",
        "x" * 201, "ü" * 101))
    bad("zip_axes", gd.zip_axes)
    bad("seed", gd.zip_axes, learning_rate=[0.1, 0.2], seed=[0])
    bad("learning_rate", gd.zip_axes, learning_rate=0.1)
    bad("seed", gd.axes, pair=gd.zip_axes(seed=[0]), seed=[1])


def searches(bad, vary, n):
    bad("sweep", gd.search.successive_halving, n.bowl, [4], golden=True)
    bad("axes", lambda: gd.search.successive_halving(gd.Sweep(n.bowl, 3, 8), [4]))
    bad("rungs", gd.search.successive_halving, n.spec, any_of(4, "12", [4, 1], [4, 6.0], [4, 60]),
        golden=True)
    bad("rungs", gd.search.successive_halving, gd.Sweep(n.bowl, n.ax, 9, record_every=3), [4])
    bad("stop_when_converged", gd.search.successive_halving, gd.Sweep(n.bowl, n.ax, 8,
        stop_when_converged=True), [4])
    bad("axes", gd.search.successive_halving, gd.Sweep(n.bowl, gd.axes(rung=n.zipped), 8), [4])
    vary(gd.search.successive_halving, n.spec, [4])(reduction_factor=[1, 2.5], metric=["accuracy"],
        direction=["up"], store=[3], num_brackets=[4], median_over=["depth"])
    bad("num_brackets", gd.search.successive_halving, n.spec, [4], reduction_factor=None,
        num_brackets=2)


def studies(bad, vary, n):
    bad("sweep", gd.search.optimize, n.bowl, 3, 4)
    bad("num_trials", gd.search.optimize, n.spec, 3, 0)
    bad("study", gd.search.optimize, n.spec, 3, 4)
    bad("study", gd.search.optimize, n.spec, gd.search.to_study(n.runs), 9, direction="maximize")
    bad("momentum", gd.search.optimize, n.spec, gd.search.to_study(n.runs), 9,
        space={"momentum": 3})
    vary(gd.search.optimize, n.spec, 3, 4)(batch=[0], diverged=["nan"], rungs=["12"],
        metric=["accuracy"])
    bad("metric", gd.search.to_study, n.runs, "accuracy")
    vary(gd.search.to_study, n.runs)(direction=["up"], diverged=["nan"], study=[3])
    bad("result", gd.pages.export.arviz, any_of(3, SimpleNamespace(samples=np.ones((2, 3)))))


def tuning_curves(bad, vary, n):
    bad("runs", gd.search.tuning_curve, 3)
    bad("damaged.zarr", gd.search.tuning_curve, n.damaged, raises=StoreError)
    bad("damaged.zarr", gd.minima.count_minima, None, n.damaged, raises=StoreError)
    bad("metric", gd.search.tuning_curve, n.runs, any_of("accuracy", jnp.zeros(2)))
    vary(gd.search.tuning_curve, n.runs)(trials=[2, [3], ["a"]], by=["seed", [[]]], direction=[1],
        level=[95])
    bad("difference", gd.statistics.seeds_needed, any_of(0, 1e-09, nan, "a"), 1)
    bad("standard_deviation", gd.statistics.seeds_needed, 1, -1)
    vary(gd.statistics.seeds_needed, 1, 1)(level=[0], power=[1])


def problems(bad, vary, n):
    bad("init", gd.Problem, init=None, cost=lambda w: w)
    bad("cost", gd.Problem, init=lambda key: 0.0, cost=3)
    vary(gd.Problem, init=n.zero, cost=n.same)(data=[3], metrics=[3, {"a": 3}], baseline=["x", inf,
        -inf], couples_samples=["x"], evaluation=[3], network=[3], provenance=[3])
    vary(gd.Problem, init=n.zero, cost=n.mean)(data=[(jnp.zeros(3), jnp.zeros(4)), jnp.zeros((0,
        2)), ["a", "b"], [[1.0], [2.0]]])
    bad("key", gd.Problem, init=n.zero, cost=n.same, evaluation=lambda w, *, key: w)
    bad("measure", gd.Metric, None)
    vary(gd.Metric, lambda w, d: w)(every=[0, 1.5], dims=["ab", ("a", "a")], dtype=["text"],
        units=[3], long_name=[["a"]])
    bad("eigenvalues", gd.problems.bowl, any_of([], "abc", [nan]))
    vary(gd.problems.bowl, [1.0, 2.0])(minimum=[[1]], basis=[[[1]], [[1, 1], [1, 1]]])
    bad("rosenbrok", gd.problems.from_function, "rosenbrok")
    bad("name", gd.problems.from_function, 3)
    bad("domain", gd.problems.from_function, "himmelblau", domain=[1.0])
    bad("domain", gd.problems.from_function, lambda w: w[0])
    bad("mnis5k", gd.problems.digits, "mnis5k", raises=DataError)
    vary(gd.problems.digits)(widths=[(0,), 16, (1.5,)], activation=["swish"], initializer=["zeros"],
        loss=["hinge"], samples=[0, 10 ** 9], distortion=[{"twist": 2}, 3])
    bad("domain", gd.problems.from_function, jnp.sum, any_of((2, -2), ((1, 2), (3,))))
    vary(gd.problems.Distortion)(copies=[101], max_rotation=[nan])
    bad("first", gd.problems.few_digits, samples=9, first=3999)
    vary(gd.problems.Network, (3, 2))(input_scale=[0], activation=["x"])
    vary(gd.problems.few_digits)(samples=[-1], decay=["x"], widths=[3])
    bad("data", gd.problems.supervised, n.init, n.apply, n.loss, any_of(None, (jnp.zeros((3, 2)),)))
    bad("loss", gd.problems.supervised, n.init, n.apply, "mse", n.data)
    bad("apply", gd.problems.supervised, n.init, 3, n.loss, n.data)
    bad("init", gd.problems.supervised, None, n.apply, n.loss, n.data)
    bad("test", gd.problems.supervised, n.init, n.apply, n.loss, n.data, test=3)
    bad("widths", gd.problems.Network, (3,))
    bad("decay", gd.problems.decayed, n.network, n.data, -1.0)
    bad("network", gd.problems.decayed, n.net, n.data, 1.0)
    bad("cost", lambda value: gd.problems.check_problem(gd.Problem(n.zero, value, jnp.arange(20.0)),
        n.w), any_of(lambda w, x: (w[0] + x) ** 2, lambda w, x: (w[0], x), lambda w, x: None,
        lambda w: w[0], lambda w, x: w[0] + 0j, lambda w, x: jnp.sum(w > 0), lambda w,
        x: jnp.all(w > 0), lambda w, x: jnp.sum(w[0] - x), lambda w, x: jnp.max(w[0] - x), lambda w,
        x: jnp.var(w[0] * x)))
    bad("cost", gd.problems.check_problem, gd.Problem(n.zero, n.summed.cost, jnp.ones(2)), n.w[0],
        golden=True)
    bad("evaluation", lambda value: gd.problems.check_problem(gd.Problem(n.zero, n.mean,
        jnp.zeros(3), evaluation=value), n.w[0]), any_of(lambda w, x: w * jnp.size(x), lambda w,
        x: x))
    bad("cost", gd.problems.check_problem, gd.Problem(n.zero, lambda w, *, state: w), n.w[0])
    bad("model_state", lambda value: gd.problems.check_problem(gd.Problem(n.counted.init, value),
        n.w), any_of(lambda w, *, model_state: w[0], lambda w, *, model_state: (w[0], jnp.zeros(2)),
        lambda w, *, model_state: (w[0], {"mean": model_state})))
    bad("model_state", lambda: gd.Problem(n.zero, n.counted.cost).begin(n.key))
    bad("params['a'][0]", lambda value: gd.problems.check_problem(gd.Problem(n.zero,
        lambda p: p["w"][0]), {"a": [value], "w": n.w}), any_of(jnp.array([1, 2]), 3, True, 1 + 2j,
        n.key, jnp.tanh, "relu"))
    bad("params['count']", gd.problems.check_problem, n.bowl, {"count": np.uint32(3)}, golden=True)
    bad("problem", gd.problems.as_problem, 3)
    bad("init", lambda: gd.problems.as_problem(n.mean).init(n.key))
    bad("data", lambda value: gd.problems.decayed(n.network, (jnp.zeros((3, 2)), np.array(value)),
        0.1), any_of([0, 1, 0], [0, -1, 0], [0.5, 0.0, 0.0], [nan, 0, 0], ["a", "b", "c"],
        jnp.zeros((3, 2))))
    bad("train_labels", gd.problems.digits, gd.data.load("mnist5k")._replace(classes=5))
    bad("nothing", gd.data.load, "nothing", raises=DataError, golden=True)
    bad("name", gd.data.load, 3)


def sweeps(bad, vary, n):
    bad("num_steps", gd.sweep, n.bowl, n.ax, 2 ** 31 - 1)
    bad("problem", gd.sweep, any_of(3, lambda w: w), n.ax, 5)
    bad("axes", gd.sweep, n.bowl, {"learning_rate": [0.1]}, 5)
    bad("num_steps", gd.sweep, n.bowl, n.ax, any_of(-1, 1.5, "ten", None, 2 ** 40))
    vary(gd.sweep, n.bowl, n.ax, 5)(store=["", 3, "/proc/no/such", n.folder / ("x" * 300)],
        make_optimizer=[optax.sgd(0.1), "adam", lambda learning_rate: 3], batch_size=[2],
        record_every=[0, None], snapshot_every=[0], metrics=[[3], {"m": 3}], eval_params_fn=[3,
        lambda: 3, lambda s, p: jnp.zeros(7)], root_seed=[-1, "a"], divergence_threshold=[nan, "x"],
        gradient_tolerance=[-1.0], stop_when_converged=["yes"], continuable=[1, "yes"], devices=[[],
        "cpu", [3]], client=[3], max_param_bytes=[-1, "1 GB"], replacement=[1, "yes", None, True])
    bad("bad_calls.py", gd.sweep, n.bowl, n.ax, 5, store=__file__, raises=StoreError)
    bad("gates", gd.sweep, n.bowl, n.ax, 5, store=Path(__file__).parent, raises=StoreError)
    vary(gd.sweep, n.bowl, n.ax, 5, raises=TypeError)(step=[1], learning_rate=[0.1], extend=[True])
    bad("learning_rate", lambda value: gd.sweep(n.bowl, gd.axes(learning_rate=value), 5),
        any_of([0.1, 1e-60], [2 ** 40], [0.1, 0.1 + 1e-12], [-0.1], [1e+300], [True]))
    for name in ("params.x", "carry.step", "snapshots.a"):  # arrays of a store
        bad(name, gd.sweep, n.bowl, gd.axes(pair=n.zipped, **{name: n.apart}), 5)
        bad(name, gd.sweep, n.bowl, gd.axes(pair=n.zipped), 5, metrics=any_of({name: n.first},
            {"m": gd.Metric(max, dims=(name,))}))
    bad("num_steps", gd.sweep, n.bowl, n.ax, raises=TypeError, golden=True)
    bad("momentun", gd.sweep, n.bowl, gd.axes(momentun=[0.5]), 5, golden=True)
    for name in ("learning_rat", "lr"):
        bad(name, gd.sweep, n.bowl, gd.axes(**{name: [0.1]}), 5)
    bad("cost.scale", gd.sweep, n.bowl, gd.axes(learning_rate=[0.1], **{"cost.scale": [1.0]}), 5)
    bad("scale", gd.sweep, n.scales, gd.axes(learning_rate=[0.1], scale=[1.0]), 5)
    bad("cost.heat", gd.sweep, n.scales, gd.axes(learning_rate=[0.1], heat=[1.0],
        **{"cost.heat": [2.0]}), 5, golden=True)
    start = lambda key, *, heat=1.0, size=2: heat * jnp.ones(size)  # noqa: E731
    branch = lambda w, *, heat=1.0, size=2: heat * w[0] if size > 1 else w[1]  # noqa: E731
    static = gd.Problem(start, jnp.sum), gd.Problem(lambda key: n.w, branch)
    bad("size", gd.sweep, any_of(*static), gd.axes(learning_rate=[0.1], heat=[1.0], size=[1, 2]), 5)
    for schedule in (
        optax.cosine_decay_schedule,
        lambda rate, size: optax.exponential_decay(rate, 9, size),
    ):
        bad("size", gd.sweep, n.bowl, gd.axes(learning_rate=[0.1], size=[5, 9]), 5,
            make_optimizer=lambda learning_rate, size, f=schedule: optax.sgd(
                f(learning_rate, size)))
    warmup = partial(optax.warmup_cosine_decay_schedule, 0.0, warmup_steps=2, decay_steps=5)
    bad("learning_rate", gd.sweep, n.bowl, n.ax, 5,
        make_optimizer=lambda learning_rate: optax.sgd(warmup(learning_rate)))
    bad("nesterov", gd.sweep, n.bowl, gd.axes(learning_rate=[0.1], momentum=[0.9], nesterov=[1]), 5)
    bad("cost", gd.sweep, gd.Problem(lambda key: n.w, lambda w, *, heat=1.0: {}["a"]),
        gd.axes(learning_rate=[0.1], heat=[1.0]), 5)
    vary(lambda **given: gd.sweep(n.bowl, gd.axes(learning_rate=[0.1], **given), 5))(nesterov=[[0.0,
        1.0], [False, True]], data_seed=[[0, 1]], noise_seed=[[0, 1]], cost=[[0.0]])
    vary(lambda **given: gd.sweep(n.bowl, gd.axes(**given), 5))(step=[1], branch_step=[0])
    bad("learning_rate", gd.sweep, n.bowl, n.ax, 5, make_optimizer=lambda rate: optax.sgd(2 * rate))
    bad("learning_rate", gd.sweep, n.bowl, gd.axes(seed=[0]), 5)
    bad("optimizer", gd.sweep, n.bowl, gd.axes(seed=[0]), 5,
        make_optimizer=lambda: optax.sgd(random.random()))
    vary(gd.sweep, n.net, n.ax, 5)(batch_size=[0, 10 ** 6, 2.5], record_samples=[0, 10 ** 6])
    bad("batch_size", gd.sweep, n.net, gd.axes(learning_rate=[0.1], batch_size=[2]), 5,
        batch_size=3)
    bad("snapshot_every", gd.sweep, n.bowl, n.ax, 6, record_every=2, snapshot_every=3)
    bad("cost", gd.sweep, n.bowl, n.ax, 5, metrics={"cost": gd.Metric(lambda _, w: w[0])})
    bad("n", gd.sweep, n.bowl, n.ax, 5, metrics={"m": gd.Metric(lambda _, w: w, dims=("a",)),
        "n": gd.Metric(lambda _, w: jnp.ones(3), dims=("a",))}, golden=True)
    bad("init", lambda value: gd.sweep(gd.Problem(init=value, cost=lambda w: jnp.sum(w ** 2)), n.ax,
        5), any_of(lambda key: random.normal(size=2),
        lambda key: jnp.ones(2) * random.random()))
    bad("m", lambda value: gd.sweep(n.bowl, n.ax, 5, metrics={"m": value}),
        any_of(gd.Metric(lambda _, w: w), gd.Metric(lambda w: w[0]), gd.Metric(lambda _, w: w,
        dims=("learning_rate",)), gd.Metric(lambda _, w: w, dims=("step",))))
    bad("client", gd.sweep, n.bowl, n.ax, 5, client=3, store=n.folder / "s")
    bad("client", gd.sweep, n.bowl, n.ax, 5, client=SimpleNamespace(submit=max))
    bad("s.zarr", gd.sweep, n.bowl, n.ax, 4, store=n.store, raises=StoreError)
    bad("num_steps", gd.extend, n.store, n.grid, 1, to=n.folder / "s")
    bad("axes", gd.extend, n.store, n.ax, to=n.folder / "s")
    bad("axes", gd.extend, n.store, gd.axes(learning_rate=[0.1], seed=[0]), to=n.folder / "s")
    bad("to", gd.extend, n.store, to=n.store)
    bad("init", gd.sweep, gd.Problem(init=lambda key: 1, cost=lambda w: w * 1.0), n.ax, 5)
    bad("cost", lambda value: gd.sweep(gd.Problem(init=lambda key: n.w, cost=value), n.ax, 5),
        any_of(lambda w: w, lambda w: 1.0, lambda w: float(w[0]), lambda w: {}["a"],
        lambda w: w[w > 0]))
    bad("init", gd.sweep, gd.Problem(init=lambda key: {}, cost=lambda w: 1.0), n.ax, 5)
    bad("init", lambda value: gd.sweep(gd.Problem(init=value, cost=lambda w: w[0]), n.ax, 5),
        any_of(lambda: n.w, lambda key: n.w.reshape(3)))
    bad("x", gd.sweep, gd.Problem(init=lambda key: n.w, cost=lambda w, x: w[0]), n.ax, 5)
    bad("cost", gd.sweep, n.summed, n.ax, 5, batch_size=1)
    bad("params", gd.sweep, gd.Problem(gd.problems.Network((9, 10 ** 6, 10 ** 6)).init,
        lambda w: jnp.mean(w[0].weights)), n.ax, 5)
    bad("sweeps", gd.sweeps.concat, any_of(3, {"a": 3}), "width")
    bad("3", gd.sweeps.concat, {"a": n.runs}, 3)
    bad("dim", gd.sweeps.concat, {"a": n.runs}, "cost")
    bad("axes", gd.sweeps.concat, {"a": n.runs, "b": n.runs.isel(step=[0])}, "width")
    bad("problems", gd.search.coordinate_check,
        any_of({"2": n.bowl}, {"2": n.bowl, "wide": n.bowl}), lambda w, b: w, learning_rate=0.1)
    bad("3", gd.search.coordinate_check, {"2": n.bowl, "3": 3}, lambda w, b: w, learning_rate=0.1)
    bad("activations", gd.search.coordinate_check, n.pair, any_of(3, lambda w, b: {}),
        learning_rate=0.1)
    bad("learning_rate", gd.search.coordinate_check, n.pair, lambda w, b: w, learning_rate=nan)
    bad("activations", gd.search.coordinate_check, {"2": n.bowl, "3": gd.problems.bowl([1.0] * 3)},
        lambda w, b: [w] * len(w), learning_rate=1.0, golden=True)
    vary(gd.search.coordinate_check, n.pair, lambda w, b: w, learning_rate=0.1)(steps=[(10, 1)],
        num_seeds=[1])
    bad("problem", gd.find_learning_rate, None)
    vary(gd.find_learning_rate, n.bowl)(horizon=[0], num_starts=[0, 10 ** 30], batch_size=[4],
        root_seed=[-1])
    bad("make_optimizer", gd.find_learning_rate, n.bowl, any_of(optax.identity, 3))
    bad("runs", gd.sweeps.table, any_of(3, n.other))
    vary(gd.sweeps.table, n.runs)(record=["x", 99])
    bad("dataset", gd.params_of, any_of(3, n.other), n.w, n.at)
    bad("at", gd.params_of, n.runs, n.w, 3)
    bad("learning_rate", gd.params_of, n.runs, n.w, {"learning_rate": 99, "seed": 0})
    bad("params.a", gd.params_of, n.runs, {"a": n.w}, n.at)


def stores(bad, vary, n):
    bad("empty", gd.open_dataset, n.folder, raises=StoreError, golden=True)
    for function in (gd.open_dataset, gd.stores.verify):
        bad("store", function, 3)
    bad("damaged.zarr", lambda: gd.open_dataset(n.damaged).cost.values, raises=StoreError)
    bad("region", gd.stores.locate, n.store, region="here", golden=True)
    bad("region", gd.stores.locate, gd.stores.locate("s"), region="here", golden=True)
    bad("color", gd.stores.locate, "s3://x/y", color="blue")
    bad("gopher://x/y", gd.stores.verify, "gopher://x/y")
    bad("empty", gd.resume, n.folder, raises=StoreError)
    vary(gd.resume, n.store)(problem=[3], part=[(0, 0), (3, 3), (-1, 3), 3], make_optimizer=[0])
    bad("problem.eigenvalues", gd.resume, n.store, problem=gd.problems.bowl([7.0, 8.0]),
        raises=StoreError)
    bad("own.zarr", gd.resume, n.own, raises=StoreError)
    bad("empty", gd.replay, n.folder, {}, raises=StoreError)
    bad("at", gd.replay, n.store, None)
    bad("at", gd.replay, n.store, any_of({}))
    bad("learning_rate", gd.replay, n.store, any_of({"learning_rate": "fast", "seed": 0},
        {"learning_rate": nan, "seed": 0}))
    for function in (gd.replay, gd.sweeps.run_of):
        bad("at", function, n.store, {"learning_rate": 0.1})
    bad("momentum", gd.replay, n.store, {"learning_rate": 0.1, "seed": 0, "momentum": 0.5})
    vary(gd.replay, n.store, n.at)(skip_damaged=["yes"], make_optimizer=[jnp.zeros(3)])
    for function in (gd.replay, gd.sweeps.run_of):
        bad("own.zarr", function, n.own, {"learning_rate": 0.1}, raises=StoreError)
    bad("own.zarr", gd.replay, n.own, {"learning_rate": 0.1}, problem=n.mine, raises=StoreError)
    bad("damaged", gd.replay, n.damaged, n.at, raises=StoreError)
    vary(lambda **given: gd.branch(n.store, n.at, gd.axes(branch_step=[1],
        **given)))(perturbation=[[-1.0]], seed=[[5]])
    bad("axes", gd.branch, n.store, n.at, 3)
    bad("sweep", gd.sweeps.plan, n.bowl, n.folder)
    bad("num_parts", count_tiles, n.store, any_of(0, 1.5))
    bad("stop_when_converged", gd.branch, n.store, n.at, gd.axes(branch_step=[2]),
        stop_when_converged=jnp.zeros(2))
    bad("branch_step", gd.branch, n.store, n.at, any_of(gd.axes(branch_step=[99]),
        gd.axes(seed=[5])))
    bad("at", gd.branch, n.store, {"seed": 0}, n.leave)
    vary(gd.branch, n.store, n.at, n.leave)(perturb=["up"], num_steps=["ten"])


def one_descent(bad, vary, n):
    vary(gd.descend, n.bowl, n.sgd, n.w, 5, key=n.key)(batch_size=[2], record_samples=[7],
        record_every=[0], model_state=[3], eval_params_fn=[lambda s, p: 3], metrics=[3])
    vary(gd.descend, n.net, n.sgd, n.v, 5, key=n.key)(record_samples=[7], batch_size=[10 ** 6])
    bad("decay", gd.descent.Recipe, 0.1, 1, decay=-1.0)
    bad("problem", gd.descend, 3, n.sgd, n.w, 5, key=n.key)
    bad("x", gd.descend, lambda w, x: w[0], n.sgd, n.w, 5, key=n.key)
    bad("optimizer", gd.descend, n.bowl, any_of(optax.sgd, optax.MultiSteps, 0.1,
        optax.lookahead(n.sgd, 5, 0.5), optax.contrib.differentially_private_aggregate(1.0, 0.1,
        key=0), optax.chain(*2 * [optax.contrib.schedule_free_sgd(0.1)])), n.w, 5, key=n.key)
    bad("start", gd.descend, n.bowl, optax.adam(0.1), gd.descend(n.bowl, n.sgd, n.w, 1, key=n.key),
        3, key=n.key)
    bad("start", gd.descend, n.bowl, n.sgd, any_of("w", jnp.arange(2)), 5, key=n.key)
    bad("cost", gd.descend, n.bowl, n.sgd, any_of(jnp.zeros(3), [1.0, 2.0]), 5, key=n.key)
    bad("num_steps", gd.descend, n.bowl, n.sgd, n.w, -5, key=n.key, golden=True)
    vary(gd.descend, n.bowl, n.sgd, n.w, 5)(key=[None, 0, jax.random.split(n.key)])
    bad("m", lambda value: gd.descend(n.bowl, n.sgd, n.w, 1, key=n.key, metrics={"m": value}),
        any_of(gd.Metric(lambda _, w: w), gd.Metric(lambda _, w: w, dims=("a", "b")),
        gd.Metric(lambda _, w: w[:0], dims=("a",)), gd.Metric(lambda _, w: w[0], dtype="int8"),
        gd.Metric(lambda _, w: jnp.sum(w > 0), dtype="int64"), gd.Metric(lambda _, w: (w, w)),
        gd.Metric(lambda _, w: w[0] + 0j), gd.Metric(lambda _, w, *, model_state: w[0]),
        n.described(init=n.first.measure)(lambda p, w, s: s),
        n.described(init=lambda p, w: w)(lambda p, w, s: (s, s))))
    bad("model_state", gd.descend, n.counted, n.sgd, n.w, 5, key=n.key)
    bad("record_samples", gd.descend, gd.Problem(n.zero, n.mean, jnp.zeros(9),
        couples_samples=True), n.sgd, 0.0, 1, key=n.key, batch_size=8, record_samples=5,
        golden=True)
    bad("sweep", jax.jit(lambda: gd.sweep(n.bowl, n.ax, 1).cost.values))
    bad("descend", lambda: jax.jit(lambda w: gd.descend(n.bowl, n.sgd, w, 5,
        key=n.key).params)(n.w))
    bad("descend", lambda: jax.grad(lambda w: gd.descend(n.bowl, n.sgd, w, 5,
        key=n.key).params[0])(n.w))
    bad("warmup_steps", gd.descent.WarmupCosine, 0.1, 10, 5)
    bad("learning_rate", gd.descent.WarmupCosine, -0.1, 1, 5)
    bad("root_seed", gd.run_keys, -1)
    bad("seed", lambda: jax.vmap(lambda seed: gd.run_keys(0, seed=seed).init)(jnp.arange(3)),
        golden=True)


def spectra_and_kinds_of_points(bad, vary, n):
    bad("key", gd.curvature.extreme_eigenpairs, n.bowl, n.w, key=0)
    vary(gd.curvature.extreme_eigenpairs, n.bowl, n.w, key=n.key)(largest=[-1, 99], rtol=[-1.0],
        max_steps=[0])
    vary(gd.curvature.spectral_density, n.bowl, n.w, key=n.key)(bandwidth=[-1.0], probes=[0])
    vary(gd.curvature.hessian_trace, n.bowl, n.w, key=n.key)(probes=[0, 10 ** 9])
    bad("cost", lambda: gd.curvature.HessianOperator(lambda w: jnp.sum(w > 0), n.w).mv(n.w),
        golden=True)
    bad("cost", lambda: gd.curvature.HessianOperator(n.same, n.w).mv(n.w), golden=True)
    bad("params", lambda: gd.curvature.HessianOperator(n.bowl, jnp.arange(2)).mv(n.w))
    for function in (value_and_gradient, gd.curvature.gradient_summary,
        gd.curvature.polish):
        bad("cost", function, n.same, n.w)
        bad("params", function, n.bowl, "w")
    for function in (gd.curvature.extreme_eigenpairs, gd.curvature.hessian_trace,
        gd.curvature.spectral_density, gd.curvature.classify):
        bad("cost", function, n.same, n.w, key=n.key)
        bad("problem", function, n.counted, n.w, key=n.key)
        bad("params", function, n.bowl, "w", key=n.key)
    bad("gradient_tolerance", gd.curvature.classify, n.bowl, n.w, key=n.key, gradient_tolerance=-1)
    vary(gd.curvature.polish, n.bowl, n.w)(max_steps=[-1], atol=[-1.0])


def landscapes_and_flows(bad, vary, n):
    bad("whitening", gd.landscape.basin_volume, n.bowl, n.w, key=n.key, level=1.0, whitening=3)
    bad("direction", gd.landscape.line, n.bowl, n.w, any_of({"flat": n.flat}, jnp.zeros(2),
        nan * n.flat, np.array([None, 1.0])), [0.0, 1.0])
    bad("cost", gd.landscape.line, n.same, n.w, n.flat, [0.0], golden=True)
    bad("cost", gd.landscape.line, n.bowl, n.w, n.flat, [0.0], metrics={"cost": n.first},
        golden=True)
    bad("s", gd.landscape.line, n.bowl, n.w, n.flat, [0.0],
        metrics={"s": lambda problem, params, *, opt_state: 0.0}, golden=True)
    bad("snapshots", gd.landscape.trajectory_plane, n.bowl, any_of(nan * jnp.eye(3), jnp.zeros((3,
        3))))
    vary(gd.landscape.trajectory_plane, n.bowl, jnp.eye(3)[:, :2])(points=[1], margin=[-1.0])
    bad("trajectory_plane", gd.landscape.trajectory_plane, jnp.sum, jnp.arange(5.0), golden=True)
    bad("step", gd.landscape.descent_on_slice, n.bowl, n.w, {"d": n.flat}, jnp.eye(2), step=[1])
    bad("snapshots", gd.landscape.descent_on_slice, n.bowl, n.w, {"d": n.flat}, jnp.eye(3))
    bad("direction", filter_normalize, jnp.zeros(3), n.w)
    bad("points", project, n.w, n.w, {"d": n.flat})
    bad("b", lambda value: gd.landscape.orthogonalize({"a": n.flat, "b": value}), any_of(2 * n.flat,
        jnp.zeros(2)))
    bad("kind", gd.landscape.plane_directions, n.bowl, n.w, "sideways", key=n.key)
    bad("plane_directions", gd.landscape.plane_directions, jnp.square, 1.0, "random", key=n.key)
    bad("plane_directions", gd.landscape.plane_directions, lambda w: jnp.sum(jnp.sqrt(w)),
        jnp.zeros(3), "eigenvectors", key=n.key, golden=True)
    bad("a", gd.landscape.line, n.bowl, n.w, n.flat, any_of([], [nan], "x"))
    bad("directions", gd.landscape.plane, n.bowl, n.w, {"flat": n.flat}, [0.0], [0.0])
    bad("problem", gd.landscape.plane, n.counted, n.w, {"flat": n.flat, "w": n.w}, [0.0], [0.0])
    bad("same", gd.landscape.plane, n.bowl, n.w, {"flat": n.flat, "same": n.flat}, [0.0, 1.0], [0.0,
        1.0])
    bad("long", gd.landscape.plane, n.bowl, n.w, {"flat": n.flat, "long": jnp.zeros(3)}, [0.0],
        [0.0])
    vary(gd.dynamics.gradient_flow, n.bowl, n.w)(times=[[1.0, 0.5], [-1.0], [], [nan], [inf], 1.0,
        [[1.0]], "soon"])
    bad("rtol", gd.dynamics.central_flow, n.bowl, n.w, 0.1, 1.0, eigenvectors=1, rtol=2.0)
    bad("atol", gd.dynamics.distance_from_flow, n.bowl, n.w, learning_rates=[0.1], times=[1],
        atol=0.0)
    bad("learning_rate", gd.dynamics.central_flow, n.bowl, n.w, any_of(0.0, -0.1, jnp.ones(2)), 1.0)
    bad("eigenvectors", gd.dynamics.central_flow, n.bowl, n.w, 0.1, 1.0, eigenvectors=3)
    bad("time", gd.dynamics.rod_flow, n.bowl, n.w, 0.1, any_of(-1.0, jnp.ones(2)))
    bad("noise", gd.dynamics.rod_flow, n.bowl, n.w, 0.1, 1.0, noise=-1.0)
    vary(gd.dynamics.rod_flow, n.bowl, n.w, 0.1, 1.0)(max_steps=[0], intervals=[0])
    bad("make_optimizer", gd.dynamics.hypergradient, n.bowl,
        any_of(optax.lion, lambda: optax.sgd(0.1)), n.w, [0.1], 1, key=n.key)
    bad("schedule", gd.dynamics.hypergradient, n.bowl, optax.sgd, n.w, [0.1], 5, key=n.key)
    bad("schedule", gd.dynamics.hypergradient, n.bowl, optax.sgd, n.w, [0.1], 5, key=n.key,
        knots=True)
    bad("make_optimizer", gd.dynamics.hypergradient, n.bowl, optax.adam, n.w, [0.1], 1, key=n.key)
    bad("ends_elsewhere", gd.dynamics.decided_step, jnp.zeros((5, 58)) > 0, range(0, 500, 100))
    bad("uncertainty_exponent", gd.dynamics.uncertainty_exponent, jnp.zeros((9, 2, 50)) > 0, [0.1,
        0.2])
    bad("lyapunov_exponent", gd.descend, n.bowl, optax.sgd(0.1), n.w, 2, key=n.key,
        metrics={"exponent": gd.dynamics.lyapunov_exponent})


def stability_and_widths(bad, vary, n):
    bad("learning_rate", gd.curvature.stability_threshold, any_of(-1.0,
        optax.constant_schedule(0.1)))
    bad("norm", gd.curvature.generalized_sharpness, n.bowl, n.w, "l3", key=n.key)
    vary(gd.curvature.critical_sharpness, n.bowl, n.w, n.w)(rtol=[0], guess=[0],
        max_steps=[10 ** 30])
    bad("direction", gd.curvature.critical_sharpness, n.bowl, n.w, n.w[:1])
    bad("make_optimizer", gd.curvature.update_direction, optax.identity, n.bowl, n.w)
    bad("norm", gd.curvature.step_curvature, n.bowl, n.w, norm=2)
    bad("norm", gd.descent.non_euclidean_descent, 0.1, "max")
    vary(gd.landscape.finite_temperature_coefficient, n.bowl, n.w,
        key=n.key)(inverse_temperature=[None, 0.0])
    vary(gd.landscape.finite_temperature_coefficient, n.net, n.v, key=n.key)(localization=[-1],
        num_chains=[1], num_samples=[7], num_integration_steps=[0])
    vary(gd.landscape.local_learning_coefficient, n.bowl, n.w, key=n.key)(inverse_temperatures=[[1,
        2], [2, 1, 9], [0, 1, 2]])
    vary(gd.landscape.basin_volume, n.bowl, n.w, key=n.key)(level=[-1.0, 1e+300, 10 ** 400])
    bad("vector", lambda value: gd.curvature.HessianOperator(n.bowl, n.w).mv(value),
        any_of(jnp.zeros(3), [n.w, n.w]))
    bad("vector", lambda: gd.curvature.GaussNewtonOperator(n.net, n.v).mv([n.v, n.v]))
    bad("GaussNewtonOperator", lambda: gd.curvature.GaussNewtonOperator(n.bowl, n.w).mv(n.w),
        golden=True)
    bad("as_matrix", lambda: gd.curvature.HessianOperator(jnp.sum, jnp.zeros(5000)).as_matrix(),
        golden=True)
    bad("preconditioner", gd.curvature.PreconditionedHessian, n.bowl, n.w, jnp.zeros(3))
    vary(gd.curvature.hessian_trace, n.bowl, n.w, key=n.key)(operator=[3, lambda problem, w: w])
    bad("make_optimizer", gd.curvature.preconditioner, optax.sgd)
    bad("centered", gd.curvature.preconditioner, partial(optax.rmsprop, centered=True))
    bad("preconditioner", lambda: gd.curvature.preconditioner(optax.adam)(()), golden=True)
    bad("make_optimizer", gd.curvature.stability_threshold, 0.1, partial(optax.sgd, momentum=1.0))
    bad("make_optimizer", gd.curvature.stability_threshold, 0.1, partial(optax.adam, b1=1.0))
    bad("make_optimizer", gd.curvature.stability_threshold, 0.1, partial(optax.adamw,
        mask={"a": False}))
    bad("weight_decay", gd.curvature.stability_threshold, 0.1, partial(optax.adamw,
        weight_decay=-1.0))
    bad("weight_decay", gd.curvature.stability_threshold, 0.1, partial(optax.adamw,
        weight_decay=22.5))
    bad("make_optimizer", gd.curvature.stability_threshold, 0.1, any_of(partial(optax.sgd, 0.1),
        partial(optax.adam, **n.unknown), optax.lion))
    bad("make_optimizer", gd.curvature.stability_threshold, 0.1,
        partial(gd.descent.non_euclidean_descent, scaled=False))
    bad("count", gd.sweep, n.bowl, n.ax, 1,
        metrics={"a": gd.curvature.Sharpness(3)})
    bad("params", gd.curvature.locate_entries, n.v, jnp.array([0]), network=n.network)
    bad("image_shape", lambda: gd.curvature.locate_entries(n.network.init(n.key), jnp.array([0]),
        network=n.network, image_shape=(3, 3)))
    vary(gd.dynamics.distance_from_flow, n.bowl, n.w, times=[1.0])(learning_rates=[["a"], [], [0.1,
        0.0]])
    vary(gd.dynamics.distance_from_flow, n.bowl, n.w, learning_rates=[0.3])(times=[[-1.0], [0.5]])


def minima_figures_and_pages(bad, vary, n):
    bad("problem", gd.minima.count_minima, None, n.w, key=n.key)
    bad("problem", gd.minima.count_minima, lambda w: w[0], n.w[None], key=n.key)
    bad("distance_tolerance", gd.minima.count_minima, n.bowl, n.w[None], key=n.key,
        distance_tolerance=-1.0)
    bad("output_tolerance", gd.minima.count_minima, n.bowl, n.w[None], key=n.key,
        output_tolerance=-1.0)
    bad("gradient_tolerance", gd.minima.count_minima, None, n.store, gradient_tolerance=0)
    vary(gd.minima.count_minima, None, n.store)(by=[3, [], [3], "rate"], points=[1])
    bad("by", gd.minima.count_minima, n.bowl, n.w[None], by="seed", key=n.key)
    vary(gd.minima.count_minima, n.bowl, n.w[None], key=n.key)(
        learning_rate=["a", 0.0, [0.1, 0.2], [], nan], make_optimizer=[3])
    bad("census", gd.minima.census_table, any_of(3, n.runs))
    bad("temperature", n.bowl.at, temperature=2.0)
    bad("bias_scale", gd.problems.Network, (2, 3), bias_scale=-1.0)
    bad("biases", gd.problems.decayed, n.network, n.data, 0.1, biases=3)
    bad("level", gd.minima.estimate_unseen, [3, 1], level=2.0)
    bad("momentum", gd.minima.learning_rate_limits, "quartic", momentum=1.0)
    bad("seeds", gd.minima.count_minima, None, n.store, {"seeds": 1})
    bad("network", gd.minima.match, None, n.v, n.v, key=n.key)
    bad("reference", lambda: gd.minima.match(n.network, n.network.init(n.key), n.v, key=n.key))
    bad("inputs", lambda: gd.minima.matching.match_activations(n.network, n.network.init(n.key),
        n.network.init(n.key), jnp.zeros((7, 4))))
    bad("params", gd.minima.symmetry.canonicalize, n.network, n.v)
    bad("symmetry", lambda: gd.minima.symmetry.apply_symmetry(n.network, n.network.init(n.key),
        (1,)))
    bad("params", gd.minima.pairwise_barriers, n.bowl, n.w, key=n.key)
    bad("problem", gd.minima.pairwise_barriers, n.counted, jnp.eye(2), key=n.key)
    bad("b", gd.minima.linear_path, n.w, jnp.zeros(3))
    bad("problem", gd.minima.path_cost, gd.problems.as_problem(n.net, jnp.zeros(3)),
        jnp.stack([n.v, n.v]))
    bad("problem", gd.minima.pairwise_barriers, 3, n.w, key=n.key)
    bad("cost", gd.minima.path_barrier, any_of("a", jnp.zeros((2, 0)), n.masked))
    bad("learning_rate", gd.minima.basins_of_attraction, "himmelblau", -0.01, side=3, num_steps=3)
    bad("points", cluster_points, jnp.zeros(3), 0.1)
    bad("result", gd.plot, any_of(3, n.bowl, n.other, {"x": 1}))
    bad("plot", gd.plot, gd.landscape.line(n.bowl, n.w, n.flat, [0.0]).expand_dims(c=2, d=2))
    bad("plot", gd.plot, n.runs.assign(outcome=-1 + 0 * n.runs.outcome))
    bad("plot", gd.plot, n.runs.mean("seed", keep_attrs=True))
    bad("nothing", gd.plot, "nothing", raises=StoreError)
    bad("runs", gd.explore, any_of(3, n.other))
    vary(gd.explore, n.runs)(
        planes=[3, {"one": n.runs}], numbers=[-5], name=[3], minima=[3], parent=[3, n.runs]
    )
    bad("runs", gd.explore, any_of({}, {"one": n.runs}, {"one": n.runs, "two": 3}))
    bad("points", gd.explore(n.runs).zoom, points=any_of(1, 2.5, "3"))
    bad("problem", gd.pages.lesson, n.bowl, 3)
    for changed in ({"widths": ()}, {"activation": "tanh"}):
        bad("problem", gd.pages.lesson, gd.problems.digits("mnist5k", **changed))
    bad("problem", gd.pages.lesson, replace(n.digits, metrics={}))


def other_types(bad, vary, n):
    bad("init_scale", n.network.init, n.key, init_scale=["a"])
    bad("key", n.network.init, 3)
    bad("title", gd.plot, n.runs, title=3)
    bad("networks", gd.pages.lesson, n.digits, -1)
    bad("images", distorted, "x", gd.problems.Distortion())
    bad("images", distorted, jnp.zeros((1, 2, 2)), 3)
    bad("data", gd.problems.decayed, n.network, 3, 0.1)
    bad("test", gd.problems.decayed, n.network, n.data, 0.1, test=[1])
    bad("problem", gd.problems.evaluate, 3, n.w)
    bad("data", gd.problems.evaluate, n.net, n.v, data=3)
    bad("skip_damaged", gd.open_dataset, n.store, skip_damaged="yes")
    bad("gradient", gd.curvature.largest_entries, "x", 1)
    bad("count", gd.curvature.largest_entries, n.w, 1.5)
    bad("params", gd.curvature.gradient_summary, n.bowl, jnp.zeros((0, 2)))
    bad("layer", gd.curvature.GaussNewtonOperator, n.net, n.v, layer=[])
    bad("snapshots", principal_components, "x")
    bad("snapshots", lambda value: principal_components((jnp.zeros((2, 3)),
        jnp.zeros(value))), any_of((), (3, 3)))
    bad("coordinates", at_coordinates, n.w, {"flat": n.flat}, [0.0, 1.0])
    bad("directions", at_coordinates, n.w, 3, [0.0])
    vary(gd.dynamics.gradient_flow, n.bowl, n.w, times=[1.0])(max_steps=["x"], rtol=[10 ** 30])
    bad("params", gd.dynamics.gradient_flow, n.bowl, "x", times=[1.0])


def other_invalid_values(bad, vary, n):
    bad("like", gd.params_of, n.runs, 3, n.at)
    bad("axes", gd.extend, n.store, 3, to=n.folder / "s")
    bad("num_steps", gd.extend, n.store, num_steps="x", to=n.folder / "s")
    bad("problem", lambda: gd.curvature.HessianOperator(n.bowl, jnp.zeros(3)).as_matrix())
    vary(gd.landscape.line, n.bowl, n.w, n.flat, [0.0])(metrics=[3], name=[3])
    bad("directions", gd.landscape.grid, n.bowl, n.w, {1: n.flat}, [[0.0]])


def parameters_and_losses(bad, vary, n):
    bad("params", gd.problems.evaluate, n.bowl, any_of(None, "x"))
    bad("cost", gd.problems.evaluate, n.bowl, any_of(jnp.zeros(3)))
    for function in (gd.problems.evaluate, value_and_gradient):
        bad("problem", function, n.counted, n.w)
    vary(gd.problems.frozen, n.bowl)(model_state=[3], step=[1], temperature=[1.0])
    bad("problem", gd.curvature.extreme_eigenpairs, lambda w, *, t: t * w[0], n.w, key=n.key)
    bad("outputs", gd.problems.accuracy, 3, jnp.zeros(3))
    bad("labels", gd.problems.accuracy, jnp.zeros((3, 2)), jnp.zeros(4))
    bad("targets", gd.problems.cross_entropy, jnp.zeros((3, 2)), None)
    bad("targets", gd.problems.quadratic, jnp.zeros((3, 2)), jnp.zeros((1, 2)))


def user_defined_costs(bad, vary, n):
    bad("cost", gd.descend, n.doubled, n.sgd, n.w, 5, key=n.key)
    bad("problem", gd.curvature.extreme_eigenpairs, lambda w: w.reshape(3)[0], n.w, key=n.key)
    bad("problem", gd.landscape.line, n.of_the_host, n.w, n.flat, [0.0])
    bad("init", gd.sweep, gd.Problem(init=lambda key: (n.w, jnp.zeros(0)), cost=lambda w: w[0][0]),
        n.ax, 5)


def directions(bad, vary, n):
    bad("flat", at_coordinates, n.w, {"flat": np.array(["a", "b"])}, [0.0])
    bad("flat", gd.landscape.orthogonalize, {"flat": np.array([None, 1.0])})
    bad("directions", gd.landscape.orthogonalize, [n.flat])


def minima_of_other_costs(bad, vary, n):
    bad("problem", gd.minima.count_minima, n.counted, n.with_state)
    bad("t", gd.minima.count_minima, n.timed, n.w, key=n.key)
    bad("problem", gd.minima.count_minima, n.biased, jax.vmap(n.biased.init)(n.key[None]),
        key=n.key)


def other_datasets(bad, vary, n):
    bad("census", gd.minima.count_kinds, n.runs)
    bad("runs", lambda value: list(gd.sweeps.histories(value)), any_of(3, n.other))
    bad("poll_seconds", lambda: list(gd.sweeps.histories(n.store, poll_seconds=0.0)))
    bad("poll_seconds", lambda: list(gd.sweeps.histories(n.runs, poll_seconds=1.0)))


def volumes(bad, vary, n):
    bad("inverse_temperatures", extrapolate, ["a"], [1.0], [1.0])
    bad("coefficients", extrapolate, [1.0, 2.0], [1.0], [1.0])
    bad("draws", effective_sample_size, jnp.zeros(3))
    bad("draws", rhat, any_of(None, jnp.zeros((2, 0)), jnp.zeros((0, 4))))


def minima_and_paths(bad, vary, n):
    bad("counts", gd.minima.estimate_unseen, [-1])
    bad("runs", gd.minima.counting.basin_shares, [2, 2], 3)
    bad("a", gd.minima.linear_path, "a", "b")
    bad("points", gd.minima.path_cost, n.bowl, jnp.zeros((3, 2)), points=0)
    bad("control", gd.minima.path_cost, n.bowl, any_of(n.w[:1], {"a": n.w, "b": jnp.zeros(3)},
        "abc"))


def slices(bad, vary, n):
    bad("axis", filter_normalize, n.w, n.w, axis="x")
    bad("directions", project, n.w[None], n.w, {})
    bad("coordinates", gd.landscape.grid, n.bowl, n.w, {"flat": n.flat}, 3)


def curvature(bad, vary, n):
    bad("position", gd.curvature.check_gradient, n.bowl, n.w, any_of("x", jnp.array([99]),
        jnp.array([0.5])))
    bad("position", gd.curvature.locate_entries, n.w, jnp.array([-1]))
    bad("params", gd.curvature.locate_entries, "x", jnp.array([0]))
    bad("batch_size", gd.curvature.batch_sharpness, n.net, n.v, key=n.key, batch_size="x")
    bad("batches", gd.curvature.batch_sharpness, n.net, n.v, key=n.key, batch_size=2, batches=1)
    bad("problem", gd.curvature.batch_sharpness, n.bowl, n.w, key=n.key, batch_size=1)
    bad("count", gd.curvature.Sharpness, any_of(0, True))
    vary(gd.curvature.Sharpness)(rtol=[0.0, -1.0, nan], operator=[3],
        preconditioner=[3])
    bad("function", gd.curvature.FunctionOperator, 3, n.w)


def steps_and_statistics(bad, vary, n):
    bad("function", declared, 3)
    bad("values", gd.statistics.median, any_of([], [nan], [-inf, 1.0], "x"))
    vary(gd.statistics.median, [1.0])(level=[jnp.zeros(2), 2, None])
    bad("values", gd.statistics.mean, "x")
    bad("mean", gd.statistics.mean, [1.0, inf], golden=True)
    bad("paired", gd.statistics.paired, jnp.zeros(2), jnp.zeros(1), golden=True)
    bad("paired", gd.statistics.paired, [1.0], [2.0], golden=True)
    bad("first", gd.statistics.paired, "x", "y")
    bad("successes", gd.statistics.share, any_of(0.5, 3), 2)
    bad("gradient", dual_norm, any_of("x", n.masked), "l2")
    bad("learning_rate", gd.descent.non_euclidean_descent, "a")
    bad("batch_size", gd.descent.gradient_noise, n.net, n.v, key=n.key, batch_size=1.5)
    bad("batches", gd.descent.gradient_noise, n.net, n.v, key=n.key, batch_size=2, batches=9)
    bad("norm", dual_norm, n.w, "l7")
    bad("batch_size", gd.descent.steps_for, 1, 10, 0)
    bad("optimizer", gd.descent.init, 3, n.w)
    bad("params", gd.descent.init, n.sgd, "x")
    bad("state", gd.descent.step, lambda w: w[0], n.sgd, 5)
    bad("cost", gd.descent.step, 3, n.sgd, 5)
    bad("seed", gd.run_keys, 0, any_of(-1, 2 ** 32, 2 ** 70, "x"))
    bad("data_seed", gd.run_keys, 0, 0, 2 ** 32)
    bad("data_dir", available, 3)


SECTIONS = [
    function for name, function in list(globals().items())
    if getattr(function, "__code__", None) and function.__code__.co_varnames[:2] == ("bad", "vary")
]

# A command line, what its error names, and values that replace VALUE, or GOLDEN. Options that
# replace KEYWORD are named by their errors.
COMMANDS = (
    # Missing and unknown commands
    ("", "gdjax"),
    ("swep", "swep", GOLDEN),
    ("KEYWORD", "--no-such --completion --completion=tcsh --version=now"),
    ("data download", "download"),
    ("data prepare", "NAME"),
    ("data prepare nothing", "nothing"),
    ("data prepare mnist --data-dir own.py", "data_dir"),
    # Train
    ("train extra", "extra"),
    ("train --data nothing", "nothing"),
    (
        "train KEYWORD",
        "--widths=0 --widths=-3 --widths=a --activation=swish --initializer=zeros --recipe=fast "
        "--learning-rate=-1 --learning-rate=0 --learning-rate=nan --learning-rate=x "
        "--optimizer=sgdm --batch-size=0 --batch-size=half --batch-size=10000000 --epochs=1.5 "
        "--epochs=abc --num-steps=0 --num-steps=-1 --seed=-1 --seed=99999999999 --data",
    ),
    ("train --batch-size all", "--batch-size", GOLDEN),
    ("train --recipe plain --batch-size 4001", "--batch-size", GOLDEN),
    ("train --recipe best --batch-size 40001", "--batch-size", GOLDEN),
    ("train --epochs 0", "--epochs", GOLDEN),
    ("train --lr 1", "--lr", GOLDEN),
    ("train --num-steps 1 --out VALUE", "--out", "own.py /proc/no"),
    # Sweep
    (
        "sweep --learning-rate=VALUE",
        "--learning-rate",
        "'' a 1: :3 5:5 8:0 0:1:0 0:1:3:log -1:1:3:log 0.1:1:3:lin 1,,2 nan inf 1:inf:3 1:1:3 "
        "0.5:2 1:2:3:log:4",
    ),
    ("sweep --learning-rate 3:1", "--learning-rate", GOLDEN),
    ("sweep --seed VALUE", "--seed", "0:5000000000 0:1:5000000000 1:2:99999999999:log"),
    ("sweep --learning-rate", "--learning-rate"),
    ("sweep --learning-rate 0.1 0.2", "0.2", GOLDEN),
    ("sweep --learning-rate 0.1,0.1 --seed 0 --widths 2 --num-steps 2 --out out", "learning_rate"),
    ("sweep KEYWORD", "--seed=0:99999999999 --init-scale=abc --num-steps=0 --record-every=0"),
    ("sweep --axes VALUE", "--axes", "momentum =1 momentum="),
    ("sweep SMALL --axes momentun=0.9", "momentun"),
    ("sweep SMALL --axes seed=1", "seed"),
    ("sweep SMALL --axes nesterov=0,1", "nesterov"),
    ("sweep SMALL KEYWORD", "--optimizer=nosuch --batch-size=0 --problem=own.py"),
    ("sweep SMALL --root-seed -1", "--root-seed"),
    ("sweep SMALL --store own.py", "own.py"),
    ("sweep SMALL --store s.zarr", "s.zarr"),
    ("sweep SMALL --problem own.py:nothing", "nothing", GOLDEN),
    ("sweep SMALL --problem own.py:number", "number"),
    ("sweep SMALL --problem nothing.py:problem", "nothing.py"),
    ("sweep SMALL --problem wrong.py:problem", "wrong.py"),
    ("sweep SMALL --problem leaves.py:problem", "leaves.py"),
    # Stores
    ("VALUE", "store", "resume replay"),
    ("resume own.py", "own.py"),
    ("resume empty", "empty", GOLDEN),
    ("resume own.zarr", "--problem"),
    ("resume s.zarr --part=VALUE", "--part", "auto 4/4 1 -1/4 a/b"),
    ("resume s.zarr --problem own.py:problem --out out", "problem"),
    ("replay nothing.zarr", "nothing.zarr"),
    ("replay s.zarr", "learning_rate"),
    ("replay s.zarr --at VALUE", "--at", "learning_rate learning_rate= =1"),
    ("replay s.zarr --at learning_rate=x seed=0", "learning_rate"),
    ("replay s.zarr --at seed=1 seed=2", "--at", GOLDEN),
    ("replay s.zarr --at lr=1", "--at", GOLDEN),
    ("replay s.zarr --at rate=1 seed=0", "rate"),
    ("replay damaged.zarr --at learning_rate=0.1 seed=0", "damaged.zarr"),
    ("replay own.zarr --at learning_rate=0.1", "--problem"),
    # Landscape, spectrum, minima and pages
    (
        "landscape KEYWORD",
        "--points=1 --points=100000 --reach=-1 --reach=0 --direction-seed=-1 --epochs=0 "
        "--kind=sphere",
    ),
    ("landscape --directions random random", "--directions", GOLDEN),
    ("landscape --directions neurons", "--directions", GOLDEN),
    ("landscape --at seed=0", "--at", GOLDEN),
    ("landscape --params nothing.npz", "nothing.npz"),
    (
        "spectrum KEYWORD",
        "--largest=-1 --largest=0 --smallest=x --smallest=-1 --probes=11 --probe-seed=-1 "
        "--tolerance=-1 --tolerance=0 --tolerance=nan --gradient-tolerance=nan --skip-damaged "
        "--problem=own.py:problem",
    ),
    ("spectrum --store s.zarr --params b", "--params", GOLDEN),
    ("minima KEYWORD", "--seeds=0 --num-steps=0 --decay=-1 --tolerance=-1 --samples=0"),
    ("minima --widths 16 0", "--widths"),
    ("minima --store nothing.zarr", "nothing.zarr"),
    ("minima --store s.zarr --function beale", "--function", GOLDEN),
    ("minima --store s.zarr --learning-rate 1", "--learning-rate", GOLDEN),
    ("minima --function beale --data mnist", "--data"),
    ("minima --function himelblau", "himelblau"),
    ("explore empty", "empty"),
    ("explore --planes VALUE", "--planes", "own.py nothing empty"),
    ("explore --minima empty", "--minima"),
    ("explore --out VALUE", "--out", "nothing/page.html page.txt empty"),
    ("lesson KEYWORD", "--networks=-1 --epochs=0 --seed=-1"),
    ("lesson --data nothing", "nothing"),
)
