"""Several devices and several processes: the numbers of one, its errors in all, and a job that is killed goes on.

Processes take seconds to start, so a job checks many laws (`jobs`), and the tests here look at what it found.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import jobs
import numpy as np
import pytest
from samples import FULL

import popglm
from popglm import parallel
from popglm._files.npz import read_npz
from popglm.parallel import _share

SOURCE = Path(popglm.__file__).parents[1]
PAGE = Path(__file__).parents[2] / "book/how_to_guide/several_machines.md"
FIRST_SLURM_PORT = 65535 - 2**12 + 1
FOUR_DEVICES = "--xla_force_host_platform_device_count=4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    jobs.write_recording(folder / "recording.h5")
    return folder


def free_port(ports=(0,)):
    """A port of this machine that nobody uses: one of these, 0 for any."""
    for port in ports:
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return free.getsockname()[1]
    raise OSError("no port is free")


def slurm_variables(rank, n_processes, port):
    """What SLURM tells each process of a job of one machine; JAX makes the port of the number of the job."""
    values = {"NTASKS": n_processes, "PROCID": rank, "LOCALID": rank, "STEP_NODELIST": "localhost"}
    job = {"JOB_ID": port - FIRST_SLURM_PORT}
    return {f"SLURM_{name}": str(value) for name, value in (values | job).items()}


def run_job(name, n_processes, folder, flags="", slurm=False, **variables):
    """Start the processes of a job; return exit code, last lines of output, and what was found, of each."""
    port = free_port(range(FIRST_SLURM_PORT + 1, 65536)) if slurm else free_port()
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "JAX_PLATFORMS": "cpu"} | variables
    environment["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    )  # XLA takes a blank for the name of a file
    processes = []
    for rank in range(n_processes):
        command = [sys.executable, jobs.__file__, name, rank, n_processes, "slurm" if slurm else port, folder]
        own = environment | (slurm_variables(rank, n_processes, port) if slurm else {})
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes.append(subprocess.Popen(list(map(str, command)), env=own, **output))
    ended = []
    for rank, process in enumerate(processes):
        output, _ = process.communicate(timeout=240)
        result = folder / f"{name}.{rank}.json"
        ended.append((process.returncode, output, json.loads(result.read_text()) if result.exists() else None))
    return ended


def results(ended):
    for code, output, _ in ended:
        assert code == 0, output
    return [found for _, _, found in ended]


@pytest.fixture(scope="module")
def on_devices(folder):
    return results(run_job("devices", 1, folder, FOUR_DEVICES))[0]


@pytest.fixture(scope="module")
def shared(folder):
    return results(run_job("shared", 3, folder))


@pytest.mark.parametrize("n", ["2", "4"])
def test_devices_change_no_bit_of_any_number(on_devices, n):
    assert len(on_devices[n]["same"]) == 9
    assert all(on_devices[n]["same"].values()), on_devices[n]["same"]


def test_as_much_is_compiled_for_four_devices_as_for_one(on_devices):
    assert on_devices["1"]["compiled"] == on_devices["2"]["compiled"] == on_devices["4"]["compiled"] > 10


def test_devices_exchange_nothing_inside_the_compiled_loops(on_devices):
    assert on_devices["collectives"] == []


def test_processes_that_share_a_recording_change_no_bit_of_any_number(shared):
    for found in shared:
        assert len(found["same"]) == 10
        assert found["streamed"] and all(found["same"].values()), found["same"]


@pytest.mark.skipif(not FULL, reason="starts three processes; FULL=1 does")
def test_nor_in_double_precision(folder):
    for found in results(run_job("shared", 3, folder, JAX_ENABLE_X64="1")):
        assert found["streamed"] and all(found["same"].values()), found["same"]


def test_each_process_reads_its_share_of_a_file_and_a_small_sample(shared):
    passes = shared[0]["passes"] + 1  # the first computes the preconditioner
    share = -(-jobs.N_CHUNKS // 3) * jobs.CHUNK_BINS * passes
    compared, centre = 8 * 20, 50 * 20  # rows that all processes look at
    for found in shared:
        of_X, of_y = found["rows read"]
        assert of_X <= share + compared + centre
        assert of_y <= share + compared
    assert sum(found["rows read"][1] for found in shared) <= jobs.N_BINS * passes + 3 * compared


def test_each_process_solves_the_systems_of_its_share_of_neurons(shared):
    """Three neurons, a block for each; a call for a single block is not shared."""
    for rank, found in enumerate(shared):
        assert {place for place, *_ in found["systems"]} == {
            "computes proximal Newton steps",
            "maximises the evidence",
            "inverts the information",
        }
        for _, n_blocks, n_solved in found["systems"]:
            assert n_solved == (len(range(rank, n_blocks, 3)) if n_blocks > 1 else 1)
        assert ["inverts the information", 3, 1] in found["systems"]


def test_processes_exchange_what_the_page_counts(shared):
    """Every pass sums losses and gradients, but for one chunk that is missing whole."""
    cell = re.search(r"^def count_work\(.*?^```", PAGE.read_text("utf8"), re.MULTILINE | re.DOTALL)
    exec(cell[0].removesuffix("```"), page := {"np": np})
    work, n_passes = page["count_work"](jobs.N_BINS, 3, 4, 3, chunk_bins=jobs.CHUNK_BINS), shared[0]["passes"]
    sent = [found["exchanged"] for found in shared]
    assert {n for n, _ in sent} == {n_passes * work["rounds"]}
    assert sum(n_bytes for _, n_bytes in sent) == n_passes * work["bytes"] * (jobs.N_CHUNKS - 1) / jobs.N_CHUNKS
    share = page["count_work"](jobs.N_BINS, 3, 4, 3, chunk_bins=jobs.CHUNK_BINS)["rows"]
    assert max(found["rows read"][1] for found in shared) <= share * (n_passes + 1) + 8 * 20


def test_own_epochs_give_the_numbers_of_all_rows(shared):
    for found in shared:
        assert 0 <= found["own: distance in standard errors"] < 1e-3
        assert found["own: errors"] < 1e-4
        assert 0 <= found["own: Firth"] < 1e-3
        assert found["own: score"] < 1e-6


OTHERS = "process 1 of this job has stopped, and all others with it: "
REFUSED = {  # the messages of processes 0 and 1
    "a negative count": (
        f"{OTHERS}ValueError: `y` must hold counts",
        "ValueError: `y` must hold counts: zero or positive",
    ),
    "a bad file": (f"{OTHERS}OSError: the disk is gone", "OSError: the disk is gone"),
    "other data": ("the processes have other data; checksum of some rows: ",) * 2,
    "fewer rows": ("number of rows: 5500 in process 0 and 5499 in process 1",) * 2,
    "other settings": ("process 0 sums loss_and_gradient, arguments ",) * 2,
    "an early end": ("process 0 compares data, process 1 leaves the block of code",) * 2,
    "other rows": ("rows is 'shared' in process 0 and 'own' in process 1",) * 2,
    "other version": ("version of popglm is '0.1.0' in process 0 and '0.0.1' in process 1",) * 2,
    "other code": ("code of popglm is '",) * 2,
    "other precision": ("jax_enable_x64 is False in process 0 and True in process 1",) * 2,
    "a named solver": ("several processes cannot share a fit by GradientDescent",) * 2,
    "batches": ("several processes cannot share `fit_batches`",) * 2,
    "update": ("several processes cannot share `update`",) * 2,
    "clusters": ("the covariance by clusters needs all rows",) * 2,
    "a comparison": ("a comparison of models needs all rows",) * 2,
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_error_of_one_process_ends_all_of_them_with_its_message(shared, name):
    first, odd = REFUSED[name]
    for rank, found in enumerate(shared):
        refused = found["refused"][name]
        assert (odd if rank == 1 else first) in refused["error"]
        assert refused["seconds"] < 20


def test_a_job_goes_on_after_an_error_that_was_caught(shared):
    assert all(found["refused"]["all is well"]["value"] for found in shared)


def test_a_killed_job_stops_and_goes_on_from_its_checkpoint(folder):
    """A fit of seven passes: the second process is killed, then the first, which writes; SLURM starts the job again."""
    (code, output, _), (killed, _, _) = run_job("killed", 2, folder)
    assert killed == -9
    assert code == 1 and "another process of this job has ended, or cannot be reached. Start the job again" in output
    n_passes = passes_of_checkpoint(folder)
    assert n_passes > 0
    (killed, _, _), (code, _, found) = run_job("first killed", 2, folder)
    assert killed == -9
    assert code != 0 and found is None  # JAX, whose coordinator is gone, ends the process
    n_passes, before = passes_of_checkpoint(folder), n_passes
    assert n_passes > before
    for found in results(run_job("continued", 2, folder, slurm=True)):
        assert found["same"]
        assert found["passes"] == found["n_iter"] - n_passes


def passes_of_checkpoint(folder):
    """Passes of the fit in the checkpoint, which is whole and not at its end."""
    *_, saved = read_npz(folder / "run.npz", "checkpoint", 1)
    assert saved[4] is None
    return saved[2]


@pytest.mark.skipif(not FULL, reason="starts two processes; FULL=1 does")
def test_each_process_may_have_several_devices(folder):
    for found in results(run_job("devices of processes", 2, folder, FOUR_DEVICES)):
        assert found == {"devices": 4, "same": True}


@pytest.mark.skipif(not FULL, reason="starts two processes; FULL=1 does")
def test_an_error_outside_the_block_is_told_too(folder):
    (first, output, _), (second, other, _) = run_job("failing", 2, folder)
    assert first == second == 1
    assert f"{OTHERS}FileNotFoundError" in output and "FileNotFoundError" in other


def test_a_process_alone_is_left_alone(folder):
    parallel.initialize()
    with parallel.processes() as (rank, n_processes):
        assert (rank, n_processes) == (0, 1)


def test_a_job_whose_processes_cannot_be_told_apart_is_refused(monkeypatch):
    """As if the script of a job of four tasks were started without srun: each would fit alone."""
    monkeypatch.setenv("SLURM_NTASKS", "4")
    with pytest.raises((ValueError, RuntimeError)) as refused:
        parallel.initialize()
    assert "Start the script by srun or mpirun" in refused.value.__notes__[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: parallel.devices(0), r"`devices` must be from 1 to \d+, which this process has; got 0"),
        (lambda: parallel.devices([]), "`devices` must be different ones of"),
        (lambda: parallel.processes(rows="all"), "`rows` must be 'shared' or 'own'; got 'all'"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message), call():
        pass


@pytest.mark.parametrize(("n_processes", "n_neurons"), [(1, 5), (2, 11), (3, 4)])
def test_blocks_of_neurons_come_back_in_their_order(monkeypatch, n_processes, n_neurons):
    """More blocks than processes; every process computes its own, and none twice."""
    neurons, mine, computed = np.arange(10, 10 + n_neurons), [], []

    def run(gather):
        monkeypatch.setattr(_share, "gather", gather)
        for rank in range(n_processes):
            token = _share.SHARE.set(_share.Share(n_processes=n_processes, rank=rank, rows="shared"))
            try:
                yield _share.share_neurons(lambda block: computed.append(block) or -block, neurons, "tests", size=2)
            finally:
                _share.SHARE.reset(token)

    list(run(lambda value, place: mine.append(value) or [[0] * n_neurons] * n_processes))
    np.testing.assert_array_equal(np.sort(np.concatenate(computed)), neurons)
    for found in run(lambda value, place: mine):
        np.testing.assert_array_equal(np.concatenate(found), -neurons)
