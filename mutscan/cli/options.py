"""Options that several commands share, each with one name and one help text."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import mutscan
from mutscan.builders import BUILDERS, NO_BUILDER
from mutscan.cli.errors import VERBOSE
from mutscan.structures.files import STRUCTURE_ENDINGS

RUNNING = "Execution"
PROTEIN = "Wild type and mutants"
OUTPUT = "Output"

_protein: Any = partial(typer.Option, rich_help_panel=PROTEIN)
_running: Any = partial(typer.Option, rich_help_panel=RUNNING)
_output: Any = partial(typer.Option, rich_help_panel=OUTPUT)


class Precision(StrEnum):
    """Numerical precision of the encoder."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


def _remember_verbose(context: typer.Context, value: bool) -> bool:
    # Read outside the command, where errors become messages.
    context.meta[VERBOSE] = value
    return value


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"mutscan {mutscan.__version__}")
        raise typer.Exit


def expand(value: Path | None) -> Path | None:
    """Expand ``~``, which the shell leaves alone in ``--out=~/x``."""
    return value.expanduser() if value is not None else None


WildTypeArgument = Annotated[
    str,
    typer.Argument(
        metavar="WILD_TYPE",
        help="UniProt accession (P04637, P04637-2), FASTA file or structure file "
        f"({' '.join(STRUCTURE_ENDINGS)}, also .gz).",
        show_default=False,
    ),
]
VariantsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="VARIANT",
        help="R175H, p.Arg175His, P04637:p.R175H or p.Lys120del; one mutant with several: 'R175H;R248Q'.",
        show_default=False,
    ),
]
VariantsFileOption = Annotated[
    str | None,
    _protein(
        "--variants",
        metavar="FILE|-",
        help="File of variants: text, CSV, TSV or FASTA of mutant sequences; - reads stdin.",
    ),
]
VariantColumnOption = Annotated[
    str | None,
    _protein(
        "--variant-column",
        metavar="NAME",
        help="Column of the CSV or TSV file with the variants; the other columns are copied to the output.",
    ),
]
StructureOption = Annotated[
    Path | None,
    _protein(
        "--structure",
        metavar="FILE",
        help="Structure for an accession or FASTA file (default for an accession: its AlphaFold DB model).",
        callback=expand,
    ),
]
ChainOption = Annotated[
    str | None,
    _protein("--chain", metavar="ID", help="Chain of the structure to use, if it has several."),
]
BuilderOption = Annotated[
    str,
    _protein(
        "--builder",
        metavar="|".join((*BUILDERS, NO_BUILDER, "DIR")),
        help="Builder of mutant structures; DIR is a folder of your own, one file each, such as R175H.pdb.",
    ),
]
OutOption = Annotated[
    Path | None,
    _running("--out", metavar="DIR", help="Run folder (default: mutscan-<wild type>).", callback=expand),
]
ModelOption = Annotated[
    str,
    _running(
        "--model",
        metavar="NAME|DIR",
        help="Trained model, by name or folder; 'mutscan models list' lists the names.",
    ),
]
DeviceOption = Annotated[
    str, _running("--device", metavar="auto|cpu|cuda[:N]|mps", help="Device that the networks run on.")
]
PrecisionOption = Annotated[Precision, _running("--precision", help="Numerical precision of the encoder.")]
BatchResiduesOption = Annotated[
    int | None,
    _running(
        "--batch-residues",
        metavar="N",
        min=1,
        help="Residues in a batch on a GPU (default: as its memory allows).",
    ),
]
JobsOption = Annotated[
    int | None,
    _running(
        "--jobs", metavar="N", min=1, help="Processes that build structures (default: one for each core)."
    ),
]
OfflineOption = Annotated[
    bool,
    _running("--offline", help="Do not use the network; a missing file is an error that names it."),
]
RestartOption = Annotated[
    bool,
    _running("--restart", help="Delete the results in the run folder and start again (default: continue)."),
]
SeedOption = Annotated[int, _running("--seed", metavar="N", min=0, help="Random seed.")]
QuietOption = Annotated[bool, _output("--quiet", "-q", help="Print errors only.")]
VerboseOption = Annotated[
    bool,
    _output(
        "--verbose",
        "-v",
        help="Print the log, and the traceback of an error.",
        callback=_remember_verbose,
        is_eager=True,
    ),
]
JsonOption = Annotated[bool, _output("--json", help="Print the result as JSON on stdout.")]
VersionOption: Any = Annotated[
    bool,
    _output("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
]
