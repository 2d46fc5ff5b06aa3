"""Fixes that messages recommend: each row is refused or warned of, and what its message says to do works."""

import warnings

import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from messages import frame, things_at_hand
from scipy import sparse
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from popglm import plotting, recording
from popglm.basis import BSplineEval, CustomBasis, CyclicBSplineEval, RaisedCosineLogConv
from popglm.glm import GLM, PopulationGLM
from popglm.inference import coupling_table, likelihood_ratio_test, uncertainty
from popglm.model_selection import BlockSplit
from popglm.regularizer import GroupLasso, Ridge


def group_lasso(layout):
    return lambda s: PopulationGLM(regularizer=GroupLasso(layout), regularizer_strength=0.1).fit(s.X, s.y)


def reduced_test(**columns):
    def call(s):
        return likelihood_ratio_test(s.model, PopulationGLM().fit(s.X[:, [0, 2]], s.y), s.X, s.y, **columns)

    return call


def table(**settings):
    """Table of couplings between three neurons of which the senders have names."""

    def call(s):
        X = s.basis.compute_features(s.y)
        errors = uncertainty(PopulationGLM().fit(X, s.y), X, s.y)
        return coupling_table(errors, s.basis.kernel, **settings)

    return call


def matrix_plot(convert):
    def call(s):
        rows = pd.DataFrame({"sender": [0, 1], "receiver": [1, 0], "strength": [0.1, 0.2]})
        return plotting.coupling_matrix(convert(rows))

    return call


def circle(**settings):
    return lambda s: CyclicBSplineEval(5, **settings).compute_features(np.linspace(0.0, 355.0, 50))


def step(x):
    return 1.0 if x > 0 else 0.0


def fit_to_counts(s):
    """Features at the times of the counts."""
    counts = s.units.count(0.01, nap.IntervalSet(0, 6))
    return PopulationGLM().fit(nap.TsdFrame(t=counts.t, d=s.X[: len(counts), :2]), counts)


TIMES, MASK = np.arange(0.5, 60, 0.5), np.array([True, False, True])
CALLS = {
    "spike times as counts": (
        lambda s: PopulationGLM().fit(frame(s.X), s.units),
        fit_to_counts,
        r"y.count\(bin_size\)",
    ),
    "sparse": (
        lambda s: PopulationGLM().fit(sparse.csr_array(s.X), s.y),
        lambda s: PopulationGLM().fit(sparse.csr_array(s.X).toarray(), s.y),
        r"X.toarray\(\)",
    ),
    "tables with other rows": (
        lambda s: PopulationGLM().fit(pd.DataFrame(s.X), pd.DataFrame(s.y, index=np.arange(600)[::-1])),
        lambda s: PopulationGLM().fit(
            X := pd.DataFrame(s.X), pd.DataFrame(s.y, index=np.arange(600)[::-1]).loc[X.index]
        ),
        r"y.loc\[X.index\]",
    ),
    "history in a cross-validated pipeline": (
        lambda s: cross_val_score(make_pipeline(s.basis, PopulationGLM()), s.y, s.y, cv=2, error_score="raise"),
        lambda s: cross_val_score(make_pipeline(s.basis, PopulationGLM()), pd.DataFrame(s.y), s.y, cv=2),
        "or a table of pandas",
    ),
    "history in cross-validation, made once": (
        lambda s: cross_val_score(make_pipeline(s.basis, PopulationGLM()), s.y, s.y, cv=2, error_score="raise"),
        lambda s: cross_val_score(PopulationGLM(), s.basis.lazy_features(s.y), s.y, cv=2, error_score="raise"),
        "Make the features once",
    ),
    "a path without a penalty": (
        lambda s: PopulationGLM().fit_path(s.X, s.y, [0.01, 0.1]),
        lambda s: PopulationGLM(regularizer="Lasso").fit_path(s.X, s.y, [0.01, 0.1]),
        'Set regularizer="Lasso"',
    ),
    "strengths of a path": (
        lambda s: PopulationGLM(regularizer="Lasso").fit_path(s.X, s.y, [0.1, 0.01]),
        lambda s: PopulationGLM(regularizer="Lasso").fit_path(s.X, s.y, np.geomspace(1e-4, 1e-1, 3)),
        "numpy.geomspace",
    ),
    "clusters longer than the data": (
        lambda s: uncertainty(s.model, s.X, s.y, kind="sandwich", clusters=600),
        lambda s: uncertainty(s.model, s.X, s.y, kind="sandwich", clusters=20),
        "a number of bins",
    ),
    "clusters without a sandwich": (
        lambda s: uncertainty(s.model, s.X, s.y, clusters=10, kind="fisher"),
        lambda s: uncertainty(s.model, s.X, s.y, clusters=10, kind="sandwich"),
        'kind="sandwich"',
    ),
    "a lasso before inference": (
        lambda s: uncertainty(PopulationGLM(regularizer="Lasso", regularizer_strength=0.01).fit(s.X, s.y), s.X, s.y),
        lambda s: uncertainty(PopulationGLM(regularizer="Ridge", regularizer_strength=0.1).fit(s.X, s.y), s.X, s.y),
        "use Ridge or Smoothness",
    ),
    "evidence where no Hessian is at hand": (
        lambda s: PopulationGLM(regularizer="Ridge", regularizer_strength="evidence").fit_batches([(s.X, s.y)], 1),
        lambda s: PopulationGLM(
            regularizer=Ridge(s.X.shape[1]),
            regularizer_strength=PopulationGLM(regularizer="Ridge", regularizer_strength="evidence")
            .fit(s.X, s.y)
            .strength_,
        ).fit_batches([(s.X, s.y)], 1),
        r"regularizer_strength=model.strength_",
    ),
    "split without a window": (
        lambda s: next(BlockSplit(2).split(s.X, s.y)),
        lambda s: next(BlockSplit(window=s.basis.window_size).split(s.X, s.y)),
        r"BlockSplit\(window=basis.window_size\)",
    ),
    "sizes of groups": (group_lasso(3), group_lasso((2, 2)), r"GroupLasso\(\(8, 8, 5\)\)"),
    "columns of a reduced model": (reduced_test(), reduced_test(columns=[0, 2]), r"columns=\[0, 1, ...\]"),
    "senders with names": (
        table(units=(["a", "b", "c"], None)),
        table(units=(["a", "b", "c"], ["a", "b", "c"])),
        r"units=\(senders, receivers\)",
    ),
    "senders with names, all filters": (
        table(units=(["a", "b", "c"], None)),
        table(units=(["a", "b", "c"], None), own=True),
        "own=True",
    ),
    "matrix of a table": (
        matrix_plot(lambda rows: rows),
        matrix_plot(lambda rows: rows.pivot(index="sender", columns="receiver", values="strength")),
        "table.pivot",
    ),
    "intervals of several units": (
        lambda s: plotting.ks_plot({7: np.linspace(0.1, 0.9, 50)}),
        lambda s: plotting.ks_plot({7: np.linspace(0.1, 0.9, 50)}[7]),
        r"z\[7\]",
    ),
    "a mask of units": (
        lambda s: recording.group_spikes([TIMES, TIMES, TIMES], nap.IntervalSet(0, 60), keep=MASK),
        lambda s: recording.group_spikes([TIMES, TIMES, TIMES], nap.IntervalSet(0, 60), keep=np.flatnonzero(MASK)),
        r"np.flatnonzero\(mask\)",
    ),
    "units that a sorter has merged": (
        lambda s: recording.group_spikes([TIMES, TIMES], nap.IntervalSet(0, 60), keep=[0, 5]),
        lambda s: recording.group_spikes([TIMES, TIMES], nap.IntervalSet(0, 60), keep=np.intersect1d([0, 5], [0, 1])),
        "np.intersect1d",
    ),
    "a function of a number": (
        lambda s: CustomBasis([step]).compute_features(np.linspace(-1, 1, 20)),
        lambda s: CustomBasis([np.vectorize(step)]).compute_features(np.linspace(-1, 1, 20)),
        "numpy.vectorize",
    ),
    "a learned period": (circle(), circle(bounds=(0, 360)), r"`bounds`, such as \(0, 360\)"),
    "an unwrapped angle": (
        lambda s: CyclicBSplineEval(5, bounds=(0, 6.28)).compute_features(np.linspace(0, 40, 50)),
        lambda s: CyclicBSplineEval(5, bounds=(0, 6.28)).compute_features(np.linspace(0, 40, 50) % 6.28),
        "modulo 6.28",
    ),
    "an input without a range": (
        lambda s: BSplineEval(5).compute_features(np.ones(50)),
        lambda s: BSplineEval(5, bounds=(0, 2)).compute_features(np.ones(50)),
        "Give `bounds`",
    ),
    "no overdispersion": (
        lambda s: GLM("NegativeBinomial").fit(s.X, np.tile([0.0, 1.0], 300)),
        lambda s: GLM(observation_model="Poisson").fit(s.X, np.tile([0.0, 1.0], 300)),
        'observation_model="Poisson"',
    ),
    "collinear features": (
        lambda s: PopulationGLM().fit(np.c_[s.X, s.X[:, 0]], s.y),
        lambda s: PopulationGLM(regularizer="Ridge", regularizer_strength=0.1).fit(np.c_[s.X, s.X[:, 0]], s.y),
        "or a penalty on all of them, as Ridge",
    ),
    "a feature without events": (
        lambda s: PopulationGLM().fit(np.c_[s.X, s.y.max(1) == 0], s.y),
        lambda s: PopulationGLM(regularizer="Ridge", regularizer_strength=0.1).fit(np.c_[s.X, s.y.max(1) == 0], s.y),
        "Ridge penalty",
    ),
    "functions of a short window": (
        lambda s: RaisedCosineLogConv(8, window_size=6).compute_features(s.y),
        lambda s: RaisedCosineLogConv(8, window_size=60).compute_features(s.y),
        "Use fewer functions or a longer window",
    ),
    "samples without a rate": (
        lambda s: recording.group_spikes([(TIMES * 30_000).astype(int)], nap.IntervalSet(0, 60)),
        lambda s: recording.group_spikes([(TIMES * 30_000).astype(int)], nap.IntervalSet(0, 60), sampling_rate=30_000),
        "Give `sampling_rate`: 30_000 for samples at 30 kHz",
    ),
    "a column of ones": (
        lambda s: PopulationGLM().fit(np.c_[np.ones(600), s.X], s.y),
        lambda s: PopulationGLM().fit(np.c_[np.ones(600), s.X][:, 1:], s.y),
        "Leave it out",
    ),
}


@pytest.fixture(scope="module")
def s():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return things_at_hand()


@pytest.mark.parametrize("case", CALLS)
def test_the_fix_of_a_message_works(s, case):
    bad, good, message = CALLS[case]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((ValueError, TypeError, RuntimeWarning, UserWarning), match=message):
            bad(s)
        good(s)
