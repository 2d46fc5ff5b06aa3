"""Models in files: what is loaded is what was saved, bit by bit, and nothing else is ever loaded."""

import errno
import io as streams
import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pynapple as nap
import pytest
from samples import FULL, small_data
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

import popglm
from popglm import basis as bases
from popglm import io, links
from popglm.basis import (
    BSplineEval,
    CategoryEval,
    CustomBasis,
    CustomConv,
    CyclicBSplineEval,
    FourierConv,
    HistoryConv,
    IdentityEval,
    RaisedCosineLogConv,
)
from popglm.batching import random_windows
from popglm.glm import GLM, PopulationGLM
from popglm.observation_models import Poisson
from popglm.regularizer import GroupLasso, Ridge, UnRegularized

X, Y = small_data(n_bins=200)
STEPS = {"solver_name": "GradientDescent", "solver_kwargs": {"stepsize": 0.1, "acceleration": False}}
MODELS = {
    "a population": lambda: PopulationGLM().fit(X, Y),
    "one neuron": lambda: GLM(inverse_link_function="softplus").fit(X, Y[:, 0]),
    "not fitted": lambda: PopulationGLM(regularizer="Ridge", regularizer_strength=0.1),
    "words, numbers, arrays": lambda: PopulationGLM(
        inverse_link_function=jnp.exp,
        regularizer="Ridge",
        regularizer_strength=np.float32(0.1),
        solver_kwargs={"tol": 1e-9, "maxiter": np.int64(50)},
        feature_mask=[[1, 0, 1], [1, 1, 1], [0, 1, 1], [1, 1, 0]],
    ).fit(X, Y),
    "objects": lambda: PopulationGLM(
        observation_model=Poisson("softplus"), regularizer=Ridge(), feature_mask=np.ones((4, 3), ">i2")
    ).fit(X, Y),
    "groups": lambda: PopulationGLM(
        regularizer=GroupLasso((1, 3)), regularizer_strength=np.array([0.1, 0.01]), observation_model="Poisson"
    ).fit(X, Y),
    "no penalty": lambda: GLM(observation_model=Poisson(), regularizer=UnRegularized()).fit(X, Y[:, 0]),
    "batches": lambda: PopulationGLM().fit_batches(random_windows(X, Y, 50, seed=0), 8),
    "steps": lambda: stepped()[0],
}


def made(name):
    return _made(name, jax.config.jax_enable_x64)


@cache
def _made(name, precise):  # tests in both precisions share this process
    return MODELS[name]()


def stepped():
    """A model after one step, and what the next one needs."""
    model = PopulationGLM(**STEPS)
    params = model.initialize_params(X, Y)
    return model, *model.update(params, model.initialize_state(X, Y, params), X, Y)


def alike(a, b):
    """The same types and bits; arrays of JAX come back as NumPy's."""
    if isinstance(a, jax.Array):
        a = np.asarray(a)
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape
        if a.dtype == object:
            return all(map(alike, a.ravel().tolist(), b.ravel().tolist()))
        return a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(alike, a.values(), b.values()))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    return a == b


def saved(model, tmp_path):
    """The same model by way of a file."""
    io.save(model, tmp_path / "model.npz")
    return io.load(tmp_path / "model.npz")


def fitted(model):
    """What a fit has left, but the place to go on from."""
    return {name: value for name, value in vars(model).items() if name != "batch_state_"}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_loaded_is_what_was_saved(tmp_path, name):
    model = made(name)
    again = saved(model, tmp_path)
    assert type(again) is type(model) and alike(fitted(model), fitted(again))
    assert alike(model.get_params(), again.get_params())
    a, b = (clone(m).set_params(inverse_link_function=None) for m in (model, again))  # clone copies JAX's own functions
    assert alike(a.get_params(), b.get_params()) and type(clone(again)) is type(clone(model))
    if name == "not fitted":
        return
    y = Y if isinstance(model, PopulationGLM) else Y[:, 0]
    assert np.array_equal(again.predict(X), model.predict(X))
    for null in ("scored", "train") if name != "steps" else ("scored",):
        scores = [m.score(X, y, score_type="pseudo-r2-Cohen", null=null) for m in (model, again)]
        assert scores[0] == scores[1]


@pytest.mark.parametrize(
    "function",
    [jnp.exp, jax.nn.softplus, jax.nn.sigmoid, jax.scipy.special.expit],
    ids=["exp", "softplus", "sigmoid", "expit"],
)
def test_a_clone_keeps_its_link(tmp_path, function):
    """scikit-learn copies what JAX has compiled, and the copy has no name. It is the built-in link, and saved as that."""
    observed = "Bernoulli" if links.LINKS[function].high == 1 else "Poisson"
    model = clone(clone(GLM(observed, inverse_link_function=function)))
    assert links.resolve_link(model.inverse_link_function) is links.LINKS[function]
    assert saved(model, tmp_path).inverse_link_function is function
    own = jax.jit(lambda eta: 2 * jnp.exp(eta))
    with pytest.raises(TypeError, match="a function of your own"):
        saved(clone(GLM(inverse_link_function=own)), tmp_path)


BASES = {  # with how many inputs each
    "history": (RaisedCosineLogConv(3, 12, predictor_causality="acausal"), 1),
    "learned bounds": (BSplineEval(5, order=3), 1),
    "given bounds": (CyclicBSplineEval(5, bounds=(np.float32(-9), 9)), 1),
    "words": (CategoryEval(reference="b", label="side"), 1),
    "named functions": (CustomBasis([jnp.exp, jax.nn.softplus]), 1),
    "sum": (RaisedCosineLogConv(3, 12, label="history") + BSplineEval(4, label="place") + CategoryEval(), 3),
    "product": (CategoryEval(label="side") * FourierConv([0, 2], 9), 2),
    "tree": ((bases.Sum(HistoryConv(4), IdentityEval(), label="both") + BSplineEval(4)) * CategoryEval(), 4),
    "set": ((HistoryConv(4) + IdentityEval()).set_params(basis2=BSplineEval(4) + BSplineEval(5)), 3),
    "announced": ((HistoryConv(4) + IdentityEval()).set_input_shape(3, 2), 2),
}


def leaves(basis):
    return [{k: v for k, v in vars(leaf).items() if k != "funcs"} for leaf in basis._leaves]


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("name", BASES)
def test_bases_are_what_they_were(tmp_path, name, seen):
    """Settings, labels, the tree, what was learned: new data have the same features."""
    basis, n = BASES[name]
    basis, rng = clone(basis), np.random.default_rng(0)
    draw = lambda leaf, wide: (
        rng.choice(list("abc"), 90) if isinstance(leaf, CategoryEval) else rng.normal(size=(90, wide))
    )
    make = lambda: [draw(leaf, 2 - i % 2) for i, leaf in enumerate(basis._leaves)]
    assert len(basis._leaves) == n
    if seen:
        basis.compute_features(*make())
    again = saved(basis, tmp_path)
    assert (
        repr(clone(again)) == repr(clone(basis)) and type(again) is type(basis) and alike(leaves(again), leaves(basis))
    )
    assert again.get_params().keys() == basis.get_params().keys()
    if seen or name == "announced":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values outside the bounds
            new = make()
            a, b = basis.compute_features(*new), again.compute_features(*new)
        np.testing.assert_array_equal(a, b)
        parts = [some.split_by_feature(np.zeros((a.shape[1], 2)), axis=0) for some in (saved(basis, tmp_path), basis)]
        assert parts[0].keys() == parts[1].keys()


def test_models_and_bases_in_one_file(tmp_path):
    """As a pair, or by name; the model predicts from features of data that are new."""
    x = np.linspace(0, 10, 200)
    basis = BSplineEval(4)
    model = PopulationGLM(regularizer="Ridge").fit(basis.compute_features(x), Y)
    both, (again, other) = saved({"basis": basis, "models": [model]}, tmp_path), saved((basis, model), tmp_path)
    assert both.keys() == {"basis", "models"} and both["basis"].bounds_ == again.bounds_ == (0, 10)
    expected = model.predict(basis.compute_features(x[50:70]))
    np.testing.assert_array_equal(both["models"][0].predict(both["basis"].compute_features(x[50:70])), expected)
    np.testing.assert_array_equal(other.predict(again.compute_features(x[50:70])), expected)


@pytest.mark.parametrize("part", ["funcs", "compute_features"])
def test_a_file_of_a_basis_runs_nothing(tmp_path, part):
    """A function that is none of the table, a method that is overwritten."""
    path = tmp_path / "basis.npz"
    io.save(CustomBasis([jnp.exp]).fit(np.ones(3)), path)

    def change(header):
        settings, fit = (items[1]["items"] for items in header["tree"][2]["items"])
        if part == "funcs":
            dict(settings)["funcs"][1][0] = ["function", "system"]
        else:
            fit += [[part, 3]]
        return header

    rewritten(path, change)
    if part == "funcs":
        with pytest.raises(ValueError, match="is not a whole model of popglm"):
            io.load(path)
    else:
        assert callable(io.load(path).compute_features)


def test_a_new_process_predicts_the_same(tmp_path):
    model = made("words, numbers, arrays")
    io.save(model, tmp_path / "model.npz")
    code = f"""
import numpy as np
from popglm import io
from samples import small_data
X, y = small_data(n_bins=200)
model = io.load(r"{tmp_path / "model.npz"}")
np.savez(r"{tmp_path / "out.npz"}", rate=model.predict(X), score=model.score(X, y))
"""
    source = os.pathsep.join(os.path.dirname(os.path.dirname(path)) for path in (popglm.__file__, __file__))
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": source}, check=True, timeout=120)
    out = np.load(tmp_path / "out.npz")
    assert np.array_equal(out["rate"], model.predict(X)) and out["score"] == model.score(X, Y)


def test_steps_and_fits_go_on(tmp_path):
    model, params, state = stepped()
    for after in zip(*(m.update(params, state, X, Y)[0] for m in (clone(model), saved(model, tmp_path))), strict=True):
        assert np.array_equal(*after)
    params = tuple(saved(made("a population"), tmp_path).__dict__[name] for name in ("coef_", "intercept_"))
    again = saved(made("not fitted"), tmp_path).fit(X, Y, params)
    assert np.array_equal(again.coef_, clone(made("not fitted")).fit(X, Y, params).coef_)


@pytest.mark.parametrize(
    "columns",
    [
        ["a", "b", "c"],
        [3, 14, 15],
        np.array([3, 14, 15], np.int16),
        [0.5, 1.5, 2.5],
        ["a", 3, 2.5],
        pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]),
    ],
    ids=str,
)
def test_names_keep_their_types(tmp_path, columns):
    table = pd.DataFrame(Y, columns=columns)
    names = ["speed", "zażółć", "a\0b", "τ"]
    model = PopulationGLM().fit(pd.DataFrame(X, columns=names), table)
    again = saved(model, tmp_path)
    assert alike(model._columns, again._columns) and alike(model.feature_names_in_, again.feature_names_in_)
    with pytest.raises(ValueError, match="feature names should match"):
        again.predict(pd.DataFrame(X, columns=names[::-1]))


def test_unit_ids_stay_numbers(tmp_path, recording):
    counts = nap.TsdFrame(t=recording.t, d=recording.values, time_support=recording.time_support, columns=[7, 100, 3])
    features = popglm.basis.RaisedCosineLogConv(3, window_size=10).compute_features(counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = saved(PopulationGLM().fit(features, counts), tmp_path)
    predicted = again.predict(features).columns
    assert list(predicted) == [7, 100, 3] and np.asarray(predicted).dtype.kind == "i"


def test_64_bits_stay_and_a_session_of_32_says_so(tmp_path):
    with jax.enable_x64(True):
        model = PopulationGLM().fit(X, Y)
        assert model.coef_.dtype == np.float64
        again, rate = saved(model, tmp_path), model.predict(X)
        assert np.array_equal(again.predict(X), rate)
    with pytest.warns(RuntimeWarning, match=r"fit in 64 bits, and JAX computes in float32.*jax_enable_x64"):
        narrow = io.load(tmp_path / "model.npz")
    assert alike(fitted(model), fitted(narrow))
    assert np.array_equal(narrow.predict(X), model.predict(X))  # as the saved one would, here and now
    with jax.enable_x64(True):
        assert np.array_equal(narrow.predict(X), rate)
        assert np.array_equal(saved(made("a population"), tmp_path).coef_, made("a population").coef_)


def test_a_byte_that_changed_is_an_error_or_harmless(tmp_path):
    """Every byte of the file, in turn: a date inside the zip may change, what is loaded may not."""
    path, model = tmp_path / "model.npz", made("a population")
    io.save(model, path)
    content, tried, refused = path.read_bytes(), 0, 0
    for at in range(len(content)):
        for change in (1 << (at % 8), 0xFF)[: 2 if FULL else 1]:
            tried += 1
            path.write_bytes(content[:at] + bytes([content[at] ^ change]) + content[at + 1 :])
            try:
                assert alike(fitted(io.load(path)), fitted(model)), at
            except ValueError as error:
                refused += 1
                assert "is not a whole model of popglm" in str(error) and "was not changed" in str(error)
    assert refused > tried / 2


def test_a_file_that_ends_early_or_is_another_is_refused(tmp_path):
    path = tmp_path / "model.npz"
    io.save(made("one neuron"), path)
    content = path.read_bytes()
    plain = streams.BytesIO()
    np.savez(plain, coef=np.ones(3))
    for some in (*(content[:n] for n in range(0, len(content), 13)), b"not a zip" * 99, plain.getvalue()):
        path.write_bytes(some)
        with pytest.raises(ValueError, match=r"model.npz is not a whole model of popglm.*Give another path"):
            io.load(path)
        assert path.read_bytes() == some


def rewritten(path, change):
    """Change the header of a file, and write it anew with right checksums."""
    with np.load(path) as parts:
        arrays = dict(parts)
    header = change(json.loads(bytes(arrays["header"])))
    np.savez(path, **arrays | {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)})


def other_class(name):
    def change(header):
        header["tree"][1] = name
        return header

    return change


@pytest.mark.parametrize("name", ["os.system", "Pipeline", "LazyFeatures", "__import__"])
def test_a_foreign_class_is_refused(tmp_path, name):
    path = tmp_path / "model.npz"
    io.save(made("a population"), path)
    rewritten(path, other_class(name))
    with pytest.raises(ValueError, match=f"an object of class '{name}', which this popglm does not read; it reads GLM"):
        io.load(path)


@pytest.mark.parametrize(
    "change",
    [
        other_class("Ridge"),  # a class of the table, with parts of another
        lambda header: header | {"tree": ["function", "exp"]},
        lambda header: header | {"tree": ["object", "Ridge", {"items": []}]},
        lambda header: header | {"tree": ["run", "rm"]},
        lambda header: header | {"tree": ["labels", "V8", [1], ["a"]]},
        lambda header: header | {"tree": {"array": 99}},
        lambda header: header | {"tree": 3},
        lambda header: [header],
    ],
)
def test_a_header_that_save_does_not_write_is_refused(tmp_path, change):
    path = tmp_path / "model.npz"
    io.save(made("a population"), path)
    rewritten(path, change)
    with pytest.raises(ValueError, match="is not a whole model of popglm"):
        io.load(path)


def test_methods_are_not_in_files(tmp_path):
    """What a file names is kept only where a fit would keep something."""
    path = tmp_path / "model.npz"
    io.save(made("a population"), path)

    def change(header):
        header["tree"][2]["items"][1][1]["items"] += [["predict", 3], ["_configure", 3], ["__class__", 3]]
        return header

    rewritten(path, change)
    assert alike(fitted(io.load(path)), fitted(made("a population")))


def test_pickles_in_a_file_are_not_run(tmp_path):
    class Loud:
        def __reduce__(self):
            return print, ("run",)

    path = tmp_path / "model.npz"
    np.savez(path, header=np.array([Loud()], object))
    assert b"run" in pickle.dumps(Loud())
    with pytest.raises(ValueError, match="is not a whole model"):
        io.load(path)


def test_versions_and_kinds_are_named(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    with monkeypatch.context() as patch:
        patch.setattr("popglm.io.MODEL_FILE_VERSION", 99)
        io.save(GLM(), path)
    with pytest.raises(
        ValueError, match=r"must be a model of version 1; it is a model of version 99. Read it with the popglm"
    ):
        io.load(path)
    PopulationGLM().fit(X, Y, checkpoint=tmp_path / "run.npz")
    with pytest.raises(
        ValueError, match=r"must be a model of version 1; it is a checkpoint of version 1. A checkpoint is read"
    ):
        io.load(tmp_path / "run.npz")
    with pytest.raises(ValueError, match="must be a checkpoint of version 1; it is a model"):
        PopulationGLM().fit(X, Y, checkpoint=path)


def test_the_file_holds_arrays_and_json_and_no_pickle(tmp_path):
    for name in MODELS:
        io.save(made(name), tmp_path / "model.npz")
        with np.load(tmp_path / "model.npz", allow_pickle=False) as parts:
            assert all(parts[name].dtype.kind in "biufc" for name in parts.files)
    assert zipfile.is_zipfile(tmp_path / "model.npz")
    assert os.listdir(tmp_path) == ["model.npz"]


class MyGLM(GLM):
    """A class that files do not know."""


class MyModel(Poisson):
    """An observation model that files do not know."""


class MyBasis(HistoryConv):
    """A basis that files do not know."""


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            PopulationGLM(inverse_link_function=lambda eta: jnp.exp(eta)),
            "`inverse_link_function` holds a function of your",
        ),
        (PopulationGLM(observation_model=Poisson(lambda eta: jnp.exp(eta))), "`link` holds a function of your own"),
        (PopulationGLM(observation_model=MyModel()), "`observation_model` holds an object of MyModel"),
        (PopulationGLM(**STEPS | {"solver_kwargs": {"stepsize": lambda i: 0.1}}), "`stepsize` holds a function"),
        (PopulationGLM(feature_mask=np.array([[object()]])), "`feature_mask` holds an object of object"),
        (PopulationGLM(solver_kwargs={3: 1}), "`solver_kwargs` holds an object of int"),
        (MyGLM(), "must be an object of GLM or PopulationGLM, a basis .*; got MyGLM"),
        (make_pipeline(GLM()), "; got Pipeline. Of a pipeline save the model in it"),
        (Ridge(), "got Ridge"),
        (None, "got NoneType"),
        ((GLM(), Ridge()), "got Ridge"),
        ({}, "got nothing in it"),
        (CustomBasis([np.cos]), "`funcs` holds a function of your own.*make this basis in your code"),
        (IdentityEval() + CustomConv([np.cos], 5), "`funcs` holds a function of your own"),
        (MyBasis(3), "got MyBasis"),
        ((GLM(), IdentityEval() * MyBasis(3)), "`bases` holds an object of MyBasis.*make this basis in your code"),
    ],
)
def test_what_cannot_be_saved_is_said_before_anything_is_written(tmp_path, model, text):
    path = tmp_path / "model.npz"
    path.write_bytes(b"before")
    with pytest.raises(TypeError, match=text):
        io.save(model, path)
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["model.npz"]


@pytest.mark.parametrize("read", [True, False])
def test_paths_are_checked(tmp_path, read):
    use = io.load if read else lambda path: io.save(GLM(), path)
    with pytest.raises(TypeError, match=r"`path` must be the path of a file, such as 'run.npz'; got 3"):
        use(3)
    with pytest.raises(ValueError, match=r"is a folder. Append a name"):
        use(tmp_path)
    with pytest.raises(FileNotFoundError if read else ValueError, match=r"there is none|does not. Make it first"):
        use(tmp_path / "nowhere" / "model.npz")


def test_a_full_disk_leaves_the_file_before(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    io.save(made("one neuron"), path)
    content = path.read_bytes()

    def full(file, **arrays):
        file.write(b"some")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("popglm._files.npz.np.savez", full)
    with pytest.raises(
        OSError, match=r"the model could not be written: No space left.*is untouched. Make room"
    ) as caught:
        io.save(made("a population"), path)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["model.npz"]
