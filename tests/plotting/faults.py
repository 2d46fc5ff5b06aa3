"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "a kernel of the future is drawn in the past": Fault(
        "plotting/_filters.py",
        "if lags is None else lags",
        "if True else lags",
        "plotting/test_plotting.py",
        "their_lags",
    ),
    "couplings are drawn from receiver to sender": Fault(
        "plotting/_population.py",
        "values.ndim == 3 else values).T",
        "values.ndim == 3 else values)",
        "plotting/test_plotting.py",
        "couplings",
    ),
    "filters are drawn from lag 0": Fault(
        "plotting/_filters.py",
        "np.arange(1, len(kernel) + 1)",
        "np.arange(len(kernel))",
        "plotting/test_plotting.py",
        "milliseconds",
    ),
    "the band of quantiles is that of their number": Fault(
        "plotting/_quality.py", "ppf(0.95, n)", "ppf(0.95, len(z))", "plotting/test_plotting.py", "quantiles"
    ),
}
