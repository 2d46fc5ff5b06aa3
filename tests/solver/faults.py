"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "a penalty of the information without its gradient": Fault(
        "_solver/jeffreys.py",
        "gradient=place.gradient - penalty",
        "gradient=place.gradient",
        "solver/test_firth.py",
        "brglm2",
    ),
    "a held coefficient that leaves the determinant": Fault(
        "_solver/jeffreys.py",
        "covariance, log_det = _invert(information, _centred(self.basis, center))",
        "covariance, log_det = _invert(information, _centred(self.basis[:, :, 1:], center))",
        "solver/test_firth.py",
        "brglm2 or unlikely",
    ),
    "a tiny information that is a difference of large ones": Fault(
        "_solver/jeffreys.py",
        "shift[:, -1] = 0",
        "shift[:] = 0",
        "solver/test_firth.py",
        "formula",
    ),
    "a negative binomial that keeps its first scale": Fault(
        "_solver/passes.py",
        "problem = replace_dispersion(problem, scale, null)\n    model, bins",
        "model, bins",
        "sums/test_observation_models.py",
        "statsmodels",
    ),
    "a checkpoint forgets the factors of neurons' own": Fault(
        "_solver/exact.py",
        "own_factors=problem.precondition.own_factors,",
        "own_factors={},",
        "files/test_checkpoint.py",
        "started_again and fit",
    ),
    "update changes nothing": Fault(
        "_solver/jaxopt.py",
        "return (coef.T.reshape(params[0].shape), intercept), state",
        "return params, state",
        "glm/test_update.py",
        "by_hand",
    ),
    "update changes nothing, and the guide": Fault(
        "_solver/jaxopt.py",
        "return (coef.T.reshape(params[0].shape), intercept), state",
        "return params, state",
        "book/how_to_guide/plot_04_batch_glm.md",
    ),
    "mean instead of sum over neurons": Fault(
        "_solver/jaxopt.py",
        "(s[0] / bins[neuron] for s in sums)",
        "(s[0] / bins[neuron] / len(bins) for s in sums)",
        "glm/test_update.py",
        "by_hand",
    ),
    "intercept penalised by update": Fault(
        "_solver/jaxopt.py",
        "(mask[neuron] * d_coef, d_intercept)",
        "(mask[neuron] * d_coef, d_intercept + strength * intercept)",
        "glm/test_update.py",
        "by_hand",
    ),
    "intercept pulled down by the penalty of fit": Fault(
        "_solver/passes.py",
        "coordinates.gradient(d_coef, d_intercept / bins)",
        "coordinates.gradient(d_coef, d_intercept / bins + strength)",
        "solver/test_fit.py",
        "scikit_learn",
    ),
    "penalty left out of the gradient": Fault(
        "_solver/passes.py", " + penalty.gradient(strength, coef)", "", "solver/test_fit.py", "scikit_learn"
    ),
    "mask ignored by update": Fault(
        "_solver/jaxopt.py",
        "(mask[neuron] * d_coef, d_intercept)",
        "(d_coef, d_intercept)",
        "glm/test_glm_contract.py",
        "stay_zero",
    ),
    "mask ignored by fit": Fault(
        "_solver/preconditioner.py",
        "mask * varying, group_norms",
        "varying + 0 * mask, group_norms",
        "glm/test_glm_contract.py",
        "exactly_zero",
    ),
    "the default solver stops where it starts": Fault(
        "_solver/ask_tell.py",
        "np.where(silent, DONE, RUNNING)",
        "np.where(silent, DONE, DONE)",
        "solver/test_fit.py",
        "scikit_learn",
    ),
    "features of a group in scales of their own": Fault(
        "_solver/preconditioner.py",
        "penalty.groups(n_features) if penalty.l1_share else",
        "",
        "solver/test_penalties.py",
        "favoured",
    ),
    "a path that forgets what its penalty changes": Fault(
        "_solver/path.py",
        "gradient = gradient + _pad_columns(d_point, point.shape[1])",
        "gradient = gradient + 0 * d_point.sum()",
        "solver/test_penalties.py",
        "path_is_its_fits",
    ),
    "the kink left out of a step's slope": Fault(
        "_solver/proximal.py", "gradient + pull * (start + end)", "gradient", "solver/test_penalties.py", "conditions"
    ),
    "a coordinate enters against its sign": Fault(
        "_solver/active_set.py",
        "(direction * sign < 0)",
        "(direction * sign < -np.inf)",
        "solver/test_active_set.py",
        "conditions",
    ),
    "a step that goes past a kink": Fault(
        "_solver/active_set.py",
        "risen = np.cumsum(rise, 1)",
        "risen = 0 * np.cumsum(rise, 1)",
        "solver/test_active_set.py",
        "conditions",
    ),
    "BFGS terms left out of the systems": Fault(
        "_solver/hessian.py",
        "out += positive @ positive.swapaxes(1, 2) - negative @ negative.swapaxes(1, 2)",
        "",
        "solver/test_active_set.py",
        "those_of_the_products",
    ),
    "sums of a narrow pass that other neurons get": Fault(
        "_solver/passes.py",
        "out[neurons] = part[: len(neurons)]",
        "out[: len(neurons)] = part[: len(neurons)]",
        "solver/test_narrow_passes.py",
        "plain",
    ),
    "a short fit that compiles narrow passes": Fault(
        "_solver/passes.py",
        "worth and len(running)",
        "len(running)",
        "solver/test_narrow_passes.py",
        "short_fits",
    ),
    "active sets after proximal steps, from the gradient before them": Fault(
        "_solver/active_set.py",
        "slope[many] += steps.image",
        "pass",
        "solver/test_active_set.py",
        "gains or not_finish",
    ),
    "proximal steps where a small system would do": Fault(
        "_solver/active_set.py",
        "n_active * COORDINATES_PER_ACTIVE > point.shape[1]",
        "n_active >= 0",
        "solver/test_narrow_passes.py",
        "few_active",
    ),
    "a result that is stored at the strength after its own": Fault(
        "_solver/path.py",
        "ended & (number == k), last",
        "ended & (number == k + 1), last",
        "solver/test_active_set.py",
        "waits_for_others",
    ),
    "a step's gain as a difference of large sums": Fault(
        "_solver/proximal.py",
        "return row_dot(end - start, gradient + pull * (start + end))",
        "return row_dot(end - start, gradient) + (self.cost * (self.norms(end) - self.norms(start))).sum(1)",
        "solver/test_penalties.py",
        "no_difference",
    ),
    "round-off at the optimum taken for a stall": Fault(
        "_solver/ask_tell.py", "np.minimum(slack, hidden)", "0 * slack", "solver/test_penalties.py", "hides"
    ),
    "one threshold for all parts": Fault(
        "_solver/preconditioner.py",
        "penalty.group_weights(strength, len(sd))",
        "penalty.group_weights(strength[..., :1] if strength.ndim else strength, len(sd))",
        "solver/test_penalties.py",
        "its_strength",
    ),
    "update that does not shrink": Fault(
        "_solver/jaxopt.py",
        "objective.penalty.prox(strength_of(neuron, objective), coef, step)",
        "coef",
        "solver/test_penalties.py",
        "update",
    ),
    "named solvers count features that others determine": Fault(
        "_solver/preconditioner.py", "self.rank.n_params(mask) + 1", "mask.sum(1) + 1", "sums/test_rank.py", "left_of"
    ),
    "a named solver is believed": Fault(
        "_solver/jaxopt.py", "<= MAX_GAIN", "< np.inf", "solver/test_fit.py", "stops_early and LBFGS"
    ),
    "a reference level without an event is not looked for": Fault(
        "_solver/exact.py", "large | ~done])", "~done])", "sums/test_separation.py", "reference_level and Poisson"
    ),
    "evidence forgets the null space": Fault(
        "_solver/evidence.py",
        "log_determinants = np.log(precision).sum() / 2",
        "log_determinants = np.log(precision[1:]).sum() / 2",
        "solver/test_evidence.py",
        "derivatives",
    ),
    "a useless part stays": Fault(
        "_solver/evidence.py", "MIN_GAIN = 0.1  #", "MIN_GAIN = -1.0  #", "solver/test_evidence.py", "flat_filter"
    ),
    "a removed part never returns": Fault(
        "_solver/evidence.py",
        "MIN_GAIN_OF_RETURN = 0.11",
        "MIN_GAIN_OF_RETURN = 1e9",
        "solver/test_evidence.py",
        "need_one_another",
    ),
    "strengths of the null model's Hessian are kept": Fault(
        "_solver/evidence_fit.py",
        "found.stage == 0 or not settled",
        "False",
        "solver/test_evidence_mgcv.py",
        "those_of_mgcv",
    ),
    "a part comes and goes for ever": Fault(
        "_solver/evidence_fit.py",
        "found.stage < LAST_STAGE_OF_RETURN",
        "True",
        "solver/test_evidence.py",
        "one_to_three_events",
    ),
    "coefficients of one event must settle as those of many": Fault(
        "_solver/evidence_fit.py",
        "max(SETTLED_CHANGE**2 * information, 2 * STAGE_TOL)",
        "SETTLED_CHANGE**2 * information",
        "solver/test_evidence.py",
        "one_to_three_events",
    ),
    "strengths are per nat, not per bin": Fault(
        "_solver/evidence_fit.py",
        "np.exp(step.strengths.log_strength) / nats[n]",
        "np.exp(step.strengths.log_strength) / problem.bins[n]",
        "solver/test_evidence.py",
        "units_of_y",
    ),
    "a never visited function is held at 0": Fault(
        "_solver/preconditioner.py",
        "varying = varying | tied",
        "varying = varying | False",
        "solver/test_evidence.py",
        "never_visited",
    ),
    "dispersion waits for a Poisson fit that goes astray": Fault(
        "_solver/dispersion.py",
        "np.where(released, scoring, 0)",
        "np.where(released & ~alone, scoring, 0)",
        "solver/test_each_neuron.py",
        "strongly_modulated",
    ),
    "a scale counts what a penalty holds": Fault(
        "_solver/exact.py",
        "(problem.penalised_df() if",
        "(0 * problem.penalised_df() if",
        "solver/test_penalties.py",
        "effective_degrees and one",
    ),
    "what a penalty holds outside the mask": Fault(
        "_solver/preconditioner.py",
        "if self.precondition.mask.all() and",
        "if",
        "solver/test_penalties.py",
        "effective_degrees and mask",
    ),
    "ratio rounded down on the grid of factors": Fault(
        "_solver/null_factors.py", "np.rint(np.log(", "np.floor(np.log(", "solver/test_null_factors.py", "root_of_two"
    ),
    "factors of ratios that no neuron has are kept": Fault(
        "_solver/null_factors.py",
        "for at in distinct.tolist() if at in self._cholesky}",
        "for at in self._cholesky}",
        "solver/test_null_factors.py",
        "bytes",
    ),
}
