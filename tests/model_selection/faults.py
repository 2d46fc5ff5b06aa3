"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "a training row that sees the last test bin": Fault(
        "model_selection/_splits.py",
        "_distance_to_nearest(positions, positions[test]) > window",
        "_distance_to_nearest(positions, positions[test]) >= window",
        "model_selection/test_splits.py",
        "shared",
    ),
    "a window that is too wide": Fault(
        "model_selection/_splits.py",
        "_distance_to_nearest(positions, positions[test]) > window",
        "_distance_to_nearest(positions, positions[test]) > window + 1",
        "model_selection/test_splits.py",
        "rule",
    ),
    "a standard error that does not know the number of folds": Fault(
        "model_selection/_cross_validation.py",
        "folds - 1, np.nan",
        "folds, np.nan",
        "model_selection/test_cross_validation.py",
        "alike",
    ),
    "the smallest strength within one standard error": Fault(
        "model_selection/_cross_validation.py",
        "len(mean) - 1 - np.argmax((mean >= enough)[::-1], 0)",
        "np.argmax(mean >= enough, 0)",
        "model_selection/test_cross_validation.py",
        "rules",
    ),
    "scores that weigh every fold alike": Fault(
        "model_selection/_cross_validation.py",
        "bins / as_divisor(bins.sum(0))",
        "counted / np.maximum(folds, 1)",
        "model_selection/test_cross_validation.py",
        "alike",
    ),
    "test rows that count once each": Fault(
        "model_selection/_cross_validation.py",
        "make_design(features, rows, activity, weight, other_offset, mask=mask)",
        "make_design(features, rows, activity, None, other_offset, mask=mask)",
        "model_selection/test_weighted_folds.py",
        "copies and Poisson",
    ),
}
