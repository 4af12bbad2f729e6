"""The command `gdjax data`: output and exit status."""

import subprocess
import sys

import pytest

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


def test_without_arguments_the_data_sets_are_listed(capsys):
    status, out, _ = run(capsys=capsys)
    assert (status, out) == run("list", capsys=capsys)[:2]
    assert status == 0


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


def test_prepare_exits_with_a_one_line_error_for_an_unknown_name(tmp_path, capsys):
    status, out, err = run("prepare", "nonsense", "--data-dir", tmp_path, capsys=capsys)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("gdjax: data set 'nonsense' is unknown")
    assert "mnist, fashion_mnist, kmnist" in err


@pytest.mark.parametrize("flag", ["--help", "list --help", "prepare --help"])
def test_help_prints_the_usage(flag, capsys):
    status, out, _ = run(*flag.split(), capsys=capsys)
    assert status == 0
    assert "usage: gdjax data" in out


def test_importing_the_command_does_not_import_large_libraries():
    code = (
        "import sys, gdjax.cli.data\n"
        "assert not {'jax', 'numpy', 'tensorflow_datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
