"""The scripts of examples/cluster run for real: Slurm on this machine, and Snakemake."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import mutscan
from tests.places import CLUSTER, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SLURM = ("munged", "slurmctld", "slurmd", "sbatch")
OPTIONS = ("--sequences", "proteins.fasta", "--offline")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undivided run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    mutscan.batch(CLUSTER / "variants.csv", out=out, sequences=CLUSTER / "proteins.fasta", offline=True)
    return out


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example, and this checkout's mutscan as a command."""
    program = tmp_path / "bin" / "mutscan"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mutscan "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Path(shutil.copytree(CLUSTER, tmp_path / "example"))


def run(*words: object, cwd: Path) -> str:
    done = subprocess.run(
        [*map(str, words)], cwd=cwd, capture_output=True, text=True, check=False, timeout=240
    )
    logs = "".join(f"\n{path.name}: {path.read_text()}" for path in cwd.glob("*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    return done.stdout.strip()


def assert_same(got: Path, whole: Path) -> None:
    for name in ("variants.csv", "proteins.csv"):
        assert (got / name).read_bytes() == (whole / name).read_bytes(), name


def test_the_readme_shows_what_comes_out(whole: Path) -> None:
    shown = (CLUSTER / "README.md").read_text(encoding="utf-8")
    table = (whole / "proteins.csv").read_text(encoding="utf-8")
    assert table in shown


# Snakemake -----------------------------------------------------------------------------------------


def test_snakemake(copied: Path, whole: Path) -> None:
    program = shutil.which("snakemake") or shutil.which("snakemake", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("snakemake is not installed here")
    words = (program, "--cores", "2", "--config", f"options={' '.join(OPTIONS)}", "parts=3")
    run(*words, cwd=copied)
    assert_same(copied / "run", whole)
    assert sorted(path.name for path in copied.glob("run.part*")) == ["run.part1", "run.part2", "run.part3"]
    # A lost result is made again from what is left, without a second prediction.
    (copied / "run" / "variants.csv").unlink()
    parts = {path: path.stat().st_mtime_ns for path in copied.glob("run.part*/run.json")}
    run(*words, cwd=copied)
    assert_same(copied / "run", whole)
    assert parts == {path: path.stat().st_mtime_ns for path in parts}


# Slurm ---------------------------------------------------------------------------------------------


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster of this machine alone; its daemons run in the foreground, and end with the test."""
    path = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))
    missing = [name for name in SLURM if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(f"Slurm is not installed here ({', '.join(missing)}); on Debian: slurmctld slurmd munge")
    if os.geteuid() != 0:
        pytest.skip("only root may start Slurm's daemons")
    host = socket.gethostname().partition(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    controller, node = free_ports(2)
    # Sockets want a short path, and munge one that others cannot write to.
    with tempfile.TemporaryDirectory(prefix="slurm", ignore_cleanup_errors=True) as folder:
        where = Path(folder)
        where.chmod(0o755)
        (where / "key").write_bytes(os.urandom(1024))
        (where / "key").chmod(0o400)
        configuration = where / "slurm.conf"
        configuration.write_text(
            f"""ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={where}/munge.socket
StateSaveLocation={where}/state
SlurmdSpoolDir={where}/spool
SlurmctldPidFile={where}/slurmctld.pid
SlurmdPidFile={where}/slurmd.pid
SlurmctldLogFile={where}/slurmctld.log
SlurmdLogFile={where}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory={memory}
PartitionName=main Nodes=ALL Default=YES State=UP
"""
        )
        monkeypatch.setenv("SLURM_CONF", str(configuration))
        commands = (
            ["munged", "--foreground", "--force", f"--key-file={where}/key", f"--socket={where}/munge.socket",
             f"--pid-file={where}/munged.pid", f"--log-file={where}/munged.log", f"--seed-file={where}/seed"],
            ["slurmctld", "-D"],
            ["slurmd", "-D"],
        )  # fmt: skip
        daemons: list[subprocess.Popen[bytes]] = []
        with (where / "output.log").open("wb") as output:
            try:
                for command in commands:
                    program = shutil.which(command[0], path=path)
                    daemons.append(
                        subprocess.Popen([str(program), *command[1:]], stdout=output, stderr=output)
                    )
                    if command[0] == "munged":
                        _wait(lambda: (where / "munge.socket").exists(), where)
                _wait(lambda: b"idle" in _output("sinfo", "--noheader", "--format=%t"), where)
                yield
            finally:
                _output("scancel", "--user=root")
                for daemon in reversed(daemons):
                    daemon.terminate()
                    daemon.wait(30)


def _output(*words: str) -> bytes:
    return subprocess.run(words, capture_output=True, check=False, timeout=30).stdout


def _wait(condition, where: Path) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + 30
    while not condition():
        logs = "".join(path.read_text(errors="replace") for path in where.glob("*.log"))
        assert time.monotonic() < end, logs
        time.sleep(0.1)


@pytest.mark.usefixtures("slurm")
def test_slurm(copied: Path, whole: Path) -> None:
    job = run(
        "sbatch", "--parsable", "--array=1-3", "--cpus-per-task=1", "score.sbatch", "variants.csv", "run",
        *OPTIONS, cwd=copied,
    )  # fmt: skip
    run("sbatch", "--wait", f"--dependency=afterok:{job}", "merge.sbatch", "run", cwd=copied)
    assert_same(copied / "run", whole)
    assert sorted(path.name for path in copied.glob("run.part*")) == ["run.part1", "run.part2", "run.part3"]
    assert sorted(path.name for path in copied.glob(f"mutscan-{job}_*.log")) == [
        f"mutscan-{job}_{part}.log" for part in (1, 2, 3)
    ]
