"""Salilab's MODELLER as a backend: models of the mutant and, by the same protocol, of the wild type.

The wild-type structure is the template, the alignment one-to-one, and only atoms
within a radius of the exchanged residues are optimised (AutoModel with its
default schedule). Each mutant is built with several random seeds, and so is the
wild type; what the mutants moved more than the controls of the same seeds is the
response [1]_ [2]_.

MODELLER runs in processes of its own (`mutscan.builders.modeller_helper`), in
private folders; nothing here imports it.

.. [1] Sali & Blundell, J. Mol. Biol. 234, 779 (1993).
.. [2] MODELLER manual, https://salilab.org/modeller/manual/
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from filelock import FileLock

from mutscan.builders import BuiltMutant
from mutscan.builders.assembly import assemble, check_exchanges, residue_label
from mutscan.builders.geometry import superposition
from mutscan.builders.modeller_files import CHAINS, alignment, read_model, segments, template_pdb
from mutscan.builders.modeller_process import (
    ModellerStatus,
    failure,
    modeller_status,
    run_helper,
    status_of,
)
from mutscan.errors import BuildError, MissingDependencyError, UsageError
from mutscan.hashes import text_sha256
from mutscan.residues import is_standard
from mutscan.results import read_arrays, write_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.builders import Exchange
    from mutscan.structures import Structure

PAPER_RADIUS: Final = 100.0
"""Å; what the preprint states. For most chains of up to 300 residues this is all of it."""

_SEED_RANGE: Final = (-50000, -2)
_SAME_PLACE: Final = 2e-3
# They follow the backbone; the rest of a side chain can land in another rotamer.
_BACKBONE_LIKE: Final = frozenset(("N", "CA", "C", "O", "CB", "OXT"))


@dataclass(frozen=True)
class ModellerBuilder:
    """MODELLER, with wild-type controls.

    Parameters
    ----------
    radius : float, Å
        Atoms this close to an exchanged residue are randomised and optimised.
    seeds : tuple of int
        MODELLER's random seeds, each -50000 to -2; one model of the mutant and one of the wild
        type is built for each. Below three, optimiser noise cannot be told from response.
    timeout : float, s
        Time allowed for each model.

    Raises
    ------
    UsageError
        No seed, a seed MODELLER does not take, a seed twice, or a radius not above 0.
    """

    radius: float = PAPER_RADIUS
    seeds: tuple[int, ...] = (-8123, -16246, -24369)
    timeout: float = 3600.0

    name = "modeller"

    def __post_init__(self) -> None:
        low, high = _SEED_RANGE
        wrong = [seed for seed in self.seeds if not low <= seed <= high]
        if not self.seeds or wrong or len(set(self.seeds)) != len(self.seeds):
            raise UsageError(
                f"MODELLER seeds {self.seeds}: expected different whole numbers from {low} to {high}"
            )
        if not self.radius > 0.0:
            raise UsageError(f"MODELLER radius {self.radius}: expected a length in Å above 0")

    def settings(self) -> Mapping[str, object]:
        """All that changes the models, but for MODELLER's own version."""
        return {"radius": self.radius, "seeds": list(self.seeds), "control": "wild type, same seeds"}

    def prepare(self, wild_type: Structure, scratch: Path) -> PreparedModeller:
        """Check that MODELLER works and that it can model this wild type.

        Raises
        ------
        MissingDependencyError
            MODELLER cannot be used; says what is missing.
        BuildError
            The wild type has residues MODELLER does not know, or more pieces than chain names.
        """
        status = modeller_status()
        if status.state != "ok":
            raise MissingDependencyError(status.message)
        unknown = [i for i, residue in enumerate(wild_type.sequence) if not is_standard(residue)]
        if unknown:
            raise BuildError(
                f"MODELLER cannot model residue {residue_label(wild_type, unknown[0])} of {wild_type.name}: "
                "expected one of the 20 standard residues; use --builder template"
            )
        if not wild_type.has_backbone.any():
            raise BuildError(
                f"{wild_type.name} has no residue with N, CA and C; MODELLER needs backbone atoms"
            )
        if len(wild_type) > 9999:
            raise BuildError(f"{wild_type.name} has {len(wild_type)} residues; a PDB file takes 9,999")
        segment = segments(wild_type)
        if segment[-1] >= len(CHAINS):
            raise BuildError(
                f"{wild_type.name} is in {segment[-1] + 1} pieces (gaps); MODELLER can name {len(CHAINS)}"
            )
        return PreparedModeller(self, wild_type, scratch, segment)


def seeds_from(seed: int, number: int = 3) -> tuple[int, ...]:
    """Different MODELLER seeds for one run-wide seed; 0 gives the builder's defaults."""
    return tuple(-(2 + (8121 + 8123 * k + 101 * seed) % 49999) for k in range(number))


@dataclass(frozen=True)
class _Models:
    """Models of one sequence, one for each seed.

    `residue` (n,), `atom` (n,), `coord` (seeds, n, 3) Å in the wild type's frame, `molpdf` (seeds,).
    Seeds that failed have NaN coordinates; `failures` has a text for each seed, empty when it worked.
    """

    residue: NDArray[np.int64]
    atom: NDArray[np.str_]
    coord: NDArray[np.float64]
    molpdf: NDArray[np.float64]
    failures: tuple[str, ...]
    seconds: float

    @property
    def worked(self) -> NDArray[np.bool_]:
        return np.array([not text for text in self.failures])


@dataclass(frozen=True, eq=False)
class PreparedModeller:
    """The wild type as a MODELLER template."""

    builder: ModellerBuilder
    wild_type: Structure
    scratch: Path
    segment: NDArray[np.int64]

    def build(self, exchanges: Sequence[Exchange]) -> BuiltMutant:
        """Model mutant and wild type with all seeds; apply the mean difference to the wild type.

        Raises
        ------
        BuildError
            No seed gave a model of both, or MODELLER ended badly; the message ends with the last
            lines it printed, and the error's notes hold all of it.
        """
        check_exchanges(self.wild_type, exchanges)
        sites = tuple(sorted(exchange.index for exchange in exchanges))
        letters = list(self.wild_type.sequence)
        for index, residue in exchanges:
            if not is_standard(residue):
                raise BuildError(
                    f"MODELLER cannot build residue {residue!r}: expected one of the 20 standard"
                )
            letters[index] = residue
        control = self._control(sites)
        mutant = self._model("".join(letters), sites)
        return self._respond(mutant, control, sites, "".join(letters))

    def _control(self, sites: tuple[int, ...]) -> _Models:
        """Wild type -> wild type by the same protocol; kept in `scratch`, `seconds` is 0 from there."""
        # Where the sphere takes in every atom whatever the site, one control serves all.
        ca = self.wild_type.ca
        span = float(np.linalg.norm(np.ptp(ca[np.isfinite(ca).all(axis=1)], axis=0)))
        chosen: tuple[int, ...] = (0,) if span + 20.0 <= self.builder.radius else sites
        key = json.dumps([self.builder.radius, self.builder.seeds, chosen])
        stem = f"control-{text_sha256(key)[:16]}"
        path = self.scratch / f"{stem}.npz"
        with FileLock(self.scratch / f"{stem}.lock"):
            stored = read_arrays(path)
            if stored is None:
                models = self._model(self.wild_type.sequence, chosen)
                write_arrays(
                    path,
                    residue=models.residue,
                    atom=models.atom,
                    coord=models.coord,
                    molpdf=models.molpdf,
                    failures=np.array(models.failures, dtype=np.str_),
                )
                return models
        failures = tuple(stored.pop("failures").tolist())
        return _Models(**stored, failures=failures, seconds=0.0)

    def _model(self, sequence: str, sites: tuple[int, ...]) -> _Models:
        """One model of `sequence` for each seed, in a folder that is deleted afterwards."""
        start = time.perf_counter()
        numbers = [(f"{site + 1}:{CHAINS[self.segment[site]]}", sequence[site]) for site in sites]
        job = {
            "action": "build",
            "template": "wild_type",
            "sequence": "mutant",
            "sites": numbers,
            "radius": self.builder.radius,
            "seeds": list(self.builder.seeds),
        }
        with tempfile.TemporaryDirectory(prefix="job-", dir=self.scratch) as name:
            folder = Path(name)
            (folder / "wild_type.pdb").write_text(
                template_pdb(self.wild_type, self.segment), encoding="ascii"
            )
            (folder / "alignment.ali").write_text(
                alignment(self.wild_type.sequence, sequence, self.segment), encoding="ascii"
            )
            answer = run_helper(job, folder, self.builder.timeout * len(self.builder.seeds))
            if answer.result.get("state") != "ok":
                raise failure(status_of(answer).message, answer)
            reports = answer.result["models"]
            failures = [answer.scrub(str(report["failure"] or "")) for report in reports]
            if all(failures):
                raise failure(f"MODELLER failed with every seed: {failures[0]}", answer)
            models = [
                None if report["failure"] else read_model(folder / report["file"], sequence)
                for report in reports
            ]
        residue, atom, coord = self._stack(models)
        molpdf = [np.nan if report["molpdf"] is None else report["molpdf"] for report in reports]
        return _Models(residue, atom, coord, np.array(molpdf), tuple(failures), time.perf_counter() - start)

    def _stack(
        self, models: list[list[dict[str, NDArray[np.float64]]] | None]
    ) -> tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.float64]]:
        """Residue, atom name and coordinates (seeds, n, 3), each model in the wild type's frame."""
        first = next(model for model in models if model is not None)
        keys = [(i, name) for i, atoms in enumerate(first) for name in atoms]
        coord = np.full((len(models), len(keys), 3), np.nan)
        for place, model in zip(coord, models, strict=True):
            if model is None:
                continue
            for row, (i, name) in enumerate(keys):
                place[row] = model[i].get(name, np.nan)
            place[:] = self._in_frame(place, np.array([model[i]["CA"] for i in range(len(model))]))
        return np.array([i for i, _ in keys]), np.array([name for _, name in keys], dtype=np.str_), coord

    def _in_frame(self, coord: NDArray[np.float64], ca: NDArray[np.float64]) -> NDArray[np.float64]:
        """Superpose a model on the wild type, unless atoms that stayed hold it there already."""
        moved = np.linalg.norm(ca - self.wild_type.ca, axis=1)
        if (moved < _SAME_PLACE).sum() >= 3:
            return coord
        known = np.isfinite(moved)
        rotation, translation = superposition(ca[known], self.wild_type.ca[known])
        return np.asarray(coord @ rotation + translation)

    def _respond(
        self, mutant: _Models, control: _Models, sites: tuple[int, ...], sequence: str
    ) -> BuiltMutant:
        """Mean over seeds of mutant - control, applied to the wild type."""
        both = mutant.worked & control.worked
        if not both.any():
            text = "; ".join(t for t in (*mutant.failures, *control.failures) if t)
            raise BuildError(f"MODELLER has no seed that gave both mutant and wild-type control: {text}")
        shift = self._shifts(mutant, control, both)
        wild_type = self.wild_type
        coord = wild_type.coord + shift.mean(axis=0)
        best = int(np.flatnonzero(both)[np.argmin(np.nan_to_num(mutant.molpdf[both], nan=np.inf))])
        new = _residues(mutant, best)
        exchanged = {}
        for site in sites:
            rows = wild_type.atoms_of(site)
            names = wild_type.atom_name[rows]
            backbone = {n: coord[rows][k] for k, n in enumerate(names) if n in ("N", "CA", "C", "O")}
            anchors = [n for n in ("N", "CA", "C") if n in backbone]
            if len(anchors) < 3:
                raise BuildError(
                    f"residue {residue_label(wild_type, site)} of {wild_type.name} lacks backbone atoms "
                    f"(it has {', '.join(names)}); expected N, CA and C"
                )
            rotation, translation = superposition(
                np.array([new[site][n] for n in anchors]), np.array([backbone[n] for n in anchors])
            )
            # The side chain of the best model, not a mean of rotamers.
            side_chain = {n: x @ rotation + translation for n, x in new[site].items() if n not in backbone}
            exchanged[site] = (sequence[site], {**backbone, **side_chain})
        structure = assemble(wild_type, coord, exchanged)
        if not np.isfinite(structure.coord).all():
            raise BuildError("MODELLER's models hold coordinates that are not numbers")
        notes, doubtful = self._notes(mutant, control, both, shift, sites)
        return BuiltMutant(structure, mutant.seconds, control.seconds, notes=notes, low_confidence=doubtful)

    def _shifts(self, mutant: _Models, control: _Models, both: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Mutant - control for each wild-type atom, shape (seeds, n, 3).

        Atoms the models lack move with their CA. So do side chains that landed in different
        rotamers: their mean would be no structure.
        """
        wild_type = self.wild_type
        shift = np.empty((int(both.sum()), len(wild_type.coord), 3))
        of_mutant = {key: row for row, key in enumerate(zip(mutant.residue, mutant.atom, strict=True))}
        of_control = {key: row for row, key in enumerate(zip(control.residue, control.atom, strict=True))}
        carried = []
        keys = list(zip(wild_type.residue_index, wild_type.atom_name, strict=True))
        for row, (i, name) in enumerate(keys):
            if (i, name) not in of_mutant or (i, name) not in of_control:
                carried.append(row)
                name = "CA"
            there, here = of_mutant[i, name], of_control[i, name]
            shift[:, row] = mutant.coord[both, there] - control.coord[both, here]
        of_ca = {i: row for row, (i, name) in enumerate(keys) if name == "CA"}
        spread = np.linalg.norm(shift - shift.mean(axis=0), axis=2).max(axis=0)
        flipped = {keys[row][0] for row in np.flatnonzero(spread > 0.5) if keys[row][1] not in _BACKBONE_LIKE}
        for row, (i, name) in enumerate(keys):
            if i in flipped and name not in _BACKBONE_LIKE:
                shift[:, row] = shift[:, of_ca[i]]
        return shift

    def _notes(
        self,
        mutant: _Models,
        control: _Models,
        both: NDArray[np.bool_],
        shift: NDArray[np.float64],
        sites: tuple[int, ...],
    ) -> tuple[tuple[str, ...], bool]:
        rows = [
            row
            for row, (i, name) in enumerate(
                zip(self.wild_type.residue_index, self.wild_type.atom_name, strict=True)
            )
            if name == "CA" and i in sites
        ]
        by_seed = np.linalg.norm(shift[:, rows], axis=2).max(axis=1)
        mean = float(np.linalg.norm(shift[:, rows].mean(axis=0), axis=1).max())
        notes = [
            f"MODELLER: CA shift at the site {mean:.2f} Å, by seed "
            + ", ".join(f"{value:.2f}" for value in by_seed)
        ]
        lost = len(both) - int(both.sum())
        if lost:
            text = next(t for t in (*mutant.failures, *control.failures) if t)
            notes.append(f"{lost} of {len(both)} MODELLER seeds failed: {text}")
        spread = float(np.linalg.norm(shift[:, rows] - shift[:, rows].mean(axis=0), axis=2).max())
        if spread > 1.0:
            notes.append(f"MODELLER's seeds disagree by up to {spread:.1f} Å at the site")
        return tuple(notes), bool(lost) or spread > 1.0


def _residues(models: _Models, seed: int) -> dict[int, dict[str, NDArray[np.float64]]]:
    residues: dict[int, dict[str, NDArray[np.float64]]] = {}
    for i, name, xyz in zip(models.residue, models.atom, models.coord[seed], strict=True):
        residues.setdefault(int(i), {})[str(name)] = xyz
    return residues


__all__ = ["ModellerBuilder", "ModellerStatus", "PreparedModeller", "modeller_status", "seeds_from"]
