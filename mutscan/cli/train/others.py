"""Tables of flags on scans and of other methods' scores on the terminal, and the cells of all tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer

from mutscan.cli.console import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERVAL: Final = "95 % interval"


def print_flags(part: dict[str, Any]) -> None:
    """Print how often the flags of each scan are right, where there are cut-offs."""
    from mutscan.train.evaluate.scan_flags import FLAG_HEADS

    if not part["n_assays_with_cutoff"]:
        return
    rows = [
        (name, *(number(row[key], 2) for key in FLAG_HEADS))
        for name, row in part.items()
        if isinstance(row, dict) and "cutoff" in row
    ]
    rows.append(
        (f"mean of {part['n_assays_with_cutoff']}", *(number(part[f"mean_{key}"], 2) for key in FLAG_HEADS))
    )
    rows.append((INTERVAL, *(_interval(part[f"mean_{key}_ci"], 2) for key in FLAG_HEADS)))
    print_table(("assay", *FLAG_HEADS.values()), rows)
    typer.echo()


def print_beside(metrics: dict[str, Any], kind: str) -> None:
    """Print other methods, the model on the same variants, and the difference."""
    from mutscan.train.evaluate.report import BESIDE_COLUMNS

    methods = metrics.get("beside", {}).get(kind, {})
    if not methods:
        return
    name = metrics["model"]["name"]
    columns = [
        (key, head) for key, head in BESIDE_COLUMNS[kind] if any(key in row for row in methods.values())
    ]
    rows: list[tuple[str, ...]] = []
    for method, row in methods.items():
        for label, form in ((method, "{}"), (f"{name} there", "ours_{}"), ("difference", "{}_difference")):
            numbers = (with_interval(row, form.format(key)) for key, _ in columns)
            rows.append((label, f"{row['n']:,}", *(cell for pair in numbers for cell in pair)))
    print_table(
        ("on the same variants", "n", *(cell for _, head in columns for cell in (head, INTERVAL))), rows
    )
    for method, row in methods.items():
        if row["points_the_other_way"]:
            other = "tolerated" if row["higher"] == "deleterious" else "deleterious"
            typer.echo(f"{method} scores harmful variants low; is it --beside-higher {other}?")
    typer.echo()
    for method, row in methods.items():
        if kind == "dms":
            each = [
                (assay, f"{one['n']:,}", *_cells(one, "spearman", "ours_spearman", "abs_spearman_difference"))
                for assay, one in row["assays"].items()
            ]
            print_table(("assay", "n", method, INTERVAL, name, INTERVAL, "difference of |ρ|", INTERVAL), each)
            typer.echo()


def print_sources(metrics: dict[str, Any], kind: str) -> None:
    """Print the model without relatives, with its library and with alignments, on the same variants."""
    from mutscan.train.evaluate.report import BESIDE_COLUMNS
    from mutscan.train.evaluate.sources import SOURCES

    part = metrics.get("sources", {}).get(kind)
    if part is None:
        return
    if not part:
        typer.echo("no protein has both an alignment and relatives in the library")
        typer.echo()
        return
    columns = [(key, head) for key, head in BESIDE_COLUMNS[kind] if key in part["rows"]["deep"]]
    rows = [
        (SOURCES[name], *_cells(row, *(form for key, _ in columns for form in (key, f"{key}_difference"))))
        for name, row in part["rows"].items()
    ]
    heads = [cell for _, head in columns for cell in (head, INTERVAL, "alignment minus this", INTERVAL)]
    print_table((f"{part['n']:,} variants, {part['n_proteins']:,} proteins", *heads), rows)
    typer.echo()


def print_reference(metrics: dict[str, Any]) -> None:
    """Print published correlations beside the model's: of each assay, then means over the shared ones."""
    if (part := metrics.get("reference")) is None:
        return
    name, shown = metrics["model"]["name"], {model: part["models"][model] for model in part["shown"]}
    rows = [
        (
            assay + known(metrics["dms"][assay]),
            number(own),
            *(number(row["assays"].get(assay)) for row in shown.values()),
        )
        for assay, own in part["assays"].items()
    ]
    print_table(("Spearman, published", name, *shown), rows)
    typer.echo()
    keys = ("mean_spearman", "ours_mean_spearman", "mean_spearman_difference")
    means = [(model, str(row["n_assays"]), *_cells(row, *keys)) for model, row in shown.items()]
    print_table(("mean", "assays", "published", INTERVAL, name, INTERVAL, "difference", INTERVAL), means)
    typer.echo(part["caveat"])
    typer.echo()


def known(assay: dict[str, Any]) -> str:
    """Mark of an assay of a protein that the calibration knows."""
    return " *" if assay["known_to_calibration"] else ""


def _cells(row: dict[str, Any], *keys: str) -> list[str]:
    return [cell for key in keys for cell in with_interval(row, key)]


def with_interval(part: dict[str, Any], key: str, decimals: int = 3) -> tuple[str, str]:
    """Cells of a number and of its interval."""
    return number(part.get(key), decimals), _interval(part.get(f"{key}_ci"), decimals)


def number(value: float | None, decimals: int = 3) -> str:
    """Format a number; a very small one gets an exponent, an unknown one an empty cell."""
    if value is None:
        return ""
    return f"{value:.1e}" if 0 < abs(value) < 0.5 * 10.0**-decimals else f"{value:.{decimals}f}"


def _interval(ends: Sequence[float] | None, decimals: int) -> str:
    return "" if ends is None else f"{number(ends[0], decimals)}..{number(ends[1], decimals)}"
