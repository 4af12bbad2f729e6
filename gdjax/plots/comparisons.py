"""Paired differences of compared settings, with intervals and verdicts."""

from typing import Any

import numpy as np

from gdjax.plots.style import BLACK, BLUE, GREY, VERMILLION, Figure, style

WIDE = 100  # ratio of the largest to the median difference above which the axis is not linear
COLORS = {"worse": VERMILLION, "better": BLUE}


def comparison(result: Any, *, title: str = "") -> Figure:
    """Draw the difference of each setting from the best one, seed by seed.

    Settings are sorted by their estimated difference. Dots are seeds, a bar is the estimate with
    its interval, and the text is the verdict. A triangle at the edge stands for seeds with which
    one of the two runs diverged.
    """
    others = [name for name in result.values.index if name != result.best]
    rows = sorted((_relative(result, name) for name in others), key=lambda row: row["difference"])
    if result.direction == "maximize":
        rows.reverse()
    dots = np.concatenate([row["seeds"] for row in rows])
    finite = np.abs(dots[np.isfinite(dots)])
    with style():
        figure = Figure(figsize=(9, 1.8 + 0.55 * len(rows)))
        axes = figure.subplots()
        edge = 1.1 * max(finite.max(initial=0), 1e-300)
        for height, row in enumerate(rows):
            color = COLORS.get(row["verdict"], GREY)
            seeds = row["seeds"]
            shown = np.isfinite(seeds)
            offsets = height + 0.15 + 0.2 * np.linspace(0, 1, len(seeds))
            axes.plot(seeds[shown], offsets[shown], ".", color=BLACK, alpha=0.35)
            for sign, marker in ((1, ">"), (-1, "<")):
                if np.any(seeds == sign * np.inf):
                    axes.plot(sign * edge, height + 0.25, marker, color=BLACK)
            ends = np.clip([row["low"], row["high"]], -edge, edge)
            axes.plot(ends, [height, height], color=color, linewidth=3)
            if np.isfinite(row["difference"]):
                axes.plot(row["difference"], height, "o", color=color)
            note = f"{row['verdict']}; worse with {row['worse']} of {len(seeds)} seeds"
            axes.annotate(
                note, (1.01, height), xycoords=("axes fraction", "data"), va="center", color=color
            )
        axes.axvline(0, color=BLACK, linewidth=1)
        if finite.any() and finite.max() > WIDE * np.median(finite[finite > 0]):
            axes.set_xscale("symlog", linthresh=np.median(finite[finite > 0]))
        axes.set_yticks(range(len(rows)), [str(row["name"]) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        metric = result.metric.replace("_", " ")
        axes.set_xlabel(f"{metric} minus that of {result.best}, with equal seeds")
        axes.set_ylabel(result.of.replace("_", " "))
        axes.set_title(title or _title(result))
    return figure


def _relative(result, name):
    """Return difference, interval, seeds and verdict of a setting relative to the best one."""
    pairs = result.pairs
    is_first = (name, result.best) in pairs.index
    pair = pairs.loc[(name, result.best) if is_first else (result.best, name)]
    verdict = pair["verdict"]
    if not is_first:
        verdict = {"better": "worse", "worse": "better"}.get(verdict, verdict)
    ends = [pair["low"], pair["high"]] if is_first else [-pair["high"], -pair["low"]]
    values, best = (result.values.loc[key].to_numpy() for key in (name, result.best))
    with np.errstate(invalid="ignore"):
        seeds = np.where(values == best, 0.0, values - best)
    return {
        "name": name,
        "difference": pair["difference"] if is_first else -pair["difference"],
        "low": ends[0],
        "high": ends[1],
        "seeds": seeds,
        "verdict": verdict,
        "worse": pair["lost"] if is_first else pair["won"],
    }


def _title(result):
    others = [str(name) for name in result.tied if name != result.best]
    if not others:
        return f"{result.best} is better than all others"
    return f"{', '.join(others)}: not shown to be worse than {result.best}"
