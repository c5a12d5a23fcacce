"""Every public argument has a type, and the package says so to type checkers."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import mmjax

ROOT = Path(__file__).parent.parent
ROOMS = sorted(m.name for m in pkgutil.iter_modules(mmjax.__path__))


def public(room):
    """`(name, value)` of all that a room exports: what `__all__` names, else what it defines."""
    module = importlib.import_module(f"mmjax.{room}")
    own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
    names = getattr(module, "__all__", [n for n in own if not n.startswith("_")])
    return [(name, getattr(module, name)) for name in names]


def functions(name, value):
    """`(name, function)` of a function, or of a class's public methods that are ours."""
    if inspect.isclass(value):
        for key, member in vars(value).items():
            member = getattr(member, "__func__", member)
            ours = inspect.isfunction(member) and member.__module__.startswith("mmjax")
            if ours and (key == "__init__" or not key.startswith("_")):
                yield f"{name}.{key}", member
    elif inspect.isfunction(inspect.unwrap(value)):
        yield name, inspect.unwrap(value)


def untold(name, function):
    """Arguments without a type, and `return`."""
    signature = inspect.signature(function)
    found = [
        f"{name}({argument})"
        for argument, parameter in signature.parameters.items()
        if argument not in ("self", "cls") and parameter.annotation is inspect.Parameter.empty
    ]
    returns = signature.return_annotation is not inspect.Signature.empty
    return found if returns else [*found, f"{name} -> "]


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_argument_has_a_type(room):
    pairs = [pair for name, value in public(room) for pair in functions(name, value)]
    assert not [told for pair in pairs for told in untold(*pair)]


def test_the_look_can_tell():
    def bare(x, *, y: int = 0, **rest):
        pass

    assert untold("f", bare) == ["f(x)", "f(rest)", "f -> "]
    assert sum(len(list(functions(*pair))) for pair in public("losses")) > 10


def test_type_checkers_are_told():
    assert (ROOT / "mmjax/py.typed").exists()
    text = (ROOT / "pyproject.toml").read_text()
    assert 'mmjax = ["py.typed"' in text and "\nmypy\n" in (ROOT / ".ci/run").read_text()
