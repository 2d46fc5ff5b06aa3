#!/usr/bin/env bash
# Guess:   `smooth(0.1)` smooths with a Gaussian of 0.1 s, whatever the time support is.
# Instead: seconds become samples by the number of samples over the length of the time support. Of 10 s at 100 Hz in a
#          session of 40 s, or of two stretches of 10 s in one of 100 s, the Gaussian has a standard deviation of 0.025
#          or 0.02 s, without a warning. Where tracking was lost for most of a session, a speed is hardly smoothed.
#          Filters and spectra take the same `rate` as sampling frequency where no `fs` is given.
# Source:  pynapple 0.11.4, core/time_series.py, `smooth` ("tsd.rate * std"); core/base_class.py: `rate` is the number
#          of time stamps over the summed lengths of the epochs; process/filtering.py: `fs = data.rate`.
source "$(dirname "$0")/common.sh"
install pynapple==0.11.4 numpy==2.4.6

seen='own support:    rate 100.1 Hz, standard deviation 0.100 s, warnings 0
longer session: rate  25.0 Hz, standard deviation 0.025 s, warnings 0
two stretches:  rate  20.0 Hz, standard deviation 0.020 s, warnings 0
two epochs:     rate 100.1 Hz, standard deviation 0.100 s, warnings 0'
compare <<'PY'
import warnings

import numpy as np
import pynapple as nap

time, pulse = np.arange(0, 10, 0.01), np.zeros(1000)
pulse[500] = 1
twice, pulses = np.append(time, time + 90), np.append(pulse, pulse)
series = {
    "own support:": nap.Tsd(t=time, d=pulse),
    "longer session:": nap.Tsd(t=time, d=pulse, time_support=nap.IntervalSet(0, 40)),
    "two stretches:": nap.Tsd(t=twice, d=pulses),
    "two epochs:": nap.Tsd(t=twice, d=pulses, time_support=nap.IntervalSet([0, 90], [9.99, 99.99])),
}
for name, each in series.items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        smoothed = each.smooth(0.1, size_factor=10).values[:1000]
    spread = np.sqrt((smoothed * (time - 5) ** 2).sum() / smoothed.sum())
    print(f"{name:15} rate {each.rate:5.1f} Hz, standard deviation {spread:.3f} s, warnings {len(caught)}")
PY
