from . import errors as errors
from . import keys as keys
from . import statistics as statistics
