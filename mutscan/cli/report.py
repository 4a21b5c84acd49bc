"""``mutscan report``: draw the report of a saved run again."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from mutscan.cli.options import Messages, OfflineOption, argument, command, flag, path, read_path


class Format(StrEnum):
    """What a report can be drawn as."""

    html = "html"
    pymol = "pymol"
    chimerax = "chimerax"
    figures = "figures"
    json = "json"
    xlsx = "xlsx"
    design = "design"
    parquet = "parquet"
    proteingym = "proteingym"
    mavedb = "mavedb"
    mavehgvs = "mavehgvs"
    pdb = "pdb"


@command(
    format="html: the page. pymol, chimerax: a script that opens the structures. "
    "figures: SVG and PNG of each figure. json: the whole run as one file. "
    "xlsx: an Excel workbook (needs mutscan[xlsx]). "
    "design: of a scan, what each position tolerates, as CSV. "
    "parquet: variants.csv as Parquet. "
    "proteingym, mavedb: CSV of those collections; higher scores are fitter. "
    "mavehgvs: the scored variants, one on each line. pdb: the structures as PDB files.",
    out="Where to write it: a file, for figures and pdb a folder. Default: RUN/report.html, "
    "RUN/structures/view.pml or view.cxc, RUN/figures, RUN/report.json, RUN/report.xlsx, "
    "RUN/design.csv, RUN/variants.parquet, RUN/proteingym.csv, RUN/mavedb.csv, RUN/mavehgvs.txt, "
    "RUN/structures.",
)
def report(
    run: Annotated[
        Path, argument(metavar="RUN", help="A run folder of score, scan or batch.", parser=read_path)
    ],
    *,
    format: Annotated[Format, flag()] = Format.html,
    out: Annotated[Path | None, path("PATH")] = None,
    offline: OfflineOption = False,
    messages: Messages,
) -> None:
    """Draw the report of a saved run again.

    No model is needed. The network is used at most once, to fetch 3Dmol.js.
    """
    terminal = messages.terminal()
    from mutscan.pipeline.reporting import write_report

    written = write_report(run, format.value, out, offline=offline)
    if written.note:
        terminal.say(f"note: {written.note}")
    if format is Format.figures:
        figures = "1 figure" if written.size == 1 else f"{written.size} figures, each"
        terminal.say(f"{figures} as SVG and PNG, written to {written.path}/")
    elif format is Format.pdb:
        structures = "1 structure" if written.size == 1 else f"{written.size} structures"
        terminal.say(f"{structures} written to {written.path}/")
    else:
        size = f"{written.size / 1e6:.1f} MB" if written.size >= 1e5 else f"{written.size / 1e3:.0f} kB"
        terminal.say(f"{format.value} report written to {written.path} ({size})")
