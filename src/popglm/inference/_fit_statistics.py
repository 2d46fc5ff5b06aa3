"""Statistics of a whole fit, one number for each neuron: deviances, Pearson's chi-squared, likelihood, information criteria.

Conventions are those of R's `glm`: the likelihood of a Gaussian or a Gamma is taken at the dispersion deviance / bins, which is
the most likely one of a Gaussian, and the dispersion counts as a parameter if it was estimated.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from popglm._design.blocks import Block
from popglm._design.total import total
from popglm._sums.losses import linear_predictor, null_predictor, weighted_sum
from popglm._sums.moments import bins_and_events
from popglm._sums.null_model import null_model_of
from popglm._sums.scores import saturated_log_likelihoods
from popglm.inference._fit_on_data import FitOnData

PerNeuron = Float[np.ndarray, " neurons"]

MIN_RESIDUAL_DF = 1e-6  # below it a sum of weights less the number of parameters is round-off


class FitSums(NamedTuple):
    """Sums over the bins of each neuron: deviances, not divided by a dispersion, of the model and of the null model."""

    bins: PerNeuron
    deviance: PerNeuron
    null_deviance: PerNeuron
    chi_squared: PerNeuron

    @classmethod
    def from_fit(cls, fit: FitOnData) -> "FitSums":
        """Sum in two passes, the first of which needs no features; the null model takes more if there is an offset."""
        model, design = fit.observation_model, fit.data.make_design()
        bins, events = total(bins_and_events, design)
        null = null_model_of(design, model, bins, events).intercept.astype(jnp.result_type(float))
        return cls(bins, *total(deviance_sums, design, model, *fit.centered_params, null))

    def dispersion(self, residual_df: PerNeuron) -> PerNeuron:
        """Pearson's chi-squared over its degrees of freedom, by which the variance is larger than the model's."""
        positive = residual_df > MIN_RESIDUAL_DF
        return np.where(positive, self.chi_squared / np.where(positive, residual_df, 1), np.nan)


def deviance_sums(block: Block, model, coef, intercept, null):
    """Deviance of the model, of the null model with intercept `null`, and Pearson's chi-squared."""
    eta, null_eta, y = linear_predictor(block, coef, intercept), null_predictor(block, null), block.y.T
    entries = model.deviance(eta, y), model.deviance(null_eta, y), model.pearson(eta, y)
    return tuple(weighted_sum(block.weight.T, values) for values in entries)


def saturated_sums(block: Block, model):
    """Log-likelihood of the saturated model; no features are needed for it."""
    return weighted_sum(block.weight.T, saturated_log_likelihoods(block, model))


def tabulate_fit(fit: FitOnData, sums: FitSums, residual_df: PerNeuron) -> dict[str, np.ndarray]:
    """Columns of the table of neurons; the degrees of freedom are the bins less the coefficients that the data determine."""
    model, dispersion = fit.observation_model, fit.loss_divisor
    with np.errstate(divide="ignore", invalid="ignore"):
        if fit.divisor_is_estimated:
            dispersion = sums.deviance / sums.bins
            model = model.with_scale(dispersion)
        saturated = total(saturated_sums, fit.data.make_design(), model)
        likelihoods = [saturated - deviance / (2 * dispersion) for deviance in (sums.deviance, sums.null_deviance)]
        n_params = sums.bins - residual_df + fit.scale_is_estimated
        return {
            "parameters": n_params,
            "residual_df": residual_df,
            "log_likelihood": likelihoods[0],
            "null_log_likelihood": likelihoods[1],
            "aic": 2 * n_params - 2 * likelihoods[0],
            "bic": np.log(sums.bins) * n_params - 2 * likelihoods[0],
            "deviance": sums.deviance,
            "null_deviance": sums.null_deviance,
            "pearson_chi2": sums.chi_squared,
            "dispersion": sums.dispersion(residual_df),
        }
