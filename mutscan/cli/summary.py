"""The account of a run for the terminal: 80 columns, readable without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mutscan.cli.console import plain
from mutscan.report.digest import UNCALIBRATED, digest

if TYPE_CHECKING:
    from rich.console import Console

    from mutscan.report.digest import Digest, Standout
    from mutscan.report.saved import SavedRun

_STYLES = {"ok": "green", "partial": "yellow", "skipped": "yellow", "failed": "red"}
_FILES = ("variants.csv", "residues.parquet", "run.json", "report.html", "structures", "log.txt")
_BAD_ROWS_SHOWN = 5


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
        console.print(
            _table(
                "Most disruptive, predicted (z below other substitutions of this protein)", account.predicted
            )
        )
    if account.measured:
        console.print(_table("Most disruptive, measured on the built structures", account.measured))
    _print_bad_rows(run, console)
    for warning in account.warnings:
        console.print(Text(f"warning: {plain(warning)}"), soft_wrap=False)
    if not account.calibrated:
        console.print(Text(UNCALIBRATED, style="dim"))
    console.print(Text(f"Files in {plain(run.directory)}/: " + ", ".join(_present(run))))


def _counts(account: Digest) -> Text:
    line = Text(str(sum(account.counts.values())))
    for status, count in account.counts.items():
        line.append(", ").append(f"{count} {status}", style=_STYLES.get(status, ""))
    return line


def _table(title: str, standouts: tuple[Standout, ...]) -> Padding:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim"
    )
    table.add_column("variant", overflow="fold", max_width=24)
    for name, _ in standouts[0].values:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("affected regions", overflow="fold")
    for standout in standouts:
        table.add_row(
            Text(plain(standout.variant)),
            *(Text(value) for _, value in standout.values),
            Text(plain(standout.where, limit=90)),
        )
    return Padding(table, (1, 0, 0, 0))


def _print_bad_rows(run: SavedRun, console: Console) -> None:
    bad = run.variants[run.variants["status"] != "ok"]
    if not len(bad):
        return
    console.print(Text("\nNot scored, or in part", style="bold"))
    for _, row in bad.head(_BAD_ROWS_SHOWN).iterrows():
        reason = row["message"] or row["notes"] or row["error_code"]
        line = Text("  ")
        line.append(row["status"], style=_STYLES.get(row["status"], ""))
        line.append(f" {plain(row['input'], limit=30)}: {plain(reason, limit=200)}")
        console.print(line)
    if len(bad) > _BAD_ROWS_SHOWN:
        console.print(Text(f"  and {len(bad) - _BAD_ROWS_SHOWN} more, see variants.csv"))


def _present(run: SavedRun) -> list[str]:
    return [
        name + ("/" if name == "structures" else "") for name in _FILES if (run.directory / name).exists()
    ]
