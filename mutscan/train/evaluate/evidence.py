"""Evidence and probability of many proteins' variants: each wild type through the encoder once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.errors import StructureError
from mutscan.evidence import ProteinView, sequence_evidence, structure_evidence
from mutscan.results import read_arrays, write_arrays
from mutscan.train.labelled.profiles import FamilyProfiles
from mutscan.train.labelled.tables import structure_on_sequence

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.embed import Encoder
    from mutscan.embed.head import LanguageHead
    from mutscan.evidence import Assessment, Calibration
    from mutscan.families import FamilyLibrary
    from mutscan.progress import Progress
    from mutscan.structures import StructureFinder
    from mutscan.train.labelled.tables import VariantTable

_VIEW: Final = "evidence:"
_GROUP: Final = "group:"


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of n variants.

    Parameters
    ----------
    pieces : dict of name -> float array, shape (n,)
        Every single piece of evidence, NaN where it is not known.
    p : float array, shape (n,)
        ``p_deleterious`` as `mutscan score` gives it; NaN throughout without a calibration.
    p_sequence : float array, shape (n,)
        The same without any structure.
    flag, tier : str array, shape (n,)
    groups : dict of name -> float array, shape (n,)
        What groups of evidence add to the log-odds, NaN where they are not weighed.
    structured : bool array, shape (n,)
        Sites with coordinates.
    without_structure : tuple of str
        Proteins whose structure is named but cannot be used, and why.
    """

    pieces: dict[str, NDArray[np.float64]]
    p: NDArray[np.float64]
    p_sequence: NDArray[np.float64]
    flag: NDArray[np.str_]
    tier: NDArray[np.str_]
    groups: dict[str, NDArray[np.float64]]
    structured: NDArray[np.bool_]
    without_structure: tuple[str, ...]


class EvidenceReader:
    """Reads the evidence of a table's variants, protein by protein.

    Parameters
    ----------
    encoder : Encoder
    head : LanguageHead, optional
    calibration : Calibration, optional
    library : FamilyLibrary, optional
    structures : StructureFinder
    work : Path
        Keeps what is finished; a broken run continues.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: LanguageHead | None,
        calibration: Calibration | None,
        library: FamilyLibrary | None,
        structures: StructureFinder,
        work: Path,
    ) -> None:
        self._encoder = encoder
        self._head = head
        self._calibration = calibration
        self._structures = structures
        self._work = work
        self._profiles = FamilyProfiles(library, work)
        families = "" if library is None else library.sha256
        document = "" if calibration is None else repr(calibration.document)
        text = "\n".join(("2", encoder.key, str(encoder.device), families, document))
        self._identity = hashlib.sha256(text.encode()).hexdigest()

    def read(self, table: VariantTable, progress: Progress) -> Evidence:
        """Read all evidence; memory grows with the variants, not with the proteins' lengths."""
        sequences = table.proteins["sequence"].astype(str).tolist()
        order = np.argsort(table.protein, kind="stable")
        used, starts = np.unique(table.protein[order], return_index=True)
        rows_of = dict(zip(used.tolist(), np.split(order, starts[1:]), strict=True))
        shapes, complaints = self._find_structures(table, list(rows_of))
        paths = {
            p: self._path(sequences[p], shapes.get(p), table.index[rows], table.mutant[rows])
            for p, rows in rows_of.items()
        }
        found = {p: arrays for p, path in paths.items() if (arrays := read_arrays(path)) is not None}
        todo = [p for p in rows_of if p not in found]
        self._profiles.look_up([sequences[p] for p in todo], progress)
        progress.start("wild types through the encoder", len(todo))
        for place, embedding in self._encoder.embed([sequences[p] for p in todo]):
            p = todo[place]
            rows = rows_of[p]
            ca, plddt = (None, None) if p not in shapes else structure_on_sequence(shapes[p], sequences[p])
            log_p = None if self._head is None else self._head.log_probabilities(embedding)
            family = self._profiles.of(sequences[p])
            view = ProteinView(sequences[p], log_p, embedding, ca, plddt, family)
            found[p] = self._assess(view, table.index[rows], table.mutant[rows])
            write_arrays(paths[p], **found[p])
            progress.advance()
        progress.finish()
        return _join(rows_of, found, len(table), tuple(complaints))

    def _find_structures(self, table: VariantTable, proteins: list[int]) -> tuple[dict[int, Path], list[str]]:
        """Structure file of each protein that has a usable one, and words on those that do not fit."""
        shapes: dict[int, Path] = {}
        complaints: list[str] = []
        if "structure" not in table.proteins:
            return shapes, complaints
        cells = table.proteins["structure"].tolist()
        names = table.proteins["protein"].astype(str).tolist()
        sequences = table.proteins["sequence"].astype(str).tolist()
        for p in proteins:
            cell = cells[p]
            if not isinstance(cell, str) or not cell.strip():
                continue
            reason = f"no file of the name {cell}"
            for path in self._structures.candidates(cell):
                try:
                    structure_on_sequence(path, sequences[p])
                except StructureError as error:
                    reason = error.message
                    continue
                shapes[p] = path
                break
            else:
                complaints.append(f"{names[p]} ({reason})")
        return shapes, complaints

    def _path(
        self, sequence: str, shape: Path | None, index: NDArray[np.int64], mutant: NDArray[np.int64]
    ) -> Path:
        key = hashlib.sha256(f"{self._identity}\n{sequence}\n".encode())
        key.update(index.tobytes() + mutant.tobytes())
        key.update(b"" if shape is None else shape.read_bytes())
        return self._work / f"{key.hexdigest()[:32]}.npz"

    def _assess(
        self, view: ProteinView, index: NDArray[np.int64], mutant: NDArray[np.int64]
    ) -> dict[str, NDArray[np.generic]]:
        n = len(index)
        unknown = np.full(n, np.nan)
        kept: dict[str, NDArray[np.generic]] = {
            "p": unknown, "p_sequence": unknown, "flag": np.full(n, ""), "tier": np.full(n, ""),
        }  # fmt: skip
        pieces = sequence_evidence(view, index, mutant)
        if view.ca is not None:
            pieces |= structure_evidence(view, index, mutant)
        if self._calibration is not None:
            judged = self._calibration.assess(view, index, mutant)
            alone = replace(view, ca=None, plddt=None)
            plain = judged if view.ca is None else self._calibration.assess(alone, index, mutant)
            kept |= {"p": judged.p_deleterious, "p_sequence": plain.p_deleterious}
            kept |= {"flag": judged.flags(), "tier": judged.tier_of}
            kept |= _contributions(judged)
            pieces = {**judged.evidence, **pieces}
        there = np.zeros(n, np.bool_) if view.ca is None else np.isfinite(view.ca[index]).all(axis=1)
        kept["structured"] = there
        return kept | {_VIEW + name: values for name, values in pieces.items()}


def _contributions(judged: Assessment) -> dict[str, NDArray[np.generic]]:
    return {_GROUP + name: judged.contributions[:, k] for k, name in enumerate(judged.groups)}


def _join(
    rows_of: dict[int, NDArray[np.int64]],
    found: dict[int, dict[str, NDArray[np.generic]]],
    n: int,
    complaints: tuple[str, ...],
) -> Evidence:
    numbers: dict[str, NDArray[np.float64]] = {"p": np.full(n, np.nan), "p_sequence": np.full(n, np.nan)}
    words = {name: np.full(n, "", dtype="<U16") for name in ("flag", "tier")}
    structured = np.zeros(n, dtype=np.bool_)
    for p, rows in sorted(rows_of.items()):
        for name, values in found[p].items():
            if name in words:
                words[name][rows] = values
            elif name == "structured":
                structured[rows] = values
            else:
                numbers.setdefault(name, np.full(n, np.nan))[rows] = values
    return Evidence(
        {name.removeprefix(_VIEW): v for name, v in numbers.items() if name.startswith(_VIEW)},
        numbers["p"],
        numbers["p_sequence"],
        words["flag"],
        words["tier"],
        {name.removeprefix(_GROUP): v for name, v in numbers.items() if name.startswith(_GROUP)},
        structured,
        complaints,
    )
