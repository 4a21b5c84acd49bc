"""The examples in docstrings run and print what they say."""

import doctest
import re
from importlib import import_module

import pytest

from tests.places import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "mutscan").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str) -> None:
    outcome = doctest.testmod(import_module(module))
    assert outcome.attempted
    assert not outcome.failed


def test_they_are_found() -> None:
    assert len(MODULES) > 30


def test_no_docstring_cites_a_document_that_does_not_ship() -> None:
    found = [
        path.name
        for folder in ("mutscan", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\b[Ss]pec (section )?\d", path.read_text(encoding="utf-8"))
    ]
    assert found == []
