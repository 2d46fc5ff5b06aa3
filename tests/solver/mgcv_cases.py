"""Recordings on which mgcv has chosen strengths: features, activity of some neurons, and the matrices of the penalty's parts.

`make_mgcv_cases.py` gives them to R and keeps what it finds in `mgcv_numbers.json`. Every neuron is one fit of mgcv.
"""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from scipy.linalg import block_diag

from popglm.basis import BSplineEval, CyclicBSplineEval

NUMBERS = Path(__file__).with_name("mgcv_numbers.json")
ALPHA = 0.5  # of the negative binomial: mgcv's theta is 1 / alpha
N = 1500


@dataclass
class Recording:
    """Features (time, features), activity of named neurons (time, neurons), and S of each part, all (features, features)."""

    X: np.ndarray
    neurons: dict
    parts: dict
    sizes: tuple
    family: str = "Poisson"
    offset: np.ndarray = field(default_factory=lambda: np.zeros(N))
    weight: np.ndarray = field(default_factory=lambda: np.ones(N))

    @property
    def y(self):
        """Activity as one matrix."""
        return np.column_stack(list(self.neurons.values()))


def differences(size, order=2, *, cyclic=False):
    """Return D'D of the differences of this order."""
    D = np.eye(size)
    for _ in range(order):
        D = np.roll(D, -1, 0) - D if cyclic else np.diff(D, axis=0)
    return D.T @ D


def null_space(S):
    """Return the projection on the null space of a penalty."""
    values, vectors = np.linalg.eigh(S)
    null = vectors[:, values < 1e-9 * values[-1]]
    return null @ null.T


def beside(sizes, matrices):
    """Return each matrix of an input as one of all features, 0 elsewhere."""
    ends = np.cumsum(sizes)
    return {
        (i, label): block_diag(np.zeros((ends[i] - sizes[i],) * 2), S, np.zeros((ends[-1] - ends[i],) * 2))
        for i, of in enumerate(matrices)
        for label, S in of.items()
    }


def smooth(size, **how):
    """Return the parts of one input with a strength for the differences and one for what they do not see."""
    S = differences(size, **how)
    return {"differences": S, "null space": null_space(S)}


def wander(rng, n=N, slow=0.97):
    """Return a variable in [0, 1] that drifts, with even ranks: a stimulus as experiments have it."""
    x = np.zeros(n)
    for t, step in enumerate(rng.normal(size=n)):
        x[t] = slow * x[t - 1] + step
    return (x.argsort().argsort() + 0.5) / n


def splines(x, size=10):
    """Return B-splines of a variable in [0, 1]."""
    return np.asarray(BSplineEval(size).shape(x))


def scaled(drive, events):
    """Return expected counts with this log, up to a constant, and this sum."""
    rate = np.exp(drive)
    return rate * events / rate.sum()


def two_smooths(rng):
    """Return two inputs of ten functions, their parts, and a truth for the first: a bump, a straight line."""
    a, b = wander(rng), wander(rng)
    parts = beside((10, 10), [smooth(10), smooth(10)])
    return np.hstack([splines(a), splines(b)]), parts, a


def bump(x):
    """Return a curve of one and a half periods."""
    return np.sin(9 * x) + x


def poisson():
    """Counts with few and many events; the second input is flat; a straight truth, and a flat one."""
    rng = np.random.default_rng(0)
    X, parts, a = two_smooths(rng)
    drive = {f"{events} events": (bump(a), events) for events in (50, 200, 1000, 5000)}
    drive |= {"straight": (1.5 * a, 1000), "flat": (0 * a, 500)}
    neurons = {name: rng.poisson(scaled(*of)).astype(float) for name, of in drive.items()}
    return Recording(X, neurons, parts, (10, 10))


def binomial():
    """A spike or none, rare and common."""
    rng = np.random.default_rng(1)
    X, parts, a = two_smooths(rng)
    odds = {"rare": bump(a) - 2.5, "common": bump(a) - 0.3}
    neurons = {name: (rng.random(N) < 1 / (1 + np.exp(-eta))).astype(float) for name, eta in odds.items()}
    return Recording(X, neurons, parts, (10, 10), "Bernoulli")


def gaussian():
    """Numbers of any sign in two units, with little and with much noise."""
    rng = np.random.default_rng(2)
    X, parts, a = two_smooths(rng)
    neurons = {"clear": bump(a) + 0.5 * rng.normal(size=N), "noisy": 100 * (bump(a) + 5 * rng.normal(size=N))}
    return Recording(X, neurons, parts, (10, 10), "Gaussian")


def gamma():
    """Positive numbers, with a scale of 0.3 and of 2."""
    rng = np.random.default_rng(3)
    X, parts, a = two_smooths(rng)
    neurons = {f"scale {s}": np.exp(bump(a)) * rng.gamma(1 / s, s, N) for s in (0.3, 2.0)}
    return Recording(X, neurons, parts, (10, 10), "Gamma")


def negative_binomial():
    """Counts with more variance than Poisson's, alpha known."""
    rng = np.random.default_rng(4)
    X, parts, a = two_smooths(rng)
    rates = {f"{events} events": scaled(bump(a), events) for events in (200, 2000)}
    neurons = {name: rng.poisson(rate * rng.gamma(1 / ALPHA, ALPHA, N)).astype(float) for name, rate in rates.items()}
    return Recording(X, neurons, parts, (10, 10), "NegativeBinomial")


def with_offset():
    """Counts whose exposure changes."""
    rng = np.random.default_rng(5)
    X, parts, a = two_smooths(rng)
    offset = rng.normal(0, 0.7, N)
    neurons = {
        f"{events} events": rng.poisson(scaled(bump(a) + offset, events)).astype(float) for events in (300, 3000)
    }
    return Recording(X, neurons, parts, (10, 10), offset=offset)


def with_weights():
    """Counts whose rows stand for 0, 1, 2 or 3 rows."""
    rng = np.random.default_rng(6)
    X, parts, a = two_smooths(rng)
    weight = rng.integers(0, 4, N).astype(float)
    neurons = {f"{events} events": rng.poisson(scaled(bump(a), events)).astype(float) for events in (300, 3000)}
    return Recording(X, neurons, parts, (10, 10), weight=weight)


def cyclic():
    """Counts of a heading; the null space of cyclic differences is the constant."""
    rng = np.random.default_rng(7)
    heading = np.mod(np.cumsum(rng.normal(0, 0.03, N)), 1)
    X = np.asarray(CyclicBSplineEval(12, bounds=(0, 1)).shape(heading))
    drive = {
        "tuned": 2 * np.cos(2 * np.pi * heading),
        "narrow": 3 * np.cos(2 * np.pi * heading - 2) ** 5,
        "flat": 0 * heading,
    }
    neurons = {name: rng.poisson(scaled(eta, 600)).astype(float) for name, eta in drive.items()}
    return Recording(X, neurons, beside((12,), [smooth(12, cyclic=True)]), (12,))


def senders():
    """Counts that depend on two of six senders, each with four functions and a ridge of its own."""
    rng = np.random.default_rng(8)
    X = np.maximum(rng.normal(size=(N, 24)) + 0.5 * np.repeat(rng.normal(size=(N, 6)), 4, 1), 0)
    filters = np.zeros((2, 24))
    filters[0, :4], filters[1, 8:12] = [0.5, 0.4, 0.2, 0.1], [-0.4, -0.3, -0.2, 0.0]
    both = X @ filters.sum(0)
    neurons = {f"{events} events": rng.poisson(scaled(both, events)).astype(float) for events in (200, 1000)}
    return Recording(X, neurons, beside((4,) * 6, [{"ridge": np.eye(4)}] * 6), (4,) * 6)


def tensor():
    """Counts of a place: products of six functions along each direction, a strength for each direction."""
    rng = np.random.default_rng(9)
    a, b = wander(rng), wander(rng)
    X = (splines(a, 6)[:, :, None] * splines(b, 6)[:, None]).reshape(N, 36)
    S, one = differences(6), np.eye(6)
    first, second = np.kron(S, one), np.kron(one, S)
    parts = {"differences 1": first, "differences 2": second, "null space": null_space(first + second)}
    field = -8 * ((a - 0.3) ** 2 + (b - 0.6) ** 2)
    drive = {"field": field, "stripe": bump(a)}
    neurons = {name: rng.poisson(scaled(eta, 800)).astype(float) for name, eta in drive.items()}
    return Recording(X, neurons, beside((36,), [parts]), (36,))


def straight_free():
    """Counts with two gains that depend on a variable each; what differences do not see has no penalty."""
    rng = np.random.default_rng(10)
    a, b, gain = wander(rng), wander(rng), rng.normal(size=(2, N))
    X = np.hstack([splines(a) * gain[0, :, None], splines(b) * gain[1, :, None]])
    drive = gain[0] * 0.5 * bump(a) + 0.2 * gain[1]
    neurons = {f"{events} events": rng.poisson(scaled(drive, events)).astype(float) for events in (200, 1000)}
    one = {"differences": differences(10)}
    return Recording(X, neurons, beside((10, 10), [one, one]), (10, 10))


RECORDINGS = {  # a sample of five has each kind of penalty, a scale, and weights
    make.__name__.replace("_", " "): make
    for make in (
        poisson, binomial, gamma, gaussian, negative_binomial, with_weights, with_offset, straight_free, cyclic, senders, tensor
    )
}  # fmt: skip


@cache
def recording(name):
    """Return the recording of this name."""
    return RECORDINGS[name]()


@cache
def numbers():
    """Return what mgcv found, for each recording and neuron: see `make_mgcv_cases.R`."""
    return json.loads(NUMBERS.read_text("utf8"))
