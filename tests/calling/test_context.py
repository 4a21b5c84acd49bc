"""Site contexts: their text and back."""

import math

import pytest

from mutscan.calling.context import NearSite, SiteContext, read_context, read_contexts, write_contexts

FULL = SiteContext(
    element="helix",
    number=2,
    first=24,
    last=41,
    turn="last turn",
    burial="buried",
    accessibility=0.04,
    domains=(("Globin domain", "UniProt"), ("Globin 1 of 2 [IPR000971]", "InterPro")),
    sites=(
        NearSite("motif 38-41 (EF)", "UniProt", 0.0),
        NearSite("binding site 93 (Fe(2+) / heme)", "UniProt", 6.0),
        NearSite("active site 12", "UniProt", 7.9),
        NearSite("disulfide bond 36", "UniProt", math.nan),
    ),
    touches=("helix 5 (82-95)", "domain 2"),
    end="3 residues from the N-terminus",
    plddt=62.0,
)


def test_text_is_the_documented_one() -> None:
    assert str(FULL) == (
        "helix 2 (24-41), last turn; buried (4 % accessible); in Globin domain (UniProt); "
        "in Globin 1 of 2 [IPR000971] (InterPro); at motif 38-41 (EF) (UniProt); "
        "6 Å from binding site 93 (Fe(2+) / heme) (UniProt); 7.9 Å from active site 12 (UniProt); "
        "next to disulfide bond 36 (UniProt); touches helix 5 (82-95), domain 2; "
        "3 residues from the N-terminus; pLDDT 62"
    )
    assert str(SiteContext()) == ""
    assert str(SiteContext("loop", first=7, last=7, burial="exposed")) == "loop (7); exposed"


@pytest.mark.parametrize(
    "context",
    [
        FULL,
        SiteContext(),
        SiteContext("loop", first=7, last=7, burial="half buried"),
        SiteContext("strand", 11, 3, 9, end="N-terminal residue"),
        SiteContext(element="strand", number=1),
        SiteContext(burial="exposed", accessibility=1.0, end="1 residue from the C-terminus"),
        SiteContext(sites=(NearSite("region 3-9", "InterPro", math.nan),)),
    ],
)
def test_every_part_is_read_back(context: SiteContext) -> None:
    assert repr(read_context(str(context))) == repr(context)  # NaN is equal to none but in print


def test_joint_mutants_name_their_positions() -> None:
    other = SiteContext("loop", first=50, last=61, burial="exposed")
    cell = write_contexts({38: FULL, 55: other})
    assert cell == f"38: {FULL} | 55: {other}"
    assert repr(read_contexts(cell, [38, 55])) == repr({38: FULL, 55: other})
    assert write_contexts({38: FULL}) == str(FULL)
    assert repr(read_contexts(str(FULL), [38])) == repr({38: FULL})
    assert read_contexts(write_contexts({38: SiteContext(), 55: SiteContext()}), [38, 55]) == {}
    assert list(read_contexts(write_contexts({38: SiteContext(), 55: other}), [38, 55])) == [55]
    assert write_contexts({38: SiteContext()}) == ""


def test_other_text_is_refused() -> None:
    with pytest.raises(ValueError, match="'on the moon' is in none of the documented forms"):
        read_context("exposed; on the moon")
    with pytest.raises(ValueError, match="'in Globin domain'"):
        read_context("in Globin domain")
    with pytest.raises(ValueError, match="one position expected for 'exposed'"):
        read_contexts("exposed", [3, 4])
