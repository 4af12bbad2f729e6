"""results/README.md says what the runs beside it found: numbers with intervals, and pictures."""

import json
import re
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[1] / "results"
SECTIONS = dict(
    part.split("\n", 1)
    for part in re.split(r"^## ", (RESULTS / "README.md").read_text(), flags=re.M)[1:]
)
NUMBER = r"\d[\d,]*(?:\.\d+)?"
# A value and its interval: "1,505 (1,390 to 1,880", or with a dash, or in per cent.
WITH_INTERVAL = re.compile(rf"(?<![\w.])({NUMBER})(?: %)? \(({NUMBER})(?:\u2013| to )({NUMBER})\b")


def leaves(entry):
    """All numbers of a summary."""
    if isinstance(entry, dict):
        entry = list(entry.values())
    if isinstance(entry, list):
        return [number for part in entry for number in leaves(part)]
    return [abs(entry)] if isinstance(entry, int | float) else []


def stands_in(text, numbers):
    """Whether what was written is one of the numbers, or a hundred times it, rounded."""
    text = text.replace(",", "")
    half = 0.5 * 10.0 ** -len(text.partition(".")[2])
    return any(
        abs(scale * number - float(text)) <= half * (1 + 1e-6)
        for number in numbers
        for scale in (1, 100)
    )


@pytest.mark.parametrize("name", SECTIONS)
def test_a_finding_has_its_numbers_and_its_pictures_beside_it(name):
    numbers = leaves(json.loads((RESULTS / name / "summary.json").read_text()))
    for found in WITH_INTERVAL.finditer(SECTIONS[name]):
        stale = [text for text in found.groups() if not stands_in(text, numbers)]
        assert not stale, f"{found.group()} is not what {name}/summary.json says: {stale}"
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]*)\)", SECTIONS[name]):
        assert (RESULTS / picture).is_file()


def test_numbers_are_compared_as_they_are_rounded():
    assert stands_in("90.5", [0.9045000374])
    assert stands_in("1,505", [1505.0])
    assert not stands_in("90.6", [0.9045])
    assert not stands_in("0.02", [0.0262])
    text = "reads 90.5 % (90.2\N{EN DASH}90.6) after 275 (240 to 320; 190 to 510)"
    told = [found.groups() for found in WITH_INTERVAL.finditer(text)]
    assert told == [("90.5", "90.2", "90.6"), ("275", "240", "320")]
