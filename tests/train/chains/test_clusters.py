"""Sequence clusters: MMseqs2 by a stand-in and in earnest, columns, files; relatives without MMseqs2."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mutscan.errors import MissingDependencyError, UsageError
from mutscan.residues import STANDARD
from mutscan.train.chains import clusters as module
from mutscan.train.chains import relatives
from mutscan.train.chains.clusters import (
    ClusterColumn,
    ClusterFile,
    MMseqs,
    choose_clustering,
    read_cluster_file,
    stable_number,
)
from mutscan.train.chains.relatives import WordIndex, adopt_clusters, link_clusters, shared_words

STAND_IN = """#!{python}
import sys
from pathlib import Path
if sys.argv[1] == "version":
    print("15-6f452")
    sys.exit()
assert sys.argv[1] == "easy-cluster", sys.argv
fasta, prefix, scratch, *settings = sys.argv[2:]
Path("../arguments").write_text(" ".join(settings))
lines = Path(fasta).read_text().splitlines()
names, sequences = [line[1:] for line in lines[::2]], lines[1::2]
if {fail}:
    print("Input is broken", file=sys.stderr)
    sys.exit(1)
# As documented: representative, member; members of a representative below each other.
families = {{}}
for name, sequence in zip(names, sequences):
    families.setdefault(sequence[:5], []).append(name)
rows = [(members[-1], member) for members in families.values() for member in members]
Path(prefix + "_cluster.tsv").write_text("".join(a + "\\t" + b + "\\n" for a, b in rows[{skip}:]))
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *, fail: bool = False, skip: int = 0) -> Path:
    folder.mkdir()
    program = folder / "mmseqs"
    program.write_text(STAND_IN.format(python=sys.executable, fail=fail, skip=skip))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return program


def random_sequences(n: int, length: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(STANDARD), length)) for _ in range(n)]


def mutated(sequence: str, share: float, seed: int) -> str:
    rng = np.random.default_rng(seed)
    return "".join(str(rng.choice(list(STANDARD))) if rng.random() < share else letter for letter in sequence)


needs_scripts = pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script")


@needs_scripts
def test_mmseqs_when_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "bin", monkeypatch)
    chosen = choose_clustering(["cluster25"], min_identity=0.3)
    assert isinstance(chosen, MMseqs)
    described = chosen.describe()
    assert described["clusters"] == "MMseqs2 15-6f452"
    assert "0.3" in described["arguments"]
    first, second = random_sequences(2, 30)
    chains = pd.DataFrame(
        {"id": list("abcde"), "sequence": [first, second, first, mutated(first, 0, 1)[:20], second + "A"]}
    )
    found = chosen.clusters(chains, tmp_path / "work", jobs=3)
    assert found[0] == found[2] == found[3] != found[1] == found[4]
    arguments = (tmp_path / "work" / "arguments").read_text()
    assert "--min-seq-id 0.3 -c 0.8 --cov-mode 0 --cluster-mode 1" in arguments
    assert "--threads 3" in arguments
    assert not (tmp_path / "work" / "mmseqs").exists()
    # The order of the chains, and which of a cluster stands for it, change no number.
    back = chosen.clusters(chains[::-1].reset_index(drop=True), tmp_path / "work", jobs=1)
    assert back[::-1].tolist() == found.tolist()


@needs_scripts
def test_mmseqs_that_fails_or_forgets_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chains = pd.DataFrame({"id": ["a", "b"], "sequence": random_sequences(2, 30)})
    program = install(tmp_path / "bad", monkeypatch, fail=True)
    with pytest.raises(MissingDependencyError, match=r"easy-cluster failed \(Input is broken\).*--clusters"):
        MMseqs(str(program), 0.25).clusters(chains, tmp_path / "work", jobs=1)
    program = install(tmp_path / "forgetful", monkeypatch, skip=1)
    with pytest.raises(MissingDependencyError, match="gave no cluster for 1 of 2 chains"):
        MMseqs(str(program), 0.25).clusters(chains, tmp_path / "work", jobs=1)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mmseqs") is None, reason="MMseqs2 is not installed here")
def test_mmseqs_in_earnest(tmp_path: Path) -> None:
    sequences = random_sequences(4, 150)
    chains = pd.DataFrame(
        {"id": [f"c{k}" for k in range(8)], "sequence": sequences + [mutated(s, 0.3, 1) for s in sequences]}
    )
    chosen = choose_clustering([])
    found = chosen.clusters(chains, tmp_path, jobs=1)
    assert found[:4].tolist() == found[4:].tolist()
    assert len(set(found.tolist())) == 4


def test_without_mmseqs_the_column_or_both_ways_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert choose_clustering(["kind", "cluster25"]) == ClusterColumn("cluster25")
    with pytest.raises(MissingDependencyError, match=r"install MMseqs2 .*--cluster-column NAME.*--clusters"):
        choose_clustering(["kind"])


@needs_scripts
def test_what_is_asked_for_comes_before_mmseqs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "bin", monkeypatch)
    assert choose_clustering(["fold"], column="fold") == ClusterColumn("fold")
    assert choose_clustering([], file=tmp_path / "c.tsv") == ClusterFile(tmp_path / "c.tsv")
    with pytest.raises(UsageError, match="have no column fold; there are none"):
        choose_clustering([], column="fold")
    with pytest.raises(UsageError, match="give one of them"):
        choose_clustering(["fold"], column="fold", file=tmp_path / "c.tsv")


def test_columns_of_numbers_and_of_names() -> None:
    chains = pd.DataFrame({"id": list("abc"), "n": [5, 0, 5], "s": ["x", None, "x"], "f": [1.0, np.nan, 2.0]})
    assert ClusterColumn("n").clusters(chains, Path(), jobs=1).tolist() == [5, 0, 5]
    assert ClusterColumn("s").clusters(chains, Path(), jobs=1).tolist() == [
        stable_number("x"), -1, stable_number("x"),
    ]  # fmt: skip
    assert ClusterColumn("f").clusters(chains, Path(), jobs=1).tolist() == [1, -1, 2]


def test_a_file_of_clusters(tmp_path: Path) -> None:
    path = tmp_path / "clusters.tsv"
    path.write_text("a\ta\na\tb\nc\tc\na\tb\n")
    assert read_cluster_file(path) == {"a": "a", "b": "a", "c": "c"}
    found = ClusterFile(path).clusters(pd.DataFrame({"id": ["b", "c", "z", "a"]}), tmp_path, jobs=1)
    assert found.tolist() == [stable_number("a"), stable_number("c"), -1, stable_number("a")]
    before = ClusterFile(path).describe()
    path.write_text("a\ta\na\tb\nc\tc\n")
    assert ClusterFile(path).describe() != before
    for content, message in (
        ("a\tb\tc\n", "has 3 columns; expected two"),
        ("a\tb\nc\tb\n", "b is in more than one cluster"),
    ):
        path.write_text(content)
        with pytest.raises(UsageError, match=message):
            read_cluster_file(path)
    with pytest.raises(UsageError, match="no such file"):
        read_cluster_file(tmp_path / "gone.tsv")


# Relatives


def test_relatives_are_found_and_strangers_are_not() -> None:
    known = random_sequences(60, 150)
    words = WordIndex(known)
    for k in range(0, 60, 12):
        assert words.closest(mutated(known[k], 0.4, k)) == k, "about 60 % identity"
        assert words.closest(known[k][40:110]) == k, "a part"
    assert [words.closest(stranger) for stranger in random_sequences(5, 150, seed=9)] == [None] * 5


def test_adopted_clusters() -> None:
    known = random_sequences(5, 120)
    stranger = random_sequences(1, 120, seed=3)[0]
    numbers = np.array([10, 11, 12, 13, 14])
    found = adopt_clusters([mutated(known[3], 0.3, 0), stranger, known[1]], known, numbers)
    assert found.tolist() == [13, stable_number(stranger), 11]
    assert adopt_clusters([stranger], [], np.empty(0, np.int64)).tolist() == [stable_number(stranger)]


def test_shared_words_are_counted_against_the_shorter() -> None:
    one, other = random_sequences(2, 104)
    sequences = [one, other, one[20:70] + other[:1], "ACD"]
    ((rows, others, share),) = shared_words(sequences)
    found = {(a, b): c for a, b, c in zip(rows.tolist(), others.tolist(), share.tolist(), strict=True)}
    assert found[0, 0] == found[2, 2] == 1.0
    assert found[0, 2] == found[2, 0] == pytest.approx(46 / 47)
    assert (0, 1) not in found
    assert 3 not in rows.tolist()
    ((rows, others, share),) = shared_words([other], sequences)
    assert (rows.tolist(), others.tolist(), share.tolist()) == ([0], [1], [1.0])
    assert list(shared_words([])) == []


def test_clusters_that_hold_parts_of_one_protein_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other, third, fourth = random_sequences(4, 120)
    sequences = [
        one,
        one[:70],
        one + other,
        mutated(other, 0.15, 0),
        third,
        mutated(third, 0.6, 0),
        fourth,
        fourth,
    ]
    clusters = np.array([9, 4, 7, 5, 1, 2, 3, 3])
    expected = [4, 4, 4, 4, 1, 2, 3, 3]
    assert link_clusters(sequences, clusters).tolist() == expected
    monkeypatch.setattr(relatives, "_BLOCK", 3)
    assert link_clusters(sequences, clusters).tolist() == expected
    assert link_clusters([], np.empty(0, np.int64)).tolist() == []
