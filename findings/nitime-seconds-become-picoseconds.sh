#!/usr/bin/env bash
# Guess:   a `TimeArray` of nitime that prints 0.1, 0.5 and 1 s gives pynapple spikes at 0.1, 0.5 and 1 s, as an array
#          would.
# Instead: it is an array of picoseconds that prints them in its own unit. pynapple takes the integers as seconds,
#          without a warning: the spikes lie at 1e11 to 1e12 s. `np.asarray`, `float` of an element and a `SpikeTrain`
#          of Neo do the same.
# Source:  nitime 0.12.1, timeseries.py: `TimeArray` keeps int64 in `base_unit`, the picosecond, and converts in
#          `__repr__`; pynapple 0.11.4, core/time_index.py takes any array of numbers in `time_units`, seconds.
source "$(dirname "$0")/common.sh"
install nitime==0.12.1 pynapple==0.11.4 neo==0.14.6 numpy==2.4.6

seen="nitime:   TimeArray([0.1, 0.5, 1. ], time_unit='s')
pynapple: 1.0e+11 5.0e+11 1.0e+12 s
Neo:      1.0e+11 5.0e+11 1.0e+12 s
warnings of pynapple: 0"
compare <<'PY'
import warnings

import neo
import nitime
import pynapple as nap

times = nitime.TimeArray([0.1, 0.5, 1.0], time_unit="s")
print("nitime:  ", times)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    spikes = nap.Ts(times)
print("pynapple:", *(f"{time:.1e}" for time in spikes.t), "s")
train = neo.SpikeTrain(times, units="s", t_stop=2e12)
print("Neo:     ", *(f"{time:.1e}" for time in train.magnitude), "s")
print("warnings of pynapple:", len(caught))
PY
