"""families.npz: a model's library of protein families, with residue frequencies of each column.

Frequencies are stored as places in a codebook, so that six million columns take ten megabytes.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.errors import CheckpointError
from mutscan.files import replacing
from mutscan.hashes import bytes_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FAMILIES_FILE: Final = "families.npz"
FORMAT: Final = 1
"""Version of the layout; a reader refuses a newer one."""


@dataclass(frozen=True, eq=False)
class FamilyLibrary:
    """Families, each a row of columns.

    Parameters
    ----------
    codebook : float32 array, shape (k, 20)
        Residue frequencies that columns have, in the order of `STANDARD`; each row sums to 1.
    codes : uint16 array, shape (n,)
        Row of the codebook for each column of all families, one family after the other.
    sequences : uint16 array, shape (n,)
        Sequences of the family that cover the column.
    lengths : int64 array, shape (f,)
        Columns of each family.
    sha256 : str
        Of the file.
    """

    codebook: NDArray[np.float32]
    codes: NDArray[np.uint16]
    sequences: NDArray[np.uint16]
    lengths: NDArray[np.int64]
    sha256: str = ""

    def __len__(self) -> int:
        """Count families."""
        return len(self.lengths)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """First column of each family, and the number of columns, shape (f + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)

    @cached_property
    def consensus(self) -> NDArray[np.uint8]:
        """Most frequent residue of each column, as a place in `STANDARD`, shape (n,)."""
        residue: NDArray[np.uint8] = self.codebook.argmax(axis=1).astype(np.uint8)[self.codes]
        return residue


def write_library(path: Path, library: FamilyLibrary) -> None:
    """Write families.npz, atomically; the same library gives the same bytes."""
    low = np.array(np.iinfo(np.uint16).max)
    if len(library.codebook) > low or library.lengths.max(initial=0) > low:
        raise ValueError("a library holds up to 65,535 codes, and so many columns of a family")
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            format=np.array(FORMAT),
            codebook=np.round(library.codebook * 65_535).astype(np.uint16),
            # Both bytes of a code apart: the upper ones compress better by themselves.
            codes=library.codes.astype("<u2").view(np.uint8).reshape(-1, 2).T.copy(),
            sequences=library.sequences.astype("<u2").view(np.uint8).reshape(-1, 2).T.copy(),
            lengths=library.lengths.astype(np.uint16),
        )


def load_library(folder: Path) -> FamilyLibrary | None:
    """Read families.npz of a model folder; None where it has none.

    Raises
    ------
    CheckpointError
        It is damaged, or of a newer mutscan.
    """
    path = folder / FAMILIES_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy it again") from error
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            if int(stored["format"]) > FORMAT:
                raise CheckpointError(
                    f"{path}: format {int(stored['format'])}, this mutscan reads up to {FORMAT}; "
                    "update mutscan"
                )
            codebook = stored["codebook"].astype(np.float32)
            codes, sequences = (_joined(stored[name]) for name in ("codes", "sequences"))
            lengths = stored["lengths"].astype(np.int64)
        if codebook.shape[1:] != (20,) or not len(codes) == len(sequences) == lengths.sum():
            raise ValueError(f"{len(codes)} columns, {lengths.sum()} by the families' lengths")
        if len(codes) and int(codes.max()) >= len(codebook):
            raise ValueError(f"code {codes.max()} of a codebook of {len(codebook)}")
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: is not a library of families ({error}); copy it again") from error
    codebook /= np.maximum(codebook.sum(axis=1, keepdims=True), 1.0)
    return FamilyLibrary(codebook, codes, sequences, lengths, bytes_sha256(data))


def _joined(halves: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Join lower and upper bytes, (2, n) -> (n,)."""
    low, high = halves
    joined: NDArray[np.uint16] = low | (high.astype(np.uint16) << 8)
    return joined
