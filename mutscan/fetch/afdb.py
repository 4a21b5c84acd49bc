"""Which of AlphaFold DB's models is the one of this very sequence.

``/api/prediction/ACCESSION`` answers with an array: the canonical model, isoforms, sometimes
fragments of long proteins and complexes, in no promised order, made from the sequence UniProt had when the
model was made. Keys have been renamed over the years (``entryId`` and ``modelEntityId``,
``uniprotSequence`` and ``sequence``); only the file URLs can be counted on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mutscan.errors import FetchError
from mutscan.fetch.http import read_json
from mutscan.residues import AMBIGUOUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mutscan.structures import Structure

_ID: Final = re.compile(r"AF-([A-Z0-9]{6,10}(?:-[0-9]+)?)-F([0-9]+)")
_VERSION: Final = re.compile(r"_v([0-9]+)\.")

ADVICE: Final = "give the structure to use with --structure, or the sequence as a FASTA file"


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the answer.

    Parameters
    ----------
    name : str
        ``AF-P04637-2-F1``
    accession : str
        The protein or isoform it is of: ``P04637-2``.
    fragment : int, optional
    sequence : str, optional
        What was modelled; of a fragment sometimes the whole protein.
    first, last : int, optional
        Residues of the protein that were modelled, 1-based.
    version : str, optional
    created : str
    url : str
        mmCIF where there is one, else PDB.
    alphamissense_url, alignment_url : str, optional
        AlphaMissense's values (``amAnnotationsUrl``), of human proteins; the alignment that the model was
        made from (``msaUrl``).
    """

    name: str
    accession: str
    fragment: int | None
    sequence: str | None
    version: str | None
    created: str
    url: str
    alphamissense_url: str | None = None
    alignment_url: str | None = None
    first: int | None = None
    last: int | None = None

    @property
    def modelled(self) -> str | None:
        """Residues that the file should hold."""
        if self.sequence is None or self.first is None or self.last is None:
            return self.sequence
        span = self.last - self.first + 1
        return self.sequence[self.first - 1 : self.last] if len(self.sequence) > span > 0 else self.sequence

    @property
    def title(self) -> str:
        """For messages: ``AF-P04637-F1 (version 6)``."""
        return f"{self.name} (version {self.version})" if self.version else self.name


def read_models(data: bytes) -> tuple[Model, ...]:
    """Read ``/api/prediction/ACCESSION``: single-chain models that can be downloaded.

    Raises
    ------
    ValueError
        Not an array of models; says what it is.
    """
    page = read_json(data)
    if isinstance(page, dict) and page.get("error"):
        raise ValueError(f"an error message ({str(page['error'])[:200]})")
    if not isinstance(page, list) or not all(isinstance(item, dict) for item in page):
        raise ValueError("JSON that is no array of models")
    return tuple(model for model in map(_model, page) if model is not None)


def _model(item: dict[str, Any]) -> Model | None:
    url = next((item[key] for key in ("cifUrl", "pdbUrl") if _text(item.get(key))), None)
    if url is None or item.get("isComplex") is True:
        return None
    stated = _text(item.get("modelEntityId")) or _text(item.get("entryId"))
    match = _ID.search(stated or "") or _ID.search(url)
    # The id carries the isoform; whether uniprotAccession does has changed before.
    accession = match[1] if match else _text(item.get("uniprotAccession"))
    if accession is None:
        return None
    version = item.get("latestVersion")
    in_url = _VERSION.search(url)
    return Model(
        name=stated or (match[0] if match else accession),
        accession=accession.upper(),
        fragment=int(match[2]) if match else None,
        sequence=_text(item.get("uniprotSequence")) or _text(item.get("sequence")),
        version=str(version) if version is not None else in_url[1] if in_url else None,
        created=(_text(item.get("modelCreatedDate")) or "")[:10],
        url=url,
        alphamissense_url=_text(item.get("amAnnotationsUrl")),
        alignment_url=_text(item.get("msaUrl")),
        first=_place(item, "sequenceStart", "uniprotStart"),
        last=_place(item, "sequenceEnd", "uniprotEnd"),
    )


def _place(item: dict[str, Any], *keys: str) -> int | None:
    return next((item[key] for key in keys if type(item.get(key)) is int and item[key] > 0), None)


def _text(value: object) -> str | None:
    # Some fields have been one-element lists for a while.
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value.strip() or None if isinstance(value, str) else None


def choose(models: Sequence[Model], names: Sequence[str], sequence: str) -> Model | None:
    """Choose the model of `sequence`; None where there is none for this protein.

    Parameters
    ----------
    models : sequence of Model
    names : sequence of str
        What the scored sequence is called, the entry's accession or the isoform's id.
    sequence : str

    Raises
    ------
    FetchError
        Code ``structure_mismatch``: there is a model by that name, but of another sequence.
    """
    ours = _of_entry(models, names)
    named = [model for model in ours if model.accession in names]
    # Same protein and same sequence decides; the name may be an isoform's that has since
    # become the canonical one.
    for model in ours:
        if model.modelled is not None and agree(model.modelled, sequence):
            return model
    if not named:
        return None
    in_pieces = {m.accession for m in models if m.fragment is not None and m.fragment > 1}
    for model in named:
        if model.accession in in_pieces and part_of(model, sequence) is not None:
            return model
    unstated = next((model for model in named if model.sequence is None), None)
    if unstated is not None:
        return unstated
    assert named[0].sequence is not None
    raise mismatch(named[0].title, named[0].sequence, names[0], sequence)


def part_of(model: Model, sequence: str) -> tuple[int, int] | None:
    """First and last residue of `sequence`, 1-based, that a fragment was made of; None where it was not."""
    modelled = model.modelled
    if modelled is None or len(modelled) >= len(sequence):
        return None
    first = model.first or 1
    last = first + len(modelled) - 1
    return (first, last) if agree(modelled, sequence[first - 1 : last]) else None


def same(models: Sequence[Model], name: str, sequence: str) -> Model | None:
    """Choose the entry's or isoform's model that was made of exactly `sequence`; None for none."""
    return next((model for model in _of_entry(models, [name]) if model.sequence == sequence), None)


def _of_entry(models: Sequence[Model], names: Sequence[str]) -> list[Model]:
    """Whole models of the entry; those by the names, and the newest, come first."""
    entry = names[0].partition("-")[0]
    ours = (
        model
        for model in models
        if model.accession.partition("-")[0] == entry and model.fragment in (1, None)
    )
    return sorted(ours, key=lambda model: (model.accession not in names, -_number(model.version), model.name))


def _number(version: str | None) -> int:
    return int(version) if version is not None and version.isdigit() else 0


def agree(first: str, second: str) -> bool:
    """Whether two sequences are the same, letters that stand for no standard residue matching any."""
    return len(first) == len(second) and all(
        a == b or a in AMBIGUOUS or b in AMBIGUOUS for a, b in zip(first, second, strict=True)
    )


def mismatch(title: str, modelled: str, name: str, sequence: str) -> FetchError:
    """Make the error for a model of another sequence than `sequence`."""
    pairs = zip(modelled, sequence, strict=False)
    first = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(modelled), len(sequence)))

    def at(text: str) -> str:
        return text[first] if first < len(text) else "no residue"

    return FetchError(
        f"AlphaFold DB's model {title} was made from another sequence than UniProt's current one of {name}: "
        f"{len(modelled)} residues against {len(sequence)}, first difference at position {first + 1} "
        f"({at(modelled)} in the model, {at(sequence)} in UniProt); it is not used: {ADVICE}",
        code="structure_mismatch",
    )


def complete(structure: Structure, model: Model) -> None:
    """Check that a downloaded file is the whole model.

    Raises
    ------
    ValueError
        It ends before the sequence does.
    """
    modelled = model.modelled
    if modelled is None:
        return
    there = structure.sequence
    if len(there) < len(modelled) and agree(there, modelled[: len(there)]):
        raise ValueError(f"cut off: {len(there)} of {len(modelled)} residues came")


def verify(structure: Structure, model: Model, names: Sequence[str], sequence: str) -> None:
    """Check that the coordinates are those of `sequence`, all of it or the part that a fragment covers.

    Raises
    ------
    FetchError
        Code ``structure_mismatch``.
    """
    part = part_of(model, sequence)
    if part is not None:
        sequence = sequence[part[0] - 1 : part[1]]
    if not agree(structure.sequence, sequence):
        raise mismatch(model.title, structure.sequence, names[0], sequence)
