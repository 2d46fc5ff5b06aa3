"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "sender and receiver swapped": Fault(
        "simulation/_rollout.py",
        "recurrence.coef.reshape(-1, len(limit))",
        "recurrence.coef.T.reshape(-1, len(limit))",
        "simulation/test_simulation.py",
        "drives",
    ),
    "a block that hears the bins before it one bin late": Fault(
        "simulation/_rollout.py",
        "kernel[np.minimum(lag, window) - 1]",
        "kernel[np.maximum(np.minimum(lag, window) - 2, 0)]",
        "simulation/test_simulation.py",
        "own_past",
    ),
    "history that goes on across epochs of a simulation": Fault(
        "simulation/_rollout.py", "jnp.where(new, start, before)", "before", "simulation/test_simulation.py", "own_past"
    ),
    "bins that are not known count in the history": Fault(
        "simulation/_rollout.py", "y = jnp.where(valid, y, 0)", "y = y * 1", "simulation/test_simulation.py", "own_past"
    ),
    "a mean field without fluctuations": Fault(
        "simulation/_mean_field.py", "np.expm1(filters)", "filters", "simulation/test_simulation.py", "lambert"
    ),
    "a margin that nobody looked for": Fault(
        "simulation/_mean_field.py",
        "(middle, high) if back(middle) else (low, middle)",
        "(middle, high)",
        "simulation/test_simulation.py",
        "lambert",
    ),
}
