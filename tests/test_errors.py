"""The list of error codes holds exactly those that are raised."""

import ast
import pickle

import pytest
from typer.testing import CliRunner

from mutscan import errors
from mutscan.cli.app import app
from mutscan.errors import ROW_CODES, RUN_CODES, MutscanError, UsageError
from tests.places import ROOT

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MutscanError)]


def written(node: ast.AST) -> list[tuple[str, str]]:
    """Codes in one piece of syntax, each with the name of what is called or made with it."""
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        return [
            (name, keyword.value.value)
            for keyword in node.keywords
            if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
        ]
    if isinstance(node, ast.FunctionDef):
        last = zip(node.args.args[::-1], node.args.defaults[::-1], strict=False)
        pairs = [*last, *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
        return [
            (node.name, default.value)
            for argument, default in pairs
            if argument.arg == "code" and isinstance(default, ast.Constant) and default.value is not None
        ]
    return []


def test_every_code_is_listed_and_every_listed_code_is_used() -> None:
    found = [
        pair
        for path in (ROOT / "mutscan").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for pair in written(node)
    ]
    assert len(found) > 30
    used = {code for _, code in found} | {kind.default_code for kind in KINDS}
    assert used == ROW_CODES.keys() | RUN_CODES.keys()
    assert not ROW_CODES.keys() & RUN_CODES.keys()
    in_rows = {code for name, code in found if name in ("VariantError", "BuildError", "self.refuse")}
    assert in_rows <= ROW_CODES.keys()


def test_help_of_score_lists_the_codes_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, ["score", "--help"]).stdout
    for code, meaning in ROW_CODES.items():
        assert f"{code}: {meaning}" in shown


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_crosses_processes_whole(kind: type[MutscanError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what was read", code="too_long")))
    assert (type(error), error.message, error.code) == (kind, "what was read", "too_long")
    assert kind("x").code == kind.default_code


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    assert all(kind.__name__ in errors.__doc__ for kind in KINDS)
    assert UsageError in KINDS
