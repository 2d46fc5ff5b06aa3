"""Bases: functions of the past and of variables, as features of a GLM. `+` sets them side by side, `*` multiplies them.

A new basis is one subclass of `Conv` or `Eval`, with its parameters and `shape`, the functions on [0, 1].

>>> import numpy as np
>>> from popglm.basis import BSplineEval, RaisedCosineLogConv
>>> counts, speed = np.zeros((500, 3)), np.linspace(0, 30, 500)
>>> (RaisedCosineLogConv(5, window_size=40) + BSplineEval(6)).lazy_features(counts, speed).shape
(500, 21)
"""

from popglm._design.lazy import LazyFeatures
from popglm.basis._conv import (
    BSplineConv,
    Conv,
    CustomConv,
    CyclicBSplineConv,
    FourierConv,
    HistoryConv,
    MSplineConv,
    RaisedCosineLinearConv,
    RaisedCosineLogConv,
)
from popglm.basis._eval import (
    BSplineEval,
    CyclicBSplineEval,
    Eval,
    FourierEval,
    MSplineEval,
    RaisedCosineLinearEval,
    RaisedCosineLogEval,
)
from popglm.basis._eval_unscaled import CategoryEval, CustomBasis, IdentityEval
from popglm.basis._tree import Product, Sum

__all__ = [
    "BSplineConv",
    "BSplineEval",
    "CategoryEval",
    "Conv",
    "CustomBasis",
    "CustomConv",
    "CyclicBSplineConv",
    "CyclicBSplineEval",
    "Eval",
    "FourierConv",
    "FourierEval",
    "HistoryConv",
    "IdentityEval",
    "LazyFeatures",
    "MSplineConv",
    "MSplineEval",
    "Product",
    "RaisedCosineLinearConv",
    "RaisedCosineLinearEval",
    "RaisedCosineLogConv",
    "RaisedCosineLogEval",
    "Sum",
]


def __dir__():
    return __all__
