"""Runs on a Ray cluster, with real Ray processes: the bytes of a local run, whatever is killed on the way."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mutscan
from tests.made_up_calibration import calibrate_tiny_model
from tests.places import GLOBIN

pytest.importorskip("ray", reason="the extra 'ray' is not installed here", exc_type=ImportError)

from tests.ray_machines import Machine, Machines, free_port, machines, ray_folder, settings, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BETA = "MVHLTPEEKSAVTALWGKVNVDEVGGEALGRLLVVYPWTQRFFESFGDLSTPDAVMGNPKVKAHGKKVLGAFSDGLAHLDNLKGTFATLSELHC"
N_PROTEINS = 48
TABLES = ("variants.csv", "residues.parquet", "evidence.parquet", "regions.parquet", "null.parquet")


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
        arguments, capture_output=True, text=True, check=False, timeout=200, env=settings(), cwd="/"
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


@pytest.mark.parametrize(
    "request_",
    [
        ("score", "--variants", GLOBIN / "variants.csv", "--builder", "template"),
        ("scan", "--positions", "1-12", "--predict", "all"),
        ("scan", "--positions", "1-12", "--predict", "probability"),
    ],
    ids=["score", "scan", "probabilities"],
)
def test_one_protein_is_shared_out(
    request_: tuple[object, ...], cluster: Machines, model: Path, tmp_path: Path
) -> None:
    name, *more = map(str, request_)
    code = 3 if name == "score" else 0
    for out, where in (("local", ()), ("ray", on(cluster.both().address))):
        arguments = [
            sys.executable, "-m", "mutscan", name, str(GLOBIN / "wild_type.cif"), *more, "--offline",
            "--model", str(model), "--inverse-folding", "off", "--out", str(tmp_path / out), *where,
        ]  # fmt: skip
        run(arguments, code)
    written = sorted(path.name for path in (tmp_path / "local").iterdir())
    assert sorted(path.name for path in (tmp_path / "ray").iterdir()) == written
    for table in written:
        if table.endswith((".csv", ".parquet")):
            assert (tmp_path / "ray" / table).read_bytes() == (tmp_path / "local" / table).read_bytes(), table


@pytest.mark.parametrize(
    ("predict", "sequences"),
    [
        # 19 x 182 mutants of 182 residues are planned to take longer than a unit of work
        ("all", {"small": BETA[:20], "large": BETA * 2}),
        ("probability", {f"p{number}": BETA[number:] for number in range(20)}),
    ],
)
def test_scans_of_many(
    predict: str, sequences: dict[str, str], cluster: Machines, model: Path, tmp_path: Path
) -> None:
    fasta = tmp_path / "many.fasta"
    fasta.write_text("".join(f">{name}\n{text}\n" for name, text in sequences.items()))
    for out, where in (("local", ()), ("ray", on(cluster.both().address))):
        run(
            [
                sys.executable, "-m", "mutscan", "scan", str(fasta), "--model", str(model), "--offline",
                "--predict", predict, "--out", str(tmp_path / out), *where,
            ],
            code=0,
        )  # fmt: skip
    for name in ("variants.parquet", "proteins.csv"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes(), name
    # The large protein is predicted in four shares and then finished; its log tells of each.
    logs = "".join(path.read_text() for path in (tmp_path / "ray").glob("proteins/large/log.txt"))
    assert logs.count("scan of large") == (5 if predict == "all" else 0)


# Machines that differ ------------------------------------------------------------------------------


def test_another_mutscan_is_refused(inputs: Path, model: Path, tmp_path: Path) -> None:
    package = tmp_path / "elsewhere" / "mutscan"
    package.mkdir(parents=True)
    address = f"127.0.0.1:{free_port()}"
    with ray_folder() as folder:
        only = Machine(
            address, "127.0.0.1", folder, head=True, environment={"PYTHONPATH": str(package.parent)}
        )
        try:
            host = os.uname().nodename
            (package / "__init__.py").write_text("")
            (package / "version.py").write_text("__version__ = '0.0.1'\n")
            said = run(command(inputs, model, tmp_path / "out", *on(address)), 2).stderr
            assert f"error: {host}: read mutscan 0.0.1, expected {mutscan.__version__}; " in said
            (package / "version.py").write_text("raise ImportError\n")
            said = run(command(inputs, model, tmp_path / "out", *on(address)), 2).stderr
            assert f"error: {host}: mutscan is not installed, expected {mutscan.__version__}; " in said
        finally:
            only.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a machine file systems of its own")
def test_a_machine_without_the_run_folder_or_with_another_model_is_refused(
    inputs: Path, model: Path, tiny_model: Path, tmp_path: Path
) -> None:
    hidden, own, seen = tmp_path / "hidden", tmp_path / "model", tmp_path / "seen"
    hidden.mkdir()
    shutil.copytree(model, own)
    address = f"127.0.0.1:{free_port()}"
    mounts = f'mount -t tmpfs none "{hidden}" && mount --bind "{tiny_model}" "{own}" && exec "$@"'
    with ray_folder() as folder:
        only = Machine(
            address, "127.0.0.1", folder, head=True, inside=("unshare", "--mount", "sh", "-c", mounts, "sh")
        )
        try:
            host = os.uname().nodename
            said = run(command(inputs, own, hidden / "out", *on(address)), 2).stderr
            expected = (
                f"{host}: does not see the run folder {hidden}/out, expected one that all machines share; "
            )
            assert f"error: {expected}" in said
            said = run(command(inputs, own, seen, *on(address)), 2).stderr
            assert f"error: {host}: the model tiny has sha256 " in said
            assert [*hidden.rglob(".*.tmp"), *seen.rglob(".*.tmp")] == []
        finally:
            only.stop()


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="only root may lay a cable between namespaces"
)
def test_two_machines_on_a_network(inputs: Path, model: Path, local: Path, tmp_path: Path) -> None:
    """Two network namespaces joined by a veth pair: no address of one is that of the other."""
    spaces = {f"mutscan{os.getpid()}{end}": f"10.213.77.{end}" for end in (1, 2)}
    first, second = spaces
    running: list[Machine] = []
    try:
        for space in spaces:
            subprocess.run(["ip", "netns", "add", space], check=True)
        made = subprocess.run(
            ["ip", "link", "add", "one", "netns", first, "type", "veth", "peer", "one", "netns", second],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if made.returncode != 0:
            pytest.skip(f"this system makes no veth pair: {made.stderr.strip()}")
        for space, place in spaces.items():
            for words in (f"addr add {place}/24 dev one", "link set one up", "link set lo up"):
                subprocess.run(["ip", "-n", space, *words.split()], check=True)
        address = f"{spaces[first]}:6379"
        with ray_folder() as folder:
            for space, place in spaces.items():
                running.append(
                    Machine(
                        address, place, folder, head=space == first, inside=("ip", "netns", "exec", space)
                    )
                )
            joined = command(inputs, model, tmp_path / "out", *on(address))
            with subprocess.Popen(
                ["ip", "netns", "exec", first, *joined], stderr=subprocess.PIPE, text=True, env=settings()
            ) as driver:
                # Both machines take part.
                for machine in running:
                    wait_for(lambda machine=machine: machine.workers("protein"), "work on each machine")
                said = driver.communicate(timeout=200)[1]
            assert driver.returncode == 3, said
            for machine in reversed(running):
                machine.stop()
            running.clear()
        assert_same(tmp_path / "out", local)
    finally:
        for machine in reversed(running):
            machine.stop()
        for space in spaces:
            subprocess.run(["ip", "netns", "del", space], check=False)
