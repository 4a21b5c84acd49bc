"""Summary of a run for the terminal: 80 columns, readable without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from mutscan.cli.text import plain
from mutscan.reports.affected import in_words
from mutscan.reports.compared import compared_facts, compared_headline, compared_scores
from mutscan.reports.digest import UNCALIBRATED, background, digest
from mutscan.reports.population import population
from mutscan.reports.sentences import STRUCTURE_WORDS, number, probability, structure_disturbed, verdict_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from rich.console import Console

    from mutscan.pipeline import Comparison
    from mutscan.reports.digest import Standout
    from mutscan.reports.saved import SavedRun
    from mutscan.reports.scan import SavedScan

_STYLES = {"ok": "green", "partial": "yellow", "skipped": "yellow", "failed": "red"}
_FILES = (
    "variants.csv", "variants.parquet", "proteins.csv", "proteins", "positions.csv", "scan.parquet",
    "residues.parquet", "regions.parquet", "evidence.parquet", "null.parquet", "run.json", "report.html",
    "structures", "log.txt",
)  # fmt: skip
_BAD_ROWS_SHOWN = 5
_NOTES_SHOWN = 5


def print_summary(run: SavedRun, console: Console) -> None:
    """Print the results of a run in the words of its report, then its problems and its files."""
    account = digest(run)
    _print_top(console, account.headline, account.remainder)
    _print_findings(console, [(finding.label, finding.sentence) for finding in account.findings])
    _print_facts(console, _with_line(account.facts, run.provenance), [("Rows", _count_line(account.counts))])
    if account.predicted:
        title = "Most disruptive, predicted (lDDT drop z, higher is worse)"
        _print_table(console, title, account.predicted, run, affected=True)
    if account.measured:
        title = "Most disruptive, measured on the built structures"
        _print_table(console, title, account.measured, run, affected=False)
    _print_bad_rows(run, console)
    console.print()
    notes = [*filter(None, [population(run.provenance)]), *account.warnings]
    for note in notes[:_NOTES_SHOWN]:
        console.print(Text(f"note: {plain(note, limit=400)}"))
    if len(notes) > _NOTES_SHOWN:
        console.print(Text(f"note: and {len(notes) - _NOTES_SHOWN} more, see run.json"))
    if account.notice:
        console.print(Text(account.notice, style="dim"))
    console.print(Text(f"Files in {plain(run.directory)}/: " + ", ".join(_present(run.directory))))


def print_scan_summary(scan: SavedScan, console: Console) -> None:
    """Print where a scanned protein tolerates substitutions and where it does not."""
    from mutscan.reports.scan import TOP, headline

    _print_top(console, headline(scan), "")
    facts = (*_with_line(scan.facts, scan.provenance), ("Positions", str(scan.about["n_positions"])))
    _print_facts(console, facts, [("Rows", _count_line(scan.counts))])
    _print_positions(console, "Least tolerant positions", scan.least_tolerant())
    _print_positions(console, "Most tolerant positions", scan.most_tolerant())
    _print_regions(console, scan, TOP)
    console.print()
    for note in filter(None, (*scan.notes, scan.about["null_note"], population(scan.provenance))):
        console.print(Text(f"note: {plain(note, limit=400)}"))
    if not scan.calibrated:
        console.print(Text(UNCALIBRATED, style="dim"))
    console.print(Text(f"Files in {plain(scan.directory)}/: " + ", ".join(_present(scan.directory))))


def print_batch_summary(directory: Path, console: Console) -> None:
    """Print the results of a run of many proteins, read from its folder."""
    from mutscan.reports.batch import read_batch

    run = read_batch(directory)
    _print_top(console, run.headline, " ".join(filter(None, (run.remainder, run.caution))))
    findings = [
        (f"{plain(worst.protein, limit=20)} {plain(worst.variant, limit=24)}", worst.sentence)
        for worst in run.findings()
    ]
    _print_findings(console, findings)
    counts = [("Proteins", _count_line(run.protein_statuses)), ("Rows", _count_line(run.statuses))]
    if run.judged:
        counts.append(
            ("Verdicts", _count_line({flag or "without": rows for flag, rows in run.flags.items()}))
        )
    _print_facts(console, _with_line(run.facts, run.job), counts)
    failed = run.proteins[run.proteins["status"] == "failed"]
    _print_bad(
        console,
        "Failed proteins",
        [("failed", name, message) for name, message in failed[["name", "message"]].to_numpy().tolist()],
        "proteins.csv",
    )
    _print_bad(
        console,
        "Rows not scored",
        [(f"{problem.rows:,}", problem.code, f"first {problem.first}") for problem in run.problems],
        run.table,
    )
    console.print()
    if not run.calibrated:
        console.print(Text(UNCALIBRATED, style="dim"))
    console.print(Text(f"Files in {plain(directory)}/: " + ", ".join(_present(directory))))


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print what a comparison found, in the words of its page."""
    _print_top(console, compared_headline(comparison), "")
    rows = Table(box=None, pad_edge=False, header_style="dim")
    rows.add_column("")
    for name in ("predicted", "measured"):
        rows.add_column(name, justify="right", no_wrap=True)
    for name, predicted, measured in compared_scores(comparison):
        rows.add_row(Text(plain(name, limit=50)), Text(predicted), Text(measured))
    console.print(rows)
    for fact in compared_facts(comparison):
        console.print(Text(plain(fact, limit=200)))
    for note in comparison.notes:
        console.print(Text(f"note: {plain(note, limit=400)}"))


def _print_top(console: Console, headline: str, remainder: str) -> None:
    console.print(Text(plain(headline, limit=400), style="bold"))
    if remainder:
        console.print(Text(plain(remainder)))
    console.print()


def _print_findings(console: Console, findings: Sequence[tuple[str, str]]) -> None:
    """Name the variants that matter most, each with its sentence."""
    table = Table.grid(padding=(0, 2))
    table.add_column(max_width=24, overflow="fold")
    table.add_column()
    for name, sentence in findings:
        table.add_row(Text(plain(name), style="bold"), Text(plain(f"{sentence}.", limit=400)))
    if findings:
        console.print(table)
        console.print()


def _with_line(
    facts: tuple[tuple[str, str], ...], provenance: Mapping[str, Any]
) -> tuple[tuple[str, str], ...]:
    """Add from which drop on something is beyond background."""
    line = background(provenance)
    return (*facts, *[("Beyond background", line)] * bool(line))


def _print_facts(
    console: Console, facts: Iterable[tuple[str, str]], counts: Iterable[tuple[str, Text]]
) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(Text(name), Text(plain(value, limit=300)))
    for name, line in counts:
        table.add_row(Text(name), line)
    console.print(table)


def _print_positions(console: Console, title: str, positions: pd.DataFrame) -> None:
    rows = positions.to_dict(orient="records")
    columns = {
        "p mean": [probability(row["p_deleterious_mean"]) for row in rows],
        "tolerance": [probability(row["tolerance"]) for row in rows],
        "drop z mean": [number(-row["z_score_mean"], 2) for row in rows],
        "drop z worst": [number(-row["z_score_min"], 2) for row in rows],
        "best": [row["best"] or "—" for row in rows],
        "worst": [row["worst"] or "—" for row in rows],
    }
    _print_known(console, title, "residue", [f"{row['wild_type']}{row['position']}" for row in rows], columns)


def _print_regions(console: Console, scan: SavedScan, most: int) -> None:
    regions = scan.regions()[:most]
    if not regions:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("region", overflow="fold", max_width=40)
    table.add_column("positions", overflow="fold", max_width=24)
    table.add_column("p mean" if scan.calibrated else "not tolerated", justify="right", no_wrap=True)
    for region in regions:
        table.add_row(Text(plain(region.name)), Text(region.where), Text(probability(region.harm)))
    console.print(Text("\nMost sensitive regions", style="bold"))
    console.print(table)


def _count_line(counts: Mapping[str, int]) -> Text:
    line = Text(f"{sum(counts.values()):,}")
    for place, (status, count) in enumerate(counts.items()):
        line.append(", " if place else ": ").append(f"{count:,} {status}", style=_STYLES.get(status, ""))
    return line


def _print_table(
    console: Console, title: str, standouts: tuple[Standout, ...], run: SavedRun, *, affected: bool
) -> None:
    rows = [run.variants.loc[standout.number - 1] for standout in standouts]
    judged = any(row["flag"] for row in rows)
    columns: dict[str, list[str]] = {}
    if judged:
        words = [verdict_words(str(row["flag"]), str(row["flag_rule"])) for row in rows]
        columns["verdict"] = [said.removeprefix("likely ") or "—" for said in words]
        columns["p"] = [probability(row["p_deleterious"]) for row in rows]
    for place, (name, _) in enumerate(standouts[0].values):
        # With a verdict the percentile says little more, and its room is wanted.
        if not (judged and name == "percentile"):
            columns[name] = [standout.values[place][1] for standout in standouts]
    if affected:
        found = [
            structure_disturbed(row.to_dict(), run.disturbed_by(standout.variant))
            for standout, row in zip(standouts, rows, strict=True)
        ]
        columns["structure"] = [STRUCTURE_WORDS[one] for one in found]
        columns["disturbed residues"] = [_residues(standout.stretches) for standout in standouts]
    # A long name would squeeze the numbers; the sentences above tell it.
    names = [one.label if len(one.label) <= _NAME else one.variant for one in standouts]
    _print_known(console, title, "variant", names, columns)


_NAME = 20
"""Letters of a name in a table, before it is wrapped."""

_WORDS = frozenset({"best", "worst", "verdict", "structure", "disturbed residues"})
"""Columns of text; the others are of numbers."""


def _print_known(
    console: Console, title: str, what: str, names: Sequence[str], columns: Mapping[str, Sequence[str]]
) -> None:
    """Print a table, without the columns in which no row has a value."""
    known = {name: cells for name, cells in columns.items() if {*cells} != {"—"}}
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(what, overflow="fold", max_width=_NAME)
    for name in known:
        wraps = name == "disturbed residues"
        table.add_column(name, justify="left" if name in _WORDS else "right", no_wrap=not wraps)
    for name, *cells in zip(names, *known.values(), strict=True):
        table.add_row(Text(plain(name)), *map(Text, cells))
    console.print(Text(f"\n{title}", style="bold"))
    console.print(table)


def _residues(stretches: Iterable[tuple[int, int]]) -> str:
    """Positions of all disturbed regions, of many the first ones; the sentences above name the regions."""
    return in_words(stretches, most=3).removeprefix("residues ").removeprefix("residue ") or "—"


def _print_bad_rows(run: SavedRun, console: Console) -> None:
    bad = run.variants[run.variants["status"] != "ok"]
    columns = ("status", "input", "message", "notes", "error_code")
    rows = [
        (row["status"], row["input"], row["message"] or row["notes"] or row["error_code"])
        for row in bad[[*columns]].to_dict(orient="records")
    ]
    _print_bad(console, "Not scored, or only in part", rows, "variants.csv")


def _print_bad(console: Console, title: str, rows: Sequence[tuple[str, str, str]], file: str) -> None:
    """Print what went wrong, the first cases of it: status, name, reason."""
    if not rows:
        return
    console.print(Text(f"\n{title}", style="bold"))
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for status, name, reason in rows[:_BAD_ROWS_SHOWN]:
        named = plain(name, limit=30)
        table.add_row(
            Text(status, style=_STYLES.get(status, "")),
            Text(f"{named}: {plain(reason, limit=240).removeprefix(f'{named}: ')}"),
        )
    console.print(table)
    if len(rows) > _BAD_ROWS_SHOWN:
        console.print(Text(f"and {len(rows) - _BAD_ROWS_SHOWN:,} more, see {file}"))


def _present(directory: Path) -> list[str]:
    return [
        name + ("/" if (directory / name).is_dir() else "") for name in _FILES if (directory / name).exists()
    ]
