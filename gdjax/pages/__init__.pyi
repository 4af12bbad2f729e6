from . import export as export
from .explorer import Explorer as Explorer
from .explorer import explore as explore
from .lesson import lesson as lesson
