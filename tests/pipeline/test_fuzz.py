"""Whatever list is pasted: one row for each line, and what is planned fits the protein."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from mutscan.errors import ROW_CODES
from mutscan.inputs import read_arguments
from mutscan.pipeline.plan import Plan, make_plan, resolve_wild_type
from mutscan.structures import WildType
from tests.places import GLOBIN
from tests.strategies import anything

pytestmark = pytest.mark.fuzz

GLOBIN_TYPE = resolve_wild_type(str(GLOBIN / "wild_type.cif"), offline=True)
KNOWN = replace(GLOBIN_TYPE, identifiers={"accession": "P02218", "entry": "GLB_LUMTE", "gene": "HBA"})
SHORT = WildType("sp|P04637|P53_HUMAN", "MKALWLLLLLCVLLVSSVQAAQATEVKRWGHPFYNCIMSTEEQLKDAPRV")


@st.composite
def fitting(draw: st.DrawFn, sequence: str) -> str:
    """A substitution that fits as written or in shifted numbers, perhaps of another protein."""
    position = draw(st.integers(1, len(sequence)))
    shift = draw(st.sampled_from([0, 0, 4, -20, 500]))
    name = draw(st.sampled_from(["", "", "P04637:p.", "P38398:p.", "TP53:", "B:", "HBA:p.", "GLB_LUMTE:"]))
    return f"{name}{sequence[position - 1]}{position + shift}{draw(st.sampled_from('ACDEFW'))}"


def known(wild_type: WildType) -> bool:
    return bool(wild_type.identifiers) or "|" in wild_type.name


def check(plan: Plan, texts: list[str]) -> None:
    assert [row.source.number for row in plan.rows] == list(range(1, len(texts) + 1))
    assert sum(plan.counts.values()) == len(texts)
    sequence = plan.wild_type.sequence
    for row in plan.rows:
        assert (row.variant is None) != (row.error is None)
        if row.variant is not None:
            assert row.variant.apply(sequence) != sequence
            assert all(sequence[position - 1] == letter for position, letter in row.variant.sites)
            named_other = row.source.text.startswith(("P38398:", "BRCA2_HUMAN:"))
            assert not (named_other and known(plan.wild_type))
        else:
            assert row.error is not None
            assert row.error.code in ROW_CODES
            assert len(row.error.message.splitlines()) == 1


@given(
    st.lists(st.one_of(anything, fitting(GLOBIN_TYPE.sequence)), min_size=1, max_size=12),
    st.sampled_from([GLOBIN_TYPE, KNOWN]),
    st.sampled_from(["sequence", "author"]),
    st.booleans(),
)
@example(["B:L38D", "A:L38D", "NM_000546.6(TP53):c.1A>G (p.Leu38Asp)"], KNOWN, "sequence", True)
@example(["B\x0b:A1A", "B\x0b:p.Lys3\x0bArg"], GLOBIN_TYPE, "sequence", False)
@example(["R16A", "D21A", "E10R", "L42D"], GLOBIN_TYPE, "sequence", False)
def test_any_list_against_a_structure(
    texts: list[str], wild_type: WildType, numbering: str, strict: bool
) -> None:
    plan = make_plan(wild_type, read_arguments(texts), numbering=numbering, strict=strict)
    check(plan, texts)
    if strict:
        assert not any(row.doubt for row in plan.rows)


@given(st.lists(st.one_of(anything, fitting(SHORT.sequence)), min_size=1, max_size=12))
@example(["M1V", "P38398:K2R", "V26A", "\udcff", "M1V\x0b;K2A", "P38398\x85:K2R"])
def test_any_list_against_a_sequence(texts: list[str]) -> None:
    check(make_plan(SHORT, read_arguments(texts)), texts)
