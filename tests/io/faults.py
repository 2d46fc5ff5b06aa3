"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "a saved model forgets what its fit knew": Fault(
        "io.py", "name in PRIVATE_ATTRIBUTES or (name", "name in () or (name", "io/test_io.py", "what_was_saved"
    ),
    "names of columns become words in files": Fault(
        "io.py",
        "labels[i] = _decode_value(part, foreign)",
        "labels[i] = str(part)",
        "io/test_io.py",
        "types or numbers",
    ),
    "a file names an attribute that no fit leaves": Fault(
        "io.py",
        "vars(value).update({name: part for name, part in fit.items() if _is_fit_attribute(name)})",
        "vars(value).update(fit)",
        "io/test_io.py",
        "methods",
    ),
    "a loaded sum takes its parts apart": Fault(
        "io.py", "node.bases = bases ", "node.bases = node.bases ", "io/test_io.py", "what_they_were"
    ),
}
