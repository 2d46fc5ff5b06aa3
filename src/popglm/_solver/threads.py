"""Limit of BLAS to one thread while a solver runs."""

import threading
from typing import Any

from threadpoolctl import ThreadpoolController


class _OneThread:
    """Context manager that limits NumPy's products to one thread; the limit is the process's, so nested users share it.

    NumPy's products are small beside those of XLA, and their threads would compete with its threads.
    """

    lock, n_users = threading.Lock(), 0
    limits: Any = None
    libraries: Any = None

    def __enter__(self) -> None:
        with self.lock:
            self.n_users += 1
            if self.n_users == 1:
                self.libraries = self.libraries or ThreadpoolController()  # the search for libraries takes milliseconds
                self.limits = self.libraries.limit(limits=1, user_api="blas")

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.n_users -= 1
            if self.n_users == 0:
                self.limits.restore_original_limits()


one_thread = _OneThread()
