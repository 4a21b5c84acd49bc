"""Mutant pairs for training: the draw of substitutions, the tables, and that a killed call goes on."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mutscan.errors import UsageError
from mutscan.residues import STANDARD
from mutscan.scores import score_structures
from mutscan.structures import write_structure
from mutscan.train.chains.tables import read_tables
from mutscan.train.dataset.mutants import (
    CHAIN_COLUMNS,
    FAILURES,
    PAIR_COLUMNS,
    draw_substitutions,
    mutant_dataset,
)
from tests.peptides import helix, without

SEQUENCES = {"one": "MKTAYIAKQRQISFVKSH", "two": "GSDLAEKLLRAIQEGNLE", "three": "PEEALRKWAEVMRSLGY"}
SETTINGS = {"per_protein": 2, "builder": "template", "seed": 5, "jobs": 2}


def write_wild_types(folder: Path) -> list[Path]:
    paths = []
    for name, sequence in SEQUENCES.items():
        path = folder / f"{name}.cif"
        write_structure(helix(sequence, first=11, name=name), path)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def wild_types(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_wild_types(tmp_path_factory.mktemp("wild-types"))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def built(wild_types: list[Path], work: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return mutant_dataset(wild_types, work=work, **SETTINGS)


def same(one: tuple[pd.DataFrame, pd.DataFrame], two: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    for first, second in zip(one, two, strict=True):
        pd.testing.assert_frame_equal(first, second, check_exact=True)


# The draw


def test_every_substitution_is_as_likely() -> None:
    counts: Counter[str] = Counter()
    for seed in range(600):
        drawn = draw_substitutions("MKXT", 3, seed=seed, name="p")
        assert len(set(drawn)) == 3
        counts.update(map(str, drawn))
    possible = {f"{wt}{k}{aa}" for k, wt in ((1, "M"), (2, "K"), (4, "T")) for aa in STANDARD if aa != wt}
    assert set(counts) == possible
    seen = np.array(list(counts.values()))
    expected = 600 * 3 / 57
    assert ((seen - expected) ** 2 / expected).sum() < 95  # chi², 56 degrees of freedom: p = 0.001


def test_the_draw_depends_on_seed_and_protein() -> None:
    first = draw_substitutions("MKTAYIAKQR", 6, seed=0, name="p")
    assert draw_substitutions("MKTAYIAKQR", 6, seed=0, name="p") == first
    assert draw_substitutions("MKTAYIAKQR", 6, seed=1, name="p") != first
    assert draw_substitutions("MKTAYIAKQR", 6, seed=0, name="q") != first
    assert len(draw_substitutions("MK", 99, seed=0, name="p")) == 38
    assert draw_substitutions("XXX", 5, seed=0, name="p") == []


# The tables


def test_tables(built: tuple[pd.DataFrame, pd.DataFrame], work: Path) -> None:
    chains, pairs = built
    assert tuple(chains.columns) == CHAIN_COLUMNS
    assert tuple(pairs.columns) == PAIR_COLUMNS
    assert (len(chains), len(pairs)) == (9, 6)
    assert (work / FAILURES).read_text() == "id1,id2,reason\n"
    by_id = chains.set_index("id")
    moved = []
    for name, sequence in SEQUENCES.items():
        assert by_id.loc[name, "sequence"] == sequence
        ca = np.frombuffer(by_id.loc[name, "ca"], "<i2").reshape(-1, 3) / 100
        expected = helix(sequence).ca
        assert ca == pytest.approx(expected - expected.mean(axis=0), abs=0.011)
        drawn = [f"{name}~{one}" for one in draw_substitutions(sequence, 2, seed=5, name=name)]
        assert list(pairs.loc[pairs["id1"] == name, "id2"]) == drawn
    for row in pairs.itertuples():
        wild_type, mutant = by_id.loc[row.id1], by_id.loc[row.id2]
        name = row.id2.removeprefix(f"{row.id1}~")
        site = int(name[1:-1]) - 1
        changed = [k for k in range(row.len1) if wild_type["sequence"][k] != mutant["sequence"][k]]
        assert changed == [site]
        assert (wild_type["sequence"][site], mutant["sequence"][site]) == (name[0], name[-1])
        assert list(row.i1) == list(row.i2) == list(range(row.n_aligned))
        assert row.n_aligned == row.len1 == row.len2 == len(wild_type["sequence"])
        assert (row.picked_as, row.split, row.lddt_exponent, row.radius) == ("mutant", None, 3.0, 15.0)
        first, second = (np.frombuffer(one["ca"], "<i2").reshape(-1, 3) / 100 for one in (wild_type, mutant))
        scores = score_structures(first, second)
        assert row.tm_norm1 == row.tm_norm2 == pytest.approx(scores.tm_score, abs=2e-3)
        assert row.lddt == pytest.approx(scores.lddt, abs=0.05)  # a distance may cross a threshold
        assert np.abs(row.lddt - scores.lddt).mean() < 0.005
        moved.append(np.abs(second - first).max())
    assert max(moved) > 0.05
    assert max(moved) < 3.0
    assert pairs["tm_norm1"].between(0.9, 0.99999).any()


def test_training_reads_them(built: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    for name, table in zip(("structures", "pairs"), built, strict=True):
        table.to_parquet(tmp_path / f"{name}.parquet")
    chains, pairs = read_tables(tmp_path / "structures.parquet", tmp_path / "pairs.parquet")
    assert set(chains.ids) == set(built[0]["id"])
    assert [chains.ids[k] for k in pairs.chain_2] == list(built[1]["id2"])
    assert pairs.n_aligned.tolist() == built[1]["n_aligned"].tolist()


# Going on


def test_finished_mutants_are_not_built_again(
    wild_types: list[Path],
    work: Path,
    built: tuple[pd.DataFrame, pd.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing was left to build")

    monkeypatch.setattr("mutscan.builders.many.MutantFactory", refuse)
    same(mutant_dataset(wild_types, work=work, **SETTINGS), built)
    with pytest.raises(AssertionError):  # another draw, and a mutant that is half gone, are
        mutant_dataset(wild_types, work=work, **(SETTINGS | {"seed": 6}))
    part = next(work.glob("two-*/*.npz"))
    part.rename(part.with_suffix(".gone"))
    with pytest.raises(AssertionError):
        mutant_dataset(wild_types, work=work, **SETTINGS)
    part.with_suffix(".gone").rename(part)


def test_a_changed_wild_type_is_another_one(
    wild_types: list[Path], built: tuple[pd.DataFrame, pd.DataFrame], work: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "one.cif"
    write_structure(helix(SEQUENCES["one"][:-4] + "WWWW", name="one"), changed)
    chains, pairs = mutant_dataset([changed], work=work, **SETTINGS)
    assert chains["sequence"].iloc[0].endswith("WWWW")
    assert set(pairs["id1"]) == {"one"}
    same(mutant_dataset(wild_types, work=work, **SETTINGS), built)


SCRIPT = """
import sys
from pathlib import Path
from mutscan.train.dataset.mutants import mutant_dataset
folder, work = map(Path, sys.argv[1:])
paths = [folder / f"{name}.cif" for name in ("one", "two", "three")]
mutant_dataset(paths, per_protein=2, builder="template", seed=5, jobs=1, work=work)
"""


def test_killed_and_called_again(
    wild_types: list[Path], built: tuple[pd.DataFrame, pd.DataFrame], work: Path, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(wild_types[0].parent), str(killed)])
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and not list(killed.glob("*/*.npz")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    there = {path.name: path.read_bytes() for path in killed.glob("*/*.npz")}
    assert 1 <= len(there) < 6
    time.sleep(1.0)  # its worker notices that it is alone
    same(mutant_dataset(wild_types, work=killed, **SETTINGS), built)
    assert not list(killed.rglob(".*.tmp"))
    whole = {path.relative_to(work): path.read_bytes() for path in work.glob("*/*.cif")}
    assert {
        path.relative_to(killed): path.read_bytes() for path in killed.glob("*/*.cif")
    }.items() <= whole.items()


# What cannot be built


def test_failures_are_listed(wild_types: list[Path], work: Path, tmp_path: Path) -> None:
    bare = helix("MKTAYIAKQR", name="bare")
    trace = without(
        bare, {(int(k), a) for k, a in zip(bare.residue_index, bare.atom_name, strict=True) if a != "CA"}
    )
    write_structure(trace, tmp_path / "bare.cif")
    (tmp_path / "broken.pdb").write_text("no structure\n")
    paths = [tmp_path / "bare.cif", tmp_path / "broken.pdb", wild_types[0]]
    chains, pairs = mutant_dataset(paths, work=work, **SETTINGS)
    failures = pd.read_csv(work / FAILURES, keep_default_na=False)
    drawn = [f"bare~{one}" for one in draw_substitutions("MKTAYIAKQR", 2, seed=5, name="bare")]
    assert sorted(failures["id2"]) == sorted(["", *drawn])
    reasons = failures.set_index("id2")["reason"]
    assert "template cannot use bare" in reasons[drawn[0]]
    assert failures.loc[failures["id2"] == "", "id1"].tolist() == ["broken.pdb"]
    assert set(pairs["id1"]) == {"one"}
    assert set(chains["id"]) == {"bare", "one", *pairs["id2"]}


def test_what_cannot_be_asked(wild_types: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no wild-type structures"):
        mutant_dataset([], work=tmp_path, **SETTINGS)
    with pytest.raises(UsageError, match="expected one of auto, modeller, openmm, template"):
        mutant_dataset(wild_types, work=tmp_path, **(SETTINGS | {"builder": "none"}))
    with pytest.raises(UsageError, match="both must be at least 1"):
        mutant_dataset(wild_types, work=tmp_path, **(SETTINGS | {"per_protein": 0}))
    twin = tmp_path / "one.pdb"
    write_structure(helix("MKTAYIAKQR", name="one"), tmp_path / "one.cif")
    (tmp_path / "one.cif").rename(twin)
    with pytest.raises(UsageError, match="would both be the chain one"):
        mutant_dataset([*wild_types, twin], work=tmp_path, **SETTINGS)
