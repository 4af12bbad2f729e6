from . import export as export
from .explorer import explore as explore
from .lesson import lesson as lesson
