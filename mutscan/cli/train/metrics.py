"""Tables of an evaluation's metrics on the terminal: the model beside its baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from mutscan.cli.console import print_json_object, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence


def print_metrics(metrics: dict[str, Any], json: bool) -> None:
    """Print all sections of metrics.json as tables, or metrics.json itself."""
    if json:
        print_json_object(metrics)
        return
    if "pairs" in metrics:
        _print_pairs(metrics)
    if (part := metrics.get("variants")) is not None:
        _print_labelled(part)
        _print_evidence("variants", part["evidence"])
    if (part := metrics.get("dms")) is not None:
        _print_assays(part)
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
                *_with_interval(drop, "spearman"),
                *_with_interval(drop, "spearman_within"),
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
                    *_with_interval(part, "mae", 4),
                    _number(part.get("macro_mae"), 4),
                    _number(part["pearson"]),
                )
                rows.append((label, entry["label"], *numbers))
            elif "not_run" in entry:
                rows.append((label, entry["label"], "not run", "", "", ""))
    return rows


def _print_labelled(part: dict[str, Any]) -> None:
    from mutscan.train.evaluate.report import LABELLED_ROWS

    rows = [(name, *_with_interval(part, key)) for key, name, _ in LABELLED_ROWS if key in part]
    if (siamese := part.get("siamese")) is not None:
        rule = siamese["low_tm_rule"]
        rows.append(
            (f"rule TM < {rule['threshold']}: flagged", f"{rule['n_flagged']:,} of {siamese['n']:,}", "")
        )
        if siamese.get("auroc_gain") is not None:
            rows.append(("AUROC gain by Siamese scores", *_with_interval(siamese, "auroc_gain")))
    title = f"{part['n']:,} variants, {part['n_proteins']:,} proteins"
    print_table((title, "p_deleterious", "95 % interval"), rows)
    typer.echo()


def _print_assays(part: dict[str, Any]) -> None:
    assays = {name: row for name, row in part.items() if isinstance(row, dict)}
    rows = [
        _correlation(name + (" *" if row["known_to_calibration"] else ""), f"{row['n']:,}", row)
        for name, row in assays.items()
    ]
    for key, name, count, plain in (
        ("mean_abs_spearman", "mean |Spearman|", part["n_assays"], part["blosum62_mean_abs_spearman"]),
        ("mean_abs_spearman_unseen", "mean without *", part["n_assays_unseen"], None),
    ):
        rows.append((name, f"{count} assays", *_with_interval(part, key), _number(plain)))
    print_table(("assay", "variants", part["scored_by"], "95 % interval", "BLOSUM62"), rows)
    if any(row["known_to_calibration"] for row in assays.values()):
        typer.echo("* the calibration was fitted on labels of this protein or of a relative")
    typer.echo()


def _print_stability(part: dict[str, Any]) -> None:
    rows = [
        _correlation(name or "not given", f"{row['n']:,}", row)
        for name, row in [*part["sources"].items(), ("all", {**part, "n": part["n_distinct"]})]
    ]
    inside = _with_interval(part, "spearman_per_protein_mean")
    rows.append(("inside proteins", f"{part['n_within']:,} proteins", *inside, ""))
    print_table(("source", "variants", f"Spearman, {part['scored_by']}", "95 % interval", "BLOSUM62"), rows)
    typer.echo()


def _correlation(name: str, count: str, row: dict[str, Any]) -> tuple[str, ...]:
    return (name, count, *_with_interval(row, "spearman"), _number(row["blosum62_spearman"]))


def _print_evidence(section: str, tables: dict[str, Any]) -> None:
    from mutscan.train.evaluate.report import KINDS, VARIANT_COLUMNS

    (first, head), *others = VARIANT_COLUMNS[section]
    for table in tables.values():
        rows = [
            (
                row["label"],
                KINDS[row["kind"]],
                f"{row['n']:,}",
                *_with_interval(row, first),
                *(_number(row.get(key)) for key, _ in others),
            )
            for row in table["scores"].values()
        ]
        heads = (head, "95 % interval", *(other for _, other in others))
        print_table((table["what"], "kind", "n", *heads), rows)
        typer.echo()


def _with_interval(part: dict[str, Any], key: str, decimals: int = 3) -> tuple[str, str]:
    return _number(part.get(key), decimals), _interval(part.get(f"{key}_ci"), decimals)


def _number(value: float | None, decimals: int = 3) -> str:
    if value is None:
        return ""
    return f"{value:.1e}" if 0 < abs(value) < 0.5 * 10.0**-decimals else f"{value:.{decimals}f}"


def _interval(ends: Sequence[float] | None, decimals: int) -> str:
    return "" if ends is None else f"{_number(ends[0], decimals)}..{_number(ends[1], decimals)}"
