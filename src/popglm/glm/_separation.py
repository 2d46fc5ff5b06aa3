"""Coefficients of a fit without a finite optimum, where no penalty holds them."""

from functools import lru_cache

import numpy as np

from popglm._design.total import total
from popglm._sums.separation import LARGE_COEF, Separation, find_separation
from popglm.glm._unseen import penalised_features

COMBINATION_PASSES = 10  # combinations are looked for in as many neurons as take the work of some ten passes of the fit


def separation_of_fit(design, objective, mask, fit, signs=None, excluded=False) -> Separation:
    """Find the features that separate y, after a fit to a design; `excluded` neurons are not looked at.

    `signs` are the sums of the signs, for binary y, which then are known for all features.
    """
    suspects = np.ones((len(fit.coef), fit.coef.shape[1] + 1), bool) if fit.suspects is None else fit.suspects.copy()
    if signs is not None:
        suspects[:, :-1] = True
    suspects &= ~(fit.silent | excluded)[:, None]
    sum_over = lambda f, *args: total(f, design, *args)
    return find_unpenalised_separation(sum_over, objective, mask, (fit.coef, fit.intercept), suspects, signs)


def separation_of_sample(sample, center, objective, mask, params, excluded) -> Separation:
    """Find the features that separate y in the rows that a fit by batches keeps, centred at `center`.

    Only if these are all rows: in a sample of them, a rare feature may come without an event by chance.
    """
    coef, intercept = params
    large = np.abs(coef * sample.rows.X.std(0)).max(1, initial=0) > LARGE_COEF
    suspects = np.column_stack([coef != 0, large]) & ~excluded[:, None] & (sample.share == 1)
    sum_over = lambda f, *args: sample.total(_on_uncentred(f), np.asarray(center, sample.arrays.X.dtype), *args)
    return find_unpenalised_separation(sum_over, objective, mask, (coef, intercept), suspects)


@lru_cache
def _on_uncentred(f):
    """Make the function of a block of centred features that calls `f` with the features of the user, where 0 is exactly 0."""
    return lambda block, center, *args: f(block._replace(X=block.X + center[None]), *args)


def find_unpenalised_separation(sum_over, objective, mask, params, suspects, signs=None) -> Separation:
    """Find the suspects that separate y, or are 0 in every bin of a neuron, and that the penalty leaves free."""
    coef, intercept = params
    n_neurons, n_features = coef.shape
    is_counts = objective.model.support.counts
    penalised = lambda flags: np.asarray(objective.penalty.penalty(objective.strength, np.where(flags, coef, 0.0))) > 0
    suspects = suspects & ~np.column_stack(
        [
            np.outer(penalised(suspects[:, :-1]), penalised_features(objective.penalty, n_features)),
            penalised(np.ones_like(coef, bool)) | (not is_counts),
        ]
    )
    found = find_separation(
        sum_over,
        objective.model.support.kind,
        np.column_stack([coef, intercept]),
        np.column_stack([mask > 0, np.ones(n_neurons, bool)]),
        suspects,
        signs,
        max_neurons=max(1, COMBINATION_PASSES * n_neurons // n_features),
    )
    return found if is_counts else found._replace(features=np.zeros_like(found.features))
