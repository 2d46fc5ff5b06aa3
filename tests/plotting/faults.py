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
    "an angle ends where its curve begins": Fault(
        "plotting/_tuning.py",
        "np.r_[-1, np.arange(len(x)), 0]",
        "np.r_[0, np.arange(len(x)), -1]",
        "plotting/test_tuning.py",
        "full_circle",
    ),
    "bins without data are bins without spikes": Fault(
        "plotting/_peth.py",
        "seconds = bins.size * recorded.sum(2)",
        "seconds = bins.size * np.full(recorded.shape[:2], recorded.shape[2])",
        "plotting/test_events.py",
        "without_data",
    ),
    "bins of one block of time are spread over all blocks": Fault(
        "plotting/_quality.py",
        "np.arange(len(predicted)) * n_blocks // len(predicted)",
        "np.arange(len(predicted)) % n_blocks",
        "plotting/test_events.py",
        "alike_in_time",
    ),
    "a certain error is hatched": Fault(
        "plotting/_tuning.py",
        "max_error**2 * np.maximum(low, 0)",
        "max_error * np.maximum(low, 0)",
        "plotting/test_tuning.py",
        "a_map_has_x",
    ),
}
