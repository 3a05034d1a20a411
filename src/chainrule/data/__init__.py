"""Data sets by name, and what stands between them and a network.

`load("iris")` gives a `Dataset`; `split`, `one_hot` and `batches` prepare it, and `Preprocessing`
is fitted to it and kept with what is trained on it.
"""

from chainrule.data.dataset import Dataset, MinMaxScaler, Standardizer, batches, one_hot, split
from chainrule.data.ex4 import ex4_weights, rebuild_ex4_from_mnist
from chainrule.data.loading import NAMES, load, shrink_by_two
from chainrule.data.preprocessing import Preprocessing
from chainrule.data.storage import DamagedFileError, DataNotFoundError, read_idx, read_images

__all__ = [
    "NAMES",
    "DamagedFileError",
    "DataNotFoundError",
    "Dataset",
    "MinMaxScaler",
    "Preprocessing",
    "Standardizer",
    "batches",
    "ex4_weights",
    "load",
    "one_hot",
    "read_idx",
    "read_images",
    "rebuild_ex4_from_mnist",
    "shrink_by_two",
    "split",
]
