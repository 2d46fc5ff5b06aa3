"""One BLAS thread while a solver runs."""

import threading

from threadpoolctl import ThreadpoolController


class _OneThread:
    """One thread for NumPy's products, as long as anyone is inside; the number is the process's, so all share it.

    They are small beside XLA's: their threads would only wait for its.
    """

    lock, n_users, limits, libraries = threading.Lock(), 0, None, None

    def __enter__(self):
        with self.lock:
            self.n_users += 1
            if self.n_users == 1:
                self.libraries = self.libraries or ThreadpoolController()  # to look for them takes milliseconds
                self.limits = self.libraries.limit(limits=1, user_api="blas")

    def __exit__(self, *error):
        with self.lock:
            self.n_users -= 1
            if self.n_users == 0:
                self.limits.restore_original_limits()


one_thread = _OneThread()
