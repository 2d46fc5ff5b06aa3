"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "a null model without the offset": Fault(
        "_sums/losses.py",
        "return add_offset(block, intercept[:, None])",
        "return intercept[:, None]",
        "glm/test_weights.py",
        "statsmodels and Poisson",
    ),
    "rates of a null model at the offset of the fit": Fault(
        "_sums/losses.py",
        "if np.ndim(self.shift) == 0 else",
        "if True else",
        "glm/test_weights.py",
        "null_models_on_new_data",
    ),
    "models that JAX takes for one another": Fault(
        "observation_models.py",
        "register_pytree_node(cls, _flatten_model, partial(_unflatten_model, cls))",
        'register_dataclass(cls, ["scale"], ["link"])',
        "sums/test_observation_models.py",
        "tells",
    ),
    "a scale that forgets the parameters": Fault(
        "_sums/scale.py",
        "residual_df = bins - n_params",
        "residual_df = bins",
        "sums/test_observation_models.py",
        "statsmodels",
    ),
    "the variance of a Gamma in proportion to its mean": Fault(
        "observation_models.py",
        "        return mean**2\n\n",
        "        return mean\n\n",
        "sums/test_observation_models.py",
        "statsmodels",
    ),
    "residuals of a sample that nobody kept": Fault(
        "_sums/losses.py",
        "jnp.where(block.weight.T > 0, residual, 0).T",
        "0 * residual.T",
        "sums/test_observation_models.py",
        "one_pass",
    ),
    "a tolerance without the units of y": Fault(
        "observation_models.py",
        'return 2 * loss if self.dispersion == "pearson" else np.ones_like(loss)',
        "return np.ones_like(loss)",
        "sums/test_observation_models.py",
        "units",
    ),
    "weight dropped from the residual": Fault(
        "_sums/losses.py",
        "residual = jnp.where(weight > 0, weight * residual, 0)",
        "residual = jnp.where(weight >= 0, residual, 0)",
        "glm/test_update.py",
        "by_hand and True",
    ),
    "log y! dropped": Fault(
        "_sums/densities.py", " - stirling_remainder(some), 0)", ", 0)", "glm/test_score.py", "normalised"
    ),
    "a deviance that is a difference of large numbers": Fault(
        "observation_models.py",
        "return count_deviance(y, self.link.inverse(eta), self.link.log_inverse(eta))\n",
        "return ObservationModel.deviance(self, eta, y)\n",
        "sums/test_densities.py",
        "large_counts and Poisson",
    ),
    "a loss of large counts that is a difference of large numbers": Fault(
        "_sums/deviance_loss.py",
        "return DevianceLoss(model) if large else model",
        "return model",
        "sums/test_densities.py",
        "no_round_off",
    ),
    "a loss of one's own with the deviance of another": Fault(
        "observation_models.py",
        'attributes.get("deviance", ObservationModel.deviance)',
        'attributes.get("deviance", cls.deviance)',
        "sums/test_densities.py",
        "ones_own",
    ),
    "a clone loses its link": Fault(
        "links.py", "    function = resolve_builtin(function)\n", "", "io/test_io.py", "keeps_its_link"
    ),
    "separation is seen where there is none": Fault(
        "_sums/separation.py",
        "(events_above + nonevents_below == 0)",
        "(events_above == 0)",
        "sums/test_observation_models.py",
        "separates_a_part",
    ),
    "features that others make up for are degrees of freedom": Fault(
        "_sums/rank.py",
        "return mask.sum(1) - n_collinear",
        "return mask.sum(1)",
        "sums/test_rank.py",
        "difference_of_ranks or left_of",
    ),
    "ranks forget what digits are lost": Fault(
        "_sums/rank.py",
        "CLEAR_EPSILONS * eps * max(1.0, (power[clear] / variance[clear]).max(initial=0))",
        "CLEAR_EPSILONS * eps",
        "sums/test_rank.py",
        "difference_of_ranks",
    ),
    "a probability of 1 that lost its digits": Fault(
        "_sums/scores.py",
        "return -model.log_likelihood(eta, jnp.zeros_like(eta))",
        "return -jnp.log1p(-model.mean(eta))",
        "assessment/test_assessment.py",
        "nearly_sure",
    ),
    "residuals without their sign": Fault(
        "_sums/scores.py",
        "jnp.sign(y - model.mean(eta)) * jnp.sqrt(jnp.maximum(",
        "jnp.sqrt(jnp.maximum(",
        "assessment/test_assessment.py",
        "statsmodels",
    ),
    "a spike or none with the information of counts": Fault(
        "observation_models.py",
        "return mean * self.curvature(eta, one)",
        "return self.curvature(eta, one)",
        "inference/test_inference.py",
        "statsmodels and Bernoulli",
    ),
    "a unit that was never observed is silent": Fault(
        "_sums/moments.py",
        "return silent & (total(",
        "return ~silent & (total(",
        "batching/test_observed.py",
        "never_observed",
    ),
    "a narrow pass with valid bins of other neurons": Fault(
        "_sums/losses.py",
        "f(block.select_neurons(neurons), select",
        "f(block.select_neurons(neurons)._replace(weight=block.weight[:, : len(neurons)]), select",
        "solver/test_narrow_passes.py",
        "plain",
    ),
}
