"""How far numbers of popglm are from those of other software: `python tests/agreement.py` writes the record.

The page "Can I trust it" shows `src/popglm/data/agreement.json`. Data and recorded numbers are those of the tests that are
named beside each row. Everything is computed in double precision. A difference is the largest of |ours - theirs| / |theirs|.
"""

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "src/popglm/data/agreement.json"
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in (".", "inference", "solver", "project")]

import mgcv_cases
import tables
import test_evidence_mgcv
import test_few_clusters
import test_firth
import test_penalised_inference
import test_published
import test_weighted_inference

from popglm._solver import evidence
from popglm.glm import GLM
from popglm.inference import summary, uncertainty

R, STATSMODELS = "R 4.2.2", f"statsmodels {version('statsmodels')}"


def values_of(model, errors):
    """Estimates and their errors, the intercept first."""
    estimates = np.append(model.intercept_, model.coef_)
    return np.concatenate([estimates, np.ravel(errors.intercept_se), np.ravel(errors.coef_se)])


def certified_linear_regression():
    """Employment by Longley (1967), values certified by NIST."""
    X, y = test_published.load("longley")
    model = GLM("Gaussian").fit(X, y)
    ours = values_of(model, uncertainty(model, X, y))
    yield np.append(ours, np.sqrt(model.scale_)), test_published.CERTIFIED


def real_data_by_statsmodels():
    """Five published data sets: estimates, errors, deviance."""
    for name in test_published.CASES:
        X, y, theirs = test_published.fit_by_statsmodels(name)
        model = GLM(test_published.CASES[name][0]).fit(X, y)
        ours = values_of(model, uncertainty(model, X, y))
        order = [-1, *range(X.shape[1])]  # statsmodels was given the constant last
        yield ours, np.concatenate([theirs.params[order], theirs.bse[order]])


def summaries_by_r():
    """Six published data sets: estimates, errors, deviances, criteria of `summary(glm)` and `glm.nb`."""
    for family, data, kind, table, statistics, criteria in tables.R.values():
        X, y = data()
        result = summary(GLM(family).fit(X, y), X, y, kind=kind)
        neuron = result.neurons.iloc[0]
        ours = neuron[["scale", "residual_df", "deviance", "null_deviance", "pearson_chi2"]]
        yield result.coefficients[["coef", "se"]].to_numpy(float), np.array(table)[:, :2]
        yield ours.to_numpy(float), statistics
        if criteria is not None:
            yield neuron[["log_likelihood", "aic", "bic"]].to_numpy(float), criteria


def robust_errors_by_sandwich():
    """Errors of rows that were sampled with known probabilities."""
    X, counts, p, offset = test_weighted_inference.periodic()
    for name, theirs in test_weighted_inference.OF_R.items():
        y = counts > 1 if name == "Bernoulli" else counts
        given = {"sample_weight": 1 / p, "offset": offset if name == "Poisson" else None}
        model = GLM(name, **test_weighted_inference.TIGHT).fit(X, y, **given)
        yield test_weighted_inference.errors_of(uncertainty(model, X, y, "sandwich", **given)), theirs


def few_clusters_by_clubsandwich():
    """CR2 errors of eight clusters, and their degrees of freedom."""
    tests = test_few_clusters
    for (name, weighted), theirs in tests.CLUB_SANDWICH.items():
        data = {"sample_weight": tests.COPIES} if weighted else {}
        model = tests.fitted(name, **data)
        result = uncertainty(model, tests.X, tests.ACTIVITY[name], **tests.BIAS_REDUCED, **data)
        yield np.concatenate(tests.numbers_of(result)), np.concatenate(theirs)


def separation_by_brglm2():
    """Estimates and errors under Firth's penalty, of data that are separated."""
    for name, theirs in test_firth.BRGLM2.items():
        y = test_firth.ACTIVITY[name]
        model = GLM(name, regularizer="Firth").fit(test_firth.X, y)
        yield values_of(model, uncertainty(model, test_firth.X, y)), np.concatenate(theirs)


def penalised_errors_by_mgcv():
    """Errors and degrees of freedom at given strengths."""
    for name, theirs in test_penalised_inference.MGCV.items():
        X, y = test_penalised_inference.penalised_data(name)
        errors = uncertainty(test_penalised_inference.fitted(name, X, y, [0.05, 0.02]), X, y)
        ours = np.concatenate([errors.coef_se.ravel(), errors.intercept_se.ravel(), errors.edf.ravel()])
        yield ours, np.array(f"{theirs['se']} {theirs['edf']}".split(), float)


def strengths_by_mgcv():
    """Degrees of freedom of whole models, with the intercept, whose strengths the data choose."""
    least, evidence.MIN_GAIN = evidence.MIN_GAIN, 0.0  # mgcv keeps what adds nothing
    try:
        for name in mgcv_cases.RECORDINGS:
            model = test_evidence_mgcv.fit(name)
            neurons = mgcv_cases.recording(name).neurons
            theirs = [test_evidence_mgcv.by_mgcv(name, neuron)[0].sum() for neuron in neurons]
            yield 1 + model.edf_.sum(axis=0), 1 + np.array(theirs)
    finally:
        evidence.MIN_GAIN = least


ROWS = {  # what is compared: (tool, function that yields pairs of arrays, test that holds it)
    "linear regression": ("NIST's certified values", certified_linear_regression, "project/test_published.py"),
    "estimates and errors": (STATSMODELS, real_data_by_statsmodels, "project/test_published.py"),
    "summaries": (f"{R}, MASS 7.3-58.2", summaries_by_r, "inference/tables.py"),
    "robust errors": (f"{R}, sandwich 3.0.2", robust_errors_by_sandwich, "inference/test_weighted_inference.py"),
    "errors from few clusters": (
        f"{R}, clubSandwich 0.5.8",
        few_clusters_by_clubsandwich,
        "inference/test_few_clusters.py",
    ),
    "Firth's penalty": (f"{R}, brglm2 0.9", separation_by_brglm2, "solver/test_firth.py"),
    "errors under penalties": (f"{R}, mgcv 1.8-41", penalised_errors_by_mgcv, "inference/test_penalised_inference.py"),
    "strengths by evidence": (f"{R}, mgcv 1.8-41", strengths_by_mgcv, "solver/test_evidence_mgcv.py"),
}


def measure(name: str) -> dict[str, object]:
    """Return the row of the record: tool, how many numbers, median and largest relative difference, the test."""
    tool, pairs, test = ROWS[name]
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few clusters and separation, which the tests hold
        differences = [np.abs(np.divide(ours, theirs) - 1).ravel() for ours, theirs in pairs()]
    found = np.concatenate(differences)
    sizes = {"median": float(f"{np.median(found):.2g}"), "difference": float(f"{found.max():.2g}")}
    return {"tool": tool, "numbers": found.size, **sizes, "test": test}


def main() -> None:
    """Measure every row and write the record."""
    record = {name: measure(name) for name in ROWS}
    for name, row in record.items():
        print(f"{name:26}{row['tool']:32}{row['numbers']:5} numbers, largest difference {row['difference']:.0e}")
    RECORD.write_text(json.dumps(record, indent=1) + "\n", "utf8")


if __name__ == "__main__":
    main()
