"""Time rescaling of counts in bins: intervals between events on the clock on which they are a Poisson process of rate 1.

A bin is a stretch of time from s = 0 to 1 in which events are born; after k of them the next comes at rate

    mu (1 + alpha k) / (1 + alpha mu s).

The number of them at s = 1 then has the distribution of the observation model: Poisson's for alpha = 0, Bernoulli's for
alpha = -1, that of the negative binomial for its alpha. Given how many there are, their places are uniform and independent.
So drawing these places, and integrating the rate from each to the next, gives intervals that are exactly exponential, at any
bin size. For Bernoulli this is the correction of Haslinger, Pipa and Brown (2010).
"""

import numpy as np


def intervals(quiet, counts, alpha, rng):
    """Integrated rate from event to event, of the bins of one neuron in their order, the first from the first bin's start.

    `quiet` is minus the log of the probability of no event in each bin, by which the clock moves on if there is none. Bins
    that were left out cost no time on this clock, so epochs are joined: what a Poisson process does after a gap does not
    depend on when the last event was. What comes after the last event is no interval.
    """
    bins = np.flatnonzero(counts)
    if not len(bins):
        return np.zeros(0)
    n, quiet = counts[bins].astype(int), quiet.astype(float)
    bin_of = np.repeat(np.arange(len(bins)), n)
    first = np.cumsum(n) - n
    places = rng.random(len(bin_of))
    places = places[np.lexsort((places, bin_of))]
    before = np.roll(places, 1)
    before[first] = 0
    steps = _passed(before, places, np.arange(len(bin_of)) - first[bin_of], quiet[bins][bin_of], alpha)
    rest = _passed(places[first + n - 1], 1.0, n, quiet[bins], alpha)  # from a bin's last event to its end
    clock = np.cumsum(quiet)
    empty = (clock - quiet)[bins] - np.append(0, clock[bins[:-1]])  # bins without an event, between two with
    steps[first] += empty + np.append(0, rest[:-1])
    return steps


def _passed(start, stop, k, quiet, alpha):
    """Integrated rate of the next event between two places of a bin, when k have been before."""
    if alpha == 0:
        return quiet * (stop - start)
    grown, pace = np.expm1(alpha * quiet), 1 / alpha + k  # alpha mu; 0 after the one spike of a Bernoulli bin
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(pace == 0, 0, pace * (np.log1p(grown * stop) - np.log1p(grown * start)))
