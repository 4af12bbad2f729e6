"""Rendering of the pages of results/ from templates and summaries of experiments.

    python -m experiments.render [NAME ...]

The script writes results/<name>/README.md from experiments/<name>/page.md and
results/<name>/summary.json, and the table of findings results/README.md. A folder with a page is an
experiment. A template is written in Jinja and contains no numbers: each number is an expression of
`s`, the summary, or of `c`, its config, with a filter that formats it. Statements in words are
checked with `claim(...)`, so that a page whose summary no longer supports them cannot be rendered.
`place` is the section of the table of findings and the number by which its entries are sorted. An
answer is a finding of at most 40 words and three measured numbers.
"""

import ast
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes

ROOT = Path(__file__).resolve().parents[1]
VERDICTS = ("shown", "not shown", "own expectation refuted")
MAX_WORDS, MAX_NUMBERS = 40, 3  # of a finding
EXPERIMENTS = ROOT / "experiments"
RESULTS = ROOT / "results"
MINUS = "\N{MINUS SIGN}"
SUPERSCRIPTS = str.maketrans(
    "-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
)


def names() -> list[str]:
    """Return the names of all experiments, which are the folders with a page."""
    return sorted(file.parent.name for file in EXPERIMENTS.glob("*/page.md"))


def source(name: str) -> str:
    """Return the template of an experiment's page."""
    return (EXPERIMENTS / name / "page.md").read_text("utf8")


def place(name: str) -> tuple[str, int]:
    """Return the section of an experiment in the table of findings, and its number."""
    for assign in environment().parse(source(name)).find_all(nodes.Assign):
        if isinstance(assign.target, nodes.Name) and assign.target.name == "place":
            return tuple(entry.as_const() for entry in assign.node.find_all(nodes.Const))
    raise ValueError(
        f"experiments/{name}/page.md: expected a line like {{% set place = ['A', 1] %}}"
    )


def question(name: str) -> str:
    """Return the question of an experiment: the first line of its docstring."""
    file = EXPERIMENTS / name / "__main__.py"
    text = ast.get_docstring(ast.parse(file.read_text("utf8")))
    if not text:
        raise ValueError(f"{file}: expected a docstring that begins with a question")
    return text.splitlines()[0]


def summary(name: str) -> dict[str, Any]:
    """Return the summary.json of the last run of an experiment."""
    return json.loads((RESULTS / name / "summary.json").read_text("utf8"))


# Formats


def number(value: Any, spec: str = "") -> str:
    """Format a number with typographic minus and infinity signs; None gives a dash.

    Examples:
        >>> number(25600, ",.0f"), number("inf", ".1f"), number(-0.001, ".2f")
        ('25,600', '∞', '0.00')
    """
    if value is None:
        return "\N{EN DASH}"
    value = float(value) if isinstance(value, str) else value
    if value in (float("inf"), float("-inf")):
        return (MINUS if value < 0 else "") + "\N{INFINITY}"
    text = format(value, spec)
    # Rounding to zero can leave a minus sign.
    text = text.lstrip("-") if not re.search("[1-9]", text.partition("e")[0]) else text
    return text.replace("-", MINUS)


def percent(value: Any, digits: int = 0) -> str:
    """Format a share as a percentage.

    Examples:
        >>> percent(0.525, 1)
        '52.5 %'
    """
    return number(None if value is None else 100 * float(value), f".{digits}f") + " %"


def interval(triple: Sequence[Any], spec: str = "") -> str:
    """Format an estimate with the ends of its interval.

    Examples:
        >>> interval([1.5, 1.25, 2], ".2f")
        '1.50 (1.25 to 2.00)'
    """
    value, low, high = (number(v, spec) for v in triple)
    return f"{value} ({low} to {high})"


def percent_interval(triple: Sequence[Any], digits: int = 0) -> str:
    """Format a share with the ends of its interval, in percent.

    Examples:
        >>> percent_interval([0.5, 0.25, 0.75])
        '50 % (25 to 75)'
    """
    value, low, high = (number(100 * float(v), f".{digits}f") for v in triple)
    return f"{value} % ({low} to {high})"


def span(values: Iterable[Any], spec: str = "") -> str:
    """Format the smallest and the largest of some numbers, or their common value.

    Examples:
        >>> span([3, 1, 2], ".0f")
        '1 to 3'
    """
    values = list(values)
    low, high = number(min(values), spec), number(max(values), spec)
    return low if low == high else f"{low} to {high}"


def each(values: Iterable[Any], spec: str = "") -> str:
    """Format numbers as a list, with commas and a final "and".

    Examples:
        >>> each([1, 2, 3], ".1f")
        '1.0, 2.0 and 3.0'
    """
    *leading, last = (number(v, spec) for v in values)
    return f"{', '.join(leading)} and {last}" if leading else last


def power(value: float, digits: int = 0) -> str:
    r"""Format a number as a multiple of a power of ten.

    Examples:
        >>> power(8.95e-8, 1) == "9.0 \N{MULTIPLICATION SIGN} 10⁻⁸"
        True
    """
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    raised = str(int(exponent)).translate(SUPERSCRIPTS)
    return f"{number(float(mantissa), f'.{digits}f')} \N{MULTIPLICATION SIGN} 10{raised}"


def significant(value: Any, digits: int = 2) -> str:
    """Format a number rounded to significant digits.

    Examples:
        >>> significant(0.01642), significant(25614)
        ('0.016', '26,000')
    """
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - int(f"{rounded:e}".partition("e")[2]))
    return number(rounded, f",.{decimals}f")


FILTERS: dict[str, Any] = {
    "n": number,
    "pct": percent,
    "ci": interval,
    "ci_pct": percent_interval,
    "span": span,
    "each": each,
    "power": power,
    "sig": significant,
}


# Pages


def claim(holds: Any) -> str:
    """Return an empty string if a claim of the page holds, and raise an error if not."""
    if not holds:
        raise ValueError("the summary does not support a claim of this page")
    return ""


def row(*cells: Any) -> str:
    """Return a row of a table; each entry of an iterable is a cell.

    Examples:
        >>> row("cost", ["0.5", "0.7"])
        '| cost | 0.5 | 0.7 |'
    """
    flat = [part for c in cells for part in ([c] if isinstance(c, str | int | float) else c)]
    return f"| {' | '.join(map(str, flat))} |"


def environment() -> jinja2.Environment:
    """Return the Jinja environment of the templates; a missing key is an error."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader([EXPERIMENTS, EXPERIMENTS / "shared"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    env.filters |= FILTERS
    return env


def rendered(name: str, of: Mapping[str, Any] | None = None) -> str:
    """Return the rendered page of an experiment.

    Args:
        name: name of the experiment.
        of: summary of the experiment; by default the stored one.
    """
    s = summary(name) if of is None else of
    template = environment().get_template(f"{name}/page.md")

    # `summary` gives templates the summary of another config, by its folder.
    called = {"claim": claim, "row": row, "zip": zip, "summary": summary}
    text = template.render(s=s, c=s["config"], name=name, question=question(name), **called)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def contents(pages: Mapping[str, str]) -> str:
    """Return the table of findings of some rendered pages."""
    places = {name: place(name) for name in pages}
    entries = {name: entry(name, pages[name]) for name in sorted(pages, key=lambda n: places[n][1])}
    sections: dict[str, dict[str, dict[str, str]]] = {}
    for name, found in entries.items():
        sections.setdefault(places[name][0], {})[name] = found
    text = environment().get_template("contents.md").render(sections=sections, entries=entries)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def entry(name: str, page: str) -> dict[str, str]:
    """Return the answer of a rendered page, what it was measured on, and the verdict."""
    found = {
        word: re.search(rf"^\*\*{word}\.\*\* (.*?)\n\n", page, re.MULTILINE | re.DOTALL)
        for word in ("Answer", "Measured on", "Verdict")
    }
    if None in found.values():
        raise ValueError(f"experiments/{name}/page.md: expected {', '.join(found)}")
    answer, measured_on, verdict = (" ".join(match[1].split()) for match in found.values() if match)
    answer, verdict = answer.strip("*"), verdict.rstrip(".")
    if verdict not in VERDICTS:
        raise ValueError(f"experiments/{name}/page.md: verdict {verdict!r}, expected {VERDICTS}")
    words = sum(any(map(str.isalnum, word)) for word in answer.split())
    numbers = measured_numbers(answer)
    if words > MAX_WORDS or len(numbers) > MAX_NUMBERS:
        raise ValueError(
            f"experiments/{name}/page.md: an answer of {words} words with the numbers {numbers}, "
            f"expected at most {MAX_WORDS} words and {MAX_NUMBERS} numbers"
        )
    return {"answer": answer, "measured_on": measured_on.rstrip("."), "verdict": verdict}


def measured_numbers(answer: str) -> list[str]:
    """Return the measured numbers of an answer.

    An interval, the total of a share and the end of a range belong to the number before them. Names
    and formulas contain no measured numbers.

    Examples:
        >>> measured_numbers("19 of 32 starts of `784-16-16-10`: 39 % (31 to 47)")
        ['19', '39']
    """
    text = re.sub(rf"\({SIGNED} to {SIGNED}\)", " ", ALLOWED.sub(" ", answer))
    return NUMBER.findall(re.sub(rf"({SIGNED}) (?:to|of) {SIGNED}", r"\1", text))


# Numbers that are not from a summary

ALLOWED = re.compile(
    r"""(?x)
    ```.*?``` | `[^`\n]*`           # commands, names and layouts of networks
    | \$[^$]*\$                     # formulas and constants of a theory
    | \]\([^)]*\)                   # targets of links
    | arXiv\s\d{4}\.\d{4,5}         # citations
    | \(\d{4}\)                     # years of citations
    | 95\s%                         # confidence level of all intervals
    | six-hump                      # the name of a function
    """,
    re.DOTALL,
)
NUMBER = re.compile(
    r"(?<![A-Za-z\d])\d[\d,.]*"
    r"|\b(?:three|four|five|six|seven|eight|nine|ten|eleven|twelve|sixteen|twenty|thirty|forty|fifty"
    r"|dozen|hundred|thousand)\b",
    re.IGNORECASE,
)
SIGNED = rf"{MINUS}?\d[\d,.]*"


def main(chosen: Sequence[str]) -> None:
    """Write the pages of some experiments, by default all, and the table of findings."""
    pages = {name: rendered(name) for name in names()}
    for name in chosen or pages:
        if name not in pages:
            raise SystemExit(f"render: no template experiments/{name}/page.md")
        (RESULTS / name / "README.md").write_text(pages[name], "utf8")
    (RESULTS / "README.md").write_text(contents(pages), "utf8")


if __name__ == "__main__":
    main(sys.argv[1:])
