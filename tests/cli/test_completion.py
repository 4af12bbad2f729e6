"""Shell completion of commands and flags."""

import shutil
import subprocess

import pytest

from gdjax.cli import SHELLS, main


@pytest.mark.parametrize("shell", SHELLS)
def test_every_completion_script_has_commands_and_flags(shell, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--completion", shell])
    assert not end.value.code
    summary = capsys.readouterr().out
    for word in ("sweep", "landscape", "learning-rate"):
        assert word in summary


def test_bash_completes_a_command_and_a_flag(capsys, tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    with pytest.raises(SystemExit):
        main(["--completion", "bash"])
    (tmp_path / "completion").write_text(capsys.readouterr().out)
    script = """
        source completion
        complete -p gdjax > registered
        function=$(sed "s/.*-F \\([^ ]*\\).*/\\1/" registered)
        words() {
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
            $function gdjax "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[@]}"
        }
        words gdjax swee
        words gdjax sweep --learn
    """
    done = subprocess.run(
        [bash, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["sweep", "--learning-rate"], done.stderr
