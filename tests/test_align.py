"""TM-align through its worker: the published values, refusals, and a worker that hangs or dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tmtools.testing import get_pdb_path

from mutscan import align
from mutscan.align import alignment_pairs, tm_align
from mutscan.errors import MissingDependencyError, StructureError
from mutscan.structures import Structure, read_structure
from tests.places import GLOBIN, ROOT


@pytest.fixture(scope="module")
def globins() -> tuple[Structure, Structure]:
    """Chains A and B of PDB entry 2GTL, shipped with tmtools."""
    path = get_pdb_path("2gtl")
    return read_structure(path, chain="A"), read_structure(path, chain="B")


class TestPairs:
    def test_bookkeeping_of_the_specification(self) -> None:
        assert alignment_pairs("AC-DE", ":  .:", "A-GDE").tolist() == [[0, 0], [2, 2], [3, 3]]

    def test_nothing_aligned(self) -> None:
        assert alignment_pairs("AC--", "    ", "--DE").shape == (0, 2)
        assert alignment_pairs("", "", "").shape == (0, 2)

    def test_rows_of_different_length(self) -> None:
        with pytest.raises(ValueError, match="5, 5 and 4 columns"):
            alignment_pairs("AC-DE", ":  .:", "A-GD")


class TestTMAlign:
    def test_2gtl(self, globins: tuple[Structure, Structure]) -> None:
        result = tm_align(*globins)
        assert result.tm_score_1 == pytest.approx(0.884730, abs=1e-6)
        assert result.tm_score_2 == pytest.approx(0.895950, abs=1e-6)
        assert result.rmsd == pytest.approx(1.7008, abs=1e-4)
        assert result.pairs.shape == (143, 2)
        assert result.pairs[:3].tolist() == [[0, 1], [1, 2], [2, 3]]
        assert result.pairs[-1].tolist() == [145, 144]
        reference, model = globins
        placed = model.ca @ result.rotation.T + result.translation
        near = np.linalg.norm(placed[result.pairs[:, 1]] - reference.ca[result.pairs[:, 0]], axis=1)
        assert np.median(near) < 1.5
        assert np.linalg.det(result.rotation) == pytest.approx(1.0)

    def test_swapping_swaps_the_scores(self, globins: tuple[Structure, Structure]) -> None:
        there, back = tm_align(*globins), tm_align(*reversed(globins))
        assert (back.tm_score_1, back.tm_score_2) == pytest.approx((there.tm_score_2, there.tm_score_1))

    def test_documented_toy(self) -> None:
        one = np.array([[1.2, 3.4, 1.5], [4.0, 2.8, 3.7], [1.2, 4.2, 4.3], [0.0, 1.0, 2.0]])
        two = np.array([[2.3, 7.4, 1.5], [4.0, 2.9, -1.7], [1.2, 4.2, 4.3]])
        result = tm_align((one, "AYLP"), (two, "ARN"))
        assert result.tm_score_1 == pytest.approx(0.310583, abs=1e-6)
        assert result.tm_score_2 == pytest.approx(0.414111, abs=1e-6)

    def test_itself_and_its_mirror_image(self, globins: tuple[Structure, Structure]) -> None:
        chain = globins[0]
        same = tm_align(chain, chain)
        assert same.tm_score_1 == pytest.approx(1.0, abs=1e-6)
        assert same.pairs.tolist() == [[k, k] for k in range(147)]
        mirror = tm_align(chain, (chain.ca * [1, 1, -1], chain.sequence))
        assert mirror.tm_score_1 == pytest.approx(0.3188, abs=5e-5)

    def test_odd_letters_are_no_gaps(self, globins: tuple[Structure, Structure]) -> None:
        ca = globins[0].ca[:30]
        result = tm_align((ca, "-X*u?" * 6), (ca, "A" * 30))
        assert result.pairs.tolist() == [[k, k] for k in range(30)]

    @pytest.mark.parametrize("hole", [np.nan, np.inf])
    def test_holes_are_refused_before_they_hang(self, hole: float) -> None:
        ca = np.arange(30.0).reshape(10, 3)
        ca[4, 1] = hole
        with pytest.raises(StructureError, match="the model has no finite C-alpha coordinates at residue 5"):
            tm_align((np.arange(30.0).reshape(10, 3), "A" * 10), (ca, "A" * 10))

    def test_short_and_uneven_chains_are_refused(self) -> None:
        ca = np.eye(3)
        with pytest.raises(StructureError, match="the reference has 2 residues; TM-align needs at least 3"):
            tm_align((ca[:2], "AA"), (ca, "AAA"))
        with pytest.raises(StructureError, match=r"shape \(3, 3\) and a sequence of 4"):
            tm_align((ca, "AAAA"), (ca, "AAA"))

    def test_missing_tmtools(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(align.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingDependencyError, match="pip install tmtools"):
            tm_align((np.eye(3), "AAA"), (np.eye(3), "AAA"))


class TestWorker:
    def test_is_kept(self, globins: tuple[Structure, Structure]) -> None:
        tm_align(*globins)
        first = align._worker._process
        tm_align(*globins)
        assert first is not None
        assert align._worker._process is first

    def test_time_limit_stops_it_and_the_next_call_works(self, globins: tuple[Structure, Structure]) -> None:
        tm_align(*globins)
        rng = np.random.default_rng(0)
        huge = (np.cumsum(rng.normal(size=(1500, 3)), axis=0) * 3, "A" * 1500)
        old = align._worker._process
        start = time.monotonic()
        with pytest.raises(StructureError, match=r"1500 and 1500 residues did not end in 0\.05 s"):
            tm_align(huge, huge, timeout=0.05)
        assert time.monotonic() - start < 3
        assert old is not None
        assert old.poll() is not None
        assert tm_align(*globins).tm_score_1 == pytest.approx(0.884730, abs=1e-6)

    def test_a_killed_worker_is_replaced(self, globins: tuple[Structure, Structure]) -> None:
        tm_align(*globins)
        process = align._worker._process
        assert process is not None
        process.kill()
        process.wait()
        assert tm_align(*globins).tm_score_1 == pytest.approx(0.884730, abs=1e-6)

    @pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals")
    def test_dying_in_the_middle_is_said(self, globins: tuple[Structure, Structure]) -> None:
        tm_align(*globins)
        process = align._worker._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        killer = threading.Timer(0.2, process.kill)
        killer.start()
        with pytest.raises(StructureError, match="stopped without a result"):
            tm_align(*globins)
        killer.join()

    def test_threads_take_turns(self, globins: tuple[Structure, Structure]) -> None:
        scores: list[float] = []
        threads = [
            threading.Thread(target=lambda: scores.append(tm_align(*globins).tm_score_1)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert scores == pytest.approx([0.884730] * 4, abs=1e-6)

    def test_a_script_without_main_guard(self, tmp_path, project) -> None:  # type: ignore[no-untyped-def]
        script = tmp_path / "script.py"
        script.write_text(
            "import numpy as np\n"
            "from mutscan.align import tm_align\n"
            "print('once')\n"
            "print(round(tm_align((np.eye(3) * 5, 'AAA'), (np.eye(3) * 5, 'AAA')).tm_score_1, 4))\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)],
            capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(project)}, check=True,
        )  # fmt: skip
        assert done.stdout.split() == ["once", "1.0"]
        assert done.stderr == ""


class TestOnlyForAligning:
    @pytest.mark.slow
    def test_score_and_scan_work_without_tmtools(self, tmp_path: Path, tiny_model: Path) -> None:
        """A tmtools that cannot be imported, in this process and in all that it starts."""
        broken = tmp_path / "broken" / "tmtools"
        broken.mkdir(parents=True)
        (broken / "__init__.py").write_text("raise ImportError('tmtools was imported')\n")
        script = tmp_path / "script.py"
        script.write_text(
            "import sys, mutscan\n"
            "wild_type, model, out = sys.argv[1:]\n"
            "shared = {'model': model, 'builder': 'template', 'device': 'cpu', 'offline': True, 'jobs': 1}\n"
            "run = mutscan.score(wild_type, ['L38D'], out=out + '/score', **shared)\n"
            "assert run.variants['tm_measured'].notna().all()\n"
            "shared['builder'] = 'none'\n"
            "scan = mutscan.scan(wild_type, positions='38', out=out + '/scan', **shared)\n"
            "assert len(scan.variants) == 19\n"
            "try:\n"
            "    mutscan.compare(wild_type, wild_type, model=model, device='cpu', offline=True)\n"
            "except mutscan.MutscanError as error:\n"
            "    print(error)\n"
        )
        done = subprocess.run(
            [sys.executable, str(script), str(GLOBIN / "wild_type.cif"), str(tiny_model), str(tmp_path)],
            capture_output=True, text=True, check=False, timeout=300,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(broken.parent), str(ROOT)])},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout == "tmtools cannot be imported: tmtools was imported\n"
