#!/usr/bin/env bash
# Guess:   `select_units` picks units of a sorting and leaves their spike times as they are.
# Instead: of a sorting whose recording starts at 100 s (here units of an NWB file), the selection gives times that
#          start at 0: each spike is 100 s early, without a warning. So do `rename_units`, `remove_empty_units`,
#          `aggregate_units` and a sorting that was saved and loaded; `frame_slice` and `NumpySorting.from_sorting` keep
#          the clock. Lined up with a stimulus, the times are wrong. A registered recording keeps the clock of a
#          selection.
# Source:  spikeinterface 0.105.3, core/unitsselectionsorting.py: `UnitsSelectionSortingSegment` is made without the
#          start time of its parent; extractors/nwbextractors.py, `NwbSortingExtractor`: "the spike times in seconds are
#          preserved".
source "$(dirname "$0")/common.sh"
install spikeinterface==0.105.3 pynwb==4.2.0 numpy==2.4.6

seen='the file:   101.0 102.0 104.0
selected:   1.0 2.0 4.0
renamed:    1.0 2.0 4.0
aggregated: 1.0 2.0 4.0
saved:      1.0 2.0 4.0
copied:     101.0 102.0 104.0
warnings of a selection: 0'
compare <<'PY'
import warnings
from datetime import UTC, datetime

import pynwb
import spikeinterface
from spikeinterface.core import NumpySorting, aggregate_units
from spikeinterface.extractors import read_nwb_sorting

file = pynwb.NWBFile(session_description="s", identifier="i", session_start_time=datetime(2026, 1, 1, tzinfo=UTC))
file.add_unit(spike_times=[101.0, 102.0, 104.0])
file.add_unit(spike_times=[101.5, 103.5])
with pynwb.NWBHDF5IO("session.nwb", "w") as io:
    io.write(file)

sorting = read_nwb_sorting("session.nwb", sampling_frequency=30_000.0, t_start=100.0)
unit = sorting.unit_ids[0]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    selected = sorting.select_units([unit])
    selected.get_unit_spike_train(unit, return_times=True)
sorting.save(folder="saved")
made = {
    "the file:": sorting,
    "selected:": selected,
    "renamed:": sorting.rename_units(["a", "b"]),
    "aggregated:": aggregate_units([sorting]),
    "saved:": spikeinterface.load("saved"),
    "copied:": NumpySorting.from_sorting(sorting),
}
for name, each in made.items():
    print(f"{name:11}", *each.get_unit_spike_train(each.unit_ids[0], return_times=True).round(4))
print("warnings of a selection:", len(caught))
PY
