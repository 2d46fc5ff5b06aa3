"""Faults that the tests must notice, in the code that this folder tests; `tests/faults.py` tries them."""

from tests.faults import Fault

FAULTS = {
    "every process sums all chunks": Fault(
        "parallel/_share.py",
        'self.rows != "shared" or number',
        'self.rows != "nobody" or number',
        "parallel/test_parallel.py",
        "share_a_recording",
    ),
    "nobody compares what the processes are at": Fault(
        "parallel/_share.py",
        "if row[1] != every[0, 1]",
        "if False",
        "parallel/test_parallel.py",
        "ends_all_of_them",
    ),
    "an error is not told": Fault(
        "parallel/_share.py",
        "if row[0] == STOPPED",
        "if False",
        "parallel/test_parallel.py",
        "ends_all_of_them",
    ),
    "each process has a center of its own": Fault(
        "parallel/_share.py",
        "if one is not None), None)",
        "if one is not None and value is None), value)",
        "parallel/test_parallel.py",
        "own_epochs",
    ),
    "results of blocks of neurons are in the order of processes": Fault(
        "parallel/_share.py",
        "every[i % share.n_processes][i // share.n_processes] for i in range(len(blocks))",
        "one for results in every for one in results",
        "parallel/test_parallel.py",
        "come_back_in_their_order",
    ),
}
