"""One variant of the study by NeMoS, all units together, one strength after the other: `study.py` calls it.

    python benchmarks/study_nemos.py FOLDER L1_RATIO

FOLDER has data.npz; coef (strengths, features, units) and intercept go to found.npz, times and warnings to record.json. Each
strength starts from the coefficients of the next larger one, as for a path. Settings are those that its documentation names for
this penalty; in double precision, since in single it ends earlier.
"""

import json
import sys
import time
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np

SETTINGS = {"solver_name": "ProximalGradient", "solver_kwargs": {"tol": 1e-8, "maxiter": 2000}}


def main():
    """Fit, and write what was found."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import nemos

    folder, l1_ratio = Path(sys.argv[1]), float(sys.argv[2])
    with np.load(folder / "data.npz") as data:
        X, y, strengths = data["X"].astype(float), data["y"].astype(float), data["strengths"]
    coef, intercept, start = [], [], None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        began, clock = time.process_time(), time.perf_counter()
        for strength in strengths[::-1]:
            model = nemos.glm.PopulationGLM(
                regularizer="ElasticNet", regularizer_strength=(float(strength), l1_ratio), **SETTINGS
            )
            model.fit(X, y, init_params=start)
            start = model.coef_, model.intercept_
            coef.append(np.asarray(model.coef_))
            intercept.append(np.asarray(model.intercept_))
        spent, took = time.process_time() - began, time.perf_counter() - clock
    np.savez(folder / "found.npz", coef=np.stack(coef[::-1]), intercept=np.stack(intercept[::-1]))
    record = {
        "settings": SETTINGS,
        "nemos_cpu_s": spent,
        "nemos_s": took,
        "warnings": sum("converge" in str(warning.message) for warning in caught),
        "version": metadata.version("nemos"),
    }
    (folder / "record.json").write_text(json.dumps(record), "utf8")


if __name__ == "__main__":
    main()
