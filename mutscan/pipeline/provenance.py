"""What run.json says: everything needed to trust and repeat a run, and no path of this machine."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mutscan.alignments import AUTO
from mutscan.hashes import bytes_sha256, text_sha256
from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mutscan.alignments.source import Relatives
    from mutscan.pipeline.job import Job
    from mutscan.pipeline.network import LoadedModel
    from mutscan.pipeline.options import Options
    from mutscan.structures import Structure, WildType


def fingerprint(
    wild_type: WildType,
    model: LoadedModel,
    builders: list[dict[str, object]],
    options: Options,
    inverse_folding: dict[str, object] | None,
    relatives: Relatives | None = None,
) -> dict[str, object]:
    """Everything that a run's numbers depend on, except its variants (`JobFolder.claim`)."""
    return {
        "mutscan": __version__,
        "sequence_sha256": text_sha256(wild_type.sequence),
        "structure_sha256": None if wild_type.structure is None else structure_sha256(wild_type.structure),
        "model_sha256": model.sha256,
        "encoder": model.encoder.key,
        "device": model.encoder.device.type,
        "builders": builders,
        # A service may answer later. All rows are judged together at the end, so such a run goes on.
        "alignment": None if relatives is None or options.alignment == AUTO else relatives.facts.sha256,
        "prior": options.prior,
        "inverse_folding": inverse_folding,
        "predict": options.predict,
        "numbering": options.numbering,
        "strict": options.strict,
        "seed": options.seed,
    }


def provenance(
    command: str,
    job: Job,
    settings: Mapping[str, object],
    options: Options,
    arguments: Mapping[str, object],
) -> dict[str, object]:
    """Contents of run.json.

    Parameters
    ----------
    command : str
        ``score`` or ``scan``.
    job : Job
        Finished.
    settings : mapping
        `fingerprint`.
    options : Options
    arguments : mapping
        Arguments of the command that are not in `options`.
    """
    protein, structure, encoder = job.wild_type, job.wild_type.structure, job.model.encoder
    return {
        **heading(command, asked(options, arguments)),
        "wild_type": {
            "name": protein.name,
            "identifiers": dict(protein.identifiers),
            "sequence": protein.sequence,
            "length": len(protein.sequence),
            "sequence_sha256": settings["sequence_sha256"],
            "structure": None if structure is None else structure.name,
            "chain": None if structure is None else structure.chain_id,
            "residues_with_coordinates": 0 if structure is None else len(structure),
            "structure_sha256": settings["structure_sha256"],
            "features": [asdict(feature) for feature in protein.features],
            # A protein that takes its structure from a file has the structure's notes as well.
            "notes": list(dict.fromkeys([*protein.notes, *(structure.notes if structure else ())])),
        },
        "records": [_portable(record) for record in protein.records],
        "model": job.model.describe(),
        "device": str(encoder.device),
        "precision": encoder.precision,
        "batch_residues": encoder.batch_residues,
        "calibration": job.judge.describe(),
        "inverse_folding": settings["inverse_folding"],
        "alignment": _alignment(job),
        "alphamissense": None if job.alphamissense.facts is None else _portable(job.alphamissense.facts),
        "builder": settings["builders"],
        "build_seconds": job.build_seconds,
        "seed": settings["seed"],
        "counts": dict(sorted(job.counts.items())),
        "versions": versions(),
        "finished": now(),
        "wall_seconds": round(time.monotonic() - options.started, 2),
        **job.describe(),
    }


_ASKED = (
    "model", "builder", "structure", "chain", "plddt", "alignment", "device", "precision", "batch_residues",
    "jobs", "offline", "prior", "inverse_folding", "predict", "numbering", "organism",
    "strict", "seed",
)  # fmt: skip
"""Options that describe what was asked, in run.json."""


def asked(
    options: Options, arguments: Mapping[str, object], *, without: Collection[str] = ()
) -> dict[str, object]:
    """Collect the arguments of a command, those of `options` among them, except some."""
    return {**arguments, **{name: getattr(options, name) for name in _ASKED if name not in without}}


def heading(command: str, arguments: Mapping[str, object]) -> dict[str, object]:
    """Begin a run.json: which command was given, without paths of this machine."""
    return {
        "schema": 1,
        "mutscan": __version__,
        "command": command,
        "arguments": {name: portable(value) for name, value in arguments.items()},
    }


OF_ONE_PROTEIN = ("structure", "chain")
"""Options that a run over many proteins has not."""


def portable(value: object) -> object:
    """Replace an absolute path by its last part; the hashes in run.json say which file it was.

    Examples
    --------
    >>> portable("/data/p53.cif"), portable("P04637"), portable("models/mine")
    ('p53.cif', 'P04637', 'models/mine')
    """
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    if not isinstance(value, str | os.PathLike):
        return value
    text = os.fspath(value)
    absolute = text.startswith("~") or Path(text).is_absolute()
    return Path(text).name if absolute else text


def _alignment(job: Job) -> dict[str, object] | None:
    if job.relatives is not None:
        return job.relatives.describe()
    return {"note": job.alignment_note} if job.alignment_note else None


def _portable(record: Mapping[str, object]) -> dict[str, object]:
    return {name: portable(value) for name, value in record.items()}


def structure_sha256(structure: Structure) -> str:
    """sha256 over residues, atoms, coordinates and pLDDT of a structure."""
    plddt = b"" if structure.plddt is None else np.ascontiguousarray(structure.plddt, dtype="<f8").tobytes()
    return bytes_sha256(
        "\n".join((structure.chain_id, structure.sequence, *structure.atom_name)).encode()
        + np.ascontiguousarray(structure.coord, dtype="<f8").tobytes()
        + np.ascontiguousarray(structure.residue_index, dtype="<i8").tobytes()
        + plddt
    )


def now() -> str:
    """Date and time, UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of Python, of the platform and of what computes."""
    names = ("torch", "transformers", "openmm", "gemmi", "numpy", "tmtools", "biopython")
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
