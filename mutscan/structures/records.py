"""The atoms of the first model of a file, one record each, before any choice is made.

PDB lines are read column by column, because a tolerant parser turns damaged
coordinate fields into numbers; mmCIF through gemmi's CIF reader.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import NamedTuple

import gemmi

from mutscan.errors import StructureError
from mutscan.structures.atoms import FOUR_LETTER_NAMES, letter_of


class AtomRecord(NamedTuple):
    """One ATOM or HETATM record. Coordinates in Å; `serial` is its line or row in the file."""

    serial: int
    het: bool
    chain: str
    block: int  # counts TER records, 0 in mmCIF
    number: int
    ins_code: str
    residue: str
    atom: str
    altloc: str
    element: str
    x: float
    y: float
    z: float
    occupancy: float
    b_factor: float
    label_seq: int | None


@dataclass
class AtomTable:
    """What a file says about its first model.

    `stated` holds for each chain the residue names of SEQRES or the polymer
    entity; `plddt` for (chain, number, insertion code) the confidence that a
    ModelCIF file gives per residue; `predicted_by` the words by which the
    file calls itself a model; `measured_by` its experiment.
    """

    atoms: list[AtomRecord]
    n_models: int = 1
    stated: dict[str, list[str]] = field(default_factory=dict)
    plddt: dict[tuple[str, int, str], float] = field(default_factory=dict)
    predicted_by: str | None = None
    measured_by: str | None = None
    is_mmcif: bool = False


ATOMIC_PREDICTORS = ("ALPHAFOLD 3", "ALPHAFOLD3", "ALPHAFOLD-3", "ESMFOLD", "BOLTZ", "CHAI-1", "PROTENIX")
"""Predictors whose confidence may differ between the atoms of a residue."""

_PREDICTORS = (
    *ATOMIC_PREDICTORS, "ALPHAFOLD", "ALPHA FOLD", "COLABFOLD", "OMEGAFOLD", "OPENFOLD", "ROSETTAFOLD",
    "HELIXFOLD",
)  # fmt: skip


def predictor_in(text: str) -> str | None:
    """Find the name of a structure predictor that reports pLDDT, if `text` mentions one."""
    upper = text.upper()
    return next((name for name in _PREDICTORS if name in upper), None)


def _checked(table: AtomTable, name: str) -> AtomTable:
    """Refuse names that no structure has: they go into files that other programs read, and run.

    An insertion code is one letter or digit, and no name holds a line break or another control
    character. mmCIF can quote text of any length and form.
    """
    for what, place in (("chain name", 2), ("residue name", 6), ("atom name", 7)):
        for value in {atom[place] for atom in table.atoms}:
            if not str(value).isprintable():
                raise StructureError(
                    f"{name}: {what} {value!r} holds a character that cannot be printed; correct the file"
                )
    for code in {atom.ins_code for atom in table.atoms}:
        if not re.fullmatch("[A-Za-z0-9]?", code):
            raise StructureError(
                f"{name}: insertion code {code!r} is not one letter or digit; correct the file"
            )
    return table


def _element(text: str) -> str:
    """Element symbol in upper case; empty where the field holds something else, as old files do."""
    return text.upper() if re.fullmatch("[A-Za-z]{1,2}", text) else ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _residue_number(text: str) -> int:
    """Columns 23-26: decimal, or hybrid-36 (``A000`` = 10000) past 9999."""
    try:
        return int(text)
    except ValueError:
        word = text.strip()
        if len(word) == 4 and word.isalnum() and word[0].isalpha() and word.isascii():
            lower = word[0].islower()
            value = 0
            for letter in word.upper():
                value = value * 36 + _LETTERS.index(letter)
            return value - 10 * 36**3 + 10**4 + (26 * 36**3 if lower else 0)
        raise


def parse_pdb(text: str, name: str) -> AtomTable:
    """Read PDB text; coordinates that are not numbers become NaN and are checked later."""
    table = AtomTable([])
    head: list[str] = []
    block, models = 0, 0
    lines = text.split("\n")
    chains = _two_letter_chains(lines)
    for serial, line in enumerate(lines, start=1):
        kind = line[:6]
        if kind in ("ATOM  ", "HETATM"):
            if models > 1:
                continue
            if len(line) < 54:
                raise StructureError(
                    f"{name}, line {serial}: the line ends before column 54 where the coordinates end; "
                    "the file is truncated or not in PDB format"
                )
            try:
                number = _residue_number(line[22:26])
            except ValueError as error:
                raise StructureError(
                    f"{name}, line {serial}: residue number {line[22:26]!r} in columns 23-26 is not a number"
                ) from error
            # Columns 18-20 and 21-22, or 18-21 and 22.
            split = 21 if _fills_four(line) and line[20:22] not in chains else 20
            occupancy, b_factor = _number(line[54:60]), _number(line[60:66])
            table.atoms.append(
                AtomRecord(
                    serial,
                    kind == "HETATM",
                    line[split:22].strip(),
                    block,
                    number,
                    line[26].strip(),
                    line[17:split].strip().upper(),
                    line[12:16].strip().upper().replace("*", "'"),
                    line[16].strip(),
                    _element(line[76:78].strip()),
                    _number(line[30:38]),
                    _number(line[38:46]),
                    _number(line[46:54]),
                    occupancy if math.isfinite(occupancy) else 1.0,
                    b_factor if math.isfinite(b_factor) else 0.0,
                    None,
                )
            )
        elif kind == "MODEL ":
            models += 1
        elif kind.startswith("TER"):
            block += 1
        elif kind == "SEQRES":
            table.stated.setdefault(line[11:12].strip(), []).extend(line[19:70].upper().split())
        elif kind in ("HEADER", "TITLE ", "COMPND", "SOURCE", "REMARK", "EXPDTA", "AUTHOR", "KEYWDS"):
            # References may cite a predictor in an experimental entry.
            if kind != "REMARK" or line[6:10].strip() in ("", "0", "1", "2", "3", "99", "220"):
                head.append(line)
    table.n_models = max(models, 1)
    table.predicted_by = predictor_in(" ".join(head))
    methods = [line[10:].strip() for line in head if line.startswith("EXPDTA")]
    table.measured_by = next((method for method in methods if "THEORETICAL" not in method.upper()), None)
    if table.measured_by is not None:
        table.predicted_by = None
    return _checked(table, name)


def _fills_four(line: str) -> bool:
    return line[17:21].upper() in FOUR_LETTER_NAMES


def _two_letter_chains(lines: list[str]) -> set[str]:
    """Columns 21-22 where they name a chain: after an amino acid whose name is complete in columns 18-20.

    So ``CYS2A`` is a CYS2 of chain A, but in a file that also has ``ALA2A`` a CYS of chain 2A.
    """
    return {
        line[20:22]
        for line in lines
        if line[20:21].strip()
        and line.startswith(("ATOM  ", "HETATM"))
        and not _fills_four(line)
        and letter_of(line[17:20]) is not None
    }


_ATOM_SITE = (
    "group_PDB", "?auth_asym_id", "label_asym_id", "?auth_seq_id", "?label_seq_id", "?pdbx_PDB_ins_code",
    "?auth_comp_id", "label_comp_id", "label_atom_id", "?label_alt_id", "?type_symbol",
    "Cartn_x", "Cartn_y", "Cartn_z", "?occupancy", "?B_iso_or_equiv", "?pdbx_PDB_model_num",
    "?label_entity_id",
)  # fmt: skip


def parse_mmcif(text: str, name: str) -> AtomTable:
    """Read mmCIF text through gemmi's CIF reader."""
    try:
        document = gemmi.cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        raise StructureError(
            f"{name}: not valid mmCIF ({' '.join(str(error).split())}); download it again"
        ) from error
    block = next((one for one in document if one.find_loop("_atom_site.Cartn_x")), None)
    if block is None:
        raise StructureError(f"{name}: has no _atom_site loop; expected a structure in mmCIF")
    rows = block.find("_atom_site.", list(_ATOM_SITE))
    if not rows:
        raise StructureError(
            f"{name}: its _atom_site loop lacks one of group_PDB, label_asym_id, label_comp_id, "
            "label_atom_id, Cartn_x/y/z"
        )
    table = AtomTable([], is_mmcif=True)
    models: list[str] = []
    entity_of: dict[str, str] = {}
    author: dict[tuple[str, int], tuple[str, int, str]] = {}
    as_string, as_number = gemmi.cif.as_string, gemmi.cif.as_number

    def word(row: gemmi.cif.Table.Row, column: int, instead: str = "") -> str:
        if not row.has(column):
            return instead
        value: str = as_string(row[column])
        return value if value else instead

    for serial, row in enumerate(rows, start=1):
        model = word(row, 16, "1")
        if model not in models:
            models.append(model)
        if model != models[0]:
            continue
        label_asym = word(row, 2)
        chain = word(row, 1, label_asym)
        label_seq = word(row, 4)
        number_text = word(row, 3, label_seq)
        try:
            number = int(number_text)
            place = int(label_seq) if label_seq else None
        except ValueError as error:
            raise StructureError(
                f"{name}, atom {serial}: residue number {number_text!r} / {label_seq!r} is not a whole number"
            ) from error
        ins_code = word(row, 5)
        occupancy = as_number(row[14]) if row.has(14) else 1.0
        b_factor = as_number(row[15]) if row.has(15) else 0.0
        table.atoms.append(
            AtomRecord(
                serial,
                word(row, 0) == "HETATM",
                chain,
                0,
                number,
                ins_code,
                word(row, 7, word(row, 6)).upper(),
                word(row, 8).upper(),
                word(row, 9),
                _element(word(row, 10)),
                as_number(row[11]),
                as_number(row[12]),
                as_number(row[13]),
                occupancy if math.isfinite(occupancy) else 1.0,
                b_factor if math.isfinite(b_factor) else 0.0,
                place,
            )
        )
        if place is not None:
            entity_of.setdefault(chain, word(row, 17))
            author.setdefault((label_asym, place), (chain, number, ins_code))
    table.n_models = max(len(models), 1)
    _stated_sequences(block, table, entity_of)
    _model_quality(block, table, author)
    return _checked(table, name)


def _stated_sequences(block: gemmi.cif.Block, table: AtomTable, entity_of: dict[str, str]) -> None:
    sequences: dict[str, dict[int, str]] = {}
    for entity, number, residue in block.find("_entity_poly_seq.", ["entity_id", "num", "mon_id"]):
        # Of a heterogeneous place the first name counts.
        sequences.setdefault(gemmi.cif.as_string(entity), {}).setdefault(
            gemmi.cif.as_int(number), gemmi.cif.as_string(residue).upper()
        )
    for chain, entity in entity_of.items():
        places = sequences.get(entity)
        if places and sorted(places) == list(range(1, len(places) + 1)):
            table.stated[chain] = [places[k] for k in range(1, len(places) + 1)]


def _model_quality(
    block: gemmi.cif.Block, table: AtomTable, author: dict[tuple[str, int], tuple[str, int, str]]
) -> None:
    """PLDDT per residue as ModelCIF states it (``_ma_qa_metric``)."""
    metrics = {
        gemmi.cif.as_string(row[0])
        for row in block.find("_ma_qa_metric.", ["id", "mode", "name", "?type"])
        if gemmi.cif.as_string(row[1]).lower() == "local"
        and "plddt" in (gemmi.cif.as_string(row[2]) + (row[3] if row.has(3) else "")).lower()
    }
    if metrics:
        table.predicted_by = "ModelCIF"
    for asym, place, metric, value in block.find(
        "_ma_qa_metric_local.", ["label_asym_id", "label_seq_id", "metric_id", "metric_value"]
    ):
        where = author.get((gemmi.cif.as_string(asym), gemmi.cif.as_int(place, 0)))
        if gemmi.cif.as_string(metric) in metrics and where is not None:
            table.plddt[where] = gemmi.cif.as_number(value)
    table.measured_by = _experiment(block)
    if table.predicted_by is None and table.measured_by is None:
        words = " ".join(
            gemmi.cif.as_string(block.find_value(tag) or "")
            for tag in ("_struct.title", "_entry.id", "_struct.pdbx_descriptor")
        )
        table.predicted_by = predictor_in(words)


def _experiment(block: gemmi.cif.Block) -> str | None:
    """Find the method of the experiment, the first of several."""
    methods = [gemmi.cif.as_string(value) for value in block.find_values("_exptl.method")]
    return next((method for method in methods if method and "THEORETICAL" not in method.upper()), None)
