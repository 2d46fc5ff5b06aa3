#!/usr/bin/env bash
# Guess:   a position that an NWB file holds in metres is in metres when pynapple has loaded it.
# Instead: pynapple gives the numbers as they are stored. `conversion` and `offset`, by which NWB turns them into the
#          unit that the file names, are not applied: a speed at an offset of 2 m/s is 0, and a position that ends at 1
#          m ends at 1000.
# Source:  pynwb 4.2.0, `TimeSeries`: data * conversion + offset are in `unit`, and `get_data_in_units` computes it;
#          pynapple 0.11.4, io/interface_nwb.py, `_make_tsd` and `_make_tsd_frame` take `obj.data`.
source "$(dirname "$0")/common.sh"
install pynapple==0.11.4 pynwb==4.2.0 numpy==2.4.6

seen='speed in m/s:  pynwb 2.0 2.5 3.0; pynapple 0 500 1000
position in m: pynwb 0.0 0.5 1.0; pynapple 0 500 1000'
compare <<'PY'
from datetime import UTC, datetime

import numpy as np
import pynapple as nap
import pynwb

file = pynwb.NWBFile(session_description="s", identifier="i", session_start_time=datetime(2026, 1, 1, tzinfo=UTC))
stored, common = np.array([0, 500, 1000], np.int16), {"rate": 1.0, "starting_time": 0.0, "conversion": 1e-3}
file.add_acquisition(pynwb.TimeSeries(name="speed", data=stored, unit="m/s", offset=2.0, **common))
position = pynwb.behavior.SpatialSeries(
    name="position", data=np.column_stack([stored, stored]), unit="m", reference_frame="corner", **common
)
module = file.create_processing_module(name="behavior", description="tracking")
module.add(pynwb.behavior.Position(spatial_series=position))
with pynwb.NWBHDF5IO("session.nwb", "w") as io:
    io.write(file)

session = nap.load_file("session.nwb")
speed, x = session["speed"].values[:], session["position"].values[:, 0]
print("speed in m/s:  pynwb", *session.nwb.acquisition["speed"].get_data_in_units().round(3), end="; ")
print("pynapple", *speed)
series = session.nwb.processing["behavior"]["Position"]["position"]
print("position in m: pynwb", *series.get_data_in_units()[:, 0].round(3), end="; ")
print("pynapple", *x)
PY
