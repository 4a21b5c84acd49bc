"""The account of a run for the terminal: 80 columns, readable without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from mutscan.cli.console import plain
from mutscan.report.digest import UNCALIBRATED, digest, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from rich.console import Console

    from mutscan.report.digest import Digest, Standout
    from mutscan.report.saved import SavedRun
    from mutscan.report.scan import SavedScan

_STYLES = {"ok": "green", "partial": "yellow", "skipped": "yellow", "failed": "red"}
_FILES = (
    "variants.csv",
    "positions.csv",
    "scan.parquet",
    "residues.parquet",
    "run.json",
    "report.html",
    "structures",
    "log.txt",
)
_BAD_ROWS_SHOWN = 5
_NOTES_SHOWN = 5


def print_summary(run: SavedRun, console: Console) -> None:
    """Print what a run found, what went wrong, and where its files are."""
    account = digest(run)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in account.facts:
        facts.add_row(Text(name), Text(plain(value, limit=200)))
    facts.add_row(Text("Rows"), _counts(account))
    console.print(facts)
    if account.predicted:
        title = "Most disruptive, predicted (z against other substitutions of this protein)"
        _print_table(console, title, account.predicted, regions=True)
    if account.measured:
        title = "Most disruptive, measured on the built structures"
        _print_table(console, title, account.measured, regions=False)
    _print_bad_rows(run, console)
    console.print()
    for warning in account.warnings[:_NOTES_SHOWN]:
        console.print(Text(f"note: {plain(warning, limit=400)}"))
    if len(account.warnings) > _NOTES_SHOWN:
        console.print(Text(f"note: and {len(account.warnings) - _NOTES_SHOWN} more, see run.json"))
    if not account.calibrated:
        console.print(Text(UNCALIBRATED, style="dim"))
    console.print(Text(f"Files in {plain(run.directory)}/: " + ", ".join(_present(run))))


def print_scan_summary(scan: SavedScan, console: Console) -> None:
    """Print where a scanned protein tolerates substitutions and where not."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in scan.facts:
        facts.add_row(Text(name), Text(plain(value, limit=200)))
    facts.add_row(Text("Positions"), Text(str(scan.about["n_positions"])))
    facts.add_row(Text("Rows"), _count_line(scan.counts))
    console.print(facts)
    _print_positions(console, "Least tolerant positions", scan.least_tolerant())
    _print_positions(console, "Most tolerant positions", scan.most_tolerant())
    console.print()
    console.print(Text(f"note: {plain(scan.about['null_note'])}"))
    if not scan.calibrated:
        console.print(Text(UNCALIBRATED, style="dim"))
    console.print(Text(f"Files in {plain(scan.directory)}/: " + ", ".join(_present(scan))))


def _print_positions(console: Console, title: str, positions: pd.DataFrame) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("residue", no_wrap=True)
    for name in ("tolerance", "z mean", "z lowest", "lDDT", "TM"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("worst", no_wrap=True)
    for row in positions.to_dict(orient="records"):
        table.add_row(
            Text(f"{row['wild_type']}{row['position']}"),
            Text(number(row["tolerance"], 2)),
            Text(number(row["z_score_mean"], 2)),
            Text(number(row["z_score_min"], 2)),
            Text(number(row["lddt_predicted_mean"])),
            Text(number(row["tm_predicted_mean"])),
            Text(row["worst"] if isinstance(row["worst"], str) else "—"),
        )
    console.print(Text(f"\n{title}", style="bold"))
    console.print(table)


def _counts(account: Digest) -> Text:
    return _count_line(account.counts)


def _count_line(counts: Mapping[str, int]) -> Text:
    line = Text(str(sum(counts.values())))
    for place, (status, count) in enumerate(counts.items()):
        line.append(", " if place else ": ").append(f"{count} {status}", style=_STYLES.get(status, ""))
    return line


def _print_table(console: Console, title: str, standouts: tuple[Standout, ...], *, regions: bool) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("variant", overflow="fold", max_width=24)
    for name, _ in standouts[0].values:
        table.add_column(name, justify="right", no_wrap=True)
    if regions:
        table.add_column("affected regions", overflow="fold")
    for standout in standouts:
        cells = [Text(plain(standout.variant)), *(Text(value) for _, value in standout.values)]
        if regions:
            cells.append(Text(plain(standout.where, limit=90)))
        table.add_row(*cells)
    console.print(Text(f"\n{title}", style="bold"))
    console.print(table)


def _print_bad_rows(run: SavedRun, console: Console) -> None:
    bad = run.variants[run.variants["status"] != "ok"]
    if not len(bad):
        return
    console.print(Text("\nNot scored, or in part", style="bold"))
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for _, row in bad.head(_BAD_ROWS_SHOWN).iterrows():
        reason = row["message"] or row["notes"] or row["error_code"]
        named = plain(row["input"], limit=30)
        table.add_row(
            Text(row["status"], style=_STYLES.get(row["status"], "")),
            Text(f"{named}: {plain(reason, limit=240).removeprefix(f'{named}: ')}"),
        )
    console.print(table)
    if len(bad) > _BAD_ROWS_SHOWN:
        console.print(Text(f"and {len(bad) - _BAD_ROWS_SHOWN} more, see variants.csv"))


def _present(run: SavedRun | SavedScan) -> list[str]:
    return [
        name + ("/" if name == "structures" else "") for name in _FILES if (run.directory / name).exists()
    ]
