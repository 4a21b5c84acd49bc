"""Tables of an evaluation's metrics on the terminal: the model beside its baselines."""

from __future__ import annotations

from typing import Any

import typer

from mutscan.cli.console import print_json_object, print_table
from mutscan.cli.train.others import (
    known,
    number,
    print_beside,
    print_flags,
    print_reference,
    print_sources,
    with_interval,
)


def print_metrics(metrics: dict[str, Any], json: bool) -> None:
    """Print all sections of metrics.json as tables, or metrics.json itself."""
    if json:
        print_json_object(metrics)
        return
    if "pairs" in metrics:
        _print_pairs(metrics)
    if (part := metrics.get("variants")) is not None:
        _print_labelled(part)
        print_sources(metrics, "variants")
        print_beside(metrics, "variants")
        _print_evidence("variants", part["evidence"])
    if (part := metrics.get("dms")) is not None:
        _print_assays(part)
        print_flags(part)
        print_sources(metrics, "dms")
        print_beside(metrics, "dms")
        print_reference(metrics)
        _print_evidence("dms", metrics["dms_evidence"])
    if (part := metrics.get("stability")) is not None:
        _print_stability(part)
        _print_evidence("stability", part["evidence"])


def _print_pairs(metrics: dict[str, Any]) -> None:
    pairs, mutants = metrics["pairs"], metrics.get("mutants")
    name = metrics["model"]["name"]
    only_mutants = mutants is not None and mutants["n"] == pairs["n"]
    rows = [] if only_mutants else _predictors(pairs, name, "")
    if mutants is not None:
        rows += _predictors(mutants, name, "mutant ")
    print_table((f"n = {pairs['n']:,}", "predictor", "MAE", "95 % interval", "5 bands", "r"), rows)
    if mutants is not None:
        typer.echo()
        drops = [
            (
                name,
                f"{drop['n']:,}",
                *with_interval(drop, "spearman"),
                *with_interval(drop, "spearman_within"),
            )
            for name, drop in mutants["drops"].items()
        ]
        heads = ("lDDT drop", "mutants", "Spearman", "95 % interval", "in wild types", "95 % interval")
        print_table(heads, drops)


def _predictors(section: dict[str, Any], name: str, prefix: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for target, label in (("tm", f"{prefix}TM"), ("lddt", f"{prefix}lDDT")):
        for entry in ({"label": name, target: section[target]}, *section["baselines"].values()):
            if target in entry:
                part = entry[target]
                numbers = (
                    *with_interval(part, "mae", 4),
                    number(part.get("macro_mae"), 4),
                    number(part["pearson"]),
                )
                rows.append((label, entry["label"], *numbers))
            elif "not_run" in entry:
                rows.append((label, entry["label"], "not run", "", "", ""))
    return rows


def _print_labelled(part: dict[str, Any]) -> None:
    from mutscan.train.evaluate.report import LABELLED_ROWS

    rows = [(name, *with_interval(part, key)) for key, name, _ in LABELLED_ROWS if key in part]
    if (siamese := part.get("siamese")) is not None:
        rule = siamese["low_tm_rule"]
        rows.append(
            (f"rule TM < {rule['threshold']}: flagged", f"{rule['n_flagged']:,} of {siamese['n']:,}", "")
        )
        if siamese.get("auroc_gain") is not None:
            rows.append(("AUROC gain by Siamese scores", *with_interval(siamese, "auroc_gain")))
    title = f"{part['n']:,} variants, {part['n_proteins']:,} proteins"
    print_table((title, "p_deleterious", "95 % interval"), rows)
    typer.echo()


def _print_assays(part: dict[str, Any]) -> None:
    assays = {name: row for name, row in part.items() if isinstance(row, dict)}
    rows = [_correlation(name + known(row), f"{row['n']:,}", row) for name, row in assays.items()]
    for key, name, count, plain in (
        ("mean_abs_spearman", "mean |Spearman|", part["n_assays"], part["blosum62_mean_abs_spearman"]),
        ("mean_abs_spearman_unseen", "mean without *", part["n_assays_unseen"], None),
    ):
        rows.append((name, f"{count} assays", *with_interval(part, key), number(plain)))
    print_table(("assay", "variants", part["scored_by"], "95 % interval", "BLOSUM62"), rows)
    if any(row["known_to_calibration"] for row in assays.values()):
        typer.echo("* the calibration was fitted on labels of this protein or of a relative")
    typer.echo()


def _print_stability(part: dict[str, Any]) -> None:
    rows = [
        _correlation(name or "not given", f"{row['n']:,}", row)
        for name, row in [*part["sources"].items(), ("all", {**part, "n": part["n_distinct"]})]
    ]
    inside = with_interval(part, "spearman_per_protein_mean")
    rows.append(("inside proteins", f"{part['n_within']:,} proteins", *inside, ""))
    print_table(("source", "variants", f"Spearman, {part['scored_by']}", "95 % interval", "BLOSUM62"), rows)
    typer.echo()


def _correlation(name: str, count: str, row: dict[str, Any]) -> tuple[str, ...]:
    return (name, count, *with_interval(row, "spearman"), number(row["blosum62_spearman"]))


def _print_evidence(section: str, tables: dict[str, Any]) -> None:
    from mutscan.train.evaluate.report import KINDS, VARIANT_COLUMNS

    (first, head), *others = VARIANT_COLUMNS[section]
    for table in tables.values():
        rows = [
            (
                row["label"],
                KINDS[row["kind"]],
                f"{row['n']:,}",
                *with_interval(row, first),
                *(number(row.get(key)) for key, _ in others),
            )
            for row in table["scores"].values()
        ]
        heads = (head, "95 % interval", *(other for _, other in others))
        print_table((table["what"], "kind", "n", *heads), rows)
        typer.echo()
