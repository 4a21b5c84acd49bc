"""Units of work on a Ray cluster: a worker for each GPU, or for a number of cores.

Ray places the workers, starts lost ones again on whatever machine has room, and ends them with this
process. Which unit a worker gets is decided here: a call that Ray repeats stays with its worker, and would
wait as long as that worker's machine is away while others have nothing to do.

The units lie in a file in a folder that all machines see, and there the workers write their results. Ray
itself carries places in that file, counts and errors.
"""

from __future__ import annotations

import os
import pickle
import secrets
import socket
import sys
import time
from collections import Counter, deque
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mutscan.errors import MissingDependencyError, MutscanError, UsageError
from mutscan.files import write_errors
from mutscan.progress import Progress, Silent
from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

CORES: Final = 2
"""Cores of a worker by default."""

LOSSES: Final = 4
"""Workers that a unit, or the start of a worker, may cost: then it is the cause itself, and the run ends."""

PATIENCE: Final = 60.0
"""Seconds without any worker after which the user is told."""

REACH_LIMIT: Final = 10.0
"""Seconds a cluster may take to accept a connection."""

LOCAL_STORE: Final = 80 * 2**20
"""Bytes of the object store of a local cluster, about the least that Ray accepts: messages are small."""

_Unit = TypeVar("_Unit")


@dataclass(frozen=True, slots=True)
class Place:
    """What each worker of a cluster is given, and how many of them have room.

    Parameters
    ----------
    workers : int
    cores : int
        Of each worker.
    gpu : bool
        Whether each worker has a GPU of its own.
    """

    workers: int
    cores: int
    gpu: bool

    @property
    def words(self) -> str:
        """What a worker needs, in words."""
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return cores + (" and a GPU" if self.gpu else "")


@dataclass(frozen=True, eq=False)
class Cluster:
    """A Ray cluster that this process is connected to; `connect` makes it."""

    ray: Any
    place: Place
    progress: Progress


class Crew:
    """Workers on a cluster; they stay between calls of `run`, and end with this object.

    Parameters
    ----------
    cluster : Cluster
    prepare : callable
        Runs once in each worker, and returns the function that does a unit there. Its errors, and those of
        that function, end the run. Picklable.
    folder : Path
        A folder that all machines must see.
    """

    def __init__(
        self, cluster: Cluster, prepare: Callable[[], Callable[[_Unit], object]], folder: Path
    ) -> None:
        ray, place = cluster.ray, cluster.place
        self._cluster, self._prepare, self._folder = cluster, prepare, folder
        self._kind = ray.remote(_worker_class()).options(
            num_cpus=place.cores, num_gpus=int(place.gpu), max_restarts=-1
        )
        self._idle: list[Any] = []

    def run(self, units: Sequence[_Unit], name: Callable[[_Unit], str] = str) -> Iterator[_Unit]:
        """Do units of work, each once; yield them in the order in which they end.

        Parameters
        ----------
        units : sequence
            Picklable.
        name : callable
            Name of a unit, for Ray's list of tasks and for errors.

        Raises
        ------
        UsageError
            A machine has another mutscan, or does not see the folder.
        MutscanError
            A unit lost its worker `LOSSES` times.
        """
        ray, place = self._cluster.ray, self._cluster.place
        todo, left, lost = deque(range(len(units))), len(units), Counter[Any]()
        waiting: dict[Any, tuple[Any, int | None]] = {}
        with _work_file(self._folder, self._prepare, units) as (path, first, spans):

            def meet(worker: Any) -> None:
                # Ray makes this call again until the worker has started somewhere.
                call = worker.meet.options(max_task_retries=LOSSES - 1)
                waiting[call.remote(str(path), __version__, first)] = (worker, None)

            old, self._idle = self._idle, []
            for number in range(min(place.workers, len(units))):
                meet(old[number] if number < len(old) else self._kind.remote())
            unit: int | None
            while left:
                while todo and self._idle:
                    worker, unit = self._idle.pop(), todo.popleft()
                    call = worker.work.options(name=name(units[unit]))
                    waiting[call.remote(spans[unit])] = (worker, unit)
                ended, _ = ray.wait([*waiting], timeout=PATIENCE)
                if not ended:
                    if all(unit is None for _, unit in waiting.values()):
                        self._cluster.progress.note(
                            f"no Ray worker has started yet; waiting for {place.words}"
                        )
                    continue
                worker, unit = waiting.pop(ended[0])
                try:
                    complaint = ray.get(ended[0])
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                except ray.exceptions.RayError as error:
                    whom = worker if unit is None else unit
                    lost[whom] += 1
                    started = not isinstance(error, ray.exceptions.ActorUnavailableError)
                    if lost[whom] == LOSSES or (unit is None and started):
                        what = "a Ray worker" if unit is None else name(units[unit])
                        raise _gave_up(what, error) from error
                    if unit is None:
                        time.sleep(2.0 ** lost[whom])  # Ray may not know yet that the machine is gone
                    else:
                        todo.appendleft(unit)
                    meet(worker)
                    continue
                if complaint is not None:
                    raise UsageError(complaint)
                self._idle.append(worker)
                if unit is not None:
                    left -= 1
                    yield units[unit]


def _gave_up(what: str, error: Exception) -> MutscanError:
    reason = " ".join(str(error).split())
    return MutscanError(
        f"{what}: lost its process {LOSSES} times; see whether memory runs out, then run the command again, "
        f"finished work is kept ({reason[:300]})",
        code="worker_lost",
    )


@contextmanager
def _work_file(
    folder: Path, prepare: object, units: Sequence[object]
) -> Iterator[tuple[Path, tuple[int, int], list[tuple[int, int]]]]:
    """Write what workers read: a line that no other file has, and pickles; yields where those are."""
    # A run that was killed leaves it; the next one in the folder throws such files away.
    path = folder.absolute() / f".ray-{secrets.token_hex(8)}.tmp"
    spans: list[tuple[int, int]] = []
    try:
        with write_errors(folder), path.open("wb") as stream:
            stream.write(f"{path.name}\n".encode())
            for one in (prepare, *units):
                spans.append((stream.tell(), stream.write(pickle.dumps(one))))
        yield path, spans[0], spans[1:]
    finally:
        path.unlink(missing_ok=True)


def _worker_class() -> type:
    """Make the class of the workers.

    It is nested, so that Ray sends its code and not its name: a machine may have another mutscan, or none.
    """

    class Worker:
        def meet(self, path: str, version: str, prepare: tuple[int, int]) -> str | None:
            """Compare this machine with the one that asks, and get ready; returns what is wrong."""
            import socket
            from pathlib import Path

            host, self._file = socket.gethostname(), Path(path)
            try:
                from mutscan.version import __version__ as found
            except ImportError:
                return f"{host}: mutscan is not installed, expected {version}; install it on each machine"
            if found != version:
                return f"{host}: read mutscan {found}, expected {version}; install it on each machine"
            try:
                with self._file.open("rb") as stream:
                    seen = stream.readline().decode().strip() == self._file.name
            except OSError:
                seen = False
            if not seen:
                return (
                    f"{host}: does not see the run folder {self._file.parent}, expected one that all "
                    "machines share; give --out such a folder"
                )
            if not hasattr(self, "_work"):
                self._work = self._read(prepare)()
            return None

        def work(self, unit: tuple[int, int]) -> None:
            """Do a unit."""
            self._work(self._read(unit))

        def _read(self, span: tuple[int, int]) -> Any:
            import pickle

            with self._file.open("rb") as stream:
                stream.seek(span[0])
                return pickle.loads(stream.read(span[1]))

    return Worker


@contextmanager
def connect(
    address: str | None, *, cores: int | None = None, gpus: bool = True, progress: Progress | None = None
) -> Iterator[Cluster]:
    """Connect to a Ray cluster, or start one on this machine; it is left, or stopped, at the end.

    Parameters
    ----------
    address : str, optional
        ``auto`` for the cluster of this machine, or ``host:port`` of a head node. By default that of the
        environment variable ``RAY_ADDRESS``, which Ray sets for its jobs, else a new local cluster.
    cores : int, optional
        Of each worker; by default `CORES`, or what the largest machine has.
    gpus : bool
        Whether GPUs may be used; then each worker has one, where the cluster has any.
    progress : Progress, optional

    Raises
    ------
    MissingDependencyError
        Ray is not installed.
    UsageError
        There is no such cluster, or no machine in it has so many cores.
    """
    try:
        import ray
    except ImportError:
        raise MissingDependencyError(
            "--engine ray needs Ray, which is not installed; run: pip install 'mutscan[ray]'"
        ) from None
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        # A cluster of our own asks nothing of the network.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        settings |= {"include_dashboard": False, "object_store_memory": LOCAL_STORE}
    joins = not ray.is_initialized()
    # Ray prints what befalls its machines to stdout, which is for results.
    with redirect_stdout(sys.stderr):
        if joins:
            try:
                _reach(address)
                ray.init(address=address, **settings)
            except (OSError, RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise UsageError(
                    f"--ray-address {address}: cannot connect to a Ray cluster; start one with "
                    f"'ray start --head', or leave the option away for a local one ({reason[:300]})"
                ) from error
        try:
            machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            yield Cluster(ray, find_place(machines, cores=cores, gpus=gpus), progress or Silent())
        finally:
            if joins:
                ray.shutdown()


def _reach(address: str) -> None:
    """Ask at ``host:port`` whether anyone is there; Ray itself tries for minutes."""
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host.removeprefix("ray://"), int(port)), REACH_LIMIT).close()


def find_place(machines: Sequence[Mapping[str, float]], *, cores: int | None, gpus: bool) -> Place:
    """Choose what each worker gets, and count those that have room.

    Parameters
    ----------
    machines : sequence of mapping
        Resources of each machine, as `ray.nodes` has them: ``CPU``, ``GPU``.
    cores, gpus
        As `connect`.

    Raises
    ------
    UsageError
        No machine has so many cores.

    Examples
    --------
    >>> find_place([{"CPU": 8.0}, {"CPU": 5.0}], cores=4, gpus=True)
    Place(workers=3, cores=4, gpu=False)
    >>> find_place([{"CPU": 8.0, "GPU": 4.0}, {"CPU": 64.0}], cores=None, gpus=True)
    Place(workers=4, cores=2, gpu=True)
    """
    most = max((int(one.get("CPU", 0)) for one in machines), default=0)
    wanted = cores or max(1, min(CORES, most))
    with_gpu = [one for one in machines if gpus and one.get("GPU", 0) >= 1 and one.get("CPU", 0) >= 1]
    if with_gpu:
        share = min(int(one["CPU"] // one["GPU"]) for one in with_gpu)
        return Place(sum(int(one["GPU"]) for one in with_gpu), max(1, min(wanted, share)), gpu=True)
    workers = sum(int(one.get("CPU", 0) // wanted) for one in machines)
    if not workers:
        raise UsageError(
            f"--ray-cores {wanted}: no machine of the Ray cluster has so many cores, the largest has {most}; "
            "give fewer"
        )
    return Place(workers, wanted, gpu=False)
