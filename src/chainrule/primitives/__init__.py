"""The one table of primitives, with what is composed of them; nothing else holds a derivative."""

from types import ModuleType as _ModuleType

from chainrule.primitives.activation import *
from chainrule.primitives.constant import *
from chainrule.primitives.convolve import *
from chainrule.primitives.elementwise import *
from chainrule.primitives.fused import *
from chainrule.primitives.indexing import *
from chainrule.primitives.linear import *
from chainrule.primitives.pool import *
from chainrule.primitives.primitive import PRIMITIVES as PRIMITIVES
from chainrule.primitives.primitive import Primitive as Primitive
from chainrule.primitives.random import *
from chainrule.primitives.reduce import *
from chainrule.primitives.shape import *
from chainrule.primitives.special import *

__all__ = sorted(
    name
    for name, value in globals().items()
    if not name.startswith("_") and not isinstance(value, _ModuleType)
)
