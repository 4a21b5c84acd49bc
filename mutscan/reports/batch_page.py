"""The page of a run of many proteins: one self-contained file, from saved files alone.

Tables and strips are HTML and SVG, so that they are there without the script,
which only sorts, filters and searches.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from mutscan.reports.batch import Rule, SavedBatch, Worst, read_batch, report_folder, rule_words
from mutscan.reports.digest import UNCALIBRATED
from mutscan.reports.html import cells_of, fill_page, shorten
from mutscan.reports.saved import site_positions
from mutscan.reports.sentences import VERDICTS, confidence_reason, number, probability

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

MOST_BYTES: Final = 5_000_000
"""Bytes of the page at most."""

MOST_PROTEINS: Final = 1000
MOST_SHOWN: Final = 300
"""Rows of a table that are laid out when the page opens."""

MOST_FAILED: Final = 200
MOST_RULES: Final = 20
MOST_PROBLEMS: Final = 20

MOST_ITEMS: Final = 20
"""Items of a list of run.json that the page repeats; a list may hold one for each protein."""

SCRIPTS: Final = ("elements.js", "theme.js", "table.js", "batch.js")

COLUMNS: Final = (
    ("p_deleterious", "P(deleterious)", 3, "Calibrated probability that the variant is deleterious"),
    (
        "drop_z",
        "lDDT drop z",
        2,
        "Predicted lDDT drop against other substitutions of the same protein; higher is worse",
    ),
    ("alphamissense", "AlphaMissense", 3, "Another method's value (AlphaFold DB), no part of the verdict"),
)
"""Number columns of the table of variants: column, heading, decimals, what it means."""

RIGHT: Final = (
    "How often the verdict's rule was right where it was calibrated: precision for deleterious, negative "
    "predictive value for tolerated; see the rules below the table"
)

WIDTH, HEIGHT, EDGE = 220.0, 26.0, 5.0
"""Drawing units of a strip, and the empty edge within."""

SHAPES: Final = {
    "deleterious": "M{x} {top}l4 7h-8z",
    "uncertain": "M{x} {top}l4 4-4 4-4-4z",
    "tolerated": "M{left} {y}a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
    "": "M{left} {top}h6v6h-6z",
}
"""Path of a mark, a shape for each flag: ▲ ◆ ● as in the tables, ■ without a verdict."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A variant in a strip: class, path, and what it says."""

    flag: str
    path: str
    title: str


@dataclass(frozen=True, slots=True)
class Strip:
    """The worst variants of a protein along its chain, the worst last; `words` says the same as text."""

    words: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class ProteinRow:
    """A protein in the table; `flags` are those that its rows have, `link` is empty without a report."""

    name: str
    link: str
    status: str
    flags: str
    counts: tuple[str, ...]
    highest: tuple[tuple[str, str], ...]
    worst: str
    strip: Strip | None
    remark: str


@dataclass(frozen=True, slots=True)
class VariantRow:
    """A row in the table of variants.

    `rule` is the number of its rule in the list, 0 for none; `doubt` says why the confidence is not high.
    """

    protein: str
    link: str
    variant: str
    flag: str
    status: str
    cells: tuple[tuple[str, str], ...]
    right: str
    rule: int
    confidence: str
    doubt: str
    evidence: str
    regions: str
    carried: tuple[str, ...]


def render_many(directory: Path) -> str:
    """HTML of the page over all proteins of a run of many.

    Parameters
    ----------
    directory : Path
        Folder with proteins.csv, variants.csv (or variants.parquet) and run.json. Where
        ``proteins/<name>/report.html`` exists, the page links to it.

    Returns
    -------
    str
        A complete page that needs no other file, of at most `MOST_BYTES` in UTF-8: what does not fit is
        left out, the least disruptive first, and the page says so.

    Raises
    ------
    UsageError
        It is no folder of a finished run of many proteins, or a damaged one.
    """
    run = read_batch(directory)
    links = _links(run)
    share = 1.0
    while True:
        page = _page(run, links, share)
        size = len(page.encode())
        if size <= MOST_BYTES:
            return page
        share *= 0.95 * MOST_BYTES / size


def _page(run: SavedBatch, links: Mapping[str, str], share: float) -> str:
    """Fill the page with some share of the rows that it may hold."""
    run = replace(run, worst=_with_drop(run.worst), marks=_with_drop(run.marks))
    variants = run.worst.head(int(len(run.worst) * share))
    proteins = run.proteins.loc[_by_severity(run)].head(int(MOST_PROTEINS * share))
    failed = run.proteins[run.proteins["status"] == "failed"]
    rules = run.rules[:MOST_RULES]
    shown = [column for column in COLUMNS if run.worst[column[0]].notna().any()]
    # The highest value of a protein is that of the column that ranks the rows.
    ranked = tuple(column for column in shown if column[0] != "alphamissense")[:1]
    numbers = {(rule.flag, rule.words): place for place, rule in enumerate(rules, start=1)}
    marks: dict[str, list[dict[Any, Any]]] = {name: [] for name in proteins["name"]}
    for mark in run.marks[run.marks["protein"].isin(marks.keys())].to_dict(orient="records"):
        marks[mark["protein"]].append(mark)
    protein_rows = [
        _protein_row(run, row, marks[row["name"]], links.get(row["name"], ""), ranked)
        for row in proteins.to_dict(orient="records")
    ]
    # The input's own column of proteins says nothing new.
    carried = [name for name in run.carried if not run.worst[name].equals(run.worst["wild_type"])]
    variant_rows = [
        _variant_row(row, links, shown, numbers, carried) for row in variants.to_dict(orient="records")
    ]
    regions = any(row.regions for row in variant_rows)
    return fill_page(
        "batch.html.j2",
        SCRIPTS,
        _brief(run.job),
        recorded=_brief(run.provenance),
        run=run,
        notice="" if run.calibrated else UNCALIBRATED,
        findings=[(worst, _variant_link(links, worst)) for worst in run.findings()],
        most_shown=MOST_SHOWN,
        has_regions=regions,
        variants=variant_rows,
        variant_headings=[
            ("Protein", False, ""),
            ("Variant", False, ""),
            ("Verdict" if run.judged else "Status", False, ""),
            *((heading, True, hint) for _, heading, _, hint in shown),
            *([("How often right", True, RIGHT)] if rules else ()),
            ("Confidence", False, "How reliable the inputs are"),
            ("Evidence", False, "What moves the log-odds, the strongest first"),
            *([("Affected regions", False, "")] if regions else ()),
            *((name, False, "Carried over from the input") for name in carried),
        ],
        variant_filters=[
            ("flag", "Verdict", [flag for flag in VERDICTS if any(row.flag == flag for row in variant_rows)]),
            ("confidence", "Confidence", sorted({row.confidence for row in variant_rows if row.confidence})),
        ],
        variants_title="Worst variants" if len(variant_rows) < run.scored else "All variants",
        variants_left_out=run.scored - len(variant_rows),
        proteins=protein_rows,
        has_folders=bool((run.proteins["folder"] != "").any()),
        protein_headings=[
            *((heading, True, f"{hint}; of the worst variant") for _, heading, _, hint in ranked),
            ("Worst variant", False, ""),
            ("Status", False, "partial: some rows were not scored"),
            ("Rows", True, ""),
            *((flag.capitalize(), True, "Rows with this verdict") for flag in VERDICTS if run.judged),
            ("Length", True, "Residues"),
            ("Regions hit most, or what went wrong", False, "Affected regions that most rows share"),
        ],
        sorted_by=ranked[0][1] if ranked else "",
        sorted_up=False,
        protein_filters=[
            ("status", "Status", list(run.protein_statuses)),
            ("flag", "Has", [flag for flag in VERDICTS if run.flags.get(flag)]),
        ],
        proteins_left_out=len(run.proteins) - len(protein_rows),
        strip=(WIDTH, HEIGHT, EDGE),
        failed=failed.head(MOST_FAILED).to_dict(orient="records"),
        failed_left_out=max(len(failed) - MOST_FAILED, 0),
        problems=run.problems[:MOST_PROBLEMS],
        problems_left_out=len(run.problems[MOST_PROBLEMS:]),
        rules=rules,
        rules_left_out=len(run.rules[MOST_RULES:]),
    )


def _with_drop(rows: pd.DataFrame) -> pd.DataFrame:
    """Turn z around for people: the higher, the worse."""
    return rows.assign(drop_z=-rows["z_score"])


def _links(run: SavedBatch) -> dict[str, str]:
    """Address of each protein's own report, by the protein's name; only of those there are."""
    links = {}
    for name, folder in zip(run.proteins["name"], run.proteins["folder"], strict=True):
        path = f"{folder}/report.html"
        if report_folder(folder) and (run.directory / path).is_file():
            links[name] = quote(path)
    return links


def _variant_link(links: Mapping[str, str], worst: Worst) -> str:
    link = links.get(worst.protein)
    return f"{link}#v={quote(worst.variant)}" if link else ""


def _by_severity(run: SavedBatch) -> list[int]:
    """Rows of proteins.csv, that with the worst variant first, those without a scored one last."""
    rank = {name: place for place, name in enumerate(run.marks["protein"].unique())}
    names = run.proteins["name"].tolist()
    return sorted(range(len(names)), key=lambda place: rank.get(names[place], len(rank)))


def _protein_row(
    run: SavedBatch, row: Mapping[Any, Any], marks: Sequence[Mapping[Any, Any]], link: str, ranked: Any
) -> ProteinRow:
    columns = ("rows", *(VERDICTS if run.judged else ()), "length")
    worst = marks[0] if marks else {"variant": "—", **{column[0]: float("nan") for column in ranked}}
    failed = row["status"] == "failed"
    return ProteinRow(
        name=shorten(row["name"]),
        link=link,
        status=row["status"],
        flags=" ".join(flag for flag in VERDICTS if row[flag] > 0),
        counts=tuple(number(row[column], 0) for column in columns),
        highest=cells_of(worst, ranked),
        worst=shorten(worst["variant"], 40),
        strip=_strip(row, marks) if marks and row["length"] > 0 else None,
        remark=shorten(row["message"] if failed else row["regions_hit_most"] or row["message"], 200),
    )


def _strip(row: Mapping[Any, Any], marks: Sequence[Mapping[Any, Any]]) -> Strip:
    """Draw a protein's variants: their place along the chain, and their probability as height."""
    length, scored = int(row["length"]), int(row["scored"])
    flags = Counter(mark["flag"] for mark in marks)
    seen = ", ".join(f"{flags[flag]} {flag}" for flag in VERDICTS if flags[flag])
    which = "variants" if len(marks) >= scored else f"worst of {scored:,} variants"
    words = f"{len(marks)} {which} along {length} residues{f': {seen}' if seen else ''}"
    # The worst is drawn last, on top.
    return Strip(words, tuple(_marks(marks[::-1], length)))


def _marks(marks: Sequence[Mapping[Any, Any]], length: int) -> Iterator[Mark]:
    ranked = any(row["p_deleterious"] == row["p_deleterious"] for row in marks)
    for row in marks:
        p, flag = row["p_deleterious"], row["flag"] if row["flag"] in SHAPES else ""
        sites = site_positions(str(row["positions"]))
        if not sites or (ranked and not flag and p != p):  # what was not assessed has no height
            continue
        along = (min(sites[0], length) - 1) / max(length - 1, 1)
        x = EDGE + (WIDTH - 2 * EDGE) * along
        y = HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (p if p == p else 0.0)
        path = SHAPES[flag].format(x=f"{x:.4g}", y=f"{y:.3g}", left=f"{x - 3:.4g}", top=f"{y - 4:.3g}")
        said = f"{flag or 'no verdict'}, p {probability(p)}" if p == p else flag or "no verdict"
        yield Mark(flag, path, f"{shorten(row['variant'], 40)}: {said}")


def _variant_row(
    row: Mapping[Any, Any],
    links: Mapping[str, str],
    shown: Any,
    numbers: Mapping[tuple[str, str], int],
    carried: Sequence[str],
) -> VariantRow:
    rule = Rule(row["flag"], rule_words(row["flag_rule"]), 1)
    link = links.get(row["wild_type"], "")
    return VariantRow(
        protein=shorten(row["wild_type"], 60),
        link=f"{link}#v={quote(row['variant'])}" if link else "",
        variant=shorten(row["variant"], 60),
        flag=row["flag"],
        status=row["status"],
        cells=cells_of(row, shown),
        right=rule.right,
        rule=numbers.get((rule.flag, rule.words), 0),
        confidence=row["confidence"],
        doubt=shorten(confidence_reason(row)),
        evidence=shorten(row["evidence"], 200),
        regions=shorten(row["affected_regions"], 200),
        carried=tuple(shorten(row[column]) for column in carried),
    )


def _brief(value: Any) -> Any:
    """run.json without the far end of long lists: some hold an item for each protein."""
    if isinstance(value, dict):
        items = list(value.items())
        brief = {key: _brief(item) for key, item in items[:MOST_ITEMS]}
        return brief | ({"…": _more(items)} if len(items) > MOST_ITEMS else {})
    if isinstance(value, list):
        brief_list = [_brief(item) for item in value[:MOST_ITEMS]]
        if len(value) <= MOST_ITEMS:
            return brief_list
        return [*brief_list, {"…": _more(value)} if isinstance(value[0], dict) else _more(value)]
    return value


def _more(items: Any) -> str:
    return f"{len(items) - MOST_ITEMS:,} more in run.json"
