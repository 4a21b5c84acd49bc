"""Errors whose cause a user can remove.

MutscanError
├── UsageError                 the command or call cannot be carried out as given (exit code 2)
├── VariantError               one variant cannot be read or does not fit the wild type (its row)
├── StructureError             a structure file cannot be used
├── FetchError                 data from the network are missing (exit code 5)
├── BuildError                 a mutant structure could not be built (its row)
├── CheckpointError            a model on disk is missing, damaged or of another kind
├── MissingDependencyError     a backend or its licence is missing (exit code 6)
└── RunFolderError             the run folder cannot be written or is in use
    └── WrongFolderError       the folder belongs to something else, or is in use (exit code 2)

A message says what was read, what was expected, and what to do. A code identifies the cause in scripts:
`ROW_CODES` are those of the ``error_code`` column, `RUN_CODES` those that end a command.
"""

from __future__ import annotations

from typing import ClassVar, Final

ROW_CODES: Final = {
    "bad_variant": "The text is not a variant.",
    "wild_type_mismatch": "The variant names another residue than the wild type.",
    "wrong_protein": "The row names another protein than the wild type, before the variant or in a column.",
    "position_out_of_range": "The position is past the end of the wild type.",
    "unsupported_variant": "The variant is understood but not scored: a stop, frameshift, extension, lost "
    "start or splicing, or no change of the protein.",
    "synonymous": "The variant changes no residue.",
    "too_long": "The protein is longer than 5,000 residues.",
    "indel_not_built": "No structure is built for an insertion or deletion; scores are predicted only.",
    "structure_missing": "A structure file, or the coordinates of the residue in it, are missing.",
    "structure_mismatch": "A structure has another sequence than the protein or mutant it is given for.",
    "bad_structure": "A structure file cannot be read or used.",
    "build_failed": "The mutant structure could not be built.",
    "unknown_protein": "The protein is in none of the places where batch and scan look for it.",
    "ambiguous_protein": "Several proteins have the name.",
    "bad_sequence": "The protein's sequence is empty or has letters that are no residues.",
    "offline": "Data are not in the cache and --offline forbids fetching them.",
    "not_found": "A service has no such entry.",
    "inactive_entry": "A UniProt or PDB entry was merged, split, replaced or removed.",
    "fetch_failed": "Data could not be fetched: no network, refused or damaged.",
    "internal": "An error of mutscan itself.",
}
"""Values of the ``error_code`` column of variants.csv, and what they mean. The last nine are those of a
protein in a run over many; a run on one protein ends with them."""

RUN_CODES: Final = {
    "usage": "The command or call cannot be carried out as given.",
    "cache_not_writable": "The cache folder cannot be written.",
    "bad_checkpoint": "A model folder is missing, damaged or of another kind.",
    "bad_embedding": "The encoder gave numbers that are not finite.",
    "out_of_memory": "The networks need more memory than there is.",
    "diverged": "The training diverged.",
    "missing_dependency": "A library, backend or licence is missing.",
    "worker_lost": "A unit of work lost its process on a Ray cluster again and again.",
    "run_folder": "The run folder cannot be created, written or locked.",
}
"""Values of `MutscanError.code` for errors that end a command, besides those of `ROW_CODES`."""


class MutscanError(Exception):
    """Base class of all errors with a cause outside mutscan's own code.

    Parameters
    ----------
    message : str
        One line: what was read, what was expected, what to do.
    code : str, optional
        One of `ROW_CODES` or `RUN_CODES`; each class has a default.
    """

    exit_code: ClassVar[int] = 1
    default_code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (builder workers): keep message and code.
        return (_rebuild, (type(self), self.message, self.code))


def _rebuild(kind: type[MutscanError], message: str, code: str) -> MutscanError:
    return kind(message, code=code)


class UsageError(MutscanError):
    """The command or call cannot be carried out as given."""

    exit_code = 2
    default_code = "usage"


class VariantError(MutscanError):
    """One variant cannot be read, or does not fit the wild type."""

    exit_code = 4
    default_code = "bad_variant"


class StructureError(MutscanError):
    """A structure file cannot be read or used."""

    exit_code = 2
    default_code = "bad_structure"


class FetchError(MutscanError):
    """Data from the network are missing (offline, not found, refused, damaged)."""

    exit_code = 5
    default_code = "fetch_failed"


class BuildError(MutscanError):
    """A mutant structure could not be built."""

    exit_code = 4
    default_code = "build_failed"


class CheckpointError(MutscanError):
    """A model folder is missing, damaged, or not of the kind asked for."""

    exit_code = 6
    default_code = "bad_checkpoint"


class MissingDependencyError(MutscanError):
    """A backend is not installed or not licensed; the message names the command that helps."""

    exit_code = 6
    default_code = "missing_dependency"


class RunFolderError(MutscanError):
    """The run folder cannot be created, written or locked."""

    exit_code = 1
    default_code = "run_folder"


class WrongFolderError(RunFolderError):
    """The folder of ``--out`` belongs to something else, or another run is using it."""

    exit_code = 2
