"""Ordinary programs are taken by every verb, and their first costs are those of a direct call.

Each program is swept into a store, replayed, and extended in a second process.
"""

import json

import jax
import numpy as np
import optax
import pytest
from ordinary_programs import OPTIMIZERS, PROGRAMS

import gdjax as gd
from tests.processes import python

AXES, WIDER = gd.axes(learning_rate=[0.01, 0.02]), gd.axes(learning_rate=[0.01, 0.02, 0.03])
# The cost of these draws random numbers, or changes a model state.
WITHOUT_DIRECT_CALL = {"random_cost", "equinox_state"}

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


def options(name):
    return {"make_optimizer": OPTIMIZERS[name]} if name in OPTIMIZERS else {}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


def test_there_are_at_least_40_programs():
    assert len(PROGRAMS) >= 40


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_swept_and_replayed(stores, name):
    problem = PROGRAMS[name]()
    runs = gd.sweep(problem, AXES, 2, store=stores / name, **options(name))
    assert np.isfinite(runs.cost).all()
    again = gd.replay(
        stores / name, {"learning_rate": 0.02}, problem=PROGRAMS[name](), **options(name)
    )
    assert again.equal
    if name not in WITHOUT_DIRECT_CALL:
        data = () if problem.data is None else (problem.data,)
        direct = jax.jit(problem.cost)(problem.init(jax.random.key(0)), *data)
        np.testing.assert_allclose(runs.cost[:, 0], direct, rtol=2e-5)
    if name not in WITHOUT_DIRECT_CALL | OPTIMIZERS.keys():
        start, rate = problem.init(jax.random.key(0)), optax.sgd(0.02)
        run = gd.descend(problem, rate, start, 2, key=jax.random.key(0))
        np.testing.assert_allclose(run.cost, runs.cost[1], rtol=1e-4, atol=1e-6)


EXTEND = """
import json, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from test_ordinary_programs import *
refused = {}
for name in sys.argv[3:]:
    store = f"{sys.argv[2]}/{name}"
    calls_host = bool(json.loads(gd.open_dataset(store).attrs["identity"])["callbacks"])
    try:
        wider = gd.extend(
            store, WIDER, to=f"{store}-wider", problem=PROGRAMS[name](),
            allow_unverified=calls_host, **options(name),
        )
        assert int(wider.finished.min()) > 0
    except Exception as error:
        refused[name] = f"{type(error).__name__}: {error}"
print("REFUSED", json.dumps(refused))
"""


def test_every_store_is_extended_in_another_process(stores, request):
    names = sorted(path.name for path in stores.iterdir())
    assert names
    folder = request.path.parent
    done = python("-c", EXTEND, folder, stores, *names, cwd=folder.parent.parent)
    assert json.loads(done.stdout.rpartition("REFUSED ")[2]) == {}
