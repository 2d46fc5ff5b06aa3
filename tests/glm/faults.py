"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "a null model from two sums that contain the model": Fault(
        "glm/_score.py",
        "missed = -self.null_log_likelihood",
        "missed = self.gain - self.log_likelihood",
        "glm/test_score.py",
        "far_from_the_data",
    ),
    "a session that is held out is predicted in silence": Fault(
        "glm/_unseen.py", "1 < size[pair]", "0 < size[pair]", "glm/test_unseen.py", "held_out"
    ),
    "a neuron that is missing in a session has any coefficient there": Fault(
        "glm/_exact_fit.py",
        "np.where(separation.unseen, 0, fit.coef)",
        "np.where(False, 0, fit.coef)",
        "glm/test_unseen.py",
        "not_recorded",
    ),
    "strengths of all parts that are given are known": Fault(
        "glm/_settings.py",
        "chosen = n_strengths == by_evidence.n_parts(n_features)",
        "chosen = False",
        "inference/test_filter_evidence.py",
        "errors_at_the_strengths",
    ),
    "null model from the training data": Fault(
        "glm/_access.py", 'NULL_SOURCES) == "scored"', 'NULL_SOURCES) == "none"', "glm/test_score.py", "mcfadden"
    ),
    "silent neurons counted in pseudo-R2": Fault(
        "glm/_score.py",
        "| ~silent & (sums.bins > 0)",
        "| (sums.bins > 0)",
        "glm/test_score.py",
        "mcfadden",
    ),
    "a null model far from y": Fault(
        "glm/_score.py",
        "link.forward(mean) - on_data.y_center",
        "link.forward(mean)",
        "sums/test_densities.py",
        "fitted_as_near_it and array",
    ),
    "nats that are said to be bits": Fault(
        "glm/_score.py", "gain / (np.log(2) * np", "gain / (1.0 * np", "assessment/test_assessment.py", "bits"
    ),
    "a scale that a simulation forgets": Fault(
        "glm/_draw.py",
        "(1 + scale * (count - 1)) / count",
        "1 / count",
        "simulation/test_simulation.py",
        "negative or heavy",
    ),
    "a fit by batches goes on from the first window": Fault(
        "glm/_batch_fit.py",
        "else state.place._replace(n_steps=0)",
        "else Place()",
        "batching/test_batches.py",
        "goes_on",
    ),
    "update forgets the inputs of its parameters": Fault(
        "glm/_settings.py",
        "read_layout(X, known)",
        "read_layout(X)",
        "regularizer/test_inputs.py",
        "steps_take",
    ),
}
