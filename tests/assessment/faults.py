"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "spikes at the end of their bins": Fault(
        "assessment/_rescaling.py",
        "places = rng.random(len(bin_of))",
        "places = np.ones(len(bin_of))",
        "assessment/test_assessment.py",
        "rejects",
    ),
    "a bin that ends with its last spike": Fault(
        "assessment/_rescaling.py",
        "steps[first] += empty + np.append(0, remainder[:-1])",
        "steps[first] += empty",
        "assessment/test_assessment.py",
        "rejects",
    ),
    "births that forget those before them": Fault(
        "assessment/_rescaling.py",
        ", 1 / alpha + k\n",
        ", 1 / alpha + 0 * k\n",
        "assessment/test_assessment.py",
        "rejects and Negative",
    ),
}
