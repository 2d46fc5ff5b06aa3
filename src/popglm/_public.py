"""Errors in public terms: messages of Python name public classes and methods, not the private classes behind them."""

from inspect import isfunction, unwrap


def hide_private_bases(classes):
    """Rename public methods of private base classes, so that a TypeError says `fit()`, not `PrivateBase.fit()`.

    `__module__` of the public classes stays that of their file: `inspect.getsource`, and with it `??` of IPython, reads the
    source of a class from the file of its module.
    """
    private = {base for cls in classes for base in cls.__mro__ if base.__module__.startswith("popglm.")}.difference(
        classes
    )
    for base in private:
        for name, method in vars(base).items():
            if isfunction(method) and not name.startswith("_"):
                method.__qualname__ = unwrap(method).__qualname__ = name
