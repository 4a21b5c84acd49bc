"""Whatever text is pasted as a variant is read as it says, or refused in one clear line."""

import re

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from mutscan.errors import ROW_CODES, VariantError
from mutscan.variants import Variant, parse_variant, split_reference
from tests.strategies import anything

pytestmark = pytest.mark.fuzz

NUMBERS = {"-3": 1, "1": 2, **{str(n): n + 1 for n in range(2, 28)}, "27A": 29, "27B": 30, "40": 31}


def read(text: str, numbers: dict[str, int] | None = None) -> Variant | None:
    """Read a text; what is refused is refused in words."""
    try:
        return parse_variant(text, numbers)
    except VariantError as error:
        refused = error
    assert refused.code in ROW_CODES
    assert len(refused.message.splitlines()) == 1
    assert 10 < len(refused.message) < 900
    return None


@given(anything)
@example("w175ſ")  # upper() makes an S of it
@example("r175ı")
@example("r175K")
@example("I3E9K:W217N")  # the first part was read as a protein
@example("K-4A:R30Q")
@example("R40AA")
@example("P04637:p.K1_K2insſ")
@example("R175H\x00")
@example("17\t7675088\t.\tC\tT")
def test_what_is_read_stands_there(text: str) -> None:
    variant = read(text)
    if variant is None:
        return
    assert parse_variant(str(variant)) == variant
    assert parse_variant(variant.hgvs) == variant
    rest = split_reference(text)[1]
    assert all(letter.isascii() for letter in rest if not letter.isspace())
    for position, _ in variant.sites[:1] + variant.sites[-1:]:
        assert any(int(number) == position for number in re.findall(r"[0-9]+", rest)) or "_" in rest


@given(anything)
@example("S27aA")
@example("S27AA")
@example("K-3A")
@example("S27a_S27bdel")
@example("S27A_S27Bdelinsſ")
def test_what_is_read_in_a_file_s_numbers_stands_there(text: str) -> None:
    variant = read(text, NUMBERS)
    if variant is None:
        return
    assert {position for position, _ in variant.sites[:1]} <= set(NUMBERS.values())
    rest = split_reference(text, NUMBERS)[1]
    assert all(letter.isascii() for letter in rest if not letter.isspace())


@given(anything, st.sampled_from(["P04637:", "NP_000537.3:p.", "TP53:p."]))
@example("A1V", "P04637:")
def test_a_reference_changes_nothing(text: str, reference: str) -> None:
    alone, referred = read(text), read(reference + text)
    if alone is not None and referred is not None:
        assert alone == referred
