"""Tables of an evaluation on variants, on the terminal."""

from __future__ import annotations

from typing import Any

import typer

from mutscan.cli.console import print_table


def print_variants(metrics: dict[str, Any]) -> None:
    """Print the model's numbers, and below them what each evidence gives alone, on the same rows."""
    if (part := metrics.get("variants")) is not None:
        _print_labelled(part)
        _print_evidence("variants", part["evidence"])
    if (part := metrics.get("dms")) is not None:
        _print_assays(part)
        _print_evidence("dms", metrics["dms_evidence"])
    if (part := metrics.get("stability")) is not None:
        _print_stability(part)
        _print_evidence("stability", part["evidence"])


def _print_labelled(part: dict[str, Any]) -> None:
    title = f"{part['n']:,} variants, {part['n_proteins']:,} proteins"
    rows = [
        (name, _number(part.get(key)), _interval(part.get(f"{key}_ci")))
        for key, name in (
            ("auroc", "AUROC"),
            ("auroc_per_protein_mean", "AUROC inside proteins"),
            ("auroc_capped", "AUROC, 100 variants a protein"),
            ("auprc", "AUPRC"),
            ("ece", "calibration error"),
            ("ece_capped", "calibration error, 100 a protein"),
            ("specificity", "specificity of the flag"),
            ("sensitivity", "sensitivity of the flag"),
            ("share_uncertain", "share uncertain"),
            ("blosum62_auroc", "AUROC of BLOSUM62"),
        )
    ]
    if (siamese := part.get("siamese")) is not None:
        rule = siamese["low_tm_rule"]
        rows.append(
            (f"rule TM < {rule['threshold']}: flagged", f"{rule['n_flagged']:,} of {siamese['n']:,}", "")
        )
        if siamese.get("auroc_gain") is not None:
            gain = siamese["auroc_gain"], siamese["auroc_gain_ci"]
            rows.append(("AUROC added by Siamese scores", _number(gain[0]), _interval(gain[1])))
    print_table((title, "p_deleterious", "95 % interval"), rows)
    typer.echo()


def _print_assays(part: dict[str, Any]) -> None:
    rows = [
        (
            name + (" *" if row["known_to_calibration"] else ""),
            f"{row['n']:,}",
            _number(row["spearman"]),
            _interval(row["spearman_ci"]),
            _number(row["blosum62_spearman"]),
        )
        for name, row in part.items()
        if isinstance(row, dict)
    ]
    for key, name, count, plain in (
        ("mean_abs_spearman", "mean |Spearman|", part["n_assays"], part["blosum62_mean_abs_spearman"]),
        ("mean_abs_spearman_unseen", "mean without *", part["n_assays_unseen"], None),
    ):
        rows.append(
            (name, f"{count} assays", _number(part.get(key)), _interval(part[f"{key}_ci"]), _number(plain))
        )
    print_table(("assay", "variants", part["scored_by"], "95 % interval", "BLOSUM62"), rows)
    if any(isinstance(row, dict) and row["known_to_calibration"] for row in part.values()):
        typer.echo("* the calibration was fitted on labels of this protein, or of a relative")
    typer.echo()


def _print_stability(part: dict[str, Any]) -> None:
    rows = [
        (
            name or "not said",
            f"{row['n']:,}",
            _number(row["spearman"]),
            _interval(row["spearman_ci"]),
            _number(row["blosum62_spearman"]),
        )
        for name, row in [*part["sources"].items(), ("all", {**part, "n": part["n_distinct"]})]
    ]
    inside = part["spearman_per_protein_mean"], part["spearman_per_protein_mean_ci"]
    rows.append(
        ("inside proteins", f"{part['n_within']:,} proteins", _number(inside[0]), _interval(inside[1]), "")
    )
    print_table(("source", "variants", f"Spearman, {part['scored_by']}", "95 % interval", "BLOSUM62"), rows)
    typer.echo()


def _print_evidence(section: str, tables: dict[str, Any]) -> None:
    from mutscan.train.evaluate.report import KINDS, VARIANT_COLUMNS

    columns = VARIANT_COLUMNS[section]
    for table in tables.values():
        rows = [
            (
                row["label"],
                KINDS[row["kind"]],
                f"{row['n']:,}",
                *(
                    cell
                    for key, _ in columns[:1]
                    for cell in (_number(row.get(key)), _interval(row.get(f"{key}_ci")))
                ),
                *(_number(row.get(key)) for key, _ in columns[1:]),
            )
            for row in table["scores"].values()
        ]
        heads = (columns[0][1], "95 % interval", *(head for _, head in columns[1:]))
        print_table((table["what"], "kind", "n", *heads), rows)
        typer.echo()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(ends: list[float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.3f}..{ends[1]:.3f}"
