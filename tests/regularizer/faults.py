"""Faults that the tests must notice, in the penalties; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "ridge without its half": Fault(
        "regularizer/_base.py",
        "(weight * rows**2).sum(-1) / 2",
        "(weight * rows**2).sum(-1)",
        "solver/test_fit.py",
        "scikit_learn",
    ),
    "a group's length without its size": Fault(
        "regularizer/_base.py",
        "self.l1_share * np.sqrt(sizes) * ",
        "self.l1_share * ",
        "solver/test_penalties.py",
        "conditions",
    ),
    "the cycles of the features are not read": Fault(
        "regularizer/_smoothness.py",
        "_join_flags([one.cyclic for one in layout]) if same else False",
        "False",
        "regularizer/test_inputs.py",
        "what_is_given_wins",
    ),
    "directions of a product in the wrong order": Fault(
        "regularizer/_parts.py",
        "reduce(np.kron, [vectors for vectors, _ in spectra])",
        "reduce(np.kron, [vectors for vectors, _ in spectra[::-1]])",
        "regularizer/test_quadratic.py",
        "parts_are_the_hessian",
    ),
    "round-off for the constant of a cycle": Fault(
        "regularizer/_parts.py",
        "        values[-1] = 0\n",
        "        values[-1] += 0\n",
        "regularizer/test_quadratic.py",
        "cycle_sees",
    ),
    "penalties of terms in the order of the user": Fault(
        "regularizer/_mixed.py",
        "return tuple((term, by_label[term]) for term in terms)",
        "return tuple(by_label.items())",
        "regularizer/test_inputs.py",
        "any_order",
    ),
}
