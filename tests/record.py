"""Compares what the package does with what it did at an earlier commit, bit by bit: `python tests/record.py`.

The calls of `record_calls.py` run in both trees, each in two child processes, one in 32 bits and one in 64. Numbers, shapes
and types must be equal in every bit, and so must types of errors and warnings, the lines that warnings point at, and all
that is public. Texts may become better: those that differ are printed. Bits differ between processors, so no record is kept.
"""

import argparse
import ast
import hashlib
import importlib
import inspect
import io
import os
import pickle
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from pathlib import Path

import numpy as np

REFERENCE = "9706cc3"  # the commit that the working tree is compared with; the last whose behaviour was looked at
ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), "1")
ENVIRONMENT |= {"JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg"}
LARGE = 1_000_000  # bytes; of larger arrays a record has the checksum
SHOWN = 10  # differences that are printed, of each call and of what is public


# The child: makes a record


def write_record(path, tree, names):
    """Run calls with the package of a tree, and write all that they give to a file."""
    import record_calls

    import popglm

    start, script = time.monotonic(), Path(record_calls.__file__)
    record = {"calls": {}, "raised": {}}
    if unknown := set(names) - set(record_calls.CALLS):
        raise SystemExit(f"there is no call {', '.join(unknown)}; the calls are {', '.join(record_calls.CALLS)}")
    for name in names or record_calls.CALLS:
        entries, texts, raised = run_call(record_calls.CALLS[name], script)
        record["calls"][name] = entries, texts
        if raised:
            record["raised"][name] = raised
    record["public"] = list_public(popglm)
    source = Path(tree, "src").resolve()
    for name, module in sys.modules.items():
        if name.split(".")[0] == "popglm" and not Path(module.__file__).resolve().is_relative_to(source):
            raise SystemExit(f"{name} comes from {module.__file__}, and not from {source}")
    record["seconds"] = time.monotonic() - start
    Path(path).write_bytes(pickle.dumps(record))


def run_call(function, script):
    """Run one call in a folder of its own; return its entries, its texts, and the error that ended it, if any."""
    entries, texts, raised = {}, {}, None
    with tempfile.TemporaryDirectory() as folder, chdir(folder), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # they come when garbage is collected
        try:
            found = function()
        except Exception as error:
            found, raised = None, f"{type(error).__name__}: {error}"
    flatten("found", found, entries, texts)
    entries["warnings"] = f"{len(caught)} warnings"
    for i, warning in enumerate(caught):
        file = Path(warning.filename)
        line = f":{warning.lineno}" if file.resolve() == script.resolve() else ""
        entries[f"warning {i}"] = f"{warning.category.__name__} at {file.name}{line}"
        texts[f"warning {i}"] = str(warning.message)
    for known in (entries, texts):
        for key, text in known.items():
            if isinstance(text, str):
                known[key] = plain(text.replace(os.path.realpath(folder), "FOLDER").replace(folder, "FOLDER"))
    return entries, texts, raised


def plain(text):
    """Return a text without what every run or a move of a file changes: addresses, and the modules of the package."""
    return re.sub(r"\bpopglm(\.\w+)*\.(?=\w)", "", re.sub(r" at 0x[0-9a-f]+", "", text))


def flatten(name, value, entries, texts):
    """Put every part of a nested value under its name: a text apart, all others as an entry that is compared bitwise."""
    if type(value).__name__ == "Text":
        texts[name] = str(value)
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes):
        entries[name] = f"{kind_of(value)} {value!r}"
    elif isinstance(value, np.ndarray | np.generic) or hasattr(value, "addressable_shards"):  # the last of JAX
        entries[name] = entry_of(value)
    elif (parts := parts_of(value)) is not None:
        entries[name] = f"{kind_of(value)} of {list(parts)}"
        for key, part in parts.items():
            flatten(f"{name}/{key}", part, entries, texts)
    else:
        entries[name], texts[name] = kind_of(value), repr(value)


def kind_of(value):
    """Return the name of a type; of the package's types only whether it is one, since names of private ones may change."""
    return "popglm's" if type(value).__module__.split(".")[0] == "popglm" else type(value).__name__


def entry_of(array):
    """Return type, shape and bits of an array; every NaN is the same."""
    kind, array = type(array).__name__, np.asarray(array)
    if array.dtype.kind in "fc":
        array = np.where(np.isnan(array), array.dtype.type(np.nan), array)
    content = repr(array.tolist()).encode() if array.dtype.kind in "OU" else array.tobytes()
    if len(content) > LARGE:
        content = hashlib.sha256(content).hexdigest()
    return kind, str(array.dtype), array.shape, content


def parts_of(value):
    """Return what a value consists of, by name or number; None if it is one thing."""
    kind = f"{type(value).__module__.split('.')[0]}.{type(value).__name__}"
    if isinstance(value, dict):
        return value
    if isinstance(value, tuple | list):
        return dict(enumerate(value))
    if kind in ("pandas.DataFrame", "pandas.Series"):
        table = value.to_frame() if value.ndim == 1 else value
        parts = {"columns": list(table.columns), "index": list(table.index), "index is": table.index.name}
        return parts | {f"column {i}": table.iloc[:, i].to_numpy() for i in range(table.shape[1])}
    if kind == "pynapple.IntervalSet":
        return {"ends": np.asarray(value.values)}
    if kind == "pynapple.TsGroup":
        return {"epochs": value.time_support, "units": {int(unit): value[unit].t for unit in value.index}}
    if kind in ("pynapple.Ts", "pynapple.Tsd", "pynapple.TsdFrame"):
        parts = {"times": value.t, "epochs": value.time_support, "values": getattr(value, "values", None)}
        if kind == "pynapple.TsdFrame":
            about = {name: np.asarray(value.get_info(name)) for name in value.metadata_columns}
            parts |= {"columns": np.asarray(value.columns), "about columns": about}
        return parts
    return None


def list_public(package):
    """Return what every public name is: modules, functions and classes, with attributes, methods and signatures."""
    public = {f"{name}": "module" for name in package.__all__}
    for module_name in package.__all__:
        module = importlib.import_module(f"popglm.{module_name}")
        for name in module.__all__:
            value, place = getattr(module, name), f"{module_name}.{name}"
            public[place] = describe(value)
            if inspect.isclass(value):
                public |= {f"{place}.{key}": "field" for key in getattr(value, "__dataclass_fields__", {})}
                public |= {f"{place}.{key}": describe_attribute(value, key) for key in dir(value)}
    return {name: plain(text) for name, text in public.items() if not re.search(r"\._", name)}


def describe(value):
    """Return what a function, a class or a constant is."""
    if not callable(value):
        return f"constant {value!r}"
    kind = "class" if inspect.isclass(value) else "function"
    return f"{kind} {inspect.signature(value)}"


def describe_attribute(cls, name):
    """Return what an attribute of a class is: a method with its signature, a property, or a value."""
    raw, value = inspect.getattr_static(cls, name), getattr(cls, name, None)
    if inspect.isfunction(value) or inspect.ismethod(value):
        return f"method {inspect.signature(value)}"
    return "property" if hasattr(type(raw), "__get__") else f"value {value!r}"


# The parent: runs the children and compares


def export(revision, folder):
    """Write the sources of a commit into a folder, and return it."""
    archive = subprocess.run(["git", "-C", ROOT, "archive", revision, "src"], capture_output=True, check=False)
    if archive.returncode:
        raise SystemExit(archive.stderr.decode())
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as parts:
        parts.extractall(folder, filter="data")
    return Path(folder)


def make_record(tree, bits, names, cache):
    """Make the record of a tree in a child process and return it.

    What JAX compiles is kept in a folder: most of a child's time goes into it, and the next tree has much the same programs.
    """
    environment = {"PYTHONPATH": str(tree / "src"), "JAX_ENABLE_X64": str(int(bits == 64))}
    environment |= {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "record")
        command = [sys.executable, __file__, "--write", str(path), "--tree", str(tree), "--only", *names]
        child = subprocess.run(
            command, env=os.environ | ENVIRONMENT | environment, capture_output=True, text=True, check=False
        )
        if child.returncode:
            raise SystemExit(f"the record of {tree} could not be made:\n{child.stderr}")
        return pickle.loads(path.read_bytes())


def compare_calls(old, new):
    """Return what differs in each call, what was added, and the texts that differ, as pairs with the place of the first."""
    differences, added, texts = {}, [], {}
    for name, (entries, said) in old["calls"].items():
        entries_now, said_now = new["calls"][name]
        extended = [key for key in entries if is_extended(entries[key], entries_now.get(key))]
        below = tuple(f"{key}/" for key in extended)
        new_keys = [key for key in entries_now if key not in entries]
        added += [f"{name}: {key}" for key in new_keys if key.startswith(below)]
        differences[name] = [
            f"raised in the {age} tree: {tree['raised'][name]}"
            for age, tree in (("old", old), ("new", new))
            if name in tree["raised"]
        ]
        differences[name] += [
            f"{key}: {show_difference(entries.get(key), entries_now.get(key))}"
            for key in entries | entries_now
            if entries.get(key) != entries_now.get(key)
            and key not in extended
            and not (key in new_keys and key.startswith(below))
        ]
        for key in said | said_now:
            if said.get(key) != said_now.get(key):
                texts.setdefault((said.get(key), said_now.get(key)), f"{name}, {key}")
    return {name: some for name, some in differences.items() if some}, added, texts


def is_extended(old, new):
    """Say if both are dictionaries, and the new one has all names of the old one and more: a fit may leave more behind."""
    prefix = "dict of "
    if not all(isinstance(entry, str) and entry.startswith(prefix) for entry in (old, new)) or old == new:
        return False
    try:
        names, names_now = (set(ast.literal_eval(entry.removeprefix(prefix))) for entry in (old, new))
    except (ValueError, SyntaxError):  # other names than words and numbers
        return False
    return names < names_now


def show_difference(old, new):
    """Return in what an entry differs."""
    if not (isinstance(old, tuple) and isinstance(new, tuple) and old[:3] == new[:3]):
        show = lambda entry: str(entry[:3]) if isinstance(entry, tuple) else entry or "nothing"
        return f"{show(old)} -> {show(new)}"
    kind, dtype, shape, content = old
    if isinstance(content, str) or np.dtype(dtype).kind not in "biuf":
        return f"{kind} of {dtype}, shape {shape}: other values"
    before, after = (np.frombuffer(entry[3], dtype).astype(float) for entry in (old, new))
    other = (before != after) & ~(np.isnan(before) & np.isnan(after))
    largest = np.abs(before - after)[other].max(initial=0)
    return f"{kind} of {dtype}, shape {shape}: {other.sum()} of {other.size} values differ, by up to {largest:.3g}"


def compare_public(old, new):
    """Return what is missing or changed in what is public, and what was added."""
    lost = [f"{name}: {text} -> {new.get(name, 'nothing')}" for name, text in old.items() if new.get(name) != text]
    return lost, [f"{name}: {text}" for name, text in new.items() if name not in old]


def show(title, lines):
    """Print a title and some of the lines below it."""
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    print(title, *lines[:SHOWN], *more, sep="\n    ")


def main():
    """Make the four records, compare them, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--against", metavar="REV", default=REFERENCE, help="the commit to compare with")
    parser.add_argument("--tree", metavar="DIR", type=Path, default=ROOT, help="another new tree than this one")
    parser.add_argument("--only", metavar="NAME", nargs="*", default=[], help="calls, by name")
    parser.add_argument("--cache", metavar="DIR", type=Path, help="keep here what is compiled, for the next time")
    parser.add_argument("--write", metavar="FILE", help="make one record of the tree, and no more")
    given = parser.parse_args()
    if given.write:
        write_record(given.write, given.tree, given.only)
        return 0

    def make_both(bits):
        cache = (given.cache or Path(folder)) / f"compiled{bits}"
        return [make_record(tree, bits, given.only, cache) for tree in trees]

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        trees = export(given.against, Path(folder, "old")), given.tree.resolve()
        records = list(pool.map(make_both, (32, 64)))
    failed, additions, texts = False, {}, {}
    for bits, (old, new) in zip((32, 64), records, strict=True):
        print(f"{bits} bits: {old['seconds']:.0f} s and {new['seconds']:.0f} s")
        differences, more, some = compare_calls(old, new)
        additions |= dict.fromkeys(more)
        for name, lines in differences.items():
            show(f"DIFFERENT in {bits} bits: {name}", lines)
        failed, texts = failed or bool(differences), some | texts
    for (before, after), place in texts.items():
        show(f"text: {place}", [f"- {before}", f"+ {after}"])
    lost, added = compare_public(old["public"], new["public"])
    titles = "added to what calls give", "MISSING or changed in what is public", "added to what is public"
    for title, lines in zip(titles, (list(additions), lost, added), strict=True):
        if lines:
            show(title, lines)
    found = "DIFFERENCES, see above" if failed or lost else "numbers equal"
    print(f"{len(old['calls'])} calls in 32 and 64 bits: {found}; {len(texts)} texts differ")
    return int(failed or bool(lost))


if __name__ == "__main__":
    sys.exit(main())
