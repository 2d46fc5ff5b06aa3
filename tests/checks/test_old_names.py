"""Models and penalties of a user's own that are written with the names of version 0.1 give the same fit, and one warning."""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest

from popglm.glm import GLM
from popglm.inference import uncertainty
from popglm.observation_models import (
    BINARY,
    COUNTS,
    POSITIVE,
    REAL,
    Bernoulli,
    Gamma,
    Gaussian,
    NegativeBinomial,
    Support,
)
from popglm.regularizer import GroupLasso, Regularizer, Ridge

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
NUMBERS = X @ [0.5, 0.1, 0, -0.3] + RNG.normal(size=400)
COUNTED = RNG.negative_binomial(2, 0.5, 400).astype(float)


def defined_by(base, old):
    """Subclass of `base` with these attributes; all of its warnings must be one, of this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cls = dataclass(frozen=True)(type("Mine", (base,), dict(old)))
    assert [(warning.category, warning.filename) for warning in caught] == [(FutureWarning, __file__)]
    for name in old.keys() - {"__annotations__"}:
        assert f"`{name}` of Mine is now `" in str(caught[0].message)
    return cls


def fit(y, model="Gaussian", penalty="UnRegularized"):
    fitted = GLM(model, regularizer=penalty, regularizer_strength=None if penalty == "UnRegularized" else 0.05).fit(
        X, y
    )
    return [fitted.coef_, fitted.intercept_, getattr(fitted, "scale_", None), fitted.score(X, y)]


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


class Unscaled(Gaussian):
    """The loss of a Gaussian, without a scale."""

    dispersion = None


class Poissonian(NegativeBinomial):
    """The loss of a negative binomial, without a scale that is estimated."""

    dispersion = None


MODELS = {
    "divides": (Unscaled, {"divides": True}, Gaussian, NUMBERS),
    "shapes": (Poissonian, {"shapes": True}, NegativeBinomial, COUNTED),
    "both flags": (Unscaled, {"divides": True, "shapes": False}, Gaussian, NUMBERS),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_dispersion_by_its_old_flag(name):
    base, old, same, y = MODELS[name]
    assert_equal(fit(y, defined_by(base, old)()), fit(y, same()))


def test_an_old_flag_that_is_false():
    assert defined_by(Gaussian, {"divides": False}).dispersion is None
    assert defined_by(NegativeBinomial, {"shapes": False}).dispersion is None
    assert defined_by(Gaussian, {"shapes": False}).dispersion == "pearson"


class Silent(Gaussian):
    """A model that does not state its Fisher information."""

    def loss(self, eta, y):
        return super().loss(eta, y)


@pytest.mark.parametrize("name", ["linear", "informed"])
def test_fisher_information_by_its_old_flag(name):
    with pytest.raises(ValueError, match="does not say what its Fisher information is"):
        uncertainty(GLM(Silent()).fit(X, NUMBERS), X, NUMBERS)
    errors = [
        uncertainty(GLM(model()).fit(X, NUMBERS), X, NUMBERS).coef_se
        for model in (defined_by(Silent, {name: True}), Gaussian)
    ]
    np.testing.assert_array_equal(*errors)


OLD_SUPPORTS = {
    "above": (POSITIVE, {"above": True}, Gamma, np.exp(NUMBERS)),
    "ends_only": (BINARY, {"ends_only": True}, Bernoulli, (NUMBERS > 0).astype(float)),
    "neither, from 0": (COUNTS, {}, NegativeBinomial, COUNTED),
    "neither": (REAL, {}, Gaussian, NUMBERS),
}


@pytest.mark.parametrize("name", OLD_SUPPORTS)
def test_a_support_by_its_old_flags(name):
    same, old, model, y = OLD_SUPPORTS[name]
    with pytest.warns(FutureWarning, match=f'of Support are now `kind="{same.kind}"`') as caught:
        support = Support(same.low, same.high, same.name, **old)
    assert len(caught) == 1 and support == same
    mine = dataclass(frozen=True)(type("Mine", (model,), {"support": support}))
    assert_equal(fit(y, mine()), fit(y, model()))


PENALTIES = {
    "squares": (Regularizer, {"squares": 1.0}, Ridge()),
    "lengths": (Regularizer, {"lengths": 1.0}, "Lasso"),
    "a property": (Regularizer, {"lengths": property(lambda self: 1.0)}, "Lasso"),
    "a field": (Regularizer, {"__annotations__": {"lengths": float}, "lengths": 1.0}, "Lasso"),
    "no lengths": (GroupLasso, {"lengths": 0.0, "squares": 1.0}, Ridge()),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_the_shares_of_a_penalty_by_their_old_names(name):
    base, old, same = PENALTIES[name]
    args = (2,) if base is GroupLasso else ()
    assert_equal(fit(NUMBERS, penalty=defined_by(base, old)(*args)), fit(NUMBERS, penalty=same))


def test_a_field_without_a_default():
    mine = defined_by(Regularizer, {"__annotations__": {"lengths": float}})
    assert_equal(fit(NUMBERS, penalty=mine(1.0)), fit(NUMBERS, penalty="Lasso"))


def test_the_weights_of_groups_by_their_old_name():
    """The earlier method may be called by the class that overrides it."""

    class Weighted(GroupLasso):
        """Weights as they are written now."""

        def group_weights(self, strength, n_features):
            return 2 * super().group_weights(strength, n_features)

    def thresholds(self, strength, n_features):
        return 2 * super(mine, self).thresholds(strength, n_features)

    mine = defined_by(GroupLasso, {"thresholds": thresholds})
    assert_equal(fit(NUMBERS, penalty=mine(2)), fit(NUMBERS, penalty=Weighted(2)))


def test_old_names_of_classes_of_the_package():
    """A user's own method may read what the class does not define."""
    for read, expected in (
        (lambda: Gaussian().divides, True),
        (lambda: Gaussian().shapes, False),
        (lambda: NegativeBinomial().linear, True),
        (lambda: Bernoulli().informed, True),
        (lambda: Ridge().squares, 1.0),
        (lambda: GroupLasso(2).lengths, 1.0),
        (lambda: GroupLasso(2).thresholds(1.0, 2), np.sqrt(2)),
    ):
        with pytest.warns(FutureWarning, match="is now"):
            assert read() == expected


def test_both_names():
    """For both versions: no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cls = type("Both", (Regularizer,), {"lengths": 1.0, "l1_share": 1.0})
    assert cls().l1_share == 1


def test_a_dispersion_that_is_none():
    with pytest.raises(ValueError, match=r'must be None, "pearson" or "likelihood".*; got 0\.5\. Give a field'):
        type("Mine", (Gaussian,), {"dispersion": 0.5})
