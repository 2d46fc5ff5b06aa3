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


def objective(coef, intercept, X, y, strength=0.0) -> np.ndarray:
    """Return every neuron's objective, (neurons,), for coef (features, neurons) and intercept (neurons,).

    With a strength, that of the lasso: plus the strength times the sum of the absolute coefficients.
    """
    loss = sum((np.exp(eta) - y * eta).sum(0) for _, y, eta in blocks(coef, intercept, X, y)) / len(X)
    return loss + strength * np.abs(np.asarray(coef, np.float64)).sum(0)


def null_objective(y) -> np.ndarray:
    """Return every neuron's objective at its best constant rate, (neurons,)."""
    rate = y.mean(0, dtype=np.float64)
    return rate - rate * np.log(np.where(rate > 0, rate, 1))


def gradient(coef, intercept, X, y):
    """Return the gradient of every neuron's loss, (features and 1, neurons): the intercept's last."""
    sums = 0
    for rows, counted, eta in blocks(coef, intercept, X, y):
        residual = np.exp(eta) - counted
        sums = sums + np.concatenate([rows.T @ residual, residual.sum(0)[None]])
    return sums / len(X)


def violation(coef, intercept, X, y, strength) -> float:
    """Return by how much the conditions of a lasso's optimum are missed, relative to the strength: the worst coefficient."""
    slope, coef = gradient(coef, intercept, X, y)[:-1], np.asarray(coef, np.float64)
    off = np.where(coef != 0, np.abs(slope + strength * np.sign(coef)), np.maximum(np.abs(slope) - strength, 0))
    return float(off.max() / strength)


def polish(coef, intercept, X, y, strength=0.0):
    """Return coef and intercept after one Newton step from a nearly optimal fit: what the others are compared with.

    From a gap of 1e-6 the step ends near 1e-12. The Hessian is summed in float32, which costs the step a millionth of its
    length, the gradient in float64. A neuron whose objective the step does not lower stays as it was. Under an L1 penalty the
    step ends where the quadratic model and the penalty are least; coefficients that are 0 far from the brink stay.
    """
    coef, intercept = np.asarray(coef, np.float64), np.asarray(intercept, np.float64)
    slope = gradient(coef, intercept, X, y)
    free = np.concatenate([(coef != 0) | (np.abs(slope[:-1]) > 0.9 * strength), np.ones((1, len(intercept)), bool)])
    free = [np.flatnonzero(each) for each in free.T]
    hessian = [np.zeros((len(each), len(each))) for each in free]
    for rows, _, eta in blocks(coef, intercept, X, y):
        rows = np.column_stack([rows, np.ones(len(rows))]).astype(np.float32)
        for neuron, root in enumerate(np.exp(eta / 2).astype(np.float32).T):
            weighted = rows[:, free[neuron]] * root[:, None]
            hessian[neuron] += weighted.T @ weighted
    new = np.concatenate([coef, intercept[None]])
    for neuron, each in enumerate(free):
        new[each, neuron] = quadratic_lasso(hessian[neuron] / len(X), slope[each, neuron], new[each, neuron], strength)
    lower = objective(new[:-1], new[-1], X, y, strength) < objective(coef, intercept, X, y, strength)
    return np.where(lower, new[:-1], coef), np.where(lower, new[-1], intercept)


def quadratic_lasso(hessian, slope, at, strength):
    """Return the minimum of a quadratic around `at` plus the strength times the absolute values, the last one's apart.

    By active sets: Newton on the coefficients in play, whose signs are kept; one that would change its sign stops at 0 and
    leaves, then the one whose slope exceeds the strength most enters.
    """
    x, bound = at.copy(), np.r_[np.full(len(at) - 1, strength), 0.0]
    sign = np.sign(x) if strength else np.ones(len(x))
    sign[-1] = 1
    for _ in range(10 * len(x)):
        some = np.flatnonzero(sign)
        now = slope + hessian @ (x - at)
        step = -np.linalg.solve(hessian[np.ix_(some, some)], (now + bound * sign)[some])
        crosses = (bound[some] > 0) & ((x[some] + step) * sign[some] < 0)
        share = np.where(crosses, -x[some] / np.where(crosses, step, 1), 1)
        x[some] += share.min() * step
        if crosses.any():
            gone = some[share.argmin()]
            x[gone] = sign[gone] = 0
            continue
        now = slope + hessian @ (x - at)
        excess = np.where(sign == 0, np.abs(now) - bound, 0)
        if excess.max() <= 1e-9 * strength:
            return x
        enters = excess.argmax()
        sign[enters] = -np.sign(now[enters])
    return x


def gaps(value, best, null=None) -> dict[str, float]:
    """Return the relative gaps of objectives (neurons,), largest and mean over neurons.

    `of_objective` is relative to the best objective. `of_improvement`, without a penalty, is relative to what the best fit
    improves on the `null` model: it does not depend on the units of the counts or on log y!, and is the larger for neurons
    that are hard to predict.
    """
    relative = {"of_objective": (value - best) / np.abs(best)}
    if null is not None:
        relative["of_improvement"] = (value - best) / (null - best)
    how = {"max": np.max, "mean": np.mean}
    return {f"{name}_{each}": float(how[each](gap)) for name, gap in relative.items() for each in how}
