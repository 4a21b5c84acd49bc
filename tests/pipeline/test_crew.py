"""Runs on a Ray cluster, with real Ray processes: the bytes of a local run, whatever is killed on the way."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mutscan
from tests.made_up_calibration import calibrate_tiny_model

pytest.importorskip("ray", reason="the extra 'ray' is not installed here", exc_type=ImportError)

from tests.ray_machines import Machines, machines, settings, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BETA = "MVHLTPEEKSAVTALWGKVNVDEVGGEALGRLLVVYPWTQRFFESFGDLSTPDAVMGNPKVKAHGKKVLGAFSDGLAHLDNLKGTFATLSELHC"
N_PROTEINS = 48
TABLES = ("variants.csv", "residues.parquet", "evidence.parquet", "affected.parquet", "null.parquet")


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calibrate_tiny_model(tiny_model, tmp_path_factory.mktemp("calibrated") / "tiny")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Proteins that differ in their first residues, with three lines each, far from each other."""
    folder = tmp_path_factory.mktemp("inputs")
    names = [f"protein{number}" for number in range(N_PROTEINS)]
    sequences = [BETA[number % 7 :] + BETA[: number // 7] for number in range(N_PROTEINS)]
    fasta = "".join(f">{name}\n{sequence}\n" for name, sequence in zip(names, sequences, strict=True))
    (folder / "proteins.fasta").write_text(fasta)
    lines = [
        f"{name},{sequence[position - 1]}{position}W"
        for position in (20, 30, 40)
        for name, sequence in zip(names, sequences, strict=True)
    ]
    (folder / "table.csv").write_text("\n".join(["protein,variant", *lines, "nobody,A1W", ""]))
    return folder


def command(inputs: Path, model: Path, out: Path, *more: object) -> list[str]:
    return [
        sys.executable, "-m", "mutscan", "batch", str(inputs / "table.csv"),
        "--sequences", str(inputs / "proteins.fasta"), "--model", str(model), "--offline",
        "--out", str(out), *map(str, more),
    ]  # fmt: skip


def on(address: str) -> tuple[str, ...]:
    return ("--engine", "ray", "--ray-address", address, "--ray-cores", "1")


@pytest.fixture(scope="module")
def local(inputs: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("local") / "out"
    mutscan.batch(
        inputs / "table.csv", out=out, sequences=inputs / "proteins.fasta", model=str(model), offline=True
    )
    return out


@pytest.fixture(scope="module")
def cluster() -> Iterator[Machines]:
    with machines() as running:
        yield running


def assert_same(one: Path, other: Path) -> None:
    """Tables of the whole, and those of each protein, have the same bytes; nothing is left lying about."""
    for name in ("variants.csv", "proteins.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    folders = [sorted(path.name for path in (run / "proteins").iterdir()) for run in (one, other)]
    assert folders[0] == folders[1]
    assert len(folders[0]) == N_PROTEINS
    for protein in folders[0]:
        for name in TABLES:
            path = Path("proteins") / protein / name
            assert (one / path).read_bytes() == (other / path).read_bytes(), path
    assert [*one.rglob(".*.tmp")] == []


def done(out: Path) -> int:
    return len([*out.glob(".state/outcomes/*.json")])


def run(arguments: list[str], code: int = 3) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; one protein of the table is not known, hence code 3."""
    finished = subprocess.run(
        arguments, capture_output=True, text=True, check=False, timeout=200, env=settings()
    )
    assert finished.returncode == code, finished.stderr
    return finished


def test_two_machines_give_the_bytes_of_one_process(
    cluster: Machines, inputs: Path, model: Path, local: Path, tmp_path: Path
) -> None:
    finished = run(command(inputs, model, tmp_path / "out", *on(cluster.both().address), "--json"))
    assert_same(tmp_path / "out", local)
    # Nothing of Ray's is written where results go.
    assert finished.stdout == "" or json.loads(finished.stdout)


@pytest.mark.parametrize("victim", ["worker", "machine"])
def test_what_is_killed_is_replaced(
    victim: str, cluster: Machines, inputs: Path, model: Path, local: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    second = cluster.both().second
    assert second is not None
    with subprocess.Popen(
        command(inputs, model, out, *on(cluster.address)),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=settings(),
    ) as driver:  # fmt: skip
        wait_for(lambda: done(out) > 3 and second.workers("protein"), "work on the second machine")
        prey = second.workers("protein")[0] if victim == "worker" else second.raylet
        assert prey is not None
        prey.kill()
        at_the_kill = done(out)
        said = driver.communicate(timeout=200)[1]
    if victim == "machine":
        cluster.lose_second()
    assert at_the_kill < N_PROTEINS
    assert driver.returncode == 3, said
    assert_same(out, local)


@pytest.mark.parametrize("then", ["ray", "local"])
def test_the_same_command_goes_on_after_the_death_of_the_driver(
    then: str, cluster: Machines, inputs: Path, model: Path, local: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with subprocess.Popen(
        command(inputs, model, out, *on(cluster.both().address)), stderr=subprocess.DEVNULL, env=settings()
    ) as driver:
        wait_for(lambda: done(out) > 3, "the first proteins")
        driver.kill()
    kept = {path: path.stat().st_mtime_ns for path in out.glob(".state/outcomes/*.json")}
    assert len(kept) < N_PROTEINS
    run(command(inputs, model, out, *(on(cluster.address) if then == "ray" else ())))
    unknown = out / ".state" / "outcomes" / "nobody.json"  # may be known by now, so it is tried again
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items() if path != unknown)
    assert_same(out, local)
