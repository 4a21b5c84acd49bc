"""Other methods' scores beside the model's: files, rows, orientation, paired differences."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from mutscan.errors import UsageError
from mutscan.train.evaluate.beside import beside_section, match_others, read_others
from mutscan.train.evaluate.scores import Scored
from tests.made_up_scores import auroc, made_up_scored


def write(path: Path, scored: Scored, **scores: np.ndarray) -> Path:
    table = pd.DataFrame({"protein": scored.table.names, "variant": scored.table.variant, **scores})
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if ".tsv" in path.name else ",")
    return path


def compare(scored: Scored, kind: str, *files: Path, higher=("deleterious",)) -> dict:  # type: ignore[no-untyped-def, type-arg]
    found = match_others(read_others(files, higher), {kind: scored.table})  # type: ignore[dict-item]
    return beside_section(scored, kind, found[kind])  # type: ignore[arg-type, index]


def test_a_method_and_the_model_are_measured_on_the_same_variants(tmp_path: Path) -> None:
    scored = made_up_scored("variants", n_proteins=6)
    rng = np.random.default_rng(1)
    score = scored.table.value + rng.normal(size=len(scored.table))
    score[rng.random(len(score)) < 0.3] = np.nan
    row = compare(scored, "variants", write(tmp_path / "rival.csv", scored, score=score))["rival"]
    known = np.isfinite(score)
    positive, p = scored.table.value > 0, scored.evidence.p
    assert (row["n"], row["n_of"], row["n_proteins"]) == (known.sum(), len(score), 6)
    assert row["auroc"] == pytest.approx(auroc(positive[known], score[known]))
    assert row["ours_auroc"] == pytest.approx(auroc(positive[known], p[known]))
    inside = [
        [auroc(positive[at], values[at]) for values in (score, p)]
        for at in (known & (scored.table.protein == i) for i in range(6))
    ]
    theirs, ours = np.mean(inside, axis=0)
    assert row["auroc_per_protein_mean"] == pytest.approx(theirs)
    assert row["ours_auroc_per_protein_mean"] == pytest.approx(ours)
    assert row["auroc_per_protein_mean_difference"] == pytest.approx(ours - theirs)
    for key in ("auroc", "ours_auroc", "auroc_difference", "auroc_per_protein_mean"):
        low, high = row[f"{key}_ci"]
        assert low <= row[key] <= high


def test_the_difference_is_paired(tmp_path: Path) -> None:
    """A method that ranks as the model does differs by nothing, however wide its own interval is."""
    scored = made_up_scored("variants", n_proteins=6)
    same = write(tmp_path / "same.csv", scored, score=10 * scored.evidence.p - 3)
    row = compare(scored, "variants", same)["same"]
    assert row["auroc_difference_ci"] == [0.0, 0.0]
    assert row["auroc_ci"][1] - row["auroc_ci"][0] > 0.02
    scans = made_up_scored("dms")
    same = write(tmp_path / "same.csv", scans, score=10 * scans.evidence.p - 3)
    assert compare(scans, "dms", same)["same"]["assays"]["P0"]["abs_spearman_difference_ci"] == [0.0, 0.0]


def test_scans_are_ranked_in_each_assay_and_classified_at_their_cutoffs(tmp_path: Path) -> None:
    scored = made_up_scored("dms", cutoff=[0.2, -0.5, np.nan])
    rng = np.random.default_rng(2)
    score = scored.table.value + rng.normal(size=len(scored.table))  # higher = fitter
    row = compare(scored, "dms", write(tmp_path / "fit.csv", scored, score=score), higher=["tolerated"])[
        "fit"
    ]
    rhos = []
    for i in range(3):
        at = scored.table.protein == i
        theirs = spearmanr(score[at], scored.table.value[at]).statistic
        ours = spearmanr(scored.evidence.p[at], -scored.table.value[at]).statistic
        assay = row["assays"][f"P{i}"]
        assert (assay["spearman"], assay["ours_spearman"]) == pytest.approx((theirs, ours))
        assert assay["abs_spearman_difference"] == pytest.approx(abs(ours) - abs(theirs))
        rhos.append((theirs, ours))
    assert row["mean_abs_spearman"] == pytest.approx(np.mean([abs(a) for a, _ in rhos]))
    assert row["ours_mean_abs_spearman"] == pytest.approx(np.mean([abs(b) for _, b in rhos]))
    known = scored.table.protein < 2
    below = scored.table.value < np.array([0.2, -0.5, np.nan])[scored.table.protein]
    assert row["auroc"] == pytest.approx(auroc(below[known], -score[known]))
    assert row["n_within"] == 2


def test_the_orientation_is_what_the_user_says_and_never_read_off_the_labels(tmp_path: Path) -> None:
    scored = made_up_scored("variants", n_proteins=6)
    file = write(tmp_path / "a.csv", scored, score=-scored.evidence.p)
    wrong, right = (
        compare(scored, "variants", file, higher=[word])["a"] for word in ("deleterious", "tolerated")
    )
    assert wrong["auroc"] == pytest.approx(1 - right["auroc"])
    assert (wrong["points_the_other_way"], right["points_the_other_way"]) == (True, False)
    other = write(tmp_path / "b.csv", scored, score=scored.evidence.p)
    both = compare(scored, "variants", file, other, higher=["tolerated", "deleterious"])
    assert both["a"]["auroc"] == pytest.approx(both["b"]["auroc"]) == right["auroc"]
    with pytest.raises(UsageError, match=r"given 2 times for 1 files"):
        read_others([file], ["tolerated", "tolerated"])
    with pytest.raises(UsageError, match=r"--beside-higher up: expected deleterious or tolerated"):
        read_others([file], ["up"])


@pytest.mark.parametrize("name", ["m.csv", "m.csv.gz", "m.tsv", "m.tsv.gz", "m.parquet"])
def test_all_formats_give_the_same_and_each_column_of_numbers_is_a_method(name: str, tmp_path: Path) -> None:
    scored = made_up_scored("variants")
    p = scored.evidence.p
    gene = np.full(len(p), "gene")
    file = write(tmp_path / name, scored, gene=gene, score=p, second=p**2 + np.arange(len(p)) / 100)
    found = compare(scored, "variants", file)
    assert list(found) == ["m", "second"]
    assert found["m"]["auroc_difference"] == 0.0


def test_names_and_variants_are_recognised_in_other_spellings(tmp_path: Path) -> None:
    scored = made_up_scored("dms")
    first = scored.table.take(np.arange(20))
    from mutscan.residues import THREE_LETTER

    table = pd.DataFrame({
        "protein": "somebody", "assay": first.names, "score": np.arange(20.0),
        "variant": [f"p.{THREE_LETTER[v[0]].capitalize()}{v[1:-1]}{THREE_LETTER[v[-1]].capitalize()}"
                    for v in first.variant],
    })  # fmt: skip
    stop = table.iloc[[0]].assign(variant=f"{first.variant[0][:-1]}*")
    pd.concat([table, stop, table.iloc[[0]]]).to_csv(tmp_path / "x.csv", index=False)
    assert compare(scored, "dms", tmp_path / "x.csv")["x"]["n"] == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="variant"), r"bad.csv: no column variant; expected protein \(or assay\)"),
        (lambda t: t.drop(columns="protein"), r"bad.csv: no column protein or assay"),
        (lambda t: t.drop(columns="score"), r"bad.csv: no column of numbers; expected score"),
        (lambda t: t.replace({"score": {"1.0": "high"}}), r"line 3, column score: 'high' is not a score"),
        (lambda t: t.replace({"score": {"1.0": "inf"}}), r"line 3, column score: 'inf' is not a score"),
        (lambda t: t.assign(variant=["A1C", "what", *t["variant"][2:]]), r"line 3, column variant: .*what"),
        (lambda t: t.assign(protein=["", *t["protein"][1:]]), r"line 2: column protein is empty"),
        (lambda t: pd.concat([t, t[:1].assign(score="7")]), r"line 182: .* of P0 is listed before"),
        (lambda t: t.assign(protein="Q" + t["protein"]), r"scores no variant of --variants; .* of QP0"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_by_line_and_column(change, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    scored = made_up_scored("variants")
    file = write(tmp_path / "bad.csv", scored, score=np.arange(float(len(scored.table))))
    change(pd.read_csv(file, dtype=str)).to_csv(file, index=False)
    with pytest.raises(UsageError, match=message):
        compare(scored, "variants", file)


def test_files_that_cannot_be_read_and_methods_of_one_name_are_refused(tmp_path: Path) -> None:
    scored = made_up_scored("variants")
    for name in ("nothing.csv", "nothing.parquet"):
        with pytest.raises(UsageError, match=f"{name}: cannot be read as CSV, TSV or Parquet"):
            read_others([tmp_path / name], ["deleterious"])
    (tmp_path / "other").mkdir()
    files = [
        write(folder / "m.csv", scored, score=scored.evidence.p) for folder in (tmp_path, tmp_path / "other")
    ]
    with pytest.raises(UsageError, match="a method is called m, as in"):
        read_others(files, ["deleterious"])
    # Of several tables, a file may be for one only.
    elsewhere = made_up_scored("dms", seed=9)
    elsewhere.table.proteins["protein"] = ["X", "Y", "Z"]
    others = read_others(files[:1], ["deleterious"])
    found = match_others(others, {"dms": elsewhere.table, "variants": scored.table})
    assert not found["dms"]
    assert list(found["variants"]) == ["m"]
    with pytest.raises(
        UsageError, match=r"m.csv: scores no variant of --dms; its first is .* of P0, that of"
    ):
        match_others(others, {"dms": elsewhere.table})
