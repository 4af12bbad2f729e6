"""One comparison, used by every verb, decides whether stored numbers may be continued.

Each cell of the table is what a verb does with a store after one change: "same" (it goes on),
"error", or "recorded" (it goes on, and the writers of each run say what changed).
"""

import dataclasses
import json
from contextlib import nullcontext
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_problems import same_bits

import gdjax as gd
from gdjax.base.errors import StoreError
from gdjax.cli.problem_file import load_problem
from gdjax.sweeps import identity, run_of
from gdjax.sweeps.continued.parts import count_tiles
from tests.processes import python

pytestmark = pytest.mark.filterwarnings("ignore:count_minima")  # short descents
AXES = gd.axes(learning_rate=[0.1, 0.2], seed=[0, 1])
WIDER = gd.axes(learning_rate=[0.1, 0.2, 0.3], seed=[0, 1])
AT = {"learning_rate": 0.2, "seed": 1}
SCALE = 1.0


def deepest_rule(w, t):
    return jnp.sin(*w), jnp.cos(*w) * t[0]


def with_rules_within_rules(factor, deep):
    """Return the sine, whose derivative has a rule; with `deep`, the third one has one, too."""
    outer, inner, sine = (jax.custom_jvp(f) for f in (jnp.sin, jnp.cos, jnp.sin))
    sine.defjvp(deepest_rule)
    inner.defjvp(lambda w, t: (jnp.cos(*w), -factor * (sine if deep else jnp.sin)(*w) * t[0]))
    outer.defjvp(lambda w, t: (jnp.sin(*w), inner(*w) * t[0]))
    return outer


def study(
    constant=1.0,
    closure=(1.0,),
    rule=1.0,
    factor=1.0,
    masked=True,
    metric=1.0,
    metric_data=1.0,
    baseline=None,
    data=1.0,
    momentum=0.5,
    calls_host=False,
    stop=lambda w: w,
    couples_samples=False,
    weight=None,
    nested=1.0,
    deep=False,
):
    """Return the problem and the optimizer of a sweep, made anew as in a new session."""

    @jax.custom_vjp
    def square(w):
        return jnp.sum(w**2)

    square.defvjp(lambda w: (square(w), w), lambda w, g: (2 * rule * w * g,))

    def cost(w, x):
        value = jnp.mean(x) * constant * closure[0] * SCALE * square(w) + jnp.sum(stop(w))
        value += jnp.sum(with_rules_within_rules(nested, deep)(w))
        if calls_host:
            jax.debug.callback(lambda value: None, value)
        return value

    def make_optimizer(learning_rate, momentum):
        half = optax.masked(optax.scale(0.5), (masked,))
        by_leaf = optax.chain(optax.sgd(factor * learning_rate, momentum=momentum), half)

        def update(g, state, w=None):
            (updates,), state = by_leaf.update((g,), state)
            return updates, state

        return optax.GradientTransformation(lambda w: by_leaf.init((w,)), update)

    measured = gd.Metric(lambda p, w: metric * p.data * jnp.sum(w), data=jnp.array(metric_data))
    problem = gd.Problem(
        init=lambda key: jax.random.normal(key, (2,)),
        cost=cost,
        data=jnp.full(3, data),
        metrics={"size": measured},
        baseline=baseline,
        couples_samples=couples_samples,
        weight=weight,
    )
    return {"problem": problem, "make_optimizer": partial(make_optimizer, momentum=momentum)}


def swept(store, problem, make_optimizer, **options):
    return gd.sweep(problem, AXES, 4, store=store, make_optimizer=make_optimizer, **options)


def halved(store, problem, make_optimizer, **options):
    sweep = gd.Sweep(problem, AXES, 4, make_optimizer=make_optimizer, record_every=2)
    return gd.search.successive_halving(sweep, (2,), store=f"{store}-search", **options)


def with_problem(verb):
    return lambda store, problem, make_optimizer, **options: verb(store, problem=problem, **options)


VERBS = {
    "sweep": swept,
    "halving": halved,
    "resume": gd.resume,
    "extend": lambda store, **given: gd.extend(store, WIDER, to=f"{store}-wider", **given),
    "extend steps": lambda store, **given: gd.extend(store, None, 8, to=f"{store}-more", **given),
    "branch": lambda store, **given: gd.branch(store, AT, gd.axes(branch_step=[2]), **given),
    "replay": lambda store, **given: gd.replay(store, AT, **given),
    "run_of": with_problem(lambda store, **given: run_of(store, AT, **given)),
    "count_minima": with_problem(
        lambda store, problem, **given: gd.minima.count_minima(problem, store, **given)
    ),
}
ALL = dict.fromkeys(VERBS, "error")
# The minima of a cost are those of any descent.
OF_DESCENT = ALL | dict.fromkeys(("run_of", "count_minima"), "same")
CHANGES = {
    "constant": ({"constant": 2.0}, ALL, "functions.cost"),
    "closure": ({"closure": [2.0]}, ALL, "functions.cost"),
    "custom gradient": ({"rule": 2.0}, ALL, "functions.cost"),
    "rule within a rule": ({"nested": 2.0}, ALL, "functions.cost"),
    "stopped gradient": ({"stop": jax.lax.stop_gradient}, ALL, "functions.cost"),
    "coupled samples": ({"couples_samples": True}, OF_DESCENT, "couples_samples"),
    "data": ({"data": 2.0}, ALL, "data_hash"),
    "weight": ({"weight": jnp.sum}, ALL, "functions.weight"),
    "factory": ({"factor": 2.0}, OF_DESCENT, "functions.optimizer"),
    "partial": ({"momentum": 0.9}, OF_DESCENT, "make_optimizer.keywords.momentum"),
    "mask": ({"masked": False}, OF_DESCENT, "functions.optimizer"),
    "metric": ({"metric": 2.0}, OF_DESCENT, "functions.metrics.size"),
    "metric data": ({"metric_data": 2.0}, OF_DESCENT, "metrics.size.data_hash"),
    "baseline": ({"baseline": 3.0}, OF_DESCENT, "baseline"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("computation") / "s"
    for make in (swept, halved):
        make(path, **study())
    return path


def outcomes(store, **given):
    """Return what each verb does: "same" or "error"."""
    result = {}
    for name, verb in VERBS.items():
        try:
            verb(store, **given)
            result[name] = "same"
        except StoreError:
            result[name] = "error"
    return result


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_computation_is_named(store, change):
    changed, _, name = CHANGES[change]
    with pytest.raises(StoreError, match=f"another sweep: {name}: stored") as caught:
        gd.resume(store, **study(**changed))
    assert "\n" not in str(caught.value)


@pytest.mark.long
@pytest.mark.parametrize("change", CHANGES)
def test_every_verb_compares_the_computation(store, change):
    changed, expected, _ = CHANGES[change]
    assert outcomes(store, **study(**changed)) == expected
    assert np.all(gd.open_dataset(store).finished.values == 1)


def test_a_problem_with_a_replaced_cost_is_not_rebuilt(tmp_path):
    bowl = gd.problems.bowl([1.0, 9.0])
    mine = dataclasses.replace(bowl, cost=lambda w: jnp.sum((w - 3) ** 2))
    gd.sweep(mine, AXES, 2, store=tmp_path / "s")
    with pytest.raises(StoreError, match=r"functions\.cost: stored"):
        run_of(tmp_path / "s", AT)
    runs = gd.open_dataset(tmp_path / "s")
    with pytest.raises(StoreError):
        gd.minima.count_minima(bowl, runs)
    run_of(tmp_path / "s", AT, mine)


@pytest.mark.long
def test_every_verb_compares_a_global(store, monkeypatch):
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    assert outcomes(store, **study()) == ALL


@pytest.mark.long
def test_other_threads_are_recorded(store, tmp_path, monkeypatch):
    """A run that one process began and another finished lists both."""
    threads = identity.cpu_threads()
    monkeypatch.setattr(identity, "cpu_threads", lambda: threads + 3)
    assert outcomes(store, **study()) == dict.fromkeys(VERBS, "same")
    assert gd.replay(store, AT, **study()).changed == {"cpu_threads": (threads, threads + 3)}
    more = gd.extend(store, None, 8, to=tmp_path / "m", **study()).load()
    (writers,) = json.loads(more.attrs["writers"])
    assert [writer["cpu_threads"] for writer in writers] == [threads, threads + 3]
    assert same_bits(more.cost[..., :5], gd.open_dataset(store).cost)


@pytest.mark.long
def test_other_versions_and_flags_are_an_error_unless_allowed(store, tmp_path, monkeypatch):
    version = identity._version
    with monkeypatch.context() as patch:
        patch.setattr(identity, "_version", lambda n: "0.0" if n == "jax" else version(n))
        assert outcomes(store, **study()) == ALL
        allowed = outcomes(store, allow_unverified=True, **study())
        assert allowed == dict.fromkeys(VERBS, "same")
        more = gd.extend(store, WIDER, to=tmp_path / "m", allow_unverified=True, **study()).load()
        count_tiles(store, 2, allow_unverified=True, **study())
        with pytest.raises(StoreError, match="versions or flags"):
            count_tiles(store, 2, **study())
        assert set(gd.replay(store, AT, allow_unverified=True, **study()).changed) == {"jax"}
        # Programs of another version cannot be compared, but settings and data are.
        gd.resume(store, allow_unverified=True, **study(constant=2.0))
        with pytest.raises(StoreError, match="data_hash: stored"):
            gd.resume(store, allow_unverified=True, **study(data=2.0))
    with pytest.raises(StoreError, match=r"functions\.cost: stored"):
        gd.resume(store, allow_unverified=True, **study(constant=2.0))
    writers = json.loads(more.attrs["writers"])
    jaxes = [{writer["jax"] for writer in writers[k - 1]} for k in more.finished.values[:, 0]]
    assert jaxes == [{jax.__version__}, {jax.__version__}, {"0.0"}]
    with jax.default_matmul_precision("highest"):
        assert outcomes(store, **study()) == ALL


@pytest.mark.parametrize(
    ("context", "difference"),
    [
        (lambda: jax.enable_x64(True), "jax_enable_x64: stored False, expected True"),
        (lambda: jax.default_matmul_precision("highest"), "stored None, expected 'highest'"),
        (lambda: jax.threefry_partitionable(False), "partitionable: stored True, expected False"),
        (lambda: jax.default_prng_impl("rbg"), "stored 'threefry2x32', expected 'rbg'"),
    ],
)
def test_a_different_jax_setting_is_reported(store, context, difference):
    original = study()
    with context(), pytest.raises(StoreError, match=difference):
        gd.resume(store, **original)


def test_only_flags_with_a_numeric_effect_are_compared(tmp_path, monkeypatch):
    """Flags may be in a file, which has one of them in each line here."""

    def start_with(*flags):
        """Simulate a process that was started with flags of XLA."""
        monkeypatch.setenv("XLA_FLAGS", " ".join(flags))
        monkeypatch.setattr(identity, "xla_flags", read)

    flags = ["--xla_cpu_enable_fast_math=false", "--xla_backend_optimization_level=3"]
    read = identity.xla_flags.__wrapped__  # without a cache
    swept = [gd.problems.bowl([1.0]), gd.axes(learning_rate=[0.1]), 1]
    start_with(*flags)
    gd.sweep(*swept, store=tmp_path / "s")
    (tmp_path / "flags").write_text("\n".join(flags))
    for same in (
        flags[::-1],
        ["--xla_backend_optimization_level=0", *flags],  # XLA uses the last value
        [*flags, "--xla_dump_to=/nowhere", "--xla_gpu_dump_llvmir"],
        [*flags, "--xla_force_host_platform_device_count=4"],
        [str(tmp_path / "flags")],
    ):
        start_with(*same)
        assert gd.replay(tmp_path / "s", {"learning_rate": 0.1}).changed == {}
        gd.sweep(*swept, store=tmp_path / "s")
    (tmp_path / "flags").write_text("--xla_cpu_enable_fast_math=true")
    with pytest.raises(StoreError, match=r"environment\.xla: stored"):
        gd.sweep(*swept, store=tmp_path / "s")
    again = gd.replay(tmp_path / "s", {"learning_rate": 0.1}, allow_unverified=True)
    assert set(again.changed) == {"flags.xla"}


INCOMPARABLE = {
    "calls_host": "cost calls functions of the host",
    "deep": r"derivative rules contain other rules, .* \(cost: .*deepest_rule at ",
}


@pytest.mark.long
@pytest.mark.parametrize("option", INCOMPARABLE)
def test_functions_that_cannot_be_compared_are_an_error_unless_allowed(tmp_path, option):
    """A replay computes the run again, and says whether its numbers are equal."""
    made = study(**{option: True})
    for make in (swept, halved):
        make(tmp_path / "s", **made)
    assert outcomes(tmp_path / "s", **made) == ALL | {"replay": "same"}
    assert gd.replay(tmp_path / "s", AT, **made).equal
    allowed = outcomes(tmp_path / "s", allow_unverified=True, **made)
    assert allowed == dict.fromkeys(VERBS, "same")
    with pytest.raises(StoreError, match=INCOMPARABLE[option]):
        gd.resume(tmp_path / "s", **made)


def test_constants_that_no_text_shows_are_compared(tmp_path):
    """With simplified constants, the text of a program names an array without its values."""
    setting = "jax_use_simplified_jaxpr_constants"
    before = jax.config.values[setting]
    try:
        jax.config.update(setting, True)
        for value, context in (
            (1.0, nullcontext()),
            (3.0, pytest.raises(StoreError, match="cost")),
        ):
            array = jnp.full(1000, value)
            problem = gd.Problem(
                lambda key: jnp.ones(2), lambda w, a=array: jnp.mean(a) * jnp.sum(w**2)
            )
            with context:
                gd.sweep(problem, gd.axes(learning_rate=[0.1]), 1, store=tmp_path / "s")
    finally:
        jax.config.update(setting, before)


OWN = """
import jax, jax.numpy as jnp
import gdjax as gd

CURVATURES = jnp.array([1.0, {curvature}])
problem = gd.Problem(
    init=lambda key: jax.random.normal(key, (2,)), cost=lambda w: jnp.sum(CURVATURES * w**2) / 2
)
"""


@pytest.mark.long
def test_an_equal_problem_in_another_process_is_accepted(tmp_path):
    same, other = tmp_path / "same.py", tmp_path / "other.py"
    same.write_text(OWN.format(curvature=10.0))
    other.write_text(OWN.format(curvature=17.0))
    path = tmp_path / "s"
    gd.sweep(load_problem(f"{same}:problem"), AXES, 4, store=path)
    code = """
import sys
from gdjax.cli.problem_file import load_problem
from gdjax.sweeps import run_of
run_of(sys.argv[1], {"learning_rate": 0.1, "seed": 1}, load_problem(sys.argv[2]))
"""
    for file, status in ((same, 0), (other, 1)):
        run = python("-W", "error", "-c", code, path, f"{file}:problem", status=status)
        assert ("functions.cost: stored" in run.stderr) == bool(status)
