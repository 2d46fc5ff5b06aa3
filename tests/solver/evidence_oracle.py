"""Strengths by evidence with dense matrices in NumPy, as short as it can be: what the solver and mgcv are compared with.

Inputs of one neuron; an intercept, which has no penalty, is the first coefficient. Strengths are mgcv's sp: S beside the sum
of nats times the dispersion. REML is minus the log of the Laplace likelihood, with a flat prior on what is free (Wood 2011).
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, gammaln, xlogy

UNIT_LOSSES = {  # half the deviance, its first and second derivative by the linear predictor
    "Poisson": lambda y, e, a: (xlogy(y, y) - y - y * e + np.exp(e), np.exp(e) - y, np.exp(e)),
    "Bernoulli": lambda y, e, a: (np.logaddexp(0, e) - y * e, expit(e) - y, expit(e) * expit(-e)),
    "Gaussian": lambda y, e, a: ((y - e) ** 2 / 2, e - y, np.ones_like(y)),
    "Gamma": lambda y, e, a: (y * np.exp(-e) - 1 + e - np.log(y), 1 - y * np.exp(-e), y * np.exp(-e)),
    "NegativeBinomial": lambda y, e, a: (
        xlogy(y, y) - y * e - (y + 1 / a) * (np.log1p(a * y) - np.log1p(a * np.exp(e))),
        (np.exp(e) - y) / (1 + a * np.exp(e)),
        (1 + a * y) * np.exp(e) / (1 + a * np.exp(e)) ** 2,
    ),
}


def saturated(family, y, scale, alpha):
    """Return the log-likelihood of a model with a parameter for each row."""
    if family == "Gaussian":
        return -np.log(2 * np.pi * scale) / 2
    if family == "Gamma":
        return -np.log(scale) / scale - 1 / scale - gammaln(1 / scale) - np.log(y)
    if family == "NegativeBinomial":
        r, y0 = 1 / alpha, xlogy(y, alpha * y)
        return gammaln(y + r) - gammaln(r) - gammaln(y + 1) + y0 - (y + r) * np.log1p(alpha * y)
    return xlogy(y, y) - y - gammaln(y + 1) if family == "Poisson" else np.zeros_like(y)


def maximum(X, y, family, S, offset, weight, alpha, beta):
    """Return the penalised maximum, its Hessian without S, and half the deviance."""
    value = lambda b: (weight * UNIT_LOSSES[family](y, X @ b + offset, alpha)[0]).sum() + b @ S @ b / 2
    for _ in range(200):
        _, first, second = UNIT_LOSSES[family](y, X @ beta + offset, alpha)
        H, slope = (X.T * (weight * second)) @ X, X.T @ (weight * first) + S @ beta
        step = np.linalg.solve(H + S + 1e-12 * np.diag(np.diag(H)), slope)
        while value(beta - step) > value(beta) + 1e-9 * abs(value(beta)):
            step = step / 2
        beta = beta - step
        if slope @ step < 1e-18 * len(y):
            break
    _, _, second = UNIT_LOSSES[family](y, X @ beta + offset, alpha)
    return beta, (X.T * (weight * second)) @ X, value(beta) - beta @ S @ beta / 2


class Evidence:
    """REML of one neuron: at given strengths, at its optimum ("newton"), and where Fellner and Schall's update ends ("efs")."""

    def __init__(self, recording, y, alpha):
        self.S = [np.pad(S, ((1, 0), (1, 0))) for S in recording.parts.values()]
        self.n_free = len(self.S[0]) - np.linalg.matrix_rank(sum(self.S), hermitian=True)  # the intercept, and more
        X = np.column_stack([np.ones(len(y)), recording.X])
        beta = np.zeros(X.shape[1])
        self.data, self.beta, self.alpha = (X, y, recording.family), beta, alpha
        self.rest = recording.offset, recording.weight, alpha
        self.free = recording.family in ("Gaussian", "Gamma")
        mean = (recording.weight @ y) / (recording.weight @ np.exp(recording.offset))
        link = {"Gaussian": lambda m: m, "Bernoulli": lambda m: np.log(m / (1 - m))}.get(recording.family, np.log)
        beta[0] = link(mean)

    def at(self, log_sp, log_scale=0.0):
        """Return REML, coefficients, H and S."""
        scale, (X, y, family) = np.exp(log_scale), self.data
        S = sum(np.exp(s) * part for s, part in zip(log_sp, self.S, strict=True))
        beta, H, loss = maximum(X, y, family, S, *self.rest, self.beta)
        values = np.linalg.eigvalsh(S)[self.n_free :]
        ls = (self.rest[1] * saturated(family, y, scale, self.alpha)).sum()
        fit = (loss + beta @ S @ beta / 2) / scale - ls
        return (
            fit + (np.linalg.slogdet(H + S)[1] - np.log(values).sum() - self.n_free * np.log(2 * np.pi * scale)) / 2,
            beta,
            H,
            S,
        )

    def pearson(self, beta, H, S):
        """Return Pearson's estimate of the scale, of these families: squares by the variance, over n - edf."""
        X, y, family = self.data
        mean = X @ beta if family == "Gaussian" else np.exp(X @ beta)
        squares = ((y - mean) / (1 if family == "Gaussian" else mean)) ** 2
        return (self.rest[1] @ squares) / (self.rest[1].sum() - np.trace(np.linalg.solve(H + S, H)))

    def newton(self):
        """Return log strengths and log scale at the least REML, with H at the coefficients of every strength."""
        start, n = np.r_[self.efs(), np.zeros(int(self.free))], len(self.S)
        if self.free:
            start[-1] = np.log(self.pearson(*self.at(start[:n])[1:]))
        bounds = [(-14, 15)] * n + [(start[-1] - 1, start[-1] + 1)] * self.free
        value = lambda p: self.at(p[:n], *p[n:])[0]
        return minimize(
            value, start, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-6}, jac="3-point"
        ).x

    def efs(self):
        """Return log strengths where the derivatives of REML with H held are 0; those that grow without end stop at 15."""
        log_sp = np.zeros(len(self.S))
        for _ in range(3000):
            _, self.beta, H, S = self.at(log_sp)
            inverse, prior = np.linalg.inv(H + S), np.linalg.pinv(S, hermitian=True, rcond=1e-13)
            scale = self.pearson(self.beta, H, S) if self.free else 1.0
            gain = np.array([((prior - inverse) * part).sum() / (self.beta @ part @ self.beta) for part in self.S])
            step = np.log(np.maximum(gain * scale, 1e-9))
            log_sp, old = np.clip(log_sp + step, -14, 15), log_sp
            if abs(log_sp - old).max() < 1e-8:
                break
        return log_sp
