"""Errors of invalid calls and command lines: one line that names the argument."""

import dataclasses
import json
import re
import shlex
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bad_calls import COMMANDS, SECTIONS, SMALL, any_of

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.cli import main
from gdjax.problems.metrics import described as describe_measurement
from tests.annotations import skip_with_annotations

pytestmark = [pytest.mark.filterwarnings("ignore"), skip_with_annotations]
OWN_FILE = """
import jax.numpy as jnp
import gdjax as gd
number = 3
problem = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
"""


FILE = Path(__file__).with_name("messages.json")


def cases(rows) -> list[tuple[str, str, bool]]:
    """Return all command lines with what their error names, and whether its message is compared."""
    result = []
    for line, argument, *rest in rows:
        if "KEYWORD" in line:
            for option in argument.split():
                name, _, value = option.partition("=")
                passed = f"{name} {value}" if name.startswith("-") else option
                result.append((line.replace("KEYWORD", passed), name, False))
        elif "VALUE" in line:
            values = rest[0].split()
            result += [(line.replace("VALUE", value), argument, False) for value in values]
        else:
            result.append((line, argument, bool(rest)))
    return result


def prepare() -> SimpleNamespace:
    """Create problems, stores and files in the working folder; return variables of the calls."""
    w, flat, key, sgd = jnp.ones(2), jnp.array([1.0, 0.0]), jax.random.key(0), optax.sgd(0.1)
    masked = np.ma.array([1.0, 2.0], mask=[0, 1])

    # Functions and problems
    zero, same, mean = lambda key: 0.0, lambda w: w, lambda w, batch: w
    described = describe_measurement
    first = gd.Metric(lambda _, w: w[0])
    init, apply = lambda key: jax.random.normal(key, (2, 1)), lambda w, x: x @ w
    loss = lambda outputs, targets: jnp.mean((outputs - targets) ** 2)  # noqa: E731
    data = np.ones((6, 2), np.float32), np.ones((6, 1), np.float32)
    net, network = gd.problems.supervised(init, apply, loss, data), gd.problems.Network((2, 1))
    v = net.init(key)
    digits = gd.problems.digits(widths=(2,), samples=9)
    timed = dataclasses.replace(digits, cost=lambda w, batch, *, t: t)
    biased = dataclasses.replace(digits, cost=lambda w, batch: jnp.sum(w[0].bias))
    summed = gd.Problem(zero, lambda w, batch: w * jnp.sum(batch), data=jnp.arange(1.0, 5.0))
    bowl = gd.problems.bowl([1.0, 4.0])
    pair = {"2": bowl, "3": bowl}
    mine = gd.Problem(lambda key: w, lambda w: jnp.sum(w**2))
    counted = gd.Problem(
        lambda key: (w, jnp.zeros(())),
        lambda w, *, model_state: (jnp.sum(w**2), model_state + 1),
    )
    scales = gd.Problem(
        lambda key, *, scale=1.0: scale * w, lambda w, *, scale=1.0, heat=1.0: scale * w[0] / heat
    )

    def doubled(w):
        return jax.lax.while_loop(lambda u: u < 3, lambda u: 2 * u, w[0])

    def of_the_host(w):
        return jax.pure_callback(lambda a: a[0], jax.ShapeDtypeStruct((), "float32"), w)

    # Axes, sweeps and stores
    ax, leave = gd.axes(learning_rate=[0.1]), gd.axes(branch_step=[1])
    grid, at = gd.axes(learning_rate=[0.1, 0.2], seed=[0, 1]), {"learning_rate": 0.1, "seed": 0}
    zipped, apart = gd.zip_axes(learning_rate=[0.1]), gd.zip_axes(seed=[1])
    spec = gd.Sweep(bowl, ax, 8)
    store, own, with_state = Path("s.zarr"), Path("own.zarr"), Path("with_state.zarr")
    runs = gd.sweep(bowl, grid, 4, store=store, snapshot_every=2)
    other = runs.drop_vars("outcome")
    user = {"make_optimizer": lambda learning_rate: optax.sgd(learning_rate, momentum=0.5)}
    gd.sweep(mine, ax, 2, store=own, **user)
    gd.sweep(counted, ax, 2, store=with_state)
    damaged = Path(shutil.copytree(store, "damaged.zarr"))
    for file in [*(damaged / "cost").rglob("c*"), *(damaged / "params").rglob("c*")]:
        if file.is_file():
            raw = bytearray(file.read_bytes())
            raw[0] ^= 1
            file.write_bytes(raw)
    folder = Path("empty")
    folder.mkdir()
    Path("own.py").write_text(OWN_FILE)
    Path("wrong.py").write_text("import nothing_of_this_name\n")
    Path("leaves.py").write_text("raise SystemExit(0)\n")
    unknown = {"momentum": 0.9}  # an argument that Adam has not
    return SimpleNamespace(**locals())


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    """Return the variables of the calls; the working folder has their stores and files."""
    with pytest.MonkeyPatch.context() as patch, jax.numpy_rank_promotion("allow"):
        patch.chdir(tmp_path_factory.mktemp("calls"))
        patch.setenv("COLUMNS", "100")
        patch.setenv("TFDS_DATA_DIR", "datasets")  # messages name the folder
        yield prepare()


@pytest.fixture(scope="module")
def compare(request):
    """Return a function that compares messages with the file, or writes them into it."""
    stored = json.loads(FILE.read_text())

    def check(section, messages):
        if request.config.getoption("regenerate") and messages:
            stored[section] = messages
            text = json.dumps(stored, indent=0, ensure_ascii=False, sort_keys=True)
            FILE.write_text(f"{text}\n")
        assert messages == stored.get(section, [])

    return check


def names(text, argument):
    """Return whether an error is one of an argument: at its beginning, or quoted."""
    argument = re.escape(argument)
    begins = re.match(rf"(?:[^:]+: )*(?:\S*/)?['\"]?{argument}(?!\w)", text)
    return begins or re.search(rf"['`\[]{argument}['`\]]", text)


def fault(call, argument, raises, value, messages):
    """Return what is wrong with the error of a call, or an empty text."""
    try:
        call()
    except Exception as error:
        text, kind = str(error), type(error)
    else:
        return "no error"
    messages.append(f"{kind.__name__}: {text}")
    if kind is TypeError:  # Python's own, which names the argument
        is_named = re.match(rf"\w+\(\) (got|missing) .*'{argument}'", text)
    else:
        is_named = names(text, argument) and re.search(r"[Ee]xpected|; |not valid|URL", text)
        if isinstance(value, str | int | float) and "expected" in text:
            shown = (
                repr(value)[:60],
                format(value, "," * isinstance(value, int)),
                type(value).__name__,
            )
            is_named = is_named and any(part in text for part in shown)
    return "" if kind is raises and is_named and "\n" not in text.strip() else messages[-1]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_invalid_calls_raise_one_line_errors(variables, compare, section):
    faults, messages = [], []

    def check(call, argument, raises, golden=False, value=None):
        own = []
        if text := fault(call, argument, raises, value, own):
            faults.append(f"{argument}, {value!r}: {text}")
        if golden:
            messages.extend(own)

    def bad(argument, function, *args, raises=InputError, golden=False, **keywords):
        values = [*args, *keywords.values()]
        for value in next((value for value in values if isinstance(value, any_of)), [None]):

            def of(argument, value=value):
                return value if isinstance(argument, any_of) else argument

            named = {name: of(given) for name, given in keywords.items()}
            check(partial(function, *map(of, args), **named), argument, raises, golden, value)

    def vary(function, *args, raises=InputError, **fixed):
        def each(**lists):
            for name, values in lists.items():
                for value in values:
                    call = partial(function, *args, **fixed, **{name: value})
                    check(call, name, raises, value=value)

        return each

    section(bad, vary, variables)
    assert not faults, "\n".join(faults)
    compare(section.__name__, messages)


def test_invalid_command_lines_exit_with_status_2_and_state_the_reason(variables, compare, capsys):
    faults, messages = [], []
    for line, argument, golden in cases(COMMANDS):
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(line.replace("SMALL", SMALL)))
        printed = capsys.readouterr()
        text = re.sub(r"[─│╭╮╰╯]+", " ", printed.err or printed.out).strip()
        is_one_line = "\n" not in text or not text.startswith("gdjax: ")  # tyro draws boxes
        spellings = {argument, argument.replace("_", "-")}
        is_named = any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in spellings)
        if ended.value.code != 2 or not is_one_line or not is_named:
            faults.append(f"{line}: {ended.value.code} {text}")
        if golden:
            lines = (" ".join(part.split()) for part in text.splitlines())
            messages.append(next(part for part in lines if part and "Parsing error" not in part))
    assert not faults, "\n".join(faults)
    compare("commands", messages)
