"""The `mutscan` command and its subcommands, in the order a new user meets them."""

from __future__ import annotations

import typer

from mutscan.cli import align, batch, cache, cite, compare, doctor, mcp, merge, models, report, scan, score
from mutscan.cli.errors import MutscanGroup
from mutscan.cli.options import VersionOption
from mutscan.errors import ROW_CODES

app = typer.Typer(
    name="mutscan",
    cls=MutscanGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: mutscan score examples/globin/wild_type.cif H97A 'E10K;K144E' --out globin-run",
)


@app.callback()
def root(version: VersionOption = False) -> None:
    """Predict which variants disturb a protein's structure, and where."""


_CODES = "\n\n".join(["Error codes of rows:", *(f"{code}: {meaning}" for code, meaning in ROW_CODES.items())])

app.command("score", epilog=_CODES)(score.score)
app.command("scan")(scan.scan)
app.command("check")(score.check)
app.command("compare")(compare.compare)
app.command("batch", epilog=_CODES)(batch.batch)
app.command("merge")(merge.merge)
app.command("align")(align.align)
app.command("report")(report.report)
app.command("cite")(cite.cite)
app.command("mcp")(mcp.mcp)
app.add_typer(models.app, name="models")
app.add_typer(cache.app, name="cache")
app.command("doctor")(doctor.doctor)
# MutscanGroup imports these commands (mutscan.cli.train) only when one of them runs.
app.add_typer(
    typer.Typer(help="Train and evaluate models; 'mutscan train --help' lists the steps."), name="train"
)
