from . import cli as cli
from . import data as data
from . import descent as descent
from . import errors as errors
from . import geometry as geometry
from . import minima as minima
from . import plots as plots
from . import problems as problems
from . import runs as runs
from . import stores as stores
from . import sweeps as sweeps
from .descent import Descent as Descent
from .descent import descend as descend
from .problems import Measure as Measure
from .problems import Problem as Problem
from .runs import streams as streams
from .stores import open_dataset as open_dataset
from .stores import verify as verify
from .sweeps import advise as advise
from .sweeps import axes as axes
from .sweeps import compare as compare
from .sweeps import params_of as params_of
from .sweeps import replay as replay
from .sweeps import resume as resume
from .sweeps import sweep as sweep
from .sweeps import together as together

__version__: str
