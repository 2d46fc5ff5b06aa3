"""Jobs of several processes or devices, which the tests of this folder start: ``python jobs.py NAME RANK N PORT FOLDER``.

Every job writes what it found, a dictionary for each process, to ``NAME.RANK.json`` in the folder. The port "slurm" stands
for the variables of SLURM.
"""

import importlib.metadata
import json
import os
import signal
import sys
import time
from pathlib import Path

import h5py
import jax
import numpy as np

from popglm import parallel
from popglm._design import devices as device_sums
from popglm._design.sizes import SIZES
from popglm._files import checkpoint as checkpoints
from popglm._solver import evidence_fit, preconditioner
from popglm._solver import passes as solver_passes
from popglm.basis import RaisedCosineLogConv
from popglm.batching import random_windows
from popglm.glm import PopulationGLM
from popglm.inference import _information, uncertainty
from popglm.model_selection import BlockSplit, compare
from popglm.parallel import _contexts, _share

SIZES.block_rows, SIZES.chunk_blocks = 256, 2  # a chunk has 512 bins
preconditioner.NEURONS_PER_BLOCK = 1
N_BINS, KILLED_AT = 5_500, (90, 80)  # reads of the process that is killed, in the first and the second job
COLLECTIVES = "all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter", "collective-broadcast"
OWN_ROWS = 0, 2400, 4000, N_BINS  # of three processes
CHUNK_BINS = SIZES.block_rows * SIZES.chunk_blocks
N_CHUNKS = -(-N_BINS // CHUNK_BINS)


class Rows:
    """Rows of an HDF5 file; counts those that are read, and may fail, or end the process, at the n-th."""

    def __init__(self, values, fails_at=None, killed_at=None):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.n_read, self.n_reads, self.fails_at, self.killed_at = 0, 0, fails_at, killed_at

    def __getitem__(self, rows):
        """Read some rows."""
        self.n_reads += 1
        if self.n_reads == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fails_at is not None and rows.start >= self.fails_at:
            raise OSError("the disk is gone")
        some = self.values[rows]
        self.n_read += len(some)
        return some


def write_recording(path):
    """A recording of four features and three neurons; neuron 2 is overdispersed, and some rows are missing."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_BINS, 4))
    mean = np.exp(X @ rng.normal(scale=0.3, size=(4, 3)) - 1) * [1, 1, 0] + [0, 0, 1] * rng.gamma(2, 0.5, (N_BINS, 1))
    y = rng.poisson(mean)
    X[:, 3] += 30  # is centred
    X[1020:1540] = np.nan  # a whole chunk, and more
    with h5py.File(path, "w") as file:
        file["X"], file["y"] = X.astype("f4"), y


def read_recording(folder):
    """Features and counts in memory."""
    with h5py.File(Path(folder) / "recording.h5") as file:
        return file["X"][:], file["y"][:]


def same(one, other):
    """Whether arrays, or tuples of arrays, are equal bit by bit."""
    return bool(
        all(
            np.array_equal(a, b, equal_nan=True)
            for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
        )
    )


def everything(X, y, lazy=None):
    """Results of all methods that are shared out."""
    model = PopulationGLM().fit(X, y)
    results = {
        "fit": (model.coef_, model.intercept_, model.n_iter_),
        "score": model.score(X, y, score_type="pseudo-r2-McFadden"),
        "inference": uncertainty(model, X, y).coef_se,
        "predict": np.asarray(model.predict(X)),
    }
    path = PopulationGLM(regularizer="Lasso").fit_path(X, y, n_strengths=2)
    results["fit_path"] = (path.coef, path.strengths)
    variants = {"none": [], "two": np.array([1, 1, 0, 0])}
    gains = compare(PopulationGLM(), variants, X, y, BlockSplit(2, window=0), error_blocks=2).gain("two", "none")
    results["compare"] = gains.to_numpy(float)
    if lazy is not None:
        results["lazy"] = PopulationGLM().fit(*lazy).coef_
    return results


def lazy_features(y):
    """Lazy features of the history, and the counts."""
    return RaisedCosineLogConv(2, window_size=8).lazy_features(y), y


def on_devices(rank, folder):
    """All results on one, two and four devices, and what was compiled for them."""
    compiled = []

    def listen(event, duration, **kwargs):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(kwargs.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    X, y = read_recording(folder)
    found, first = {}, None
    with h5py.File(Path(folder) / "recording.h5") as file:
        for n in (1, 2, 4):
            jax.clear_caches()
            compiled.clear()
            with parallel.devices(n) as chosen:
                assert len(chosen) == n
                results = everything(X, y, lazy_features(y))
                results["streamed"] = PopulationGLM().fit(file["X"], file["y"]).coef_
                windows = random_windows(X, y, n_bins=1100, seed=0)
                results["fit_batches"] = PopulationGLM().fit_batches(windows, n_steps=12).coef_
            first = first or results
            found[n] = {"same": {name: same(results[name], first[name]) for name in first}, "compiled": len(compiled)}
    return found | {"collectives": collectives(X, y)}


def collectives(X, y):
    """Names of operations between devices in the compiled sums of a fit on four of them."""
    calls, compiled = {}, device_sums.mesh_sums

    def record(chunk_sums, f, *args):
        calls[f] = (chunk_sums, f, *args)
        return compiled(chunk_sums, f, *args)

    device_sums.mesh_sums = record
    with parallel.devices(4):
        PopulationGLM().fit(X, y)
    device_sums.mesh_sums = compiled
    texts = [compiled.lower(*args).compile().as_text() for args in calls.values()]
    assert any("while" in text and "dot" in text for text in texts)
    return sorted({name for name in COLLECTIVES for text in texts if name in text})


class Counts:
    """Counts exchanges of sums of losses, bytes of their arrays, and systems of neurons: all and those solved here, by call."""

    def __init__(self):
        self.n_exchanges, self.n_bytes, self.systems = 0, 0, []
        send, share = _share.gather, _share.share_neurons

        def gather(value, place):
            if place.startswith("sums loss_and_gradient"):
                self.n_exchanges += 1
                self.n_bytes += sum(leaf.nbytes for leaf in jax.tree.leaves(value and value[1]))
            return send(value, place)

        def share_neurons(f, neurons, place, size=1):
            solved = []
            found = share(lambda block: solved.append(block) or f(block), neurons, place, size)
            self.systems.append((place, len(found), len(solved)))
            return found

        _share.gather = gather
        for module in (preconditioner, evidence_fit, _information):
            module.share_neurons = share_neurons


def attempt(rows, work):
    """Run `work` in a block of processes: what it returned, its error, and how long it took."""
    start, error, value = time.monotonic(), "", None
    try:
        with parallel.processes(rows=rows):
            value = work()
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    return {"error": error, "value": value, "seconds": time.monotonic() - start}


def share_one_recording(rank, folder):
    """Fits and everything else with the rows of one recording shared out, and rows of its own."""
    X, y = read_recording(folder)
    found, counted = {}, Counts()
    alone = everything(X, y, lazy_features(y))
    others = {
        "negative binomial": lambda rows: PopulationGLM("NegativeBinomial").fit(X[rows], y[rows]).scale_,
        "evidence": lambda rows: PopulationGLM(regularizer="Ridge", regularizer_strength="evidence").fit(X, y).coef_,
        "Firth": lambda rows: PopulationGLM(regularizer="Firth").fit(X[rows], y[rows]).coef_,
    }
    alone |= {name: fit(slice(None)) for name, fit in others.items()}
    with h5py.File(Path(folder) / "recording.h5") as file:
        streamed = PopulationGLM().fit(file["X"], file["y"])
        streams = Rows(file["X"]), Rows(file["y"])
        with parallel.processes():
            model = PopulationGLM().fit(*streams)
            found["passes"] = int(model.n_iter_.max())
            found["rows read"] = [stream.n_read for stream in streams]
            found["exchanged"], counted.systems = [counted.n_exchanges, counted.n_bytes], []
            results = everything(X, y, lazy_features(y))
            results |= {name: fit(slice(None)) for name, fit in others.items()}
            found["systems"] = counted.systems
        found["streamed"] = same((model.coef_, model.intercept_), (streamed.coef_, streamed.intercept_))
    found["same"] = {name: same(results[name], alone[name]) for name in alone}
    own = slice(*OWN_ROWS[rank : rank + 2])
    with parallel.processes(rows="own"):
        model = PopulationGLM().fit(X[own], y[own])
        se = uncertainty(model, X[own], y[own]).coef_se
        score = model.score(X[own], y[own])
        firth = others["Firth"](own)
    found["own: Firth"] = float(np.max(np.abs(firth - alone["Firth"]) / se))
    found["own: distance in standard errors"] = float(np.max(np.abs(model.coef_ - alone["fit"][0]) / se))
    found["own: errors"] = float(np.max(np.abs(se / alone["inference"] - 1)))
    found["own: score"] = abs(score - PopulationGLM().fit(X, y).score(X, y))
    return found | {"refused": refusals(rank, X, y, folder)}


def refusals(rank, X, y, folder):
    """Errors of one process, and of all."""
    model, odd = PopulationGLM(), rank == 1
    negative, shifted = np.where(odd & (np.arange(N_BINS) == 900)[:, None], -1, y), np.roll(y, 1 if odd else 0, 0)
    named = PopulationGLM(solver_name="GradientDescent", solver_kwargs={"stepsize": 0.1, "acceleration": False})
    found = {}
    with h5py.File(Path(folder) / "recording.h5") as file:
        broken = Rows(file["X"], fails_at=4000 if odd else None)
        found["a negative count"] = attempt("own", lambda: model.fit(X, negative))
        found["a bad file"] = attempt("shared", lambda: model.fit(broken, y))
    found["other data"] = attempt("shared", lambda: model.fit(X, shifted))
    found["fewer rows"] = attempt("shared", lambda: model.fit(*((X[1:], y[1:]) if odd else (X, y))))
    strength = PopulationGLM(regularizer="Ridge", regularizer_strength=0.2 if odd else 0.1)
    found["other settings"] = attempt("shared", lambda: strength.fit(X, y))
    found["an early end"] = attempt("shared", lambda: None if odd else model.fit(X, y))
    found["other rows"] = attempt("own" if odd else "shared", lambda: None)
    version, file = importlib.metadata.version, _contexts.__file__
    if odd:
        importlib.metadata.version = lambda name: "0.0.1" if name == "popglm" else version(name)
    found["other version"] = attempt("shared", lambda: None)
    importlib.metadata.version = version
    if odd:
        _contexts.__file__ = str(Path(folder) / "elsewhere" / "parallel" / "_contexts.py")  # a package without code
    found["other code"] = attempt("shared", lambda: None)
    _contexts.__file__ = file
    with jax.enable_x64(odd):
        found["other precision"] = attempt("shared", lambda: None)
    found["a named solver"] = attempt("shared", lambda: named.fit(X, y))
    windows = random_windows(X, y, n_bins=1000, seed=0)
    found["batches"] = attempt("shared", lambda: model.fit_batches(windows, n_steps=2))
    params = named.initialize_params(X, y), None
    found["update"] = attempt("shared", lambda: named.update(*params, X, y))
    fitted = model.fit(X, y)
    found["clusters"] = attempt("own", lambda: uncertainty(fitted, X, y, kind="sandwich", clusters=50))
    found["a comparison"] = attempt("own", lambda: compare(model, "leave-one-out", X, y, 2))
    found["all is well"] = attempt("shared", lambda: same(model.fit(X, y).coef_, fitted.coef_))
    return {name: {**one, "value": one["value"] if name == "all is well" else None} for name, one in found.items()}


def with_checkpoint(rank, folder, killed=None, killed_at=None):
    """A fit with a checkpoint that is written after every pass; a process may be killed in the middle."""
    checkpoints.SAVE_INTERVAL = 0.0
    passes, tell = [], solver_passes.tell
    solver_passes.tell = lambda *args: passes.append(1) or tell(*args)
    _, y = read_recording(folder)
    with h5py.File(Path(folder) / "recording.h5") as file:
        stream = Rows(file["X"], killed_at=killed_at if rank == killed else None)
        with parallel.processes():
            model = PopulationGLM().fit(stream, y, checkpoint=Path(folder) / "run.npz")
        solver_passes.tell = tell
        again = same(model.coef_, PopulationGLM().fit(file["X"], y).coef_)
    return {"same": again, "passes": len(passes), "n_iter": int(model.n_iter_.max())}


def fail_before_the_block(rank, folder):
    """One process cannot open its file, before it has come to the others."""
    with parallel.processes():
        pass
    h5py.File(Path(folder) / ("recording.h5" if rank == 0 else "elsewhere.h5"))
    with parallel.processes():
        PopulationGLM().fit(*read_recording(folder))
    return {}


def on_devices_of_processes(rank, folder):
    """A fit on all devices of all processes."""
    X, y = read_recording(folder)
    alone = PopulationGLM().fit(X, y)
    with parallel.processes(), parallel.devices() as chosen:
        model = PopulationGLM().fit(X, y)
    return {"devices": len(chosen), "same": same(model.coef_, alone.coef_)}


JOBS = {
    "devices": on_devices,
    "shared": share_one_recording,
    "killed": lambda rank, folder: with_checkpoint(rank, folder, 1, KILLED_AT[0]),
    "first killed": lambda rank, folder: with_checkpoint(rank, folder, 0, KILLED_AT[1]),
    "continued": with_checkpoint,
    "devices of processes": on_devices_of_processes,
    "failing": fail_before_the_block,
}


if __name__ == "__main__":
    name, rank, n_processes, port, folder = sys.argv[1:]
    if port == "slurm":
        parallel.initialize()
    elif int(n_processes) > 1:
        parallel.initialize(f"127.0.0.1:{port}", int(n_processes), int(rank), heartbeat_timeout_seconds=10)
    found = JOBS[name](int(rank), folder)
    (Path(folder) / f"{name}.{rank}.json").write_text(json.dumps(found))
