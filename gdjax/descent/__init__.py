"""Single gradient descents: steps, compiled blocks of steps, and metrics."""

from gdjax.descent.batches import Order, steps_for
from gdjax.descent.descend import Descent, descend
from gdjax.descent.metrics import gradient_noise
from gdjax.descent.norms import non_euclidean_descent
from gdjax.descent.outcome import OUTCOMES, Outcome
from gdjax.descent.recipes import RECIPES, Recipe
from gdjax.descent.schedules import WarmupCosine
from gdjax.descent.step import init, step

__all__ = [
    "OUTCOMES",
    "RECIPES",
    "Descent",
    "Order",
    "Outcome",
    "Recipe",
    "WarmupCosine",
    "descend",
    "gradient_noise",
    "init",
    "non_euclidean_descent",
    "step",
    "steps_for",
]
