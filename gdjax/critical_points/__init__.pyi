from .classification import Classification as Classification
from .classification import Kind as Kind
from .classify import classify as classify
from .polish import Polished as Polished
from .polish import PolishStatus as PolishStatus
from .polish import polish as polish
