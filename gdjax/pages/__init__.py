"""Interactive pages, each a self-contained HTML file.

`explore` shows a sweep, landscapes and minima; `lesson` shows how a network learns to classify
digits. Modules are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
