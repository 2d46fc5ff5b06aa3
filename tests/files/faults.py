"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "a scale that is no setting of a checkpoint": Fault(
        "_files/fingerprint.py",
        "None if model.scale is None else float(model.scale)",
        "None",
        "files/test_checkpoint.py",
        "scale_that_is_given",
    ),
    "checkpoints of batches do not look at weights": Fault(
        "_files/fingerprint.py",
        "checksum = _update_checksum(zlib.crc32(name, checksum), array)",
        "pass",
        "batching/test_weighted_batches.py",
        "knows_weights",
    ),
    "a checkpoint is written over the last one": Fault(
        "_files/npz.py",
        'partial = path.with_name(f"{path.name}',
        'partial = path or (f"{path.name}',
        "files/test_checkpoint.py",
        "full_disk",
    ),
    "a checkpoint does not know its data": Fault(
        "_files/_checks.py",
        "    if changed:",
        "    if False:",
        "files/test_checkpoint.py",
        "single_spike or another_fit",
    ),
    "a checkpoint does not look at X itself": Fault(
        "_files/fingerprint.py",
        "self.X = _update_checksum(self.X, array)",
        "pass",
        "files/test_checkpoint.py",
        "another_fit",
    ),
    "threads share a partial file": Fault(
        "_files/npz.py", "uuid.uuid4().hex[:12]", "os.getpid()", "files/test_checkpoint.py", "threads_may"
    ),
    "a full disk loses a fit that has ended": Fault(
        "_files/checkpoint.py", "if error is not None:", "if True:", "files/test_checkpoint.py", "ended_is_kept"
    ),
}
