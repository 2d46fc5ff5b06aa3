#!/usr/bin/env bash
# Guess:   `count(bin)` counts every spike inside the time support once.
# Instead: an epoch has the bins whose centres it holds, and the spikes after the last of them are in none, without a
#          warning: those of a rest shorter than half a bin, those of an epoch shorter than that, so that a support of
#          short pieces (between pulses of a laser, say) has no bin at all, and a spike at the very end of whole bins. A
#          group made without a time support ends with its last spike, so this one is lost.
# Source:  pynapple 0.11.4, core/_jitted_functions.py, `jitcount`; issue 352 of pynapple-org/pynapple expects NaN there.
source "$(dirname "$0")/common.sh"
install pynapple==0.11.4 numpy==2.4.6

seen='no support given: 5 spikes, bins of 0.05 s hold 4, of 0.10 s 4, of 0.19 s 4; warnings 0
rest of 0.4 bins: 8 spikes, bins of 1 s hold 7; warnings 0
rest of 0.6 bins: 8 spikes, bins of 1 s hold 8; warnings 0
pieces of 15 ms: 40 spikes, bins of 0.10 s hold 0; warnings 0'
compare <<'PY'
import warnings

import numpy as np
import pynapple as nap


def show(name, spikes, *sizes):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        held = [f"of {size} s {'hold ' * (i == 0)}{int(spikes.count(float(size)).sum())}" for i, size in enumerate(sizes)]
    print(f"{name} {len(spikes)} spikes, bins {', '.join(held)}; warnings {len(caught)}")


show("no support given:", nap.Ts(t=np.array([0, 0.25, 0.5, 0.75, 0.95])), "0.05", "0.10", "0.19")
times = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.2, 2.3])
show("rest of 0.4 bins:", nap.Ts(t=times, time_support=nap.IntervalSet(0, 2.4)), "1")
show("rest of 0.6 bins:", nap.Ts(t=times, time_support=nap.IntervalSet(0, 2.6)), "1")
starts = np.arange(40) * 0.025
pieces = nap.IntervalSet(starts + 0.01, starts + 0.025)
show("pieces of 15 ms:", nap.Ts(t=starts + 0.02, time_support=pieces), "0.10")
PY
