"""The command `gdjax data`: output and exit status."""

from gdjax import data
from gdjax.cli import main


def run(*arguments, capsys):
    """Run the command in this process; return its exit status, output and errors."""
    try:
        main(["data", *map(str, arguments)])
        status = 0
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


def test_list_prints_every_data_set(tmp_path, capsys):
    status, out, err = run("list", "--data-dir", tmp_path, capsys=capsys)
    assert (status, err) == (0, "")
    *rows, last = out.splitlines()[1:]
    assert last == "next: gdjax data prepare NAME"
    rows = {line.split()[0]: line for line in rows}
    assert set(rows) == {"mnist5k", "mnist", "fashion_mnist", "kmnist"}
    assert "4,000   1,000" in rows["mnist5k"]
    assert str(tmp_path) in rows["kmnist"]


def test_prepare_passes_its_folders_to_the_library(tmp_path, capsys, monkeypatch):
    calls = []

    def prepare(name, **folders):
        calls.append((name, folders))
        return tmp_path / "mnist" / "3.0.1"

    monkeypatch.setattr(data, "prepare", prepare)
    folders = {"data_dir": tmp_path / "data", "manual_dir": tmp_path / "originals"}
    flags = ("--data-dir", folders["data_dir"], "--manual-dir", folders["manual_dir"])
    status, out, err = run("prepare", "mnist", *flags, capsys=capsys)
    assert calls == [("mnist", folders)]
    assert (status, out, err) == (
        0,
        f"mnist is ready in {tmp_path}/mnist/3.0.1\nnext: gdjax train --data mnist\n",
        "",
    )


def test_the_bundled_data_set_requires_no_preparation(capsys):
    status, out, _ = run("prepare", "mnist5k", capsys=capsys)
    assert status == 0
    assert "needs no preparation" in out
