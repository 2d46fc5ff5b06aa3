"""The code of the page on recordings that its tests do not run: where SpikeInterface is installed, it runs here."""

import re
from pathlib import Path

import numpy as np
import pynapple as nap
import pytest

pytest.importorskip("spikeinterface", reason="SpikeInterface is not installed; the page says so")

PAGE = (Path(__file__).parents[2] / "book/bring_your_recording.md").read_text("utf8")
CODE = re.search(r"^```python\n(import spikeinterface.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1]


def run_page(epochs, path):
    """Run the code of the page on another folder."""
    names = {"epochs": epochs}
    exec(CODE.replace("path/to/the/folder", str(path)), names)
    return names["units"]


def test_a_folder_of_phy_gives_its_units(tmp_path):
    rng, ids = np.random.default_rng(0), [4, 19, 77]
    samples, clusters = np.sort(rng.integers(0, 600_000, 500)), rng.choice(ids, 500)
    np.save(tmp_path / "spike_times.npy", samples.astype(np.uint64)[:, None])
    np.save(tmp_path / "spike_clusters.npy", clusters.astype(np.int32))
    (tmp_path / "params.py").write_text("sample_rate = 30000.\n")
    (tmp_path / "cluster_group.tsv").write_text("cluster_id\tgroup\n4\tgood\n19\tnoise\n77\tgood\n")
    units = run_page(nap.IntervalSet(0, 20), tmp_path)
    assert units["name"].tolist() == ids and units["quality"].tolist() == ["good", "noise", "good"]
    for unit in units:
        np.testing.assert_allclose(units[unit].t, samples[clusters == ids[unit]] / 30_000, atol=1e-9)


def test_segments_become_epochs(monkeypatch):
    from spikeinterface import extractors
    from spikeinterface.core import NumpySorting

    segments = [{"a": np.array([3000, 6000]), "b": np.array([9000])}, {"a": np.array([300]), "b": np.array([600, 900])}]
    sorting = NumpySorting.from_unit_dict(segments, 30_000.0)
    sorting.set_property("quality", ["good", "mua"])
    monkeypatch.setattr(extractors, "read_phy", lambda path: sorting)
    units = run_page(nap.IntervalSet([0, 160], [150, 300]), "")
    assert units["name"].tolist() == ["a", "b"] and units["quality"].tolist() == ["good", "mua"]
    np.testing.assert_allclose(units[0].t, [0.1, 0.2, 160.01])
    np.testing.assert_allclose(units[1].t, [0.3, 160.02, 160.03])
