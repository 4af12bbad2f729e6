"""`gdjax compare`: the verdicts on a stored sweep, its summary and figure."""

import json

import gdjax as gd
from gdjax.cli import main


def test_the_command_compares_a_store_and_writes_summary_and_figure(tmp_path, capsys):
    store = tmp_path / "runs.zarr"
    grid = gd.axes(momentum=[0.0, 0.5], learning_rate=[0.02, 0.05], seed=range(6))
    gd.sweep(gd.problems.bowl([1.0, 9.0]), grid, 20, record_every=20, store=store)
    out = tmp_path / "out"
    main(f"compare {store} --of momentum --tune learning-rate --out {out}".split())
    printed = capsys.readouterr().out
    assert "0.0 is worse than 0.5: cost differs by" in printed
    assert (out / "comparison.png").stat().st_size > 10_000
    summary = json.loads((out / "summary.json").read_text())
    result = gd.compare(store, "momentum", tune="learning_rate")
    assert summary["pairs"][0]["verdict"] == "worse"
    assert summary["pairs"][0]["difference"] == result.pairs.difference.item()
    assert summary["settings"][1]["momentum"] == 0.5
    assert summary["tied"] == [0.5]
    assert summary["methods"] in " ".join(printed.split())
