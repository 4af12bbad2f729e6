"""Properties of full MNIST, loading of prepared data sets, and unknown names."""

import subprocess
import sys

import pytest
from prepared_set import assert_holds, some, store

from gdjax.data import available, load
from gdjax.errors import DataError

# Prepared sets


def test_the_data_folder_is_read_from_the_environment(tiny, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny[0]))
    assert_holds(load("tiny"), tiny[2])


def test_loading_prints_nothing_and_imports_tfds_lazily(tiny):
    code = (
        "import sys, logging\n"
        "from gdjax.data import load\n"
        "assert 'tensorflow_datasets' not in sys.modules\n"
        "before = sys.stdout, list(logging.root.handlers)\n"
        f"load('tiny', data_dir={str(tiny[0])!r})\n"
        "assert 'tensorflow_datasets' in sys.modules and 'tensorflow' not in sys.modules\n"
        "assert before == (sys.stdout, logging.root.handlers)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Availability


def test_available_lists_the_known_and_the_prepared_data_sets_of_images(tiny, tmp_path):
    data_dir = tiny[0]
    store(data_dir / "letters" / "upper" / "2.0.0", some())
    store(data_dir / "words" / "1.0.0", some(), features={"text": {}})
    (data_dir / "mnist" / "3.0.1").mkdir(parents=True)  # damaged
    result = {entry.name: entry for entry in available(data_dir)}
    assert set(result) == {"mnist5k", "mnist", "fashion_mnist", "kmnist", "tiny", "letters/upper"}
    assert {name for name in result if result[name].prepared} == {
        "mnist5k",
        "tiny",
        "letters/upper",
    }
    assert result["tiny"][1:] == (str(tiny[1]), True, 9, 6)
    assert result["mnist5k"][3:] == (4000, 1000)
    assert [entry.name for entry in available(tmp_path / "nowhere")] == [
        "mnist5k",
        "mnist",
        "fashion_mnist",
        "kmnist",
    ]


# Errors


@pytest.mark.parametrize(
    ("name", "nearest"), [("mnsit", "mnist"), ("fashion-mnist", "fashion_mnist"), ("tny", "tiny")]
)
def test_an_unknown_name_raises_an_error_that_suggests_the_nearest_name(tiny, name, nearest):
    with pytest.raises(DataError, match=f"{name}.*did you mean '{nearest}'.*mnist5k.*kmnist"):
        load(name, data_dir=tiny[0])


@pytest.mark.parametrize("name", ["zzz", "", "../data/tiny", "/etc", "tiny/1.0.0", "a/b/c"])
def test_a_name_unlike_any_other_raises_an_error_that_lists_the_valid_names(tiny, name):
    with pytest.raises(DataError, match=r"unknown.*Expected mnist5k"):
        load(name, data_dir=tiny[0])
