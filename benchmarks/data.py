"""The benchmark's data: a simulated population of coupled neurons and its history features, with NumPy alone.

Every tool gets the same arrays, made without any of the tools. `python benchmarks/data.py 50 120000 0` makes them once
and prints the folder that holds them; simulated counts are the same wherever they are made, up to the last digit of `exp`.
"""

import os
import sys
from pathlib import Path

import numpy as np

WINDOW, BASIS, BIN = 100, 8, 0.005  # bins, functions, seconds
CACHE = Path(__file__).parent / ".cache"
LOUDEST = 1.0  # log of the largest expected count per bin: keeps the simulation from running away
BLOCK = 4096
LASSO = 4  # which of ten strengths is the single lasso's: some 1/13 of the largest


def kernel(window: int = WINDOW, n_basis: int = BASIS) -> np.ndarray:
    """Return log-spaced raised cosines, (window, functions); row 0 is lag 1, and every function decays to zero."""
    position = np.log1p(50 * np.linspace(0, 1, window)) / np.log(51)
    peaks = np.linspace(0, 1 - 2 / (n_basis + 1), n_basis)
    phase = np.pi * (position[:, None] - peaks) / (2 * (peaks[1] - peaks[0]))
    return (1 + np.cos(np.clip(phase, -np.pi, np.pi))) / 2


def population(n_neurons: int, n_bins: int, seed: int) -> np.ndarray:
    """Return 0/1 counts (bins, neurons), uint8, of refractory neurons of about 6 Hz, a fifth of all pairs coupled."""
    rng = np.random.default_rng(seed)
    shapes = kernel()
    shapes = shapes / np.linalg.norm(shapes, axis=0)
    weights = rng.normal(0, 0.08, (n_neurons, BASIS, n_neurons)) * (rng.random((n_neurons, 1, n_neurons)) < 0.2)
    itself = np.arange(n_neurons)
    weights[itself, :, itself] = 0.6 * np.linspace(-1.2, 0.05, BASIS)
    filters = np.einsum("wb,nbm->nwm", shapes, weights)  # sender, lag, receiver
    bias = rng.normal(-3.2, 0.4, n_neurons)

    counts = np.zeros((n_bins, n_neurons), np.uint8)
    drive = np.tile(bias, (BLOCK + WINDOW, 1))  # what the spikes so far add to each bin of this block and the next
    for start in range(0, n_bins, BLOCK):
        rows = min(BLOCK, n_bins - start)
        threshold = -np.log(rng.random((rows, n_neurons)))  # exponential: P(rate > threshold) = 1 - exp(-rate)
        for row in range(rows):
            rate = np.exp(np.minimum(drive[row], LOUDEST))
            for sender in np.flatnonzero(rate > threshold[row]):
                counts[start + row, sender] = 1
                drive[row + 1 : row + 1 + WINDOW] += filters[sender]
        drive[:WINDOW] = drive[BLOCK:]
        drive[WINDOW:] = bias
    return counts


def features(counts: np.ndarray, kernel: np.ndarray, sub: int = 64) -> np.ndarray:
    """Return the history features, float32 (bins - window, inputs x functions); the first `window` bins are left out.

    Row t is made of bins t-1 to t-window, column (input, function). `sub` rows at a time share one banded matrix.
    """
    window, n_basis = kernel.shape
    n_bins, n_inputs = counts.shape
    row, bin_ = np.arange(sub)[:, None], np.arange(sub + window - 1)
    lag = row + window - 1 - bin_  # 0 is the bin just before the row
    band = np.where((lag >= 0) & (lag < window), kernel.T[:, np.clip(lag, 0, window - 1)], 0)  # function, row, bin
    X = np.empty((n_bins - window, n_inputs, n_basis), np.float32)
    for start in range(0, len(X), sub):
        rows = min(sub, len(X) - start)
        past = counts[start : start + rows + window - 1].astype(np.float32)
        X[start : start + rows] = (band[:, :rows, : len(past)].astype(np.float32) @ past).transpose(1, 2, 0)
    return X.reshape(len(X), -1)


def prepare(n_neurons: int, n_bins: int, seed: int, *, built=True) -> Path:
    """Make the population's `counts` and, if `built`, `X` and `y`, unless they are there; return the folder of .npy files."""
    folder = CACHE / f"{n_neurons}x{n_bins}-{seed}{'' if built else '-counts'}"
    if not folder.exists():
        counts = population(n_neurons, n_bins, seed)
        arrays = {"counts": counts}
        if built:
            arrays |= {"X": features(counts, kernel()), "y": counts[WINDOW:].astype(np.float32)}
        making = folder.with_name(f"{folder.name}.{os.getpid()}")  # a folder that is there is complete
        making.mkdir(parents=True)
        for name, array in arrays.items():
            np.save(making / f"{name}.npy", array)
        making.rename(folder)
    return folder


def batch(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return X and y of one small batch of a population: 5 s of 10 neurons, five functions each, so 1000 x 50 features."""
    y = np.load(folder / "y.npy", mmap_mode="r")
    X = np.load(folder / "X.npy", mmap_mode="r").reshape(*y.shape, BASIS)
    return np.ascontiguousarray(X[:1000, :10, :5]).reshape(1000, -1), np.ascontiguousarray(y[:1000, :10])


def one(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return a small problem, where it counts what a tool needs beside the sums: one neuron, 10,000 bins, 20 features."""
    y = np.load(folder / "y.npy", mmap_mode="r")
    busiest = int(y[:10_000].sum(0).argmax())
    X = np.load(folder / "X.npy", mmap_mode="r")
    return np.ascontiguousarray(X[:10_000, 3:160:8]), np.ascontiguousarray(y[:10_000, busiest : busiest + 1])


def strengths(folder: Path, n: int = 10) -> np.ndarray:
    """Return strengths of an L1 penalty, increasing, from a hundredth of the largest that leaves some coefficient.

    At the null model the loss, a mean over bins, changes by X'(mean - y) / bins: no coefficient survives a strength above that.
    """
    X, y = np.load(folder / "X.npy", mmap_mode="r"), np.load(folder / "y.npy")
    most = np.abs(X.T @ (y - y.mean(0))).max() / len(y)
    return np.geomspace(most / 100, most, n)


if __name__ == "__main__":
    print(prepare(*map(int, sys.argv[1:])))
