from .spec import SearchSpec as SearchSpec
from .trials import optimize as optimize
from .trials import to_study as to_study
