from .sets import ImageSet as ImageSet
from .sets import load as load
from .sets import prepare as prepare
