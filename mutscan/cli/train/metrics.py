"""The table of metrics on the terminal: the model beside its baselines."""

from __future__ import annotations

from typing import Any

import typer

from mutscan.cli.console import print_json_object, print_table


def print_metrics(metrics: dict[str, Any], json: bool) -> None:
    if json:
        print_json_object(metrics)
        return
    pairs, mutants = metrics["pairs"], metrics.get("mutants")
    name = metrics["model"]["name"]
    only_mutants = mutants is not None and mutants["n"] == pairs["n"]
    rows = [] if only_mutants else _rows(pairs, pairs, name, "")
    if mutants is not None:
        rows += _rows(mutants, mutants, name, "mutant ")
    title = f"n = {pairs['n']:,}"
    print_table((title, "predictor", "MAE", "95 % interval", "5 bands", "r"), rows)
    if mutants is not None:
        typer.echo()
        drops = [
            (
                name,
                f"{drop['n']:,}",
                _number(drop["spearman"], 3),
                _interval(drop["spearman_ci"], 3),
                _number(drop["spearman_within"], 3),
                _interval(drop["spearman_within_ci"], 3),
            )
            for name, drop in mutants["drops"].items()
        ]
        print_table(
            ("lDDT drop", "mutants", "Spearman", "95 % interval", "in wild types", "95 % interval"), drops
        )


def _rows(
    section: dict[str, Any], model: dict[str, Any], name: str, prefix: str
) -> list[tuple[str, str, str, str, str, str]]:
    rows = []
    for target, label in (("tm", "TM"), ("lddt", "lDDT")):
        rows.append((prefix + label, name, *_numbers(model[target])))
        for baseline in section["baselines"].values():
            if target in baseline:
                rows.append((prefix + label, baseline["label"], *_numbers(baseline[target])))
            elif "not_run" in baseline:
                rows.append((prefix + label, baseline["label"], "not run", "", "", ""))
    return rows


def _numbers(part: dict[str, Any]) -> tuple[str, str, str, str]:
    return (
        _number(part["mae"], 4),
        _interval(part["mae_ci"], 4),
        _number(part.get("macro_mae"), 4),
        _number(part["pearson"], 3),
    )


def _number(value: float | None, decimals: int) -> str:
    if value is None:
        return ""
    return f"{value:.1e}" if 0 < abs(value) < 0.5 * 10.0**-decimals else f"{value:.{decimals}f}"


def _interval(ends: list[float] | None, decimals: int) -> str:
    return "" if ends is None else f"{_number(ends[0], decimals)}..{_number(ends[1], decimals)}"
