"""Single gradient descents: steps, compiled blocks of steps, and metrics."""

from gdjax.descent.batches import steps_for
from gdjax.descent.descend import Descent, descend
from gdjax.descent.metrics import (
    class_accuracy,
    correct_samples,
    gradient_noise,
    noise_scale,
    unpack_bits,
)
from gdjax.descent.norms import NORMS, dual_norm, non_euclidean_descent, steepest_direction
from gdjax.descent.outcome import OUTCOMES, Outcome
from gdjax.descent.recipes import RECIPES, Recipe
from gdjax.descent.schedules import WarmupCosine
from gdjax.descent.step import Info, State, init, step

__all__ = [
    "NORMS",
    "OUTCOMES",
    "RECIPES",
    "Descent",
    "Info",
    "Outcome",
    "Recipe",
    "State",
    "WarmupCosine",
    "class_accuracy",
    "correct_samples",
    "descend",
    "dual_norm",
    "gradient_noise",
    "init",
    "noise_scale",
    "non_euclidean_descent",
    "steepest_direction",
    "step",
    "steps_for",
    "unpack_bits",
]
