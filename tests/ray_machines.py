"""A small Ray cluster for tests: each machine is a ``ray start`` of its own, on this computer."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from tests.places import ROOT

SETTINGS = {
    "PYTHONPATH": str(ROOT),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # writes a token into the home folder otherwise
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DEDUP_LOGS": "0",
}


def settings() -> dict[str, str]:
    """Environment of the machines and of the commands that use them."""
    return {**os.environ, **SETTINGS}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def wait_for(condition, what: str, limit: float = 240.0):  # type: ignore[no-untyped-def]
    """Wait until a condition holds, and return its value."""
    end = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not happen in {limit} s"
        time.sleep(0.02)
    return value


class Machine:
    """One node of a cluster.

    Parameters
    ----------
    address : str
        ``host:port`` of the head node; this is the head where `head` is set.
    place : str
        Its own address.
    folder : Path
        Ray's files.
    inside : sequence of str
        Command before it, such as ``ip netns exec NAME``.
    environment : mapping, optional
    """

    def __init__(
        self,
        address: str,
        place: str,
        folder: Path,
        *,
        head: bool = False,
        inside: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        port = address.rpartition(":")[2]
        which = (
            ["--head", f"--port={port}", "--include-dashboard=false"] if head else [f"--address={address}"]
        )
        if head:
            which.append(f"--temp-dir={folder}")
        self._log = (folder.parent / f"machine-{free_port()}.log").open("w+")
        self.process = subprocess.Popen(
            [
                *inside, sys.executable, "-m", "ray.scripts.scripts", "start", *which, "--block",
                f"--node-ip-address={place}", "--num-cpus=1", "--object-store-memory=80000000",
                "--disable-usage-stats",
            ],
            env={**settings(), **(environment or {})},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._seen: dict[int, psutil.Process] = {}
        try:
            wait_for(self._is_up, "the start of a Ray node")
        except BaseException:
            self.stop()
            raise

    def _is_up(self) -> bool:
        assert self.process.poll() is None, Path(self._log.name).read_text()
        return self.raylet is not None and "Ray runtime started" in Path(self._log.name).read_text()

    def processes(self) -> list[psutil.Process]:
        """All its processes."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in psutil.Process(self.process.pid).children(recursive=True):
                self._seen[one.pid] = one
        return [one for one in self._seen.values() if one.is_running()]

    def _titles(self) -> dict[psutil.Process, str]:
        found = {}
        for one in self.processes():
            with contextlib.suppress(psutil.Error):
                found[one] = " ".join(one.cmdline()[:1])
        return found

    @property
    def raylet(self) -> psutil.Process | None:
        """Ray's own process of this node."""
        return next((one for one, title in self._titles().items() if title.endswith("/raylet")), None)

    def workers(self, doing: str) -> list[psutil.Process]:
        """Processes of Ray's workers on a unit whose name begins with `doing`."""
        return [one for one, title in self._titles().items() if title.startswith(f"ray::{doing}")]

    def stop(self) -> None:
        """End all its processes."""
        everyone = self.processes()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        for one in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()
        self._log.close()


@contextlib.contextmanager
def ray_folder() -> Iterator[Path]:
    """A folder for Ray's files; paths of sockets may have no more than 107 characters."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "ray"


class Machines:
    """Two nodes with a core each."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = folder
        self.first = Machine(self.address, "127.0.0.1", folder, head=True)
        self.second: Machine | None = None

    def both(self) -> "Machines":
        """Start the second node unless it runs."""
        if self.second is None:
            self.second = Machine(self.address, "127.0.0.1", self._folder)
        return self

    def lose_second(self) -> None:
        """Stop the second node, of which something was killed."""
        assert self.second is not None
        self.second.stop()
        self.second = None

    def stop(self) -> None:
        """Stop both."""
        if self.second is not None:
            self.second.stop()
        self.first.stop()


@contextlib.contextmanager
def machines() -> Iterator[Machines]:
    """Start nodes, and stop them at the end."""
    with ray_folder() as folder:
        found = Machines(folder)
        try:
            yield found.both()
        finally:
            found.stop()
