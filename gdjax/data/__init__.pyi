from .sets import Available as Available
from .sets import ImageSet as ImageSet
from .sets import available as available
from .sets import load as load
from .sets import prepare as prepare
