"""The account of a variant: exact sentences, and the same ones wherever people read them."""

import html
import io
import json
import math

import pandas as pd
import pytest
from rich.console import Console

from mutscan.cli.summary import print_batch_summary, print_summary
from mutscan.reports.batch import read_batch
from mutscan.reports.batch_page import render_many
from mutscan.reports.digest import digest
from mutscan.reports.export import run_json
from mutscan.reports.payload import score_payload
from mutscan.reports.render import render_report
from mutscan.reports.saved import read_run
from mutscan.reports.sentences import confidence_reason, read_affected, sentence, structure_disturbed
from tests.fabricated import make_run
from tests.fabricated_batch import make_batch

NAN = math.nan
CORE = (
    "helix 2 (24-41); buried (4 % accessible); in Globin domain (UniProt); 6 Å from binding site 93 (heme / "
    "proximal) (UniProt); touches helix 2 (24-41), helix 5 (82-95), helix 7 (124-143)"
)
SKIN = "helix 1 (5-18); exposed (41 % accessible); in Globin domain (UniProt)"
QUIET = "24-41 (helix 2, structure; mean lDDT drop 0.004; most affected, not beyond background)"
UNDISTURBED = "; structure not disturbed: lDDT drop z 0.20 < 1.34"
DISTURBED = "; structure disturbed: lDDT drop z 2.10 >= 1.34 (specificity 0.92)"
JOINT = f"{DISTURBED} (the threshold is calibrated for single substitutions only)"
INDEL = "not assessed: nothing is calibrated for insertions and deletions"


def row(variant, flag="deleterious", p=0.93, *, alone="", structure=UNDISTURBED, **cells):
    """A row of variants.csv as far as a sentence reads it."""
    return {
        "status": "ok",
        "variant": variant,
        "flag": flag,
        "p_deleterious": p,
        "flag_rule": f"{alone}p >= 0.779 (made up){structure}",
        "lddt_predicted_mean": 0.998,
        "lddt_percentile": 12.0,
        "ddg_predicted": NAN,
        "affected_regions": QUIET,
        **cells,
    }


CASES = [
    pytest.param(
        row("L38D", site_context=CORE, evidence="exchange +0.9; conservation +0.4"),
        "likely deleterious (0.93). Puts a charge into the buried core of helix 2 (24-41), "
        "against helices 5 and 7; binding site 93 (heme) 6 Å away. No wider stretch is predicted to move "
        "beyond background",
        id="charge into the core",
    ),
    pytest.param(
        row("L38A", site_context=CORE, ddg_predicted=2.44),
        "likely deleterious (0.93). Puts a smaller side chain into the buried core of helix 2 "
        "(24-41) and leaves a cavity, against helices 5 and 7; binding site 93 (heme) 6 Å "
        "away; predicted to cost 2.4 kcal/mol of stability. No wider stretch is predicted to move beyond "
        "background",
        id="a smaller side chain",
    ),
    pytest.param(
        row("A38F", site_context=CORE),
        "likely deleterious (0.93). Puts a larger side chain into the buried core of helix 2 "
        "(24-41), where it has little room, against helices 5 and 7; binding site 93 (heme) 6 "
        "Å away. No wider stretch is predicted to move beyond background",
        id="a larger side chain",
    ),
    pytest.param(
        row(
            "I38T",
            "uncertain",
            0.55,
            site_context=CORE,
            evidence="burial +0.6; exchange -0.5; inverse folding -0.4",
        ),
        "uncertain (0.55). Puts a smaller, polar side chain into the buried core of helix 2 (24-41); "
        "binding site 93 (heme) 6 Å away; the site is tightly packed, but the new residue suits this "
        "backbone. No wider stretch is predicted to move beyond background",
        id="a polar side chain",
    ),
    pytest.param(
        row("L38M", "tolerated", 0.12, site_context=CORE, evidence="exchange -1.2; conservation -0.6"),
        "likely tolerated (0.12). Exchanges leucine for methionine of similar size in the "
        "buried core of helix 2 (24-41); relatives vary here. No wider stretch is predicted to move beyond "
        "background",
        id="a similar side chain",
    ),
    pytest.param(
        row("L38D", "tolerated", 0.2, site_context=CORE, evidence="conservation -0.6; exchange +0.4"),
        "likely tolerated (0.20). Puts a charge into the buried core of helix 2 (24-41), but "
        "relatives vary here. No wider stretch is predicted to move beyond background",
        id="packed but tolerated",
    ),
    pytest.param(
        row("A33P", "deleterious", 0.9961, site_context=SKIN, structure=DISTURBED),
        "likely deleterious (0.996). Puts a proline into helix 1 (5-18), which it kinks or "
        "breaks. The predicted lDDT of the whole is beyond background, that of no single region is",
        id="a proline in a helix",
    ),
    pytest.param(
        row(
            "E6P",
            "tolerated",
            0.2,
            site_context=SKIN.replace("5-18)", "5-18), first turn"),
            evidence="conservation -0.4",
        ),
        "likely tolerated (0.20). Puts a proline into the first turn of helix 1 (5-18), where "
        "one fits; relatives vary here. No wider stretch is predicted to move beyond background",
        id="a proline in its first turn",
    ),
    pytest.param(
        row("T50P", site_context="strand 3 (48-55); half buried (12 % accessible); touches strand 2 (40-44)"),
        "likely deleterious (0.93). Puts a proline into strand 3 (48-55), where it cannot join "
        "the sheet's hydrogen bonds. No wider stretch is predicted to move beyond background",
        id="a proline in a strand",
    ),
    pytest.param(
        row("K12G", site_context=SKIN, evidence="inverse folding +0.5; language model +0.4"),
        "likely deleterious (0.93). Puts a glycine into helix 1 (5-18), which it loosens; the "
        "new residue suits this backbone badly. No wider stretch is predicted to move beyond background",
        id="a glycine in a helix",
    ),
    pytest.param(
        row("G44V", site_context="loop (42-49); exposed (60 % accessible)", evidence="alignment +1.3"),
        "likely deleterious (0.93). Replaces a glycine by valine in the exposed loop 42-49, "
        "whose backbone may need the glycine; relatives keep this residue. No wider stretch "
        "is predicted to move beyond background",
        id="loss of a glycine in a loop",
    ),
    pytest.param(
        row(
            "G44V",
            site_context="loop (42-49); buried (0 % accessible); touches strand 2 (40-44), strand 4 (60-66)",
        ),
        "likely deleterious (0.93). Puts valine in place of a glycine into the buried loop "
        "42-49, where it has little room, against strands 2 and 4. No wider stretch is predicted to move "
        "beyond background",
        id="loss of a glycine in the core",
    ),
    pytest.param(
        row(
            "P44L",
            "uncertain",
            0.5,
            site_context="loop (42-49); exposed (60 % accessible)",
            evidence="conservation +0.5; sequence context -0.4",
        ),
        "uncertain (0.50). Removes a proline from the exposed loop 42-49; relatives keep this "
        "residue, but variants in such a sequence context are mostly harmless. No wider "
        "stretch is predicted to move beyond background",
        id="loss of a proline",
    ),
    pytest.param(
        row(
            "C6S",
            site_context=(
                "helix 1 (5-15); half buried (15 % accessible); at disulfide bond 6-128 "
                "(UniProt); touches helix 7 (124-130)"
            ),
            ddg_predicted=2.3,
        ),
        "likely deleterious (0.93). Removes a cysteine of the disulfide bond 6-128; predicted "
        "to cost 2.3 kcal/mol of stability. No wider stretch is predicted to move beyond background",
        id="a disulfide bond",
    ),
    pytest.param(
        row("C6S", site_context=SKIN, evidence="conservation +1.0"),
        "likely deleterious (0.93). Removes a cysteine from the surface of helix 1 (5-18); "
        "relatives keep this residue. No wider stretch is predicted to move beyond background",
        id="a free cysteine",
    ),
    pytest.param(
        row(
            "S70A",
            site_context=(
                "helix 3 (68-80); buried (1 % accessible); at active site 70 (UniProt); 3 Å from "
                "binding site 73 (substrate) (UniProt)"
            ),
        ),
        "likely deleterious (0.93). Replaces a catalytic residue (active site 70). No wider "
        "stretch is predicted to move beyond background",
        id="a catalytic residue",
    ),
    pytest.param(
        row(
            "H92Y",
            site_context=(
                "loop (89-96); half buried (11 % accessible); at binding site 92 (Zn(2+) / "
                "catalytic) (UniProt); touches strand 2 (114-122)"
            ),
        ),
        "likely deleterious (0.93). Replaces a residue that binds Zn(2+). No wider stretch "
        "is predicted to move beyond background",
        id="a ligand",
    ),
    pytest.param(
        row(
            "S15A",
            site_context=(
                "loop (9-19); exposed (80 % accessible); at modified residue 15 (Phosphoserine / "
                "by ATM) (UniProt)"
            ),
        ),
        "likely deleterious (0.93). Removes a modified residue (phosphoserine). No wider "
        "stretch is predicted to move beyond background",
        id="a modified residue",
    ),
    pytest.param(
        row(
            "N72D",
            site_context=(
                "helix 3 (68-80); exposed (30 % accessible); in Lactamase domain (UniProt); 3.4 Å "
                "from active site 70 (UniProt)"
            ),
            evidence="conservation +0.9",
        ),
        "likely deleterious (0.93). Adds a charge to the surface of helix 3 (68-80), in the "
        "Lactamase domain; active site 70 3 Å away; relatives keep this residue. No wider "
        "stretch is predicted to move beyond background",
        id="next to a site",
    ),
    pytest.param(
        row("E10K", "tolerated", 0.1, site_context=SKIN, evidence="conservation -1.0"),
        "likely tolerated (0.10). Reverses a charge on the surface of helix 1 (5-18); "
        "relatives vary here. No wider stretch is predicted to move beyond background",
        id="a charge on the surface",
    ),
    pytest.param(
        row("K10R", "tolerated", 0.1, site_context=SKIN, evidence="exchange -0.8; conservation -0.2"),
        "likely tolerated (0.10). Exchanges lysine for similar arginine on the surface of "
        "helix 1 (5-18). No wider stretch is predicted to move beyond background",
        id="an exchange of alike residues",
    ),
    pytest.param(
        row(
            "S158T",
            "tolerated",
            0.1,
            site_context="loop (155-159); exposed (70 % accessible); 1 residue from the C-terminus",
            evidence="conservation -1.0",
        ),
        "likely tolerated (0.10). Exchanges serine for similar threonine in the exposed loop "
        "155-159; it lies 1 residue from the C-terminus. No wider stretch is predicted to move beyond "
        "background",
        id="a chain end",
    ),
    pytest.param(
        row(
            "S20L",
            "tolerated",
            0.1,
            site_context="loop (1-60); exposed (70 % accessible); pLDDT 41",
            evidence="conservation -1.0",
        ),
        "likely tolerated (0.10). Puts a hydrophobic side chain onto the surface outside "
        "helices and strands; the structure is not firm here (pLDDT 41). No wider stretch "
        "is predicted to move beyond background",
        id="no firm structure",
    ),
    pytest.param(
        row(
            "K16E",
            "uncertain",
            0.5,
            site_context="loop (1-84); exposed (58 % accessible)",
            evidence="rigidity +0.4; burial -0.6",
        ),
        "uncertain (0.50). Reverses a charge on the surface outside helices and strands; the "
        "site is rigid. No wider stretch is predicted to move beyond background",
        id="outside helices and strands",
    ),
    pytest.param(
        row("W36K", site_context="in SH3 1 domain (UniProt)", evidence="exchange +1.2; conservation +1.1"),
        "likely deleterious (0.93). Replaces tryptophan by charged lysine in the SH3 1 domain; "
        "relatives keep this residue. No wider stretch is predicted to move beyond background",
        id="no structure",
    ),
    pytest.param(
        row("R86K", "uncertain", 0.6, site_context="", evidence="conservation +0.4; exchange -0.5"),
        "uncertain (0.60). Replaces arginine by similar lysine; relatives keep this residue. "
        "No wider stretch is predicted to move beyond background",
        id="nothing known",
    ),
    pytest.param(
        row("X21A", p=NAN, structure=DISTURBED, evidence=""),
        "likely deleterious by the predicted structure alone. Replaces a residue of unknown "
        "kind by alanine. The predicted lDDT of the whole is beyond background, that of no "
        "single region is",
        id="an unknown residue",
    ),
    pytest.param(
        row("E10K;L38D", alone="L38D alone: ", site_context=f"10: {SKIN} | 38: {CORE}"),
        "likely deleterious (0.93), as L38D alone, the worst of 2 substitutions. Puts a charge "
        "into the buried core of helix 2 (24-41), against helices 5 and 7; binding site 93 "
        "(heme) 6 Å away",
        id="a joint mutant",
    ),
    pytest.param(
        row(
            "K40del",
            "",
            NAN,
            flag_rule="not assessed: nothing is calibrated for insertions and deletions",
            site_context="",
        ),
        "not assessed: nothing is calibrated for insertions and deletions",
        id="an indel",
    ),
    pytest.param(
        row("L38D", "", NAN, flag_rule="", site_context=CORE, z_score=-2.0),
        "more disruptive than 88 % of substitutions of this protein. Puts a charge into the "
        "buried core of helix 2 (24-41), against helices 5 and 7; binding site 93 (heme) 6 Å "
        "away. No wider stretch is predicted to move beyond background",
        id="no calibration",
    ),
    pytest.param(
        row(
            "L38D",
            site_context=CORE,
            affected_regions=(
                "24-41 (helix 2, structure; mean lDDT drop 0.08); 8-60,70 (Globin domain, "
                "UniProt; mean lDDT drop 0.02; low pLDDT); 90-96 (binding site 93 (heme) and 5 Å "
                "around, UniProt; mean lDDT drop 0.1 measured)"
            ),
        ),
        "likely deleterious (0.93). Puts a charge into the buried core of helix 2 (24-41), "
        "against helices 5 and 7; binding site 93 (heme) 6 Å away. Predicted to disturb helix 2 (24-41), "
        "Globin domain (8-60 and 70) and 1 more region beyond background",
        id="regions",
    ),
    pytest.param(
        row("R86K", site_context="", affected_regions="82-101 (mean lDDT drop 0.03)"),
        "likely deleterious (0.93). Replaces arginine by similar lysine. Predicted to disturb residues "
        "82-101 beyond background",
        id="a stretch without a name",
    ),
    pytest.param(
        row("R86K", site_context="", structure="", lddt_predicted_mean=NAN, affected_regions=""),
        "likely deleterious (0.93). Replaces arginine by similar lysine",
        id="no prediction",
    ),
]


@pytest.mark.parametrize(("cells", "said"), CASES)
def test_sentences(cells, said):
    assert sentence(cells) == said
    assert len(said.split(". ")) <= 3


@pytest.mark.parametrize(("cells", "said"), CASES)
def test_what_is_tolerated_is_not_said_to_break_anything(cells, said):
    mild = sentence({**cells, "flag": "tolerated", "p_deleterious": 0.1, "flag_rule": "p <= 0.275 (made up)"})
    for word in ("break", "kink", "cavity", "no room", "little room", "cannot", "cost", "loosens"):
        assert word not in mild
    assert mild.startswith("likely tolerated (0.10)")


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (row("L38D"), False),
        (row("L38D", structure=DISTURBED), True),
        (row("L38D", affected_regions="24-41 (helix 2, structure; mean lDDT drop 0.08)"), True),
        (row("E10K;L38D", structure=JOINT), None),
        (row("E10K;L38D", affected_regions="24-41 (helix 2, structure; mean lDDT drop 0.08)"), True),
        (
            row(
                "K40del",
                "",
                NAN,
                flag_rule=INDEL,
                affected_regions="24-41 (helix 2, structure; mean lDDT drop 0.8)",
            ),
            None,
        ),
        (row("L38D", structure="", lddt_predicted_mean=NAN, affected_regions=""), None),
        (row("L38D", structure="", lddt_predicted_mean=None, affected_regions=None), None),
    ],
)
def test_a_disturbed_structure_is_a_finding_of_its_own(cells, found):
    assert structure_disturbed(cells) is found


def test_regions_are_read_back():
    cell = (
        "24-41,60 (helix 2, structure; mean lDDT drop 0.08); 90-96 (binding site 93 (heme) and 5 Å around, "
        "UniProt; mean lDDT drop 0.1 and 0.2 measured; low pLDDT); 101-120 (mean lDDT drop 0.02)"
    )
    found = [(region.name, region.source, region.stretches) for region in read_affected(cell)]
    assert found == [
        ("helix 2", "structure", ((24, 41), (60, 60))),
        ("binding site 93 (heme) and 5 Å around", "UniProt", ((90, 96),)),
        ("", "", ((101, 120),)),
    ]
    assert read_affected(QUIET) == read_affected("") == ()


def test_confidence_has_its_reason():
    assert confidence_reason({"notes": "confidence medium: no mutant was built; x"}) == "no mutant was built"
    assert confidence_reason({"notes": "x; y"}) == confidence_reason({"notes": None}) == ""


def flat(text):
    return " ".join(text.split())


def printed(show, what):
    stream = io.StringIO()
    show(what, Console(file=stream, width=80, color_system=None))
    return flat(stream.getvalue())


def test_terminal_report_and_json_say_the_same(tmp_path):
    run = read_run(make_run(tmp_path, calibrated=True))
    findings = digest(run).findings
    assert len(findings) > 1
    page, (payload, _) = html.unescape(render_report(tmp_path)), score_payload(run)
    shown = {variant["name"]: variant for variant in payload["variants"]}
    rows = {line["variant"]: line for line in run.json_rows() if line["variant"]}
    exported = {line["variant"]: line for line in json.loads("".join(run_json(tmp_path)))["variants"]}
    for finding in findings:
        assert f"{finding.variant} {finding.sentence}." in printed(print_summary, run)
        assert finding.sentence[1:] in page
        assert shown[finding.variant]["sentence"] == finding.sentence
    for variant, line in rows.items():
        assert line["sentence"] == f"{variant}: {shown[variant]['sentence']}."
        states = {True: "disturbed", False: "not disturbed", None: "not assessed"}
        assert states[line["structure_disturbed"]] == shown[variant]["structure"][0]
        assert exported[variant]["sentence"] == line["sentence"]
    assert {line["structure_disturbed"] for line in rows.values()} == {True, False}
    lost = [line for line in run.json_rows() if line["status"] in ("failed", "skipped")]
    assert (
        [line["sentence"] for line in lost] == [line["structure_disturbed"] for line in lost] == [None, None]
    )


def test_the_headline_counts_both_findings_as_the_rows_do(tmp_path):
    run = read_run(make_run(tmp_path, calibrated=True, count=12))
    rows = [line for line in run.json_rows() if line["sentence"]]
    disturbed = sum(line["structure_disturbed"] for line in rows)
    bad = sum(line["flag"] == "deleterious" for line in rows)
    assert 1 < disturbed != bad > 1
    said = digest(run).headline
    assert said == (
        f"{bad} of 12 variants of wild_type are likely deleterious; {disturbed} are predicted "
        "to disturb the structure beyond background."
    )


def test_what_was_not_assessed_is_counted_as_such(tmp_path):
    make_run(tmp_path, calibrated=True, count=4)
    table = pd.read_csv(tmp_path / "variants.csv", dtype=str, keep_default_na=False)
    table.loc[0, ["variant", "flag", "flag_rule", "p_deleterious"]] = ["K40del", "", INDEL, ""]
    table.to_csv(tmp_path / "variants.csv", index=False)
    run = read_run(tmp_path)
    assert "1 not assessed" in digest(run).remainder
    assert "K40del" not in [standout.variant for standout in digest(run).predicted + digest(run).measured]
    first = run.json_rows()[0]
    assert first["sentence"] == f"K40del: {INDEL}."
    assert first["structure_disturbed"] is first["p_deleterious"] is first["flag"] is None
    shown = score_payload(run)[0]["variants"][0]
    assert shown["flag"] == shown["structure"][0] == "not assessed"
    assert shown["numbers"]["p_deleterious"] is None
    table.head(1).to_csv(tmp_path / "variants.csv", index=False)
    assert digest(read_run(tmp_path)).headline == "The variant of wild_type is not assessed."


def test_the_page_over_many_proteins_says_the_same(tmp_path):
    folder = make_batch(tmp_path / "many", proteins=4, failed=0)
    table = pd.read_csv(folder / "variants.csv")
    table["site_context"] = SKIN
    table.loc[0, ["flag", "flag_rule", "p_deleterious"]] = ["", INDEL, NAN]
    table.loc[0, "variant"] = "K40del"
    table.to_csv(folder / "variants.csv", index=False)
    run, page = read_batch(folder), html.unescape(render_many(folder))
    said = {
        (line["wild_type"], line["variant"]): line["sentence"]
        for line in read_run(folder).json_rows()
        if line["sentence"]
    }
    assert run.findings()
    for worst in run.findings():
        assert said[worst.protein, worst.variant] == f"{worst.variant}: {worst.sentence}."
        assert worst.sentence[1:] in page
        assert f"{worst.variant} {worst.sentence}." in printed(print_batch_summary, folder)
    rows = read_run(folder).json_rows()
    assert run.disturbed == sum(line["structure_disturbed"] is True for line in rows) > 0
    assert run.assessed == sum(line["structure_disturbed"] is not None for line in rows)
    assert run.not_assessed == 1
    assert "1 not assessed" in run.remainder
