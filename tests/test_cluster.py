"""Units of work on Ray: what cannot be had, what fails. What is killed: tests/pipeline/test_crew.py."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mutscan.cluster import CORES, LOSSES, Place, connect, find_place
from mutscan.errors import MissingDependencyError, UsageError
from mutscan.pipeline.options import Options
from tests.places import ROOT


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"run: pip install 'mutscan\[ray\]'$"), connect(None):
        pass


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed here", exc_type=ImportError)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(UsageError, match=rf"^--ray-address {address}: cannot connect .*ray start"),
            connect(address),
        ):
            pass


@pytest.mark.parametrize(
    ("machines", "cores", "gpus", "expected"),
    [
        ([{"CPU": 1.0}, {"CPU": 1.0}], None, True, Place(2, 1, gpu=False)),
        ([{"CPU": 64.0}, {"CPU": 1.0}], None, True, Place(32, CORES, gpu=False)),
        ([{"CPU": 64.0, "GPU": 8.0}, {"CPU": 64.0}], 16, True, Place(8, 8, gpu=True)),
        ([{"CPU": 64.0, "GPU": 8.0}, {"CPU": 64.0}], 16, False, Place(8, 16, gpu=False)),
        ([{"CPU": 2.0, "GPU": 4.0}, {}], None, True, Place(4, 1, gpu=True)),
    ],
)
def test_workers_have_room(
    machines: list[dict[str, float]], cores: int | None, gpus: bool, expected: Place
) -> None:
    assert find_place(machines, cores=cores, gpus=gpus) == expected


def test_too_many_cores() -> None:
    with pytest.raises(UsageError, match=r"^--ray-cores 4: no machine .* the largest has 3; give fewer$"):
        find_place([{"CPU": 3.0}, {"CPU": 2.0}], cores=4, gpus=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ray_cores": 2}, "--ray-cores needs --engine ray"),
        ({"ray_address": "auto"}, "--ray-address needs --engine ray"),
        ({"engine": "ray", "ray_cores": 0}, "--ray-cores 0: expected 1 or more"),
    ],
)
def test_options_are_checked(given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Options(**given)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("fatal", f"MutscanError worker_lost unit 2: lost its process {LOSSES} times; see whether memory "),
        ("faulty", "BuildError build_failed unit 2 cannot be built"),
    ],
)
def test_a_unit_that_cannot_be_done_ends_the_run(work: str, said: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed here", exc_type=ImportError)
    from tests.ray_machines import settings

    finished = subprocess.run(
        [sys.executable, "-m", "tests.ray_work", work, str(tmp_path)],
        capture_output=True, text=True, timeout=100, check=True, cwd=ROOT, env=settings(),
    )  # fmt: skip
    assert finished.stdout.startswith(said)
    assert [*tmp_path.iterdir()] == []
