#!/usr/bin/env bash
# Guess:   a series whose time stamps are out of order is sorted as pairs of time and value, or refused.
# Instead: the times are sorted and the values stay where they are, so they belong to other times than before. There is
#          a warning, which says that the time stamps are not sorted, and nothing of the values. The same comes of an
#          NWB file in which a camera sends its frames late: the value at 0.2 s is read at 0.1 s.
# Source:  pynapple 0.11.4, core/time_index.py, `sort_timestamps` (sorts times and knows no values); core/config.py
#          documents the warning.
source "$(dirname "$0")/common.sh"
install pynapple==0.11.4 pynwb==4.2.0 numpy==2.4.6

seen='given:     0.0 s: 0, 0.2 s: 2, 0.1 s: 1, 0.3 s: 3
Tsd:       0.0 s: 0, 0.1 s: 2, 0.2 s: 1, 0.3 s: 3
TsdFrame:  0.0 s: 0, 0.1 s: 2, 0.2 s: 1, 0.3 s: 3
NWB file:  0.0 s: 0, 0.1 s: 2, 0.2 s: 1, 0.3 s: 3
warning:   timestamps are not sorted'
compare <<'PY'
import warnings
from datetime import UTC, datetime

import numpy as np
import pynapple as nap
import pynwb

time, values = np.array([0.0, 0.2, 0.1, 0.3]), np.array([0.0, 2.0, 1.0, 3.0])
file = pynwb.NWBFile(session_description="s", identifier="i", session_start_time=datetime(2026, 1, 1, tzinfo=UTC))
file.add_acquisition(pynwb.TimeSeries(name="speed", data=values, timestamps=time, unit="cm/s"))
with pynwb.NWBHDF5IO("session.nwb", "w") as io:
    io.write(file)


def show(name, time, values):
    print(f"{name:10}", ", ".join(f"{t:.1f} s: {v:.0f}" for t, v in zip(time, np.ravel(values), strict=True)))


show("given:", time, values)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    series = nap.Tsd(t=time, d=values)
show("Tsd:", series.t, series.values)
frame = nap.TsdFrame(t=time, d=values[:, None])
show("TsdFrame:", frame.t, frame.values)
speed = nap.load_file("session.nwb")["speed"]
show("NWB file:", speed.t, speed.values[:])
print("warning:  ", *(warning.message for warning in caught))
PY
