"""Pages that move: one HTML file each, with everything it needs inside, that any browser opens.

`explore` shows a sweep, landscapes and minima to be pointed at; `lesson` how a network learns to
read. Nothing here is imported before it is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
