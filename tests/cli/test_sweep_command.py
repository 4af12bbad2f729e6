"""The commands `gdjax sweep`, `resume` and `replay` on a small store."""

import json
import re
import shutil
from pathlib import Path

import pytest

import gdjax as gd
from gdjax.cli import main, sweep

pytestmark = pytest.mark.usefixtures("empty_figures")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Return the output folder of a small finished sweep."""
    folder = tmp_path_factory.mktemp("swept")
    main(
        "sweep --learning-rate 0.5,5 --seed 0:3 --widths 4 --num-steps 20 --record-every 10 "
        f"--out {folder}".split()
    )
    return folder


@pytest.mark.parametrize(
    "flags",
    [
        "--axes foo=1",
        "--axes batch_size=banana",
        "--axes noise_seed=0.5,1",
        "--learning-rate -1",
        "--learning-rate 1,1",
        "--seed 0.5",
        "--data-seed 0:4 --batch-size full",
        f"--store {__file__}",
    ],
)
def test_mistakes_in_axes_are_found_before_jax_is_imported(flags, monkeypatch, capsys):
    monkeypatch.setattr(sweep.process, "configure", lambda *_: pytest.fail("JAX is imported"))
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", *flags.split()])
    assert re.match("gdjax: (--axes foo|axes: |/.* is a file)", capsys.readouterr().err)


def test_initials_of_an_axis_are_understood(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", "--axes", "lr=1"])
    assert "learning_rate?" in capsys.readouterr().err


@pytest.mark.long
def test_the_summary_and_the_figures_are_written(swept):
    summary = json.loads((swept / "summary.json").read_text())
    assert [row["learning_rate"] for row in summary["table"]] == [0.5, 5.0]
    assert summary["runs"] == 6
    assert summary["num_steps"] == 20
    assert all(0 <= row["median_accuracy"] <= 1 for row in summary["table"])
    assert {p.name for p in swept.glob("*.png") if p.stat().st_size} == {"ends.png", "curves.png"}


def test_resume_of_a_finished_store_gives_an_equal_table(swept, tmp_path, capsys):
    before = json.loads((swept / "summary.json").read_text())["table"]
    main(["resume", str(swept / "runs.zarr"), "--out", str(tmp_path)])
    assert json.loads((tmp_path / "summary.json").read_text())["table"] == before
    printed = capsys.readouterr().out
    assert "6 runs of 20 steps were in the store; nothing was computed" in printed
    assert printed.endswith(f"\nnext: gdjax explore {swept}/runs.zarr\n")


def test_resume_writes_only_into_a_folder_of_the_same_sweep(swept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in (("alone", None), ("other", "another sweep"), ("same", "of this sweep")):
        shutil.copytree(swept / "runs.zarr", f"{name}/runs.zarr")
        if name == "other":
            Path("other/summary.json").write_text('{"sweep": "0"}')
            Path("other/curves.png").write_text(content)
        elif name == "same":
            shutil.copy(swept / "summary.json", "same")
        main(["resume", f"{name}/runs.zarr"])
    assert Path("other/curves.png").read_text() == "another sweep"
    assert Path("other/summary.json").read_text() == '{"sweep": "0"}'
    written = sorted(str(file.parent) for file in Path().rglob("summary.json"))
    assert written[:3] == ["alone", "other", written[2]]
    assert all((Path(name) / "ends.png").exists() for name in ("alone", "same", written[2]))
    assert written[2].startswith("results/resume/")


def test_large_integers_are_printed_exactly(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seeds = [2**32 - 1, 123_456_789]
    grid = gd.axes(seed=seeds, learning_rate=[0.01])
    gd.sweep(gd.problems.from_function("quartic"), grid, 3, store="s")
    main(["resume", "s", "--out", "out"])
    table = json.loads(Path("out/summary.json").read_text())["table"]
    assert [repr(row["seed"]) for row in table] == ["4294967295", "123456789"]
    assert all(f"{seed}  " in capsys.readouterr().out for seed in seeds[:1])
    main(["replay", "s", "--at", f"seed={seeds[0]}", "learning_rate=0.01"])
    printed = capsys.readouterr().out
    at = f"seed={seeds[0]} learning_rate=0.01"
    assert printed == f"{at}: bitwise equal\nnext: gdjax landscape --store s --at {at}\n"
