"""Writing a `Structure` as PDB or mmCIF: whole or not at all, and the same bytes each time."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.errors import StructureError
from mutscan.files import replacing, write_errors
from mutscan.residues import THREE_LETTER
from mutscan.structures.files import EXPECTED, MMCIF_ENDINGS, PDB_ENDINGS, without_gz

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from mutscan.structures.chain import Structure

MEASURED_LDDT: Final = "measured lDDT"
"""Metric of a mutant's B factors: lDDT of its C-alpha atoms against the wild type's, 0-1."""

_UNKNOWN_B = "B factor 0.00 marks residues without a value."


def write_structure(
    structure: Structure, path: str | Path, *, b_factor: ArrayLike | None = None, metric: str = ""
) -> None:
    """Write a structure to a file.

    The file appears complete or not at all (temporary file, then rename), and
    the same structure always gives the same bytes.

    Parameters
    ----------
    structure : Structure
    path : path
        ``.cif`` and ``.mmcif`` write mmCIF, ``.pdb`` and ``.ent`` PDB; ``.gz`` after it compresses.
    b_factor : float array, shape (L,), optional
        One value per residue for the B-factor column, such as measured lDDT; NaN is written as 0 and
        the file says so. Without it the atoms' own B factors, and the pLDDT if there is one, are written.
    metric : str, optional
        What `b_factor` is, such as `MEASURED_LDDT`, when it is a score of 0-1: the file names it, and
        mmCIF has it as ModelCIF's ``_ma_qa_metric`` as well.

    Raises
    ------
    StructureError
        The structure does not fit the PDB format; write mmCIF then.
    RunFolderError
        The file cannot be written.
    """
    path = Path(path)
    plain = without_gz(path.name).lower()
    column, notes = _b_column(structure, b_factor, metric)
    if plain.endswith(MMCIF_ENDINGS):
        lines = _mmcif(structure, column, notes, _quality(structure, b_factor, metric))
    elif plain.endswith(PDB_ENDINGS):
        _check_pdb_limits(structure, path.name)
        # Two decimals, as the format has them, would make most scores of 0-1 the same.
        lines = _pdb(structure, column, notes, decimals=4 if metric else 2)
    else:
        raise StructureError(f"{path.name}: the ending names no structure format; expected {EXPECTED}")
    data = ("\n".join(lines) + "\n").encode("utf-8")
    if path.name.lower().endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    with write_errors(path), replacing(path) as temporary:
        temporary.write_bytes(data)


def _b_column(
    structure: Structure, b_factor: ArrayLike | None, metric: str
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    if b_factor is None:
        return structure.b_factor, ()
    values = np.asarray(b_factor, dtype=np.float64)
    if values.shape != (len(structure),):
        raise ValueError(f"b_factor has shape {values.shape}, the structure {len(structure)} residues")
    notes: tuple[str, ...] = (f"B factor: {metric or 'one value per residue'}.",)
    if not np.isfinite(values).all():
        notes += (_UNKNOWN_B,)
        values = np.where(np.isfinite(values), values, 0.0)
    return values[structure.residue_index], notes


def _quality(
    structure: Structure, b_factor: ArrayLike | None, metric: str
) -> tuple[str, str, NDArray[np.float64]] | None:
    """Name, ModelCIF type and values, shape (L,), of the local quality that an mmCIF file states."""
    if metric and b_factor is not None:
        return metric, "normalized score", np.asarray(b_factor, dtype=np.float64)
    if b_factor is None and structure.plddt is not None:
        return "pLDDT", "pLDDT", structure.plddt
    return None


def _names(structure: Structure) -> list[str]:
    return [THREE_LETTER.get(letter, "UNK") for letter in structure.sequence]


def _check_pdb_limits(structure: Structure, name: str) -> None:
    reason = None
    if len(structure.chain_id) > 1:
        reason = f"the chain name {structure.chain_id!r} has more than one letter"
    elif len(structure.atom_name) > 99_998:
        reason = f"it has {len(structure.atom_name)} atoms, more than 99,998"
    elif any(len(atom) > 4 for atom in structure.atom_name):
        reason = "an atom name has more than four letters"
    elif structure.res_id.size and (structure.res_id.min() < -999 or structure.res_id.max() > 9999):
        reason = "residue numbers go beyond -999..9999"
    elif structure.coord.size and (structure.coord.min() < -999.999 or structure.coord.max() > 9999.999):
        reason = "coordinates go beyond -999.999..9999.999 Å"
    if reason is not None:
        raise StructureError(f"{name}: {structure.name} does not fit the PDB format: {reason}; write .cif")


def _pdb(
    structure: Structure, column: NDArray[np.float64], notes: tuple[str, ...], *, decimals: int
) -> Iterator[str]:
    names = _names(structure)
    chain = structure.chain_id or " "
    yield f"TITLE     {_ascii(structure.name)[:70]}"
    for note in notes:
        yield f"REMARK   2 {note}"
    if structure.plddt is not None and not notes:
        yield "REMARK   2 MODEL LIKE ALPHAFOLD: B FACTOR IS PLDDT"
    for start in range(0, len(names), 13):
        row = " ".join(names[start : start + 13])
        yield f"SEQRES{start // 13 + 1:>4} {chain} {len(names):>4}  {row}"
    last = 0
    for serial, (index, atom, element, xyz, b) in enumerate(_rows(structure, column), start=1):
        shown = atom if len(atom) >= 4 or len(element) == 2 else f" {atom}"
        yield (
            f"ATOM  {serial:>5} {shown:<4} {names[index]:>3} {chain}{structure.res_id[index]:>4}"
            f"{structure.ins_code[index] or ' '}   {xyz[0]:8.3f}{xyz[1]:8.3f}{xyz[2]:8.3f}  1.00"
            f"{min(b, 999.99):6.{decimals}f}          {element:>2}"
        )
        last = serial
    if names:
        yield (
            f"TER   {last + 1:>5}      {names[-1]:>3} {chain}{structure.res_id[-1]:>4}"
            f"{structure.ins_code[-1] or ' '}"
        )
    yield "END"


def _rows(
    structure: Structure, column: NDArray[np.float64]
) -> Iterator[tuple[int, str, str, list[float], float]]:
    # Adding 0.0 turns -0.0 into 0.0, which would print differently.
    xyz = (np.round(structure.coord, 3) + 0.0).tolist()
    return zip(
        structure.residue_index.tolist(), structure.atom_name, structure.element, xyz, column.tolist(),
        strict=True,
    )  # fmt: skip


def _mmcif(
    structure: Structure,
    column: NDArray[np.float64],
    notes: tuple[str, ...],
    quality: tuple[str, str, NDArray[np.float64]] | None,
) -> Iterator[str]:
    names = _names(structure)
    # mmCIF has no blank chain name.
    chain = _quote(structure.chain_id or "A")
    block = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in structure.name)
    yield f"data_{block or 'structure'}"
    yield f"_entry.id {_quote(block or 'structure')}"
    yield f"_struct.entry_id {_quote(block or 'structure')}"
    yield f"_struct.title {_quote(structure.name)}"
    if notes:
        yield f"_struct.pdbx_model_details {_quote(' '.join(notes))}"
    yield from ("#", "_entity.id 1", "_entity.type polymer", "_entity_poly.entity_id 1")
    yield "_entity_poly.type 'polypeptide(L)'"
    yield f"_entity_poly.pdbx_strand_id {chain}"
    yield from ("#", "loop_", "_entity_poly_seq.entity_id", "_entity_poly_seq.num", "_entity_poly_seq.mon_id")
    yield from (f"1 {place} {name}" for place, name in enumerate(names, start=1))
    yield from ("#", "_struct_asym.id A", "_struct_asym.entity_id 1")
    if quality is not None:
        metric, kind, values = quality
        # A loop, although it has one row: python-modelcif reads it before the values, as it has to.
        yield from ("#", "loop_", "_ma_qa_metric.id", "_ma_qa_metric.mode", "_ma_qa_metric.name")
        yield from ("_ma_qa_metric.type", f"1 local {_quote(metric)} {_quote(kind)}")
        yield from ("#", "loop_")
        for tag in (
            "ordinal_id", "label_asym_id", "label_comp_id", "label_seq_id", "metric_id", "metric_value",
            "model_id",
        ):  # fmt: skip
            yield f"_ma_qa_metric_local.{tag}"
        decimals = 2 if kind == "pLDDT" else 4
        for place, (name, value) in enumerate(zip(names, values.tolist(), strict=True), start=1):
            shown = f"{value:.{decimals}f}" if np.isfinite(value) else "?"
            yield f"{place} A {name} {place} 1 {shown} 1"
    yield from ("#", "loop_")
    for tag in (
        "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
        "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy",
        "B_iso_or_equiv", "auth_seq_id", "auth_asym_id", "pdbx_PDB_model_num",
    ):  # fmt: skip
        yield f"_atom_site.{tag}"
    numbers = structure.res_id.tolist()
    codes = [_quote(code) if code else "?" for code in structure.ins_code]
    for serial, (index, atom, element, xyz, b) in enumerate(_rows(structure, column), start=1):
        yield (
            f"ATOM {serial} {_quote(element)} {_quote(atom)} . {names[index]} A 1 {index + 1} {codes[index]} "
            f"{xyz[0]:.3f} {xyz[1]:.3f} {xyz[2]:.3f} 1.00 {b:.4f} {numbers[index]} {chain} 1"
        )
    yield "#"


def _ascii(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "_" for c in text)


def _quote(text: str) -> str:
    """Format a CIF value: bare where it may be, quoted where it must be."""
    text = _ascii(" ".join(text.split()))
    reserved = text.lower().startswith(("data_", "loop_", "save_", "stop_", "global_"))
    if (
        text
        and not reserved
        and not any(c in text for c in " '\"#")
        and text[0] not in "_$[];"
        and text not in ".?"
    ):
        return text
    if "'" not in text:
        return f"'{text}'"
    if '"' not in text:
        return f'"{text}"'
    return "'" + text.replace("'", "_") + "'"
