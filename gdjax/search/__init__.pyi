from .halving import successive_halving as successive_halving
from .trials import optimize as optimize
from .trials import to_study as to_study
from .tuning_curve import tuning_curve as tuning_curve
