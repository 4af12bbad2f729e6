"""Modules of the lesson: unit tests in Node, bundling, and texts."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gdjax.pages.lesson import LANGUAGES
from gdjax.pages.page import bundle, read

MODULES = Path(__file__).parent / "modules"


@pytest.mark.parametrize("name", sorted(path.name for path in MODULES.glob("*.test.js")))
def test_each_module_passes_its_tests_in_node(name):
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, which runs JavaScript without a browser: apt-get install nodejs")
    done = subprocess.run(
        [node, "--test", str(MODULES / name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_texts_of_the_lesson_are_in_one_file_for_each_language_and_are_used():
    texts, translated = (json.loads(read(f"lesson/texts/{name}.json")) for name in LANGUAGES)
    values = [
        {key: set(re.findall(r"{(\w+)}", str(entry))) for key, entry in each.items()}
        for each in (texts, translated)
    ]
    assert values[0] == values[1]
    markup, script = read("lesson/page.html"), bundle(["lesson/lesson.js"])
    named = set(re.findall(r'data-(?:text|label)="([^"]+)"', markup))
    named |= set(re.findall(r'"([\w.]+)"', script)) & set(texts)
    starts = re.findall(r"`([a-z]+(?:\.\w+)*\.)\$\{", script)
    named |= {name for name in texts if name.startswith(tuple(starts))}
    assert set(re.findall(r'data-(?:text|label)="([^"]+)"', markup)) <= set(texts)
    choices = {name for name in texts if name.startswith(("activation.", "cost."))}
    assert set(texts) - named - choices == {"name"}


def test_texts_name_no_lightness_which_dark_mode_inverts_and_spaces_fit_the_language():
    texts, translated = (json.dumps(json.loads(read(f"lesson/texts/{n}.json"))) for n in LANGUAGES)
    assert (
        re.findall(r"(?i)\b(?<!{)(?:black|white|dark|darker|bright|light|gr[ae]y)\b", texts) == []
    )
    translated = translated.encode().decode("unicode_escape")
    # black, white, dark, gray, deep (of colors), percent after a space
    assert (
        re.findall("[\u9ed1\u767d\u6697\u7070]|\u989c\u8272\u8d8a?\u6df1|\\d %", translated) == []
    )
