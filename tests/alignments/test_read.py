"""Alignment files: five formats, their traps, and hostile input."""

from __future__ import annotations

import gzip
import hashlib
import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from Bio import AlignIO

from mutscan.alignments import read as module
from mutscan.alignments.profile import GAP, UNKNOWN_CODE, profile_of, select_rows, sequence_weights
from mutscan.alignments.read import read_alignment
from mutscan.errors import UsageError
from mutscan.residues import STANDARD

if TYPE_CHECKING:
    from pathlib import Path

WILD_TYPE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVV"
NEAR = WILD_TYPE.replace("S", "T")
FAR = WILD_TYPE.replace("A", "G").replace("V", "I").replace("R", "K")
SHORT = WILD_TYPE[:40] + "-" * 30
ROWS = {"protein": WILD_TYPE, "far": FAR, "near": NEAR, "short": SHORT}


def codes(*rows: str) -> np.ndarray:
    place = {letter: number for number, letter in enumerate(STANDARD)} | {"-": GAP}
    return np.array([[place.get(letter, UNKNOWN_CODE) for letter in row] for row in rows])


def fasta(rows: dict[str, str], width: int = 1000) -> str:
    lines = []
    for name, row in rows.items():
        lines += [f">{name} some words", *(row[i : i + width] for i in range(0, len(row), width))]
    return "\n".join(lines) + "\n"


def in_blocks(rows: dict[str, str], size: int, between: str = "\n") -> str:
    length = len(next(iter(rows.values())))
    return between.join(
        "".join(f"{name:12} {row[start : start + size]}\n" for name, row in rows.items())
        for start in range(0, length, size)
    )


def stockholm(rows: dict[str, str], size: int) -> str:
    return f"# STOCKHOLM 1.0\n#=GF ID made up\n\n{in_blocks(rows, size)}#=GC RF xx\n//\n"


def clustal(rows: dict[str, str], size: int) -> str:
    marks = " " * 13 + "**:*.\n\n"
    return f"CLUSTAL W (1.82) multiple sequence alignment\n\n\n{in_blocks(rows, size, marks)}{marks}"


def a3m(rows: dict[str, str]) -> str:
    """Insertions in all rows but the wild type's; some as long as it."""
    inserted = {name: row if name == "protein" else row[:7] + "acd" + row[7:] for name, row in rows.items()}
    return "#70\t1\n" + fasta(inserted)


def a2m(rows: dict[str, str]) -> str:
    """Lower-case columns, in the wild type's row as well, and columns that it lacks."""
    return fasta({name: row[:9].lower().replace("-", ".") + ".." + row[9:] for name, row in rows.items()}, 30)


def write(folder: Path, text: str | bytes, name: str = "x.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


FORMATS = {
    "a3m": a3m(ROWS),
    "a2m": a2m(ROWS),
    "aligned FASTA": fasta(ROWS, 25),
    "Stockholm in blocks": stockholm(ROWS, 20),
    "Stockholm": stockholm(ROWS, 1000),
    "CLUSTAL": clustal(ROWS, 60),
    "lower-case FASTA": fasta({name: row.lower() for name, row in ROWS.items()}),
    "CRLF": a3m(ROWS).replace("\n", "\r\n"),
    "NUL between blocks": a3m(ROWS) + "\0" + a3m({"protein": WILD_TYPE, "near2": NEAR}),
    "byte order mark": "\ufeff" + fasta(ROWS),
    "no line end": fasta(ROWS).rstrip(),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", [*FORMATS])
def test_every_format_gives_the_same_rows(name: str, packed: bool, tmp_path: Path) -> None:
    data = FORMATS[name].encode()
    path = write(tmp_path, gzip.compress(data) if packed else data, "misleading.cif")
    found = read_alignment(path, WILD_TYPE)
    np.testing.assert_array_equal(found.rows, codes(WILD_TYPE, SHORT, NEAR, FAR))
    assert (found.first, found.last) == (1, len(WILD_TYPE))
    assert found.n_read == (6 if "NUL" in name else 4)
    assert found.name == "misleading.cif"
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("format", ["stockholm", "clustal"])
def test_files_written_by_biopython_are_read(format: str, tmp_path: Path) -> None:
    written = io.StringIO()
    AlignIO.write(AlignIO.parse(io.StringIO(fasta(ROWS)), "fasta"), written, format)
    found = read_alignment(write(tmp_path, written.getvalue()), WILD_TYPE)
    np.testing.assert_array_equal(found.rows, codes(WILD_TYPE, SHORT, NEAR, FAR))


def test_a_row_of_the_wild_types_name_is_found_anywhere(tmp_path: Path) -> None:
    rows = {"near": NEAR, "sp|P12345|PROT_TEST": WILD_TYPE, "far": FAR}
    for text in (fasta(rows), stockholm(rows, 30)):
        path = write(tmp_path, text)
        for name in ("P12345", "PROT_TEST", "sp|P12345|PROT_TEST"):
            assert len(read_alignment(path, WILD_TYPE, name=name).rows) == 3
        with pytest.raises(UsageError, match=r"row near is not the wild type.*, or one named Q99999,"):
            read_alignment(path, WILD_TYPE, name="Q99999")


@pytest.mark.parametrize("name", ["protein", "protein/11-50", "protein/1-40"])
def test_a_part_of_the_protein_is_put_where_it_belongs(name: str, tmp_path: Path) -> None:
    rows = {name: WILD_TYPE[10:50], "near": NEAR[10:50]}
    found = read_alignment(write(tmp_path, fasta(rows)), WILD_TYPE)
    assert (found.first, found.last) == (11, 50)
    assert (found.rows[:, :10] == GAP).all()
    assert (found.rows[:, 50:] == GAP).all()
    np.testing.assert_array_equal(found.rows[:, 10:50], codes(*rows.values()))


def test_a_range_in_the_name_decides_between_repeats(tmp_path: Path) -> None:
    repeat = "MKTAYIAKQRQISFVKSHFS"
    text = fasta({"x/21-40": repeat, "y": repeat.replace("S", "T")})
    assert read_alignment(write(tmp_path, text), repeat * 3).first == 21


def test_insertions_in_the_wild_types_own_row_have_no_column(tmp_path: Path) -> None:
    text = f">w\n{WILD_TYPE[:10]}{WILD_TYPE[10:15].lower()}{WILD_TYPE[15:]}\n>n\n{NEAR[:10]}{NEAR[15:]}\n"
    found = read_alignment(write(tmp_path, text), WILD_TYPE)
    assert (found.rows[:, 10:15] == GAP).all()
    np.testing.assert_array_equal(found.rows[1, 15:], codes(NEAR)[0, 15:])


def test_residues_that_are_none_of_the_twenty_are_unknown(tmp_path: Path) -> None:
    protein = "U" + WILD_TYPE[1:]
    near = NEAR[:20] + "BZXUOJ" + NEAR[26:]
    found = read_alignment(write(tmp_path, fasta({"w": "X" + WILD_TYPE[1:], "n": near})), protein)
    assert found.rows[0, 0] == UNKNOWN_CODE
    assert found.rows[1, 20:26].tolist() == [UNKNOWN_CODE] * 6
    profile = profile_of(found.rows)
    assert profile.counts[20:26].sum() == pytest.approx(6 * sequence_weights(found.rows)[0])


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    rows = {**ROWS, "stub": WILD_TYPE[:30] + "-" * 40, "other": "W" * 70, "again": NEAR}
    found = read_alignment(write(tmp_path, fasta(rows)), WILD_TYPE)
    assert (found.n_read, found.n_short, found.n_distant, len(found.rows)) == (7, 1, 1, 4)


def test_reading_in_blocks_keeps_the_rows_that_the_whole_file_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    rows = np.tile(codes(WILD_TYPE), (400, 1))
    for row in rows[1:]:
        changed = rng.random(70) < rng.uniform(0, 0.9)
        row[changed] = rng.integers(0, 20, changed.sum())
    rows[200:300] = rows[1:101]
    text = fasta({str(i): "".join(STANDARD[code] for code in row) for i, row in enumerate(rows)})
    monkeypatch.setattr(module, "_BLOCK", 700)
    found = read_alignment(write(tmp_path, text), WILD_TYPE, most=50)
    rows = rows.astype(np.uint8)
    np.testing.assert_array_equal(found.rows, rows[select_rows(rows, most=50)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected an alignment"),
        ("\n\n \0\n", "is empty"),
        ("position,residue\n", "line 1: read 'position,residue'; expected an alignment"),
        (bytes(range(256)) * 20, "expected an alignment"),
        (b"\x1f\x8b" + b"junk" * 10, "cannot be read"),
        (gzip.compress(fasta(ROWS).encode(), mtime=0)[:-20], "cannot be read"),
        (f">w\n{WILD_TYPE}\n", "of 1 rows none but the wild type covers half"),
        (fasta({"w": WILD_TYPE, "o": "W" * 70}), "of 2 rows none but the wild type"),
        (fasta({"w": WILD_TYPE, "n": NEAR, "cut": FAR[:60]}), "line 5: row cut has 60 columns"),
        (fasta({"w": WILD_TYPE, "none": "", "n": NEAR}), "line 3: row none has 0 columns"),
        (fasta({"w": WILD_TYPE, "n": NEAR[:9] + "1" + NEAR[10:]}), "row n: '1' is no residue and no gap"),
        (fasta({"w": WILD_TYPE[:4] + "W" + WILD_TYPE[5:], "n": NEAR}), "position 5, expected Y \\(69 of 70"),
        (fasta({"w": WILD_TYPE + "A", "n": NEAR + "A"}), "it has 71 residues, the wild type 70"),
        (fasta({"w": "-" * 70, "n": NEAR}), "it has 0 residues"),
        ("MKT\n>w\nMKT\n", "line 1: read 'MKT'"),
        ("# STOCKHOLM 1.0\n\n//\n", "holds no row"),
        (stockholm(ROWS, 30).replace("near   ", "nearer ", 1), "read row near, expected nearer as in"),
        (stockholm(ROWS, 1000).replace("near", "near one"), "expected a name and a piece of its row"),
        (stockholm(ROWS, 30).rsplit("short", 1)[0], "the last block has 3 rows, expected 4"),
        (stockholm({**ROWS, "near": NEAR[:-1]}, 30), "row near has 9 columns, expected 10"),
        (fasta({"w": WILD_TYPE.lower(), "n": NEAR + "A"}), "insertions only"),
    ],
)  # fmt: skip
def test_bad_files_are_one_clear_error(text: str | bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError, match=message) as error:
        read_alignment(path, WILD_TYPE)
    assert path.name in error.value.message
    assert "\n" not in error.value.message


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_alignment(tmp_path / "none.a3m", WILD_TYPE)
    with pytest.raises(UsageError, match="cannot be read"):
        read_alignment(tmp_path, WILD_TYPE)


def test_endless_lines_and_rows_are_refused_and_long_headers_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_ROW", 100)
    for text in (f">w\n{WILD_TYPE * 2}\n", fasta({"w": WILD_TYPE * 2}, 20), "\0" * 200, "A" * 200):
        with pytest.raises(UsageError, match="over 100 characters"):
            read_alignment(write(tmp_path, text), WILD_TYPE)
    for line in (stockholm({"w": WILD_TYPE * 2, "n": NEAR * 2}, 60),):
        with pytest.raises(UsageError, match="over 100 characters"):
            read_alignment(write(tmp_path, line), WILD_TYPE)
    text = f">w{' word' * 100}\n{WILD_TYPE}\n>n{' word' * 300}\n{NEAR}\n"
    assert len(read_alignment(write(tmp_path, text), WILD_TYPE).rows) == 2


@pytest.mark.parametrize("line", ["", "#", "\r", "\0"])
def test_endless_empty_lines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """A small archive of them would be read for minutes."""
    monkeypatch.setattr(module, "MOST_EMPTY", 100)
    text = f">w\n{WILD_TYPE}\n" + f"{line}\n" * 100
    with pytest.raises(UsageError, match=r"line 102: 100 lines hold next to nothing; expected"):
        read_alignment(write(tmp_path, text), WILD_TYPE)
    few = f">w\n{WILD_TYPE}\n" + "\n" * 98 + f">n\n{NEAR}\n"
    assert len(read_alignment(write(tmp_path, few), WILD_TYPE).rows) == 2


def test_an_interleaved_file_that_fits_no_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 100)
    with pytest.raises(UsageError, match="write it as a3m"):
        read_alignment(write(tmp_path, stockholm(ROWS, 30)), WILD_TYPE)
    assert len(read_alignment(write(tmp_path, stockholm(ROWS, 1000)), WILD_TYPE).rows) == 4


@pytest.mark.parametrize(
    ("file", "protein", "n_read", "part"),
    [
        ("BLAT_ECOLX_ColabFold_2202.a3m.gz", "BLAT_ECOLX", 4501, (1, 286)),
        ("BLAT_ECOLX_hmmerbit_b0.5.a2m.gz", "BLAT_ECOLX", 8403, (24, 286)),
        ("DYR_plmc.a2m.gz", "DYR_ECOLI", 3629, (1, 159)),
    ],
)
def test_deep_alignments_of_others_are_read(
    file: str, protein: str, n_read: int, part: tuple[int, int], shared: Path
) -> None:
    assays = pd.read_csv(shared / "data/variants/dms_assays.csv.gz").set_index("assay")
    sequence = assays.sequence[assays.index.str.startswith(protein)].iloc[0]
    found = read_alignment(shared / "data/alignments" / file, sequence, name=protein)
    assert found.n_read == n_read
    assert (found.first, found.last) == part
    assert 1000 < len(found.rows) <= 3001
    assert found.differing == ()


def test_another_residue_in_a_deep_alignment_is_named(shared: Path) -> None:
    assays = pd.read_csv(shared / "data/variants/dms_assays.csv.gz").set_index("assay")
    sequence = assays.sequence[assays.index.str.startswith("P53_HUMAN")].iloc[0]
    path = shared / "data/alignments/P04637_EVE_b0.1.a2m.gz"
    found = read_alignment(path, sequence, name="P53_HUMAN")
    assert found.differing == (72,)
    assert found.rows[0, 71] == STANDARD.index("R")
    other = sequence[:10] + "W" * 5 + sequence[15:]
    with pytest.raises(UsageError, match=r"read E at position 11, expected W \(387 of 393 residues agree"):
        read_alignment(path, other)
    found = read_alignment(path, sequence[:71] + "P" + sequence[72:])
    assert found.differing == ()
    assert found.n_read == 3668
    assert (found.first, found.last) == (1, 393)
