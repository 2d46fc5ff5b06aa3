"""`Comparison`: held-out gains of variants of a model, with their errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from popglm._checks.values import as_share, require_flag, require_option
from popglm._pynapple import unit_table
from popglm._types import Table

UNITS = ("nats-per-bin", "bits-per-spike")

MIN_PARAMS = 0.5  # by which two variants differ at least: their strengths, too, were chosen by data


class GainSums(NamedTuple):
    """Sums over blocks of held-out rows, of all folds in turn; gains are those over the first variant.

    Two variants differ by `least_params` to `most_params` parameters; `train_share` are the rows of training for each test row.
    """

    bins: Float[np.ndarray, "blocks neurons"]
    events: Float[np.ndarray, "blocks neurons"]
    first: Float[np.ndarray, "blocks neurons"]
    gains: Float[np.ndarray, "blocks variants neurons"]
    least_params: Float[np.ndarray, "variants variants neurons"]
    most_params: Float[np.ndarray, "variants variants neurons"]
    train_share: float

    @classmethod
    def of_fold(
        cls, blocks: Sequence[tuple], n_params: np.ndarray, masks: np.ndarray, n_train: int, n_test: int
    ) -> Any:
        """Sums of one fold, from those of its blocks, and from parameters and features (variants, neurons, features).

        Where the number of parameters is not known (NaN), it is between none and that of the features.
        """
        differ = masks[:, None] != masks[None]
        least, most = (
            (differ * (known[:, None] + known[None])).sum(-1)
            for known in (np.nan_to_num(n_params), np.where(np.isnan(n_params), masks, n_params))
        )
        floor = np.where(differ.any(-1), MIN_PARAMS, 0)
        bins, events, first, gains = map(np.stack, zip(*blocks, strict=True))
        return cls(bins, events, first, gains, np.maximum(least, floor), np.maximum(most, floor), n_train / n_test)

    @classmethod
    def join(cls, folds: Sequence["GainSums"]) -> "GainSums":
        """Sums of all folds."""
        *blocks, least, most, share = zip(*folds, strict=True)
        bins, events, first, gains = map(np.concatenate, blocks)
        return cls(bins, events, first, gains, np.mean(least, 0), np.mean(most, 0), float(np.mean(share)))

    def pool(self) -> "GainSums":
        """Sums over neurons, as of one neuron."""
        *sums, share = self
        bins, events, first, gains, least, most = (np.sum(values, -1, keepdims=True) for values in sums)
        return GainSums(bins, events, first, gains, least, most, share)

    def gain_and_error(self, a: int, b: int, *, by_path: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        r"""Mean gain of variant a over b, its standard error, and the degrees of freedom of the error.

        The error is that of a mean over blocks. It is conditional on the fits, so a term is added for the rows that folds share
        in training. Of an input without effect the gain is, to leading order, a quadratic form in independent scores of the
        folds: with p parameters and K folds its variance is :math:`K/(K-1)\,r\,p/T^2` over T bins, with
        :math:`r = K^2/2(K-1)^2 + 1/2(K-1)`, where blocks see :math:`K/(K-1)\,p/T^2`. Strengths of a path (`by_path`) vary with
        the training rows, too; the variance of blocks then counts :math:`1 + 1/(K-1)` times.
        """
        total = self.bins.sum(0)
        divisor, n_blocks = np.where(total > 0, total, np.nan), (self.bins > 0).sum(0)
        difference = self.gains[:, a] - self.gains[:, b]
        gain = difference.sum(0) / divisor
        df = np.where(n_blocks > 1, n_blocks - 1, np.nan)
        by_blocks = n_blocks / df * ((difference - gain * self.bins) ** 2).sum(0) / divisor**2
        folds, others = 1 + self.train_share, self.train_share
        shared = folds**2 / (2 * others**2) + 1 / (2 * others)
        least, most = (folds / others * number[a, b] / divisor**2 for number in (self.least_params, self.most_params))
        variance = by_blocks * (1 + 1 / others if by_path else 1) + max(shared - 1, 0) * np.minimum(most, by_blocks)
        return gain, np.sqrt(np.maximum(variance, shared * least)), df


@dataclass(frozen=True, repr=False)
class Comparison:
    """Held-out log-likelihoods of variants of a model on the same data, as `compare` returns them.

    Attributes
    ----------
    names : tuple of str
        Variants, in their order.
    neurons : list
        Names of the neurons.
    strengths : shape (folds, variants, neurons)
        Strengths of a path that the training rows of each fold have chosen; None without a path.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.model_selection import BlockSplit, compare
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 2))
    >>> y = rng.poisson(np.exp(0.5 * X[:, :1] - 1))
    >>> masks = {"none": [], "first": np.array([1, 0]), "both": np.array([1, 1])}
    >>> result = compare(PopulationGLM(), masks, X, y, BlockSplit(5, window=0))
    >>> result
    Comparison of none, first, both: 1 neuron, 50 blocks of held-out bins
    >>> result.table()["low"].gt(0).tolist()
    [False, True, True]
    """

    names: tuple[str, ...]
    neurons: list
    strengths: Any
    sums: GainSums
    counts: bool

    def __repr__(self) -> str:
        n, blocks = len(self.neurons), len(self.sums.bins)
        return f"Comparison of {', '.join(self.names)}: {n} neuron{'s'[: n != 1]}, {blocks} blocks of held-out bins"

    @property
    def scores(self) -> Table:
        """Mean held-out log-likelihoods in nats per bin, a row for each neuron, a column for each variant."""
        sums, bins = self.sums.first.sum(0) + self.sums.gains.sum(0), self.sums.bins.sum(0)
        means = sums / np.where(bins > 0, bins, np.nan)
        return unit_table(dict(zip(self.names, means, strict=True)), self.neurons, "neuron")

    def gain(self, a: str, b: str, *, level: float = 0.95, unit: str = "nats-per-bin", pooled: bool = False) -> Table:
        r"""Gain of variant a over variant b on held-out data, of each neuron, with its interval.

        Parameters
        ----------
        a, b
            Names of two variants: what does a explain that b does not?
        level
            Level of the intervals, by Student's t with the number of blocks.
        unit
            "nats-per-bin", or "bits-per-spike" for counts: :math:`G\,/\,(\bar y \log 2)`.
        pooled
            One row for all neurons together, the mean over their valid bins. Its error takes into account that neurons share
            the noise of their inputs.

        Returns
        -------
        pandas.DataFrame
            A row for each neuron with "gain", "error" (standard error), "low" and "high" (ends of the interval). NaN
            for a neuron without valid test bins.

        Raises
        ------
        ValueError
            If a or b is no variant, or y holds no counts for bits per spike.

        References
        ----------
        Nadeau and Bengio (2003), *Machine Learning* 52:239-281.

        Examples
        --------
        See `compare`.
        """
        a, b = (require_option("variant", str(name), self.names) for name in (a, b))
        require_flag("pooled", pooled)
        sums = self.sums.pool() if pooled else self.sums
        gain, error, df = sums.gain_and_error(
            self.names.index(a), self.names.index(b), by_path=self.strengths is not None
        )
        scale = self._unit_scale(unit, sums)
        reach = stats.t.ppf((1 + as_share("level", level, strict=True)) / 2, df) * error
        columns = {"gain": gain, "error": error, "low": gain - reach, "high": gain + reach}
        columns = {name: scale * values for name, values in columns.items()}
        return unit_table(columns, ["all"] if pooled else self.neurons, "neuron")

    def table(self, baseline: str | None = None, *, level: float = 0.95, unit: str = "nats-per-bin") -> Table:
        """Table of all variants: scores, and gains over a baseline, the first variant if it is not given.

        Parameters
        ----------
        baseline
            Name of a variant.
        level, unit
            As for `gain`.

        Returns
        -------
        pandas.DataFrame
            A row for each variant and neuron: "variant", "neuron", "bins" and "log-likelihood" (nats per bin) of the held-out
            data, and the columns of `gain` over the baseline.

        Raises
        ------
        ValueError
            As `gain`.
        """
        import pandas as pd

        baseline, scores, bins = self.names[0] if baseline is None else baseline, self.scores, self.sums.bins.sum(0)
        parts = [
            self.gain(name, baseline, level=level, unit=unit)
            .reset_index(names="neuron")
            .assign(variant=name, bins=bins, **{"log-likelihood": scores[name].to_numpy()})
            for name in self.names
        ]
        columns = ["variant", "neuron", "bins", "log-likelihood", "gain", "error", "low", "high"]
        return pd.concat(parts, ignore_index=True)[columns]

    def _unit_scale(self, unit, sums):
        if require_option("unit", unit, UNITS) == UNITS[0]:
            return 1.0
        if not self.counts:
            raise ValueError('bits per spike need spikes, and y holds no counts. Take unit="nats-per-bin".')
        events = sums.events.sum(0)
        return sums.bins.sum(0) / np.where(events > 0, events * np.log(2), np.nan)
