from .compare import Comparison as Comparison
from .compare import compare as compare
from .coordinate_check import coordinate_check as coordinate_check
from .halving import successive_halving as successive_halving
from .learning_rate import find_learning_rate as find_learning_rate
from .trials import optimize as optimize
from .trials import to_study as to_study
from .tuning_curve import tuning_curve as tuning_curve
