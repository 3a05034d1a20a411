"""The iris data of System D (Kneusel, "Math for Deep Learning", chapter 10), for E9 and E11."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chainrule import data

__all__ = ["IrisPair", "load_iris_pair"]


@dataclass(frozen=True)
class IrisPair:
    """Sepal length and width of two kinds of iris, 70 samples to train on and 30 to test with."""

    x_train: npt.NDArray[np.float64]
    y_train: npt.NDArray[np.int64]
    x_test: npt.NDArray[np.float64]
    y_test: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]


def load_iris_pair() -> IrisPair:
    """Classes 0 and 1, standardised by mean and deviation over all 150 samples.

    Of each class samples 0 to 34 are for training, 35 to 49 for the test.
    """
    iris = data.load("iris")
    x = data.Standardizer.fit(iris.x).transform(iris.x)[:, :2].astype(np.float64)
    train = np.r_[0:35, 50:85]
    test = np.r_[35:50, 85:100]
    features = tuple(name.replace("(cm)", "(standardised)") for name in iris.feature_names[:2])
    return IrisPair(x[train], iris.y[train], x[test], iris.y[test], iris.class_names[:2], features)
