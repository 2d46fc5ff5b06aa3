"""Packs the session of the head-direction page into `src/popglm/data/A2929-200711.npz`: `python book/pack_head_direction.py`.

pip fetches the source archive of pynapple, 90 MB, into a temporary folder; its tests hold the session as an NWB file of 7 MB.
Every number is kept as a whole number of a stated unit, and every series as the differences of its neighbours, which are
small: `np.cumsum` gives it back. `A2929-200711.txt` beside the packed file says what is in it, and where it comes from.
"""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PACKED = ROOT / "src/popglm/data/A2929-200711.npz"
ARCHIVE = "pynapple==0.11.4"
SESSION = "tests/nwbfilestest/neurosuite/pynapplenwb/A2929-200711.nwb"
CLOCK = 20_000  # samples per second of the recorder
HEADING, POSITION = "acquisition/CompassDirection/ry", "acquisition/Position"


def fetch_session(folder: Path) -> Path:
    """Fetch the archive by its name and version, and return the session in it."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "pynapple"]
    subprocess.run([*pip, "-d", str(folder), ARCHIVE], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        (member,) = (name for name in files.getnames() if name.endswith(SESSION))
        files.extract(member, folder, filter="data")
    return folder / member


def as_steps(values: np.ndarray, resolution: float) -> np.ndarray:
    """Return the first value and the differences, in whole numbers of the resolution."""
    steps = np.diff(np.round(np.asarray(values) / resolution), prepend=0)
    small = np.abs(steps[1:]).max() < 2**15
    return steps.astype(np.int16 if small and abs(steps[0]) < 2**15 else np.int32)


def pack_session(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of the packed file."""
    with h5py.File(path) as file:
        ends = file["units/spike_times_index"][:]
        seconds = file["units/spike_times"][:]
        unit = np.repeat(file["units/id"][:], np.diff(ends, prepend=0))
        order = np.argsort(seconds, kind="stable")
        frames = file[f"{HEADING}/timestamps"][:]
        packed = {
            "spike": as_steps(seconds[order], 1 / CLOCK),
            "spike_unit": unit[order].astype(np.uint8),
            "unit": file["units/id"][:].astype(np.uint8),
            "area": file["units/location"][:].astype("U3"),
            "epoch": np.column_stack([file[f"intervals/epochs/{end}_time"][:] for end in ("start", "stop")]),
            "state": file["intervals/epochs/tags"][:].astype("U5"),
            "frame": as_steps(frames, 1 / CLOCK),
            "heading": as_steps(np.rad2deg(np.unwrap(file[f"{HEADING}/data"][:])), 0.1),
        }
        for axis in "xyz":
            assert np.array_equal(file[f"{POSITION}/{axis}/timestamps"][:], frames)
            packed[axis] = as_steps(file[f"{POSITION}/{axis}/data"][:], 0.001)
    return packed


def main():
    """Write the packed file."""
    with tempfile.TemporaryDirectory() as folder:
        packed = pack_session(fetch_session(Path(folder)))
    np.savez_compressed(PACKED, **packed)
    print(f"{PACKED.name}: {PACKED.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
