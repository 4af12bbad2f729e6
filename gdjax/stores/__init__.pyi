from .location import locate as locate
from .reader import open_dataset as open_dataset
from .reader import verify as verify
