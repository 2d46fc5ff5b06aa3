"""How far a fit is from the optimum: one objective, in float64 and with NumPy alone, for every tool.

The objective of a neuron is the mean over bins of exp(eta) - y eta: the Poisson negative log-likelihood without log y!.
"""

import numpy as np

ROWS = 8192


def blocks(coef, intercept, X, y):
    """Yield X, y and the linear predictor in float64, some rows at a time; X and y may be memory-mapped."""
    coef, intercept = np.asarray(coef, np.float64), np.asarray(intercept, np.float64)
    for start in range(0, len(X), ROWS):
        rows = X[start : start + ROWS].astype(np.float64)
        yield rows, y[start : start + ROWS].astype(np.float64), rows @ coef + intercept


def objective(coef, intercept, X, y) -> np.ndarray:
    """Return every neuron's objective, (neurons,), for coef (features, neurons) and intercept (neurons,)."""
    return sum((np.exp(eta) - y * eta).sum(0) for _, y, eta in blocks(coef, intercept, X, y)) / len(X)


def null_objective(y) -> np.ndarray:
    """Return every neuron's objective at its best constant rate, (neurons,)."""
    rate = y.mean(0, dtype=np.float64)
    return rate - rate * np.log(np.where(rate > 0, rate, 1))


def polish(coef, intercept, X, y):
    """Return coef and intercept after one Newton step from a nearly optimal fit: what the others are compared with.

    From a gap of 1e-6 the step ends near 1e-12. The Hessian is summed in float32, which costs the step a millionth of its
    length, the gradient in float64. A neuron whose objective the step does not lower stays as it was.
    """
    coef, intercept = np.asarray(coef, np.float64), np.asarray(intercept, np.float64)
    width = len(coef) + 1
    gradient = np.zeros((width, len(intercept)))
    hessian = np.zeros((len(intercept), width, width))
    for rows, counted, eta in blocks(coef, intercept, X, y):
        rows = np.column_stack([rows, np.ones(len(rows))])
        mean = np.exp(eta)
        gradient += rows.T @ (mean - counted)
        for neuron, root in enumerate(np.sqrt(mean).T):
            weighted = (rows * root[:, None]).astype(np.float32)
            hessian[neuron] += weighted.T @ weighted
    step = np.linalg.solve(hessian, gradient.T[..., None])[..., 0].T
    lower = objective(coef - step[:-1], intercept - step[-1], X, y) < objective(coef, intercept, X, y)
    step = np.where(lower, step, 0)
    return coef - step[:-1], intercept - step[-1]


def gaps(value, best, null) -> dict[str, float]:
    """Return the relative gaps of objectives (neurons,), largest and mean over neurons.

    `of_improvement` is relative to what the best fit improves on the null model, `of_objective` to the objective itself:
    the first does not depend on the units of the counts or on log y!, and is the larger for neurons that are hard to predict.
    """
    relative = {"of_improvement": (value - best) / (null - best), "of_objective": (value - best) / np.abs(best)}
    how = {"max": np.max, "mean": np.mean}
    return {f"{name}_{each}": float(how[each](gap)) for name, gap in relative.items() for each in how}
