"""Options that several commands share: one spelling, one meaning, one help text each."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import mutscan
from mutscan.builders import BUILDERS, NO_BUILDER
from mutscan.cli.errors import VERBOSE

RUNNING = "Where and how it runs"
PROTEIN = "Wild type and mutants"
TALKING = "What is said"


class Precision(StrEnum):
    """Arithmetic of the networks."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


def _remember_verbose(context: typer.Context, value: bool) -> bool:
    # Read where errors are translated, outside the command.
    context.meta[VERBOSE] = value
    return value


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"mutscan {mutscan.__version__}")
        raise typer.Exit


def _expand(value: Path | None) -> Path | None:
    """``--out=~/x`` reaches us unexpanded by the shell."""
    return value.expanduser() if value is not None else None


WildTypeArgument = Annotated[
    str,
    typer.Argument(
        metavar="WILD_TYPE",
        help="UniProt accession (P04637, P04637-2), structure (.pdb .ent .cif, also .gz) or FASTA file.",
        show_default=False,
    ),
]
VariantsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="VARIANT",
        help="R175H, p.Arg175His, P04637:p.R175H, p.Lys120del; several in one mutant: 'R175H;R248Q'.",
        show_default=False,
    ),
]
VariantsFileOption = Annotated[
    str | None,
    typer.Option(
        "--variants",
        metavar="FILE|-",
        help="Read variants from text, CSV, TSV or a FASTA file of mutants; - is stdin.",
        rich_help_panel=PROTEIN,
    ),
]
VariantColumnOption = Annotated[
    str | None,
    typer.Option(
        "--variant-column",
        metavar="NAME",
        help="Column of the CSV/TSV that holds the variants; the others are carried to the output.",
        rich_help_panel=PROTEIN,
    ),
]
StructureOption = Annotated[
    Path | None,
    typer.Option(
        "--structure",
        metavar="FILE",
        help="Structure for an accession or FASTA file (default: AlphaFold DB's model of an accession).",
        callback=_expand,
        rich_help_panel=PROTEIN,
    ),
]
ChainOption = Annotated[
    str | None,
    typer.Option(
        "--chain",
        metavar="ID",
        help="Chain of the structure, when it has several.",
        rich_help_panel=PROTEIN,
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="The run folder (default: mutscan-<wild type>).",
        callback=_expand,
        rich_help_panel=RUNNING,
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME|DIR",
        help="The trained model; 'mutscan models list' shows what is here.",
        rich_help_panel=RUNNING,
    ),
]
BuilderOption = Annotated[
    str,
    typer.Option(
        "--builder",
        metavar="|".join((*BUILDERS, NO_BUILDER, "DIR")),
        help="Who builds mutant structures; DIR: your own, one file each, named by the canonical variant.",
        rich_help_panel=PROTEIN,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda[:N]|mps",
        help="Where the networks run.",
        rich_help_panel=RUNNING,
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option("--precision", help="Arithmetic of the encoder.", rich_help_panel=RUNNING),
]
BatchResiduesOption = Annotated[
    int | None,
    typer.Option(
        "--batch-residues",
        metavar="N",
        min=1,
        help="Residues a batch on a GPU (default: by its memory).",
        rich_help_panel=RUNNING,
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs", metavar="N", min=1, help="Builder processes (default: cores).", rich_help_panel=RUNNING
    ),
]
OfflineOption = Annotated[
    bool,
    typer.Option(
        "--offline",
        help="Never touch the network; a missing file is an error that names it.",
        rich_help_panel=RUNNING,
    ),
]
RestartOption = Annotated[
    bool,
    typer.Option(
        "--restart",
        help="Throw away the finished part of the run folder (default: continue).",
        rich_help_panel=RUNNING,
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed", metavar="N", min=0, help="For all that is drawn at random.", rich_help_panel=RUNNING
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Say errors only.", rich_help_panel=TALKING),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Say everything, tracebacks included.",
        callback=_remember_verbose,
        is_eager=True,
        rich_help_panel=TALKING,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON on stdout.", rich_help_panel=TALKING),
]
VersionOption: Any = Annotated[
    bool,
    typer.Option(
        "--version",
        help="Print the version.",
        callback=_print_version,
        is_eager=True,
        rich_help_panel=TALKING,
    ),
]
