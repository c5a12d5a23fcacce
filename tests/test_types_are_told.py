"""Every public argument has a type, and the package says so to type checkers."""

import ast
import importlib
import inspect
import pkgutil
import textwrap
import tomllib
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


def declared(path):
    """`(function, whether it is a method)` of what a file has for others, in rooms or not."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            yield node, False
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from ((m, True) for m in node.body if isinstance(m, ast.FunctionDef))


def untyped(node, is_method):
    """Arguments without a type, and `return`."""
    a = node.args
    given = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
    given = [one for one in given if one is not None and one.annotation is None]
    found = [one.arg for one in given if not (is_method and one.arg in ("self", "cls"))]
    return found if node.returns else [*found, "return"]


def test_so_has_that_of_every_public_function_of_every_module():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}({argument})"
        for path in sorted((ROOT / "mmjax").rglob("*.py"))
        for node, is_method in declared(path)
        if node.name == "__init__" or not node.name.startswith("_")
        for argument in untyped(node, is_method)
    ]
    assert not found


def test_no_module_is_left_out_of_the_check():
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert mypy["packages"] == ["mmjax"] and not mypy.get("overrides")


def test_the_look_can_tell():
    def bare(x, *, y: int = 0, **rest):
        pass

    assert untold("f", bare) == ["f(x)", "f(rest)", "f -> "]
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(bare))).body
    assert untyped(node, False) == ["x", "rest", "return"]
    assert sum(len(list(functions(*pair))) for pair in public("losses")) > 10


def test_type_checkers_are_told():
    assert (ROOT / "mmjax/py.typed").exists()
    text = (ROOT / "pyproject.toml").read_text()
    assert (
        'mmjax = ["py.typed"' in text
        and '/mypy" --python-executable' in (ROOT / ".ci/run").read_text()
    )
