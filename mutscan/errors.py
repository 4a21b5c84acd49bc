"""Everything mutscan raises for a reason a user can act on.

MutscanError
├── UsageError                 what was asked for cannot be asked (exit 2)
├── VariantError               one variant cannot be read or does not fit (row)
├── StructureError             a structure file cannot be used
├── FetchError                 data needed from the network is missing (exit 5)
├── BuildError                 a mutant structure could not be built (row)
├── CheckpointError            a model on disk is missing, damaged or of another kind
├── MissingDependencyError     a backend or its licence is missing (exit 6)
└── RunFolderError             the run folder cannot be written or is in use

A message says what was read, what was expected and what to do.
"""

from __future__ import annotations

from typing import ClassVar


class MutscanError(Exception):
    """Base of all errors with a cause outside mutscan's own code.

    Parameters
    ----------
    message : str
        One line: what was read, what was expected, what to do.
    code : str, optional
        Short stable word for the ``error_code`` column; the class has a default.
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
    """One variant cannot be read, or does not fit the wild type.

    Codes: ``bad_variant``, ``wild_type_mismatch``, ``position_out_of_range``,
    ``unsupported_variant``, ``synonymous``, ``too_long``.
    """

    exit_code = 4
    default_code = "bad_variant"


class StructureError(MutscanError):
    """A structure file cannot be read or cannot be used. Codes: ``bad_structure``, ``structure_missing``."""

    exit_code = 2
    default_code = "bad_structure"


class FetchError(MutscanError):
    """Data needed from the network is not to be had (offline, 404, refused, damaged)."""

    exit_code = 5
    default_code = "fetch_failed"


class BuildError(MutscanError):
    """A mutant structure could not be built."""

    exit_code = 4
    default_code = "build_failed"


class CheckpointError(MutscanError):
    """A model directory is missing, damaged, or not of the kind asked for."""

    exit_code = 6
    default_code = "bad_checkpoint"


class MissingDependencyError(MutscanError):
    """A backend is not installed or not licensed; the message holds the command that helps."""

    exit_code = 6
    default_code = "missing_dependency"


class RunFolderError(MutscanError):
    """The run folder cannot be created, written or locked."""

    exit_code = 1
    default_code = "run_folder"
