import time
from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

from mutscan.errors import VariantError
from mutscan.residues import STANDARD, THREE_LETTER
from mutscan.variants import (
    InFrameIndel,
    Substitution,
    Variant,
    difference,
    normalise,
    parse_variant,
    split_reference,
    suggest_offset,
)

# --- what variants there can be --------------------------------------------------------------------------

residues = st.sampled_from(STANDARD)
proteins = st.text(alphabet=STANDARD, min_size=2, max_size=40)
# Few letters: repeats, where an indel can sit at several places.
repetitive = st.text(alphabet="AK", min_size=2, max_size=12)


@st.composite
def substitutions_of(draw: st.DrawFn, sequence: str) -> Variant:
    positions = draw(st.lists(st.integers(1, len(sequence)), min_size=1, max_size=5, unique=True))
    chosen = []
    for position in positions:
        wild_type = sequence[position - 1]
        chosen.append(Substitution(position, wild_type, draw(residues.filter(lambda r: r != wild_type))))  # noqa: B023
    return Variant(tuple(chosen))


@st.composite
def indels_of(draw: st.DrawFn, sequence: str) -> Variant:
    length = len(sequence)
    kind = draw(st.sampled_from(["del", "ins", "delins", "dup"]))
    start = draw(st.integers(1, length))
    end = draw(st.integers(start, length))
    inserted = draw(st.text(alphabet=STANDARD, min_size=1, max_size=5))
    deleted = sequence[start - 1 : end]
    if kind == "ins":
        assume(start < length)
        return Variant(indel=InFrameIndel(start + 1, start, "", inserted, sequence[start - 1 : start + 1]))
    if kind == "dup":
        return Variant(indel=InFrameIndel(end + 1, end, "", deleted, duplication=True))
    if kind == "del":
        assume(len(deleted) < length)
        return Variant(indel=InFrameIndel(start, end, deleted, ""))
    # Short equal-length delins are read as the substitutions they are.
    assume(len(inserted) != len(deleted))
    return Variant(indel=InFrameIndel(start, end, deleted, inserted))


@st.composite
def with_sequence(draw: st.DrawFn, sequences: st.SearchStrategy[str] = proteins) -> tuple[Variant, str]:
    sequence = draw(sequences)
    return draw(st.one_of(substitutions_of(sequence), indels_of(sequence))), sequence


def refusal(call: Callable[..., object], *arguments: object) -> VariantError | None:
    try:
        call(*arguments)
    except VariantError as error:
        return error
    return None


# --- laws ------------------------------------------------------------------------------------------------


@given(with_sequence())
def test_both_spellings_read_back(case: tuple[Variant, str]) -> None:
    variant, _ = case
    assert parse_variant(str(variant)) == variant
    assert parse_variant(variant.hgvs) == variant
    assert str(parse_variant(variant.hgvs)) == str(variant)
    assert hash(parse_variant(variant.hgvs)) == hash(variant)


@given(with_sequence(), st.sampled_from([str.lower, str.upper, str.title]), st.booleans(), st.booleans())
def test_three_letter_codes_in_any_case(
    case: tuple[Variant, str], change, dotted: bool, bracketed: bool
) -> None:
    variant, _ = case
    assume(variant.indel is None)
    text = ";".join(change(one.hgvs) for one in variant.substitutions)
    text = f"({text})" if bracketed else text
    assert parse_variant(f"p.{text}" if dotted else text) == variant


@given(
    st.integers(2, 8),
    st.sampled_from(";:/+"),
    st.randoms(use_true_random=False),
    st.sampled_from(["", "p."]),
    st.sampled_from(["", "P04637:", "NP_000537.3:", "sp|P04637|P53_HUMAN:", "A0A024R161-2:"]),
    st.sampled_from(["", " "]),
)
def test_joined_substitutions_in_any_order(n, joiner, random, dotted, reference, blank) -> None:
    sequence = "".join(random.choice(STANDARD) for _ in range(60))
    positions = random.sample(range(1, 61), n)
    chosen = [
        Substitution(p, sequence[p - 1], random.choice(STANDARD.replace(sequence[p - 1], "")))
        for p in positions
    ]
    text = reference + dotted + f"{blank}{joiner}{blank}".join(map(str, chosen))
    variant = parse_variant(text)
    assert variant == Variant(tuple(chosen))
    assert str(variant) == ";".join(map(str, sorted(chosen)))
    assert variant.positions == tuple(sorted(positions))
    assert variant.n_substitutions == n
    found, _ = split_reference(text)
    assert found == ({"sp|P04637|P53_HUMAN:": "P04637"}.get(reference, reference[:-1]) or None)


@given(with_sequence())
def test_the_mutant_leads_back_to_the_variant(case: tuple[Variant, str]) -> None:
    variant, sequence = case
    if refused := refusal(variant.apply, sequence):
        assert refused.code in ("synonymous", "unsupported_variant")
        return
    mutant = variant.apply(sequence)
    canonical = normalise(variant, sequence)
    assert canonical.apply(sequence) == mutant
    assert normalise(canonical, sequence) == canonical
    if variant.indel is None:
        assert canonical == variant
    if refused := refusal(difference, sequence, mutant):
        # A big change, or one that as well reads as residues added at an end.
        assert refused.code in ("bad_variant", "unsupported_variant")
    else:
        assert difference(sequence, mutant) == canonical


@given(repetitive.flatmap(lambda sequence: st.tuples(*[with_sequence(st.just(sequence))] * 2)))
def test_the_canonical_form_is_one_for_each_mutant(
    two: tuple[tuple[Variant, str], tuple[Variant, str]],
) -> None:
    (variant, sequence), (other, _) = two
    if refusal(variant.apply, sequence) or refusal(other.apply, sequence):
        return
    same = other.apply(sequence) == variant.apply(sequence)
    assert (normalise(variant, sequence) == normalise(other, sequence)) == same


@given(with_sequence())
def test_alignment_follows_from_the_edit(case: tuple[Variant, str]) -> None:
    variant, sequence = case
    try:
        mutant = variant.apply(sequence)
    except VariantError:
        assume(False)
    pairs = variant.alignment(len(sequence))
    assert pairs.shape[1] == 2
    assert pairs.dtype == np.int64
    assert (np.diff(pairs, axis=0) > 0).all()
    if variant.indel is None:
        assert pairs.tolist() == [[i, i] for i in range(len(sequence))]
        assert [i + 1 for i, j in pairs if sequence[i] != mutant[j]] == list(variant.positions)
        return
    assert all(sequence[i] == mutant[j] for i, j in pairs)
    assert len(pairs) == len(sequence) - len(variant.indel.deleted)
    unpaired = set(range(len(mutant))) - set(pairs[:, 1].tolist())
    assert len(unpaired) == len(variant.indel.inserted)
    with pytest.raises(VariantError, match="residues"):
        variant.alignment(variant.positions[-1] - 1)


@given(with_sequence(), st.data())
def test_a_wrong_wild_type_letter_is_always_found(case: tuple[Variant, str], data) -> None:
    variant, sequence = case
    position, letter = data.draw(st.sampled_from(variant.sites))
    assert sequence[position - 1] == letter
    other = data.draw(residues.filter(lambda r: r != letter))
    changed = sequence[: position - 1] + other + sequence[position:]
    with pytest.raises(VariantError) as caught:
        variant.check(changed)
    assert caught.value.code == "wild_type_mismatch"
    assert f"expected {letter} at position {position} (as written), the wild type has {other}" in str(
        caught.value
    )


@given(st.text(max_size=60) | st.text(alphabet="RKHpdelinsup._;:/+[]()=*?0123456789 ", max_size=40))
@settings(max_examples=400)
def test_any_text_is_read_or_refused_with_words(text: str) -> None:
    if refused := refusal(parse_variant, text):
        assert refused.code in ("bad_variant", "synonymous", "unsupported_variant", "position_out_of_range")
        assert "\n" not in refused.message
        assert 10 < len(refused.message) < 600
    else:
        variant = parse_variant(text)
        assert parse_variant(str(variant)) == variant


@given(with_sequence(), st.data())
def test_a_slip_never_passes_for_the_variant(case: tuple[Variant, str], data) -> None:
    """Drop, double or swap one character: the result is refused, or reads as just what it says."""
    variant, _ = case
    text = str(variant)
    i = data.draw(st.integers(0, len(text) - 1))
    slip = data.draw(
        st.sampled_from(
            [text[:i] + text[i + 1 :], text[:i] + text[i] + text[i:], text[:i] + "#" + text[i + 1 :]]
        )
    )
    try:
        read = parse_variant(slip)
    except VariantError:
        return
    if read.indel is None and "ins" not in slip:
        assert sorted(str(read).split(";")) == sorted(slip.split(";"))


# --- spellings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("R175H", "R175H"),
        ("  R175H\t", "R175H"),
        ("p.R175H", "R175H"),
        ("P.R175H", "R175H"),
        ("p.Arg175His", "R175H"),
        ("p.(Arg175His)", "R175H"),
        ("p.[Arg175His]", "R175H"),
        ("(R175H)", "R175H"),
        ("p.(R175H)", "R175H"),
        ("arg175his", "R175H"),
        ("ARG175HIS", "R175H"),
        ("R175His", "R175H"),
        ("r175h", "R175H"),
        ("R0175H", "R175H"),
        ("P04637:p.R175H", "R175H"),
        ("NP_000537.3:p.Arg175His", "R175H"),
        ("P04637 R175H", "R175H"),
        ("P04637/R175H", "R175H"),
        ("NM_000546.6(TP53):c.524G>A (p.Arg175His)", "R175H"),
        ("R248Q;R175H", "R175H;R248Q"),
        ("R248Q:R175H", "R175H;R248Q"),
        ("R248Q/R175H", "R175H;R248Q"),
        ("R248Q+R175H", "R175H;R248Q"),
        ("A1P:D2N", "A1P;D2N"),
        ("P04637:R175H:R248Q", "R175H;R248Q"),
        ("P04637:p.R175H;P04637:p.R248Q", "R175H;R248Q"),
        ("p.Arg175His;p.Arg248Gln", "R175H;R248Q"),
        ("p.[Arg175His;Arg248Gln]", "R175H;R248Q"),
        ("p.[(Arg175His;Arg248Gln)]", "R175H;R248Q"),
        ("P04637:p.([Arg175His;Arg248Gln])", "R175H;R248Q"),
        ("p.[(Arg175His);(Arg248Gln)]", "R175H;R248Q"),
        ("p.[Arg175His;Arg248=]", "R175H"),
        ("p.[=;Arg175His;Arg248Gln]", "R175H;R248Q"),
        ("17:7675088 C>T ENSP00000269305.4:p.Arg175His", "R175H"),
        ("U49C", "U49C"),
        ("p.Sec49Cys", "U49C"),
        ("M1V", "M1V"),
        ("K120del", "K120del"),
        ("p.Lys120del", "K120del"),
        ("p.(Lys120_Arg122del)", "K120_R122del"),
        ("K120_R122delKSR", "K120_R122del"),
        ("p.Lys120_Arg122delLysSerArg", "K120_R122del"),
        ("p.Lys120_Ser121insAla", "K120_S121insA"),
        ("p.lys120_ser121insalagly", "K120_S121insAG"),
        ("p.LYS120_SER121insALA", "K120_S121insA"),
        ("K120_S121insALA", "K120_S121insALA"),
        ("K120_R122delinsAG", "K120_R122delinsAG"),
        ("K120_R122delKSRinsAG", "K120_R122delinsAG"),
        ("p.Lys120_Arg122delLysSerArginsAlaGly", "K120_R122delinsAG"),
        ("K120dup", "K120dup"),
        ("p.Lys120_Arg122dup", "K120_R122dup"),
        ("K120delinsR", "K120R"),
        ("K120_S121delinsRT", "K120R;S121T"),
        ("K120_S121delinsKT", "S121T"),
        ("K120_R122delKSRinsAAA", "K120A;S121A;R122A"),
    ],
)
def test_what_is_read(text: str, expected: str) -> None:
    assert str(parse_variant(text)) == expected


@pytest.mark.parametrize(
    ("text", "hgvs", "stem"),
    [
        ("R175H", "p.Arg175His", "R175H"),
        ("R248Q;R175H", "p.[Arg175His;Arg248Gln]", "R175H_R248Q"),
        ("K120del", "p.Lys120del", "K120del"),
        ("K120_R122del", "p.Lys120_Arg122del", "K120_R122del"),
        ("K120_S121insAW", "p.Lys120_Ser121insAlaTrp", "K120_S121insAW"),
        ("K120_R122delinsAG", "p.Lys120_Arg122delinsAlaGly", "K120_R122delinsAG"),
        ("K120dup", "p.Lys120dup", "K120dup"),
        ("U49C", "p.Sec49Cys", "U49C"),
    ],
)
def test_spellings(text: str, hgvs: str, stem: str) -> None:
    variant = parse_variant(text)
    assert variant.hgvs == hgvs
    assert variant.file_stem == stem


def test_all_twenty_residues() -> None:
    for one, three in THREE_LETTER.items():
        other = "A" if one != "A" else "G"
        assert str(parse_variant(f"p.{three.title()}7{THREE_LETTER[other].title()}")) == f"{one}7{other}"
        assert str(parse_variant(f"{other}7{one}")) == f"{other}7{one}"


@pytest.mark.parametrize(
    ("code", "texts"),
    {
        "synonymous": "R175R R175= p.R175= p.Arg175= p.(Arg175=) p.= p.(=) = p.Arg175%3D p.Arg175Arg r175r "
        "K120delinsK P04637:p.Arg175= K120_S121delinsKS _wt _sy p._wt p.[=;=] p.[Ala2=;Gly3=] p.[=]",
        "unsupported_variant": "R175* R175X R175Ter p.Arg175Ter p.Arg175* p.(Tyr4*) R175x p.Arg175Stop "
        "R97fs R97Pfs*12 p.Arg97ProfsTer23 p.Arg97fs p.(Arg97Profs*23) R97Pfs p.Arg97fsTer "
        "M1? p.Met1? p.0 p.0? p.? M1ext-5 p.Met1ext-5 *394Rext*17 p.Ter394Argext*17 *394R p.Ter394Arg "
        "R175U R175O R175B R175Z R175J R175Sec p.Arg175Pyl p.Arg175Xaa p.Arg175Asx p.Arg175? "
        "K120_S121insX K120_S121insTer p.Lys120_Ser121insTer K120_S121ins5 p.Lys120_Ser121insXaa K120delins* "
        "p.Lys120_Ter394del c.524G>A NM_000546.6:c.524G>A g.7675088C>T p.[Arg175His];[Arg248Gln] "
        "p.[Arg175His(;)Arg248Gln] K120del;R248Q R248Q;K120_S121insA p.(Arg175_Lys180)del p.Gln18[23] "
        "p.Gly56^Ser chr17:7675088:C:T 17-7675088-C-T NC_000017.11:7675088:C:T",
        "bad_variant": "foo 175H 175 R R175 R- RR175H RA175H R175HH Arq175His Arg175Hiss R-175H R1.5H R175-H "
        "R175>H R_175_H R175H,R248Q R175H_R248Q R175H; ;R175H R175H;;R248Q ; : / + p. () [] (R175H p.(R175H "
        "R175H) p.[R175H R175H;R175H R175H;R175C R175H;R175R R175R;R248Q g12c a4t R175h r175H Arg175h "
        "K120DEL k120del delF508 ΔF508 F508∆ K120insA K120_S122insA S121_K120del K120_K120del K120_R122A "
        "K120_R122delKR K120_R122delASR K120_Ser121insA Lys120_S121insAla K120_S121insAla Lys120_Ser121insAl "
        "K120_S121ins K120delins K120_S121insala R175٣H R１75H К120A P04637 rs28934578 "
        "MEEPQSDPSVEPPLSQETFSDLWKLLPEN P04637:R175H;P38398:R248Q R248Q;P04637:R175H T4L:p.A42K R175:R248Q "
        "R175HX:R248Q 175H:R248Q RA175H:R248Q Arq175His:R248Q R175H_R248Q:A12C "
        "I3E9K:W217N K-4A K-4A:R30Q R40AA S27aA w175ſ r175ı r175\u212a",
        "position_out_of_range": "R0H R000H p.Arg0His R99999999999H K1_R999999999del R" + "9" * 5000 + "H",
    }.items(),
)
def test_what_is_refused(code: str, texts: str) -> None:
    for text in texts.split():
        with pytest.raises(VariantError) as caught:
            parse_variant(text)
        assert caught.value.code == code, (text, caught.value)


def test_lines_of_vcf_files_are_changes_of_dna() -> None:
    for text in ("17\t7675088\t.\tC\tT", "chr17 7675088 rs28934578 C T,G 50 PASS DP=3"):
        with pytest.raises(VariantError, match=r"change of DNA by its place.*mutscan batch") as caught:
            parse_variant(text)
        assert caught.value.code == "unsupported_variant"


FILE_NUMBERS = {
    "-4": 1,
    "27": 22,
    "27A": 23,
    "27B": 24,
    "100": 90,
    "101": 91,
    "195": 177,
    "200b": 180,
    "200B": 181,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("S195A", "S177A"),
        ("S27aA", "S23A"),
        ("S27AA", "S23A"),  # 27AA can be nothing else
        ("p.Ser27aAla", "S23A"),
        ("Ser27AAla", "S23A"),
        ("S27Ala", "S22A"),  # a residue before an insertion code
        ("S27Asn", "S22N"),
        ("S27A", "S22A"),
        ("P04637:S027bA", "S24A"),
        ("K-4A", "K1A"),
        ("K-4A:S27aA", "K1A;S23A"),
        ("S27bdel", "S24del"),
        ("S27a_T27bdel", "S23_T24del"),
        ("S27_T27BdelinsG", "S22_T24delinsG"),
        ("S100_T101insA", "S90_T91insA"),
        ("S200bA", "S180A"),
        ("S200BA", "S181A"),
    ],
)
def test_numbers_of_a_structure_file(text: str, expected: str) -> None:
    assert str(parse_variant(text, FILE_NUMBERS)) == expected


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (
            "S28A",
            "position_out_of_range",
            "28 is no residue number of the structure file",
        ),
        ("S27cA", "position_out_of_range", "27c is no residue number"),
        ("S27a", "bad_variant", "mixes upper and lower case"),
        ("S27aa", "bad_variant", "mixes upper and lower case"),
        ("S27A=", "synonymous", None),
        ("S27afs", "unsupported_variant", "frameshift"),
        ("S27a*", "unsupported_variant", "stop"),
    ],
)
def test_numbers_that_a_structure_file_lacks(text: str, code: str, words: str | None) -> None:
    with pytest.raises(VariantError, match=words) as caught:
        parse_variant(text, FILE_NUMBERS)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "text", ["", " ", "\n", "R175H R248Q", "R 175 H", "R175H\x00", "Arg 175 His", "R175H\nR248Q"]
)
def test_blanks(text: str) -> None:
    with pytest.raises(VariantError) as caught:
        parse_variant(text)
    assert caught.value.code == "bad_variant"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("g12c", "write G12C"),
        ("R175h", "write R175H"),
        ("RA175H", "chain letter"),
        ("K-4A", "position -4: positions count from 1"),
        ("R40AA", "--numbering author and write R40aA"),
        ("delF508", "F508del"),
        ("K120DEL", "lower case"),
        ("R175H,R248Q", "R175H;R248Q"),
        ("R175H;R175C", "two substitutions at position 175, R175H and R175C"),
        ("R175;R248Q", "does not say what R175 becomes"),
        ("P53:R175H", "'P53:p.'"),
        ("R175X", "a stop or unknown"),
        ("175H", "wild-type residue is missing"),
        ("K120_R122delKR", "must agree"),
        ("MEEPQSDPSVEPPLSQETFSDLWKLLPEN", "FASTA"),
        ("x" * 200_000, "characters are not a variant"),
    ],
)
def test_errors_say_what_to_do(text: str, words: str) -> None:
    with pytest.raises(VariantError) as caught:
        parse_variant(text)
    assert words in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("R175H", (None, "R175H")),
        ("R175H:R248Q", (None, "R175H:R248Q")),
        ("T4L:A42K", (None, "T4L:A42K")),
        ("p.R175H", (None, "p.R175H")),
        ("P04637:R175H", ("P04637", "R175H")),
        ("p04637:r175h", ("p04637", "r175h")),
        ("P04637-2:p.R175H", ("P04637-2", "p.R175H")),
        ("A0A024R161:A3P", ("A0A024R161", "A3P")),
        ("NP_000537.3:p.Arg175His", ("NP_000537.3", "p.Arg175His")),
        ("ENSP00000269305.4:p.Arg175His", ("ENSP00000269305.4", "p.Arg175His")),
        ("sp|P04637|P53_HUMAN:p.R175H", ("P04637", "p.R175H")),
        ("P53_HUMAN:R175H", ("P53_HUMAN", "R175H")),
        ("TP53:R175H", ("TP53", "R175H")),
        ("P53:p.R175H", ("P53", "p.R175H")),
        ("HLA-A:p.R68K", ("HLA-A", "p.R68K")),
        ("1ABC:R175H", ("1ABC", "R175H")),
        ("2GTL_A:R175H", ("2GTL_A", "R175H")),
        ("Q7Z4H8/A126C", ("Q7Z4H8", "A126C")),
        ("EGFR:p.G719S", ("EGFR", "p.G719S")),
        ("P04637:R175H;P04637:R248Q", ("P04637", "R175H;R248Q")),
        ("TP53:c.524G>A", ("TP53", "c.524G>A")),
        ("NM_000546.6(TP53):c.524G>A (p.Arg175His)", ("NM_000546.6(TP53)", "p.Arg175His")),
        ("17:7675088 C>T ENSP00000269305.4:p.Arg175His", ("ENSP00000269305.4", "p.Arg175His")),
        ("chr17:7675088 C>T,G P04637:p.R175H", ("P04637", "p.R175H")),
        ("chrUn_KI270742v1:5 C>* p.R175H;p.R248Q", (None, "p.R175H;p.R248Q")),
    ],
)
def test_split_reference(text: str, expected: tuple[str | None, str]) -> None:
    assert split_reference(text) == expected


# --- against a sequence ----------------------------------------------------------------------------------

INSULIN = (  # UniProt P01308
    "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQVELGGGPGAGSLQPLALEGSLQKRGIVEQCCTSICSLYQLENYCN"
)


def test_insulin_his34_is_one_based() -> None:
    """Specification, section 16, vector 8."""
    variant = parse_variant("P01308:p.His34Asp")
    assert INSULIN[33] == "H"
    variant.check(INSULIN)
    assert variant.apply(INSULIN)[33] == "D"
    assert difference(INSULIN, variant.apply(INSULIN)) == variant


def test_positions_past_the_end_name_the_length() -> None:
    with pytest.raises(VariantError) as caught:
        parse_variant("R175H").check(INSULIN)
    assert caught.value.code == "position_out_of_range"
    assert "position 175 is past the end of the wild type, which has 110 residues" in caught.value.message
    for text in ("N110_A111insG", "C109_A111del"):
        with pytest.raises(VariantError) as caught:
            parse_variant(text).check(INSULIN)
        assert caught.value.code == "position_out_of_range"


def test_every_wrong_letter_is_named_up_to_a_few() -> None:
    with pytest.raises(VariantError) as caught:
        parse_variant("K1A;L3A;K2A").check("MKLE")
    assert caught.value.message.startswith(
        "K1A;K2A;L3A: expected K at position 1 (as written), the wild type has M; check"
    )
    many = Variant(tuple(Substitution(i, "K", "A") for i in range(1, 31)))
    with pytest.raises(VariantError, match="and 25 more") as caught:
        many.check("E" * 30)
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    ("text", "mutant"),
    [
        ("M1del", "KLLE"),
        ("E5del", "MKLL"),
        ("K2_L4del", "ME"),
        ("M1_K2insA", "MAKLLE"),
        ("L4_E5insWW", "MKLLWWE"),
        ("K2_L4dup", "MKLLKLLE"),
        ("M1dup", "MMKLLE"),
        ("K2_L4delinsW", "MWE"),
        ("M1_E5delinsAC", "AC"),
        ("K2_L4delKLLinsAAA", "MAAAE"),
    ],
)
def test_indels_applied(text: str, mutant: str) -> None:
    assert parse_variant(text).apply("MKLLE") == mutant


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("L3del", "L4del"),
        ("L3_L4insL", "L4dup"),
        ("K2_L3insL", "L4dup"),
        ("K2_L4delinsKALL", "K2_L3insA"),
        ("K2_L4delinsKAL", "L3A"),
        ("L4_E5insEA", "L4_E5insEA"),
        ("M1_K2insKM", "M1_K2dup"),
        ("E5delinsEAE", "L4_E5insEA"),
        ("M1delinsAM", "M1delinsAM"),
        ("E5delinsEW", "E5delinsEW"),
    ],
)
def test_canonical_forms(text: str, canonical: str) -> None:
    assert str(normalise(parse_variant(text), "MKLLE")) == canonical


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("M1_E5del", "unsupported_variant"),
        ("K2_L4delinsKLL", "synonymous"),
        ("K2_L4delKALinsAA", "wild_type_mismatch"),
        ("K2_L4dupKAL", "wild_type_mismatch"),
        ("M1_L2insA", "wild_type_mismatch"),
    ],
)
def test_indels_that_do_not_fit(text: str, code: str) -> None:
    with pytest.raises(VariantError) as caught:
        parse_variant(text).check("MKLLE")
    assert caught.value.code == code


def test_selenocysteine_can_be_exchanged_where_it_is() -> None:
    parse_variant("U2C").check("MUK")
    assert parse_variant("U2C").apply("MUK") == "MCK"
    with pytest.raises(VariantError, match="expected C at position 2"):
        parse_variant("C2A").check("MUK")


def test_loss_of_the_start_is_known() -> None:
    assert parse_variant("M1V").exchanges_start
    assert parse_variant("M1_K2del").exchanges_start
    assert not parse_variant("M1_K2insA").exchanges_start
    assert not parse_variant("A1V").exchanges_start
    assert not parse_variant("M2V").exchanges_start


def test_long_names_fit_a_file_system_and_stay_distinct() -> None:
    one = Variant(tuple(Substitution(i, "K", "A") for i in range(1, 200)))
    other = Variant((*one.substitutions[:-1], Substitution(199, "K", "G")))
    assert len(one.file_stem) <= 150
    assert one.file_stem != other.file_stem
    assert one.file_stem.startswith("K1A_K2A_")


def test_variants_cannot_be_made_wrong() -> None:
    with pytest.raises(ValueError, match="substitutions or one"):
        Variant()
    with pytest.raises(ValueError, match="substitutions or one"):
        Variant((Substitution(1, "A", "G"),), InFrameIndel(1, 1, "A", ""))
    with pytest.raises(ValueError, match="one position"):
        Variant((Substitution(1, "A", "G"), Substitution(1, "A", "V")))
    for arguments in ((0, "A", "G"), (1, "A", "A"), (1, "A", "X"), (1, "a", "G"), (1, "AG", "K")):
        with pytest.raises(ValueError, match=r"position|residues|nothing"):
            Substitution(*arguments)
    for arguments in (
        (1, 2, "A", ""),
        (2, 1, "", ""),
        (2, 1, "", "A"),
        (1, 0, "", "A", "AA"),
        (1, 1, "A", "X"),
        (1, 1, ".", ""),
        (2, 1, "", "AAA", "", True),
        (1, 1, "A", "A", "", True),
    ):
        with pytest.raises(ValueError, match=r"residues|indel|insertion|copy"):
            InFrameIndel(*arguments)


# --- difference ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mutant", "expected"),
    [
        (INSULIN[:33] + "D" + INSULIN[34:], "H34D"),
        (INSULIN[:33] + "D" + INSULIN[34:109] + "A", "H34D;N110A"),
        (INSULIN[:7] + INSULIN[8:], "L8del"),  # LL at 7-8: the last of the run
        (INSULIN[:21] + INSULIN[22:], "A24del"),
        (INSULIN[:24] + "A" + INSULIN[24:], "A24dup"),
        (INSULIN[:30] + "WWW" + INSULIN[30:], "L30_C31insWWW"),
        (INSULIN[:30] + INSULIN[24:30] + INSULIN[30:], "F25_L30dup"),
        (INSULIN[:30] + "WW" + INSULIN[35:], "C31_L35delinsWW"),
        (INSULIN[1:], "M1del"),
        (INSULIN[:-1], "N110del"),
        (INSULIN + "N", "N110dup"),
    ],
)
def test_difference(mutant: str, expected: str) -> None:
    found = difference(INSULIN, mutant)
    assert str(found) == expected
    assert found.apply(INSULIN) == mutant


@pytest.mark.parametrize(
    ("mutant", "code", "words"),
    [
        (INSULIN, "synonymous", "equal to the wild type"),
        ("", "bad_variant", "no residue"),
        (INSULIN[:50] + "1" + INSULIN[51:], "bad_variant", "'1'"),
        (INSULIN.lower(), "bad_variant", "'m'"),
        (INSULIN[:50] + "*" + INSULIN[51:], "unsupported_variant", "position 51"),
        (INSULIN[:50] + "X" + INSULIN[51:], "unsupported_variant", "X at position 51"),
        (INSULIN[:50] + "GXG" + INSULIN[50:], "unsupported_variant", "X at position 52"),
        (INSULIN[:30], "bad_variant", "only 30 at its ends"),
        (INSULIN[::-1], "bad_variant", "of 110 positions"),
        ("MGSSHHHHHH" + INSULIN, "unsupported_variant", "before position 1"),
        (INSULIN + "LEHHHHHH", "unsupported_variant", "after position 110"),
        (INSULIN[:20] + "W" + INSULIN[21:80] + INSULIN[81:], "bad_variant", "at its ends"),
        (INSULIN[:60] + "W" + INSULIN[61:80] + INSULIN[81:], "unsupported_variant", "several places"),
    ],
)
def test_difference_refuses(mutant: str, code: str, words: str) -> None:
    with pytest.raises(VariantError) as caught:
        difference(INSULIN, mutant)
    assert caught.value.code == code
    assert words in caught.value.message


# --- offset ----------------------------------------------------------------------------------------------


@given(st.integers(-30, 200), st.data())
@settings(max_examples=50)
def test_a_constant_shift_is_found(shift: int, data) -> None:
    indices = data.draw(st.lists(st.integers(0, len(INSULIN) - 1), min_size=10, max_size=20, unique=True))
    assume(all(i + 1 + shift >= 1 for i in indices))
    variants = [
        Variant((Substitution(i + 1 + shift, INSULIN[i], "A" if INSULIN[i] != "A" else "G"),))
        for i in indices
    ]
    offset = suggest_offset(variants, INSULIN)
    if shift == 0:
        assert offset is None
        return
    assert offset is not None
    assert abs(offset) <= abs(shift)
    for variant in variants:
        (one,) = variant.substitutions
        assert INSULIN[one.position + offset - 1] == one.wild_type


def test_offset_of_the_mature_chain() -> None:
    """Numbered on the B chain, which starts at position 25 of the precursor."""
    variants = [parse_variant(text) for text in ("F1L", "H5D", "C7A", "L6del", "E13_A14insG")]
    assert suggest_offset(variants, INSULIN) == 24


def test_no_offset_is_made_up() -> None:
    assert suggest_offset([], INSULIN) is None
    assert (
        suggest_offset([parse_variant("H5D"), parse_variant("H5N")], INSULIN) is None
    )  # one site says nothing
    assert suggest_offset([parse_variant("H34D"), parse_variant("M1V")], INSULIN) is None  # fits as it is
    assert suggest_offset([parse_variant("W2A"), parse_variant("W3A")], INSULIN) is None  # no WW there
    assert suggest_offset([parse_variant("M1V"), parse_variant("U2C")], INSULIN) is None
    assert suggest_offset([parse_variant("M1V"), parse_variant("K2C")], "") is None


# --- cost ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "piece",
    [
        "A", "1", ";", ":", "/", "+", "(", "[", "p.", " ", "A1", "1A", "A1;", "A1V;", "A1V:", "P04637:", "A_",
        "sp|", "A1_A2", "del", "ins", "A1_", "c.", "((", "()", "\t", "é", "A.", "c.1 (p.", "-", "_1", "NP_1.",
    ],
)  # fmt: skip
def test_hostile_text_costs_little(piece: str) -> None:
    """Ten times the text, about ten times the time: nothing here is quadratic worth the name."""
    for text in (
        piece * (10_000 // len(piece)),
        "A1V" + piece * (10_000 // len(piece)),
        "P04637:p." + piece * 3000,
        "A1_A2delins" + piece * 3000,
        piece * 3000 + ")",
    ):
        began = time.process_time()
        refused = refusal(parse_variant, text)
        assert time.process_time() - began < 1.0
        assert refused is None or len(refused.message) < 600


def test_offset_is_cheap() -> None:
    rng = np.random.default_rng(0)
    sequence = "".join(rng.choice(list(STANDARD), 35_000))
    variants = [
        Variant((Substitution(i + 1 + 7, sequence[i], "A" if sequence[i] != "A" else "G"),))
        for i in range(0, 30_000, 3)
    ]
    began = time.process_time()
    assert suggest_offset(variants, sequence) == -7
    assert time.process_time() - began < 1.0


# --- reference data --------------------------------------------------------------------------------------


def test_every_labelled_variant_fits_its_protein(shared) -> None:
    pandas = pytest.importorskip("pandas")
    folder = shared / "data" / "variants"
    proteins_ = pandas.read_csv(folder / "labelled_proteins.csv.gz", dtype=str).set_index("protein")[
        "sequence"
    ]
    table = pandas.read_csv(folder / "labelled_variants.csv.gz", dtype=str)
    for protein, text in zip(table["protein"], table["variant"], strict=True):
        variant = parse_variant(text)
        variant.check(proteins_[protein])
        assert str(variant) == text
