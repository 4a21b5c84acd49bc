"""Options that several commands share, each with one name and one help text; and how options are declared."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from mutscan.builders import BUILDERS, NO_BUILDER
from mutscan.cli.errors import VERBOSE
from mutscan.pipeline.options import DEFAULTS, ENGINES, INVERSE_FOLDING, NUMBERING, PREDICT
from mutscan.structures.files import STRUCTURE_ENDINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mutscan.cli.console import Terminal

RUNNING = "Execution"
PROTEIN = "Wild type and mutants"
OUTPUT = "Output"
MACHINES = "Many machines"


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


def read_path(text: str) -> Path:
    """Read a path; an empty one would mean the current folder. Shells leave ``~`` alone in ``--out=~/x``."""
    if not text:
        raise typer.BadParameter("expected a path, but the text is empty")
    return Path(text).expanduser()


def option(metavar: str | None, words: str = "", panel: str | None = None, *names: str, **more: Any) -> Any:
    """Declare an option; its name is that of the parameter unless `names` are given.

    Parameters
    ----------
    metavar, words, panel : str
        Placeholder of the value, help, and heading in the help. `command` fills in empty words.
    more
        For `typer.Option`.
    """
    return typer.Option(*names, metavar=metavar, help=words, rich_help_panel=panel, **more)


path = partial(option, parser=read_path)
flag = partial(option, None)
argument = partial(typer.Argument, show_default=False)


def count(words: str = "", panel: str | None = None, least: int = 1) -> Any:
    """Option that takes a whole number."""
    return option("N", words, panel, min=least)


def _members(group: Any) -> dict[str, inspect.Parameter]:
    """Parameters that stand for the fields of a dataclass of options."""
    kinds = get_type_hints(group, include_extras=True)
    only = inspect.Parameter.KEYWORD_ONLY
    return {
        field.name: inspect.Parameter(field.name, only, default=field.default, annotation=kinds[field.name])
        for field in fields(group)
    }


def command(**words: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Complete the options of a command.

    A parameter whose type is a dataclass of options stands for the options of all its fields.

    Parameters
    ----------
    words
        Help of the options that is too long to stand beside them.
    """

    def complete(function: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(function, eval_str=True)
        groups: dict[str, dict[str, inspect.Parameter]] = {}
        shown: dict[str, inspect.Parameter] = {}
        for name, parameter in own.parameters.items():
            if is_dataclass(parameter.annotation):
                groups[name] = _members(parameter.annotation)
            shown |= groups.get(name, {name: parameter})
        for name, text in words.items():
            shown[name].annotation.__metadata__[0].help = text

        @functools.wraps(function)
        def call(**given: Any) -> None:
            for name, members in groups.items():
                values = {member: given.pop(member) for member in members if member in given}
                given[name] = own.parameters[name].annotation(**values)
            function(**given)

        listed = [each.replace(kind=each.KEYWORD_ONLY) for each in shown.values()]
        vars(call)["__signature__"] = own.replace(parameters=listed)
        return call

    return complete


WildTypeArgument = Annotated[
    str,
    argument(
        metavar="WILD_TYPE",
        help=f"FASTA file, structure file ({' '.join(STRUCTURE_ENDINGS)}, also .gz), UniProt accession or "
        "entry name (P04637, P04637-2, P53_HUMAN), RefSeq or Ensembl protein (NP_000537.3, ENSP00000269305), "
        "chain of a PDB entry (pdb:1TUP:A), or gene symbol (TP53).",
    ),
]
ModelOption = Annotated[
    str,
    option("NAME|DIR", "Trained model, by name or folder; 'mutscan models list' lists the names.", RUNNING),
]
DeviceOption = Annotated[str, option("auto|cpu|cuda[:N]|mps", "Device that the networks run on.", RUNNING)]
PrecisionOption = Annotated[Precision, flag("Numerical precision of the encoder.", RUNNING)]
BatchResiduesOption = Annotated[
    int | None, count("Residues in a batch on a GPU (default: as its memory allows).", RUNNING)
]
OfflineOption = Annotated[
    bool,
    flag("Do not use the network; a missing file is an error that names it.", RUNNING, "--offline"),
]
OrganismOption = Annotated[
    str,
    option(
        "NAME|TAXON",
        "Organism of a gene symbol, refused with other names: name, UniProt's code or taxon.",
        PROTEIN,
    ),
]
SeedOption = Annotated[int, count("Random seed.", RUNNING, 0)]
JsonOption = Annotated[bool, flag("Print the result as JSON on stdout.", OUTPUT, "--json")]
QuietOption = Annotated[bool, flag("Print errors only.", OUTPUT, "--quiet", "-q")]
VerboseOption = Annotated[
    bool,
    flag(
        "Print the log, and the traceback of an error.",
        OUTPUT,
        "--verbose",
        "-v",
        callback=_remember_verbose,
        is_eager=True,
    ),
]


@dataclass(frozen=True)
class Messages:
    """What a command writes to stderr."""

    quiet: QuietOption = False
    verbose: VerboseOption = False

    def terminal(self, *, follower: bool = False) -> Terminal:
        """Start the log and return the terminal; one of several processes that only follows is quiet."""
        from mutscan.cli.console import Terminal

        terminal = Terminal(quiet=self.quiet or follower, verbose=self.verbose)
        terminal.start_log()
        return terminal


StrictOption = Annotated[
    bool,
    flag(
        "Fail rows that the other rows cast doubt on: another numbering or another protein is meant.",
        PROTEIN,
        "--strict",
    ),
]
BuilderOption = Annotated[
    str,
    option(
        "|".join((*BUILDERS, NO_BUILDER, "DIR")),
        "Builder of mutant structures; DIR is a folder of your own, one file each, such as R175H.pdb.",
        PROTEIN,
    ),
]


@dataclass(frozen=True)
class SharedOptions:
    """Options of score, check, scan and batch, by their names in `mutscan.pipeline`."""

    alignment: Annotated[
        str,
        option(
            "FILE|auto|library",
            "Relatives of the protein: file (a3m, a2m, Stockholm, aligned FASTA or CLUSTAL, also .gz) whose "
            "first or named row is the wild type; auto: AlphaFold DB's alignment of an accession, else the "
            "model's library; library: only that.",
            PROTEIN,
        ),
    ] = str(DEFAULTS.alignment)
    builder: BuilderOption = DEFAULTS.builder
    plddt: Annotated[
        bool,
        flag(
            "B factors of the structure file are pLDDT: for models whose file does not say so.",
            PROTEIN,
            "--plddt",
        ),
    ] = DEFAULTS.plddt
    model: ModelOption = DEFAULTS.model
    out: Annotated[Path | None, path("DIR", "Run folder (default: mutscan-<wild type>).", RUNNING)] = None
    restart: Annotated[
        bool,
        flag(
            "Delete the results in the run folder and start again (default: continue).", RUNNING, "--restart"
        ),
    ] = False
    offline: OfflineOption = False
    device: DeviceOption = DEFAULTS.device
    precision: PrecisionOption = Precision.auto
    batch_residues: BatchResiduesOption = None
    jobs: Annotated[
        int | None, count("Processes that build structures (default: one for each core).", RUNNING)
    ] = None
    prior: Annotated[
        str,
        option(
            "clinical|scan",
            "List that p_deleterious holds for: variants as clinics report them, or all substitutions of a "
            "protein. Ranks and flags are the same.",
            RUNNING,
        ),
    ] = DEFAULTS.prior
    inverse_folding: Annotated[
        str,
        option(
            "|".join(INVERSE_FOLDING),
            "Evidence of ProteinMPNN, and ddg_predicted, where the extra 'mpnn' is installed.",
            RUNNING,
        ),
    ] = DEFAULTS.inverse_folding
    predict: Annotated[
        str,
        option(
            "|".join(PREDICT),
            "probability: only p_deleterious and what goes with it; mutants are neither embedded nor built.",
            RUNNING,
        ),
    ] = DEFAULTS.predict
    numbering: Annotated[
        str,
        option(
            "|".join(NUMBERING),
            "Whose positions these are: the sequence's, or the structure file's own residue numbers with "
            "insertion codes (S27aA).",
            PROTEIN,
        ),
    ] = DEFAULTS.numbering
    organism: OrganismOption = DEFAULTS.organism
    shard: Annotated[
        str | None,
        option("I/N", "Do the I-th of N parts of the work; 'mutscan merge' joins the parts.", MACHINES),
    ] = None
    engine: Annotated[
        str,
        option(
            "|".join(ENGINES), "Where the work is done: here, or on a Ray cluster (extra 'ray').", MACHINES
        ),
    ] = DEFAULTS.engine
    ray_address: Annotated[
        str | None,
        option(
            "auto|ADDRESS",
            "Ray cluster; auto: the one this machine belongs to (default: one on this machine alone).",
            MACHINES,
        ),
    ] = None
    ray_cores: Annotated[
        int | None,
        option("N", "Cores of each worker on the Ray cluster (default: 2), beside a GPU.", MACHINES, min=1),
    ] = None
    seed: SeedOption = DEFAULTS.seed

    def named(self) -> dict[str, Any]:
        """Arguments for the functions of `mutscan.pipeline`."""
        return {**vars(self), "precision": self.precision.value}


@dataclass(frozen=True)
class RunOptions(SharedOptions):
    """Options of a run on one protein."""

    structure: Annotated[
        Path | None,
        path(
            "FILE",
            "Structure for an accession or FASTA file (default for an accession: its AlphaFold DB model).",
            PROTEIN,
        ),
    ] = None
    chain: Annotated[
        str | None, option("ID", "Chain of the structure to use, if it has several.", PROTEIN)
    ] = None
