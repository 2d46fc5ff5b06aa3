"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "a neuron's rank is that of all bins": Fault(
        "inference/_likelihood_ratio.py",
        "if (n_lighter == 0).all():",
        "if True:",
        "sums/test_rank.py",
        "difference_of_ranks",
    ),
    "what the data do not determine is known": Fault(
        "inference/_information.py",
        "return (change > NOT_IDENTIFIED_TOL",
        "return (change > np.inf",
        "sums/test_rank.py",
        "tuning_curve",
    ),
    "a test of what the data do not determine": Fault(
        "inference/_estimates.py", "(size > MIN_DIRECTION_NORM)", "(size > 2)", "sums/test_rank.py", "tuning_curve"
    ),
    "few clusters are as many": Fault(
        "inference/_estimates.py",
        "self.df / np.maximum(residual_df, 1))",
        "1)",
        "inference/test_inference.py",
        "few_clusters",
    ),
    "an estimated scale is known": Fault(
        "inference/_unpenalised_fit.py",
        'observation_model.dispersion == "pearson"',
        "False",
        "inference/test_inference.py",
        "estimated_scale",
    ),
    "a constant feature leaves the intercept alone": Fault(
        "inference/_information.py",
        "(np.eye(len(se)) * se)[:, constant]",
        "null[:, :0]",
        "inference/test_inference.py",
        "constant_feature",
    ),
    "a full model may be less likely": Fault(
        "inference/_likelihood_ratio.py",
        "LESS_LIKELY: statistic < MIN_STATISTIC",
        "LESS_LIKELY: statistic != statistic",
        "sums/test_rank.py",
        "less_likely",
    ),
    "information as observed, not as expected": Fault(
        "inference/_information.py",
        'information_matrices(kind == "fisher",',
        'information_matrices(kind != "fisher",',
        "inference/test_inference.py",
        "statsmodels",
    ),
    "errors without the scale": Fault(
        "inference/_information.py",
        "inverse.matrix * divisor[neuron]",
        "inverse.matrix",
        "inference/test_inference.py",
        "statsmodels and Gaussian",
    ),
    "clusters without their correction": Fault(
        "inference/_information.py",
        "return n_clusters / np.maximum",
        "return 1 + 0 * n_clusters / np.maximum",
        "inference/test_inference.py",
        "statsmodels",
    ),
    "clusters that are lost between blocks": Fault(
        "inference/_information.py",
        "a, first - 1, 0",
        "a, 0 * first, 0",
        "inference/test_inference.py",
        "blocks_and_streams",
    ),
    "the error of an intercept of other features": Fault(
        "inference/_information.py",
        "-(self.mean + center)",
        "-(self.mean + 0 * center)",
        "inference/test_inference.py",
        "far_from_0",
    ),
    "standard errors after a penalty": Fault(
        "inference/_checks.py",
        "if penalty.default_strength and",
        "if False and",
        "inference/test_inference.py",
        "refused",
    ),
    "units on themselves among the couplings": Fault(
        "inference/_couplings.py",
        "if own or senders[s] != receivers[r]",
        "if True",
        "inference/test_inference.py",
        "table",
    ),
    "a band of whole filters that is one of points": Fault(
        "inference/_quantiles.py",
        "length / np.pi * decay",
        "0 * length * decay",
        "inference/test_inference.py",
        "bands_are",
    ),
    "copies of a row that are independent of each other where they are one row": Fault(
        "inference/_covariance.py",
        '"rows": 2}',
        '"rows": 1}',
        "inference/test_weighted_inference.py",
        "of_r",
    ),
    "a fit without a group that counts every row once": Fault(
        "inference/_likelihood_ratio.py",
        "start, sample_weight=sample_weight, offset=offset)",
        "start, offset=offset)",
        "inference/test_weighted_inference.py",
        "copies and Poisson",
    ),
}
