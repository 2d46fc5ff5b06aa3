"""Summary of a fit as tables: coefficients with their tests, and statistics of each neuron's fit."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from popglm._checks.values import as_plain_number, list_names
from popglm._design.arrays import as_whole
from popglm._design.feature_names import PARTS, FeatureNames
from popglm._pynapple import as_object_array, unit_table
from popglm._types import Counts, Features, Numbers, RowValues, Table
from popglm.glm import GLM, PopulationGLM
from popglm.inference._checks import as_level
from popglm.inference._covariance import FitErrors, estimate_errors
from popglm.inference._dispersion_test import has_alpha, tabulate_alpha
from popglm.inference._fit_statistics import FitSums, tabulate_fit

MAX_NEURONS_SHOWN, MAX_ROWS_SHOWN = 3, 60
ERRORS = {
    "fisher": "Fisher information",
    "posterior": "the posterior",
    "quasi": "quasi-likelihood",
    "sandwich": "a sandwich",
}


@dataclass(frozen=True, repr=False, eq=False)
class Summary:
    """Tables of a fit; made by `summary`. Printed, it is a text for up to three neurons: `select` some of many.

    Attributes
    ----------
    model : str
        Observation model and link.
    kind : str
        Kind of the standard errors: "fisher", "posterior", "quasi" or "sandwich".
    level : float
        Share of such intervals that contain the true coefficient.
    coefficients : pandas.DataFrame
        A row for each neuron and parameter, the intercept first: neuron, term, input, function, coef, se, statistic, df, p,
        low, high. Term and function are "" where the features have none; df is infinite for the normal distribution.
    neurons : pandas.DataFrame
        A row for each neuron.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import PopulationGLM
    >>> from popglm.inference import summary
    >>> X = np.random.default_rng(0).normal(size=(2000, 2))
    >>> y = np.random.default_rng(1).poisson(np.exp(0.3 * X[:, :1] - [[1.0, 0.5, 0.0, 0.0]]))
    >>> result = summary(PopulationGLM().fit(X, y), X, y)
    >>> result
    Summary(kind='fisher'): 4 neurons, 12 parameters. Print `summary.select(neuron)`, or take `coefficients` and `neurons`.
    >>> len(result.select([0, 3]).coefficients)
    6
    """

    model: str
    kind: str
    level: float
    coefficients: Table
    neurons: Table

    @property
    def reference(self) -> str:
        """Distribution that the statistics are compared with: "normal", or "t" with `t_df` degrees of freedom."""
        return "t" if np.isfinite(self.neurons["t_df"]).any() else "normal"

    def select(self, neurons: Any) -> "Summary":
        """Return the summary of one neuron, or of several, by name.

        Parameters
        ----------
        neurons
            A name, or a list of names, as in the tables.

        Returns
        -------
        Summary

        Raises
        ------
        KeyError
            If there is no neuron of this name.
        """
        known, names = list(self.neurons.index), neurons if isinstance(neurons, list | np.ndarray) else [neurons]
        names = [as_plain_number(name) for name in names]
        unknown = [name for name in names if name not in known]
        if unknown:
            have = list_names(range(len(known)), known)
            raise KeyError(f"there is no neuron {unknown[0]!r}; the neurons are {have}. Select them by these names.")
        rows = [known.index(name) for name in names]
        parameters = (np.array(rows, int)[:, None] * self._n_rows + np.arange(self._n_rows)).ravel()
        coefficients = self.coefficients.iloc[parameters].reset_index(drop=True)
        return replace(self, coefficients=coefficients, neurons=self.neurons.iloc[rows])

    @property
    def _n_rows(self):
        """Rows of a neuron in the table of coefficients."""
        return len(self.coefficients) // max(len(self.neurons), 1)

    def __repr__(self) -> str:
        """Text for up to three neurons; for more, their number."""
        n = len(self.neurons)
        if n > MAX_NEURONS_SHOWN:
            size = f"{n} neurons, {len(self.coefficients)} parameters"
            how = "Print `summary.select(neuron)`, or take `coefficients` and `neurons`."
            return f"Summary(kind={self.kind!r}): {size}. {how}"
        return "\n\n".join(self._text(i) for i in range(n))

    def _text(self, i):
        """Text for the neuron in row i: its statistics, and its coefficients."""
        one, k = self.neurons.iloc[i], self._n_rows
        table = self.coefficients.iloc[i * k : (i + 1) * k]
        shown = [part for part in PARTS if (table[part] != "").any()]
        test = "t" if np.isfinite(one["t_df"]) else "z"
        numbers = table[["coef", "se", "statistic", "p", "low", "high"]].rename(columns={"statistic": test})
        text = table[shown].astype(str).join(numbers)
        return "\n".join([*_headings(self.model, self.kind, self.level, one), _format_table(text)])


def _headings(model, kind, level, one):
    """Lines about one neuron above its coefficients."""
    number = lambda name: f"{one[name]:,.6g}"
    lines = [
        f"neuron {one.name}: {model}",
        f"errors by {ERRORS[kind]}, intervals of {level:.0%}",
        f"bins {number('bins')}, residual df {number('residual_df')}, scale {number('scale')}",
        f"log-likelihood {number('log_likelihood')}, AIC {number('aic')}, BIC {number('bic')}",
        f"deviance {number('deviance')}, of the null model {number('null_deviance')}",
        f"Pearson chi-squared {number('pearson_chi2')}, dispersion {number('dispersion')}",
    ]
    if "alpha" in one:
        lines.append(f"alpha {number('alpha')}, se {number('alpha_se')}")
    if "alpha_p" in one:
        lines[-1] += f"; test of 0: ratio {number('alpha_statistic')}, p {_format_p(one['alpha_p'])}"
    return [*lines, ""]


def _format_p(p):
    return f"{p:.3g}" if not p < 1e-4 else "<0.0001"


def _format_table(table):
    """Text of a table of parameters, long ones without their middle."""
    formats = dict.fromkeys(table.columns[-6:], "{:.4g}".format) | {"p": _format_p}
    return table.to_string(index=False, formatters=formats, max_rows=MAX_ROWS_SHOWN)


def summary(
    model: GLM | PopulationGLM,
    X: Features,
    y: Counts,
    *,
    kind: str | None = None,
    clusters: str | int | Numbers | None = None,
    correction: str | None = None,
    level: float = 0.95,
    sample_weight: RowValues | None = None,
    offset: RowValues | None = None,
) -> Summary:
    r"""Tables of a fit as statsmodels' ``results.summary()`` and R's ``summary(glm)`` print them, for every neuron.

    The likelihood and the number of parameters k are R's, with n the number of bins, a sum of weights:

    .. math:: \mathrm{AIC} = 2k - 2 \log L, \qquad \mathrm{BIC} = k \log n - 2 \log L .

    The parameters are the intercept, the coefficients that the data determine, and an estimated scale. Where it
    divides the loss (Gaussian, Gamma), L is the likelihood at the scale deviance / n, which is the most likely one of a
    Gaussian. Scores take `scale_`, which is Pearson's, and so differ a little. The criteria do not depend on `kind`: R gives
    none for quasi-likelihood.

    Under a quadratic penalty k is made of the effective degrees of freedom of the coefficients, so that AIC is the conditional
    one at these strengths; errors and intervals are those of the posterior. Test whole filters by ``uncertainty(...).test``.

    Other tools count otherwise. statsmodels does not count the scale: ``info_criteria("aic", dk_params=1)`` does. It takes
    Pearson's scale for Gamma and for links of a Gaussian other than "identity": ``llf_scaled(deviance / n)`` is R's. Its
    ``bic`` is made of the deviance: ``bic_llf`` is ours for counts, ``info_criteria("bic", dk_params=1)`` where the scale
    counts. The error of alpha is that of R's ``glm.nb``, times alpha²
    for alpha in place of theta; ``discrete.NegativeBinomial`` adds the uncertainty of the coefficients.

    Parameters
    ----------
    model
        A fitted `GLM` or `PopulationGLM`, without a penalty or with a quadratic one.
    X, y
        The data of the fit; X may be lazy.
    kind, clusters, correction
        As for `uncertainty`.
    level
        Share of the intervals that contain the true coefficient.
    sample_weight, offset
        Those of the fit. All numbers are those of the data with each row repeated as often as its weight says; n is the sum of
        the weights. Likelihoods, criteria and the test of alpha are for such weights only, not for propensities. Compare
        criteria of models that have the same "bins".

    Returns
    -------
    Summary
        `coefficients`, a row for each neuron and parameter; and `neurons`, with the columns

        - "bins" (the valid ones, each as often as its weight), "parameters" (k), "residual_df" (bins less the intercept and
          the coefficients, or less their effective degrees of freedom under a penalty), "t_df" (degrees of freedom of
          Student's t for the statistics of the coefficients, infinite for the normal distribution; with ``correction="CR2"``
          the fewest of all coefficients, of which each has its own);
        - "log_likelihood" and "null_log_likelihood" (of an intercept and the offset, at the same scale), "aic", "bic";
        - "deviance", "null_deviance", "pearson_chi2", not divided by a scale; "dispersion", chi-squared / residual df,
          above 1 where counts vary more than the model says; "scale", by which the Fisher covariance is multiplied: 1 for
          counts, and the dispersion of quasi-likelihood;
        - for a negative binomial whose alpha was estimated "alpha", "alpha_se" and the likelihood-ratio test against Poisson,
          "alpha_statistic" and "alpha_p". As alpha = 0 lies on the boundary, p is half the tail of chi-squared with one
          degree of freedom. It costs a fit of a Poisson model. Under a penalty there are "alpha" and "alpha_se" only.

        All but "bins" are NaN for neurons that are silent or far from their optimum.

    Raises
    ------
    ValueError
        As for `uncertainty`.

    Warns
    -----
    RuntimeWarning
        As for `uncertainty`; and names neurons whose fit of a Poisson model did not converge.

    References
    ----------
    McCullagh and Nelder (1989), *Generalized Linear Models*; Self and Liang (1987), *Journal of the American Statistical
    Association* 82:605-610, for the test on the boundary.

    Examples
    --------
    >>> import numpy as np
    >>> from popglm.glm import GLM
    >>> from popglm.inference import summary
    >>> X = np.random.default_rng(0).normal(size=(2000, 2))
    >>> y = np.random.default_rng(1).poisson(np.exp(0.5 * X[:, 0] - 1))
    >>> result = summary(GLM().fit(X, y), X, y)
    >>> bool(result.coefficients.p[1] < 0.001 < result.coefficients.p[2])  # after that of the intercept
    True
    """
    level = as_level(level)
    weights = {"sample_weight": sample_weight, "offset": offset}
    estimated = estimate_errors(model, X, y, kind, clusters, correction, **weights)
    fit = estimated.fit
    observation_model: Any = fit.observation_model
    names = fit.data.y.columns
    neurons = list(range(len(fit.coef))) if names is None else np.asarray(names).tolist()
    columns = _tabulate_neurons(model, X, estimated, weights)
    features = FeatureNames.of_features(X, fit.data.X.columns, fit.coef.shape[1])
    return Summary(
        model=f"{type(observation_model).__name__}, {observation_model.link.name} link",
        kind=estimated.errors.kind,
        level=level,
        coefficients=_tabulate_coefficients(estimated.errors._estimates, neurons, features, level),
        neurons=unit_table(columns, neurons, "neuron"),
    )


def _tabulate_coefficients(estimates, neurons, features, level):
    """Table of all parameters, by neuron, the intercept first."""
    import pandas

    low, high = estimates.intervals(level)
    numbers = {"coef": estimates.values.T, "se": estimates.standard_errors, "statistic": estimates.z}
    numbers["df"] = estimates.parameter_df
    numbers |= {"p": estimates.p_values, "low": low, "high": high}
    names = {"term": "", "input": "intercept", "function": ""}
    labels = {part: as_object_array([names[part], *getattr(features, part)]) for part in PARTS}
    columns = {"neuron": np.repeat(as_object_array(neurons), len(labels["input"]))}
    columns |= {part: np.tile(values, len(neurons)) for part, values in labels.items()}
    columns |= {name: np.roll(values, 1, axis=0).T.ravel() for name, values in numbers.items()}
    return pandas.DataFrame(columns).infer_objects()


def _tabulate_neurons(model, X, estimated: FitErrors, weights) -> dict:
    """Columns of the table of neurons; NaN for those that are not valid."""
    fit, valid = estimated.fit, estimated.valid
    sums = FitSums.from_fit(fit)
    columns = tabulate_fit(fit, sums, estimated.residual_df)
    columns |= {"scale": estimated.dispersion, "t_df": np.fmin.reduce(estimated.errors._estimates.parameter_df)}
    if has_alpha(fit):
        columns |= tabulate_alpha(model, X, fit, valid, weights)
    return {"bins": as_whole(sums.bins)} | {name: np.where(valid, values, np.nan) for name, values in columns.items()}
