"""What neither ruff nor import-linter can hold: the size of things, and what the pure core may touch at all."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("daemon", "correlators", "sinks", "tests")
FILES = sorted(path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
CORE = [path for path in FILES if path.parts[:2] == ("daemon", "core")]

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

# All that the core may import besides itself. Nothing here knows the time, the machine, or luck.
CORE_MAY_IMPORT = {
    "__future__", "abc", "bisect", "collections", "contextlib", "copy", "dataclasses", "enum", "fractions",
    "functools", "hashlib", "heapq", "itertools", "math", "msgspec", "operator", "string", "struct", "types", "typing",
}  # fmt: skip
# math's functions that may differ in their last bit from one C library to the next.
CORE_MAY_NOT_CALL_OF_MATH = {"exp", "log", "log2", "log10", "log1p", "pow", "sin", "cos", "tan"}
# Ways round the imports, and what talks to the outside or differs from run to run.
CORE_MAY_NOT_CALL = {"__import__", "breakpoint", "compile", "eval", "exec", "hash", "id", "input", "open", "print"}


def _tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path))


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_functions_fit_a_head(path: Path) -> None:
    lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES_MAX, f"{path} has {lines} lines: split it by what it does"
    for function in _functions(_tree(path)):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        where = f"{path}:{function.lineno} {function.name}"
        assert length <= FUNCTION_LINES_MAX, f"{where} has {length} lines: name its steps"


@pytest.mark.parametrize("path", CORE, ids=str)
def test_the_core_imports_only_what_is_pure(path: Path) -> None:
    for node in ast.walk(_tree(path)):
        for name in _imported(node):
            allowed = name == "daemon.core" or name.startswith("daemon.core.") or name.split(".")[0] in CORE_MAY_IMPORT
            assert allowed, f"{path}:{getattr(node, 'lineno', 0)} imports {name}: the core is pure"


@pytest.mark.parametrize("path", CORE, ids=str)
def test_the_core_calls_nothing_that_differs_between_runs(path: Path) -> None:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Call):
            called = _called(node)
            assert called is None, f"{path}:{node.lineno} calls {called}: the same records must give the same decisions"


@pytest.mark.parametrize("path", CORE, ids=str)
def test_the_core_never_walks_a_set(path: Path) -> None:
    for node in ast.walk(_tree(path)):
        walked = [node.iter] if isinstance(node, ast.For | ast.comprehension) else []
        for iterable in walked:
            assert not _is_set(iterable), f"{path}:{iterable.lineno} walks a set, whose order differs between runs"


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["relative import"] if node.level else [node.module or ""]
    return []


def _called(node: ast.Call) -> str | None:
    function = node.func
    if isinstance(function, ast.Name) and function.id in CORE_MAY_NOT_CALL:
        return function.id
    if (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "math"
        and function.attr in CORE_MAY_NOT_CALL_OF_MATH
    ):
        return f"math.{function.attr}"
    return None


def _is_set(node: ast.expr) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"set", "frozenset"}
