"""Units of work on a Ray cluster: a worker for each GPU, or for a number of cores.

Ray places the workers, starts lost ones again on whatever machine has room, and ends them with this
process. Which unit a worker gets is decided here: a call that Ray repeats stays with its worker, and would
wait as long as that worker's machine is away while others have nothing to do.

Workers write their results into a folder that all machines see. Units, counts and errors are all that Ray
carries.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mutscan.errors import MissingDependencyError, MutscanError, UsageError
from mutscan.progress import Progress, Silent
from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

LOSSES: Final = 4
"""Workers that a unit, or a worker's start, may cost before the run ends: it is then the cause itself."""

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
        return f"{self.cores} cores" + (" and a GPU" if self.gpu else "")


class Cluster:
    """A Ray cluster this process is connected to; `connect` makes it."""

    def __init__(self, ray: Any, place: Place, progress: Progress) -> None:
        self._ray = ray
        self.place = place
        self._progress = progress

    def run(
        self,
        units: Sequence[_Unit],
        prepare: Callable[[], Callable[[_Unit], Any]],
        *,
        folder: Path,
        name: Callable[[_Unit], str] = str,
    ) -> Iterator[tuple[_Unit, Any]]:
        """Do units of work, each once; yield them with their results, in the order in which they end.

        Parameters
        ----------
        units : sequence
            Small and picklable.
        prepare : callable
            Runs once in each worker, and returns the function that does a unit there.
        folder : Path
            A folder that all machines must see.
        name : callable
            Name of a unit, for Ray's list of tasks and for errors.

        Raises
        ------
        UsageError
            A machine has another mutscan, or does not see `folder`.
        MutscanError
            As `prepare` and its function raise them; a unit lost its worker `LOSSES` times.
        """
        ray, place = self._ray, self.place
        kind = ray.remote(_worker_class()).options(
            num_cpus=place.cores, num_gpus=int(place.gpu), max_restarts=-1
        )
        todo, lost, left = deque(units), Counter[str](), len(units)
        waiting: dict[Any, tuple[Any, _Unit | None]] = {}
        with _token(folder) as token:
            greeting = (str(token), __version__, place.cores, ray.cloudpickle.dumps(prepare))

            def meet(worker: Any) -> None:
                # Ray makes this call again until the worker has started somewhere.
                call = worker.meet.options(max_task_retries=LOSSES - 1)
                waiting[call.remote(*greeting)] = (worker, None)

            for _ in range(min(place.workers, len(units))):
                meet(kind.remote())
            while left:
                ended, _ = ray.wait(list(waiting), timeout=PATIENCE)
                if not ended:
                    if all(unit is None for _, unit in waiting.values()):
                        self._progress.note(f"no Ray worker has started yet; waiting for {place.words}")
                    continue
                worker, unit = waiting.pop(ended[0])
                try:
                    answer = ray.get(ended[0])
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                except ray.exceptions.RayError as error:
                    what = "a worker" if unit is None else name(unit)
                    lost[what] += 1
                    if unit is None or lost[what] == LOSSES:
                        raise _gave_up(what, error) from error
                    todo.appendleft(unit)
                    meet(worker)
                    continue
                if unit is not None:
                    left -= 1
                    yield unit, answer
                elif answer is not None:
                    raise UsageError(answer)
                # A worker without a further unit goes out of scope here, which ends it.
                if todo:
                    unit = todo.popleft()
                    waiting[worker.work.options(name=name(unit)).remote(unit)] = (worker, unit)


def _gave_up(what: str, error: Exception) -> MutscanError:
    reason = " ".join(str(error).split())
    return MutscanError(
        f"{what} lost its Ray process {LOSSES} times, expected it to run; finished work is kept: "
        f"see whether memory ran out, then run the command again ({reason[:300]})",
        code="worker_lost",
    )


@contextmanager
def _token(folder: Path) -> Iterator[Path]:
    """Write a file of a name never used before, whose name is also its content."""
    path = folder.resolve() / f".ray-{secrets.token_hex(8)}.tmp"
    path.write_text(path.name, encoding="utf-8")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _worker_class() -> type:
    """Make the class of the workers.

    It is nested, so that Ray sends its code and not its name: a machine may have another mutscan, or none.
    """

    class Worker:
        def meet(self, token: str, version: str, cores: int, prepare: bytes) -> str | None:
            """Compare this machine with the one that asks, and get ready; returns a complaint."""
            import pickle
            import socket
            from pathlib import Path

            host = socket.gethostname()
            try:
                from mutscan.version import __version__ as found
            except ImportError:
                return (
                    f"{host}: mutscan is not installed there, expected {version}; install it on each machine"
                )
            if found != version:
                return (
                    f"{host}: mutscan is {found} there, expected {version}; install the same on each machine"
                )
            path = Path(token)
            try:
                seen = path.read_text(encoding="utf-8") == path.name
            except OSError:
                seen = False
            if not seen:
                return (
                    f"{host}: does not see the run folder {path.parent}, expected one that all machines "
                    "share; give --out such a folder"
                )
            import torch

            torch.set_num_threads(cores)
            self._work = pickle.loads(prepare)()
            return None

        def work(self, unit: Any) -> Any:
            return self._work(unit)

    return Worker


@contextmanager
def connect(
    address: str | None, *, cores: int, gpus: bool = True, progress: Progress | None = None
) -> Iterator[Cluster]:
    """Connect to a Ray cluster, or start one on this machine; it is left, or stopped, at the end.

    Parameters
    ----------
    address : str, optional
        ``auto`` for the cluster of this machine, or ``host:port`` of a head node. By default that of the
        environment variable ``RAY_ADDRESS``, which Ray sets for its jobs, else a new local cluster.
    cores : int
        Of each worker.
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
    connected = not ray.is_initialized()
    if connected:
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
        if connected:
            ray.shutdown()


def _reach(address: str) -> None:
    """Ask at ``host:port`` whether anyone is there; Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), REACH_LIMIT).close()


def find_place(machines: Sequence[Mapping[str, float]], *, cores: int, gpus: bool) -> Place:
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
    >>> find_place([{"CPU": 8.0, "GPU": 4.0}, {"CPU": 64.0}], cores=4, gpus=True)
    Place(workers=4, cores=2, gpu=True)
    """
    with_gpu = [one for one in machines if one.get("GPU", 0) >= 1 and one.get("CPU", 0) >= 1] if gpus else []
    if with_gpu:
        share = min(int(one["CPU"] // one["GPU"]) for one in with_gpu)
        return Place(sum(int(one["GPU"]) for one in with_gpu), max(1, min(cores, share)), gpu=True)
    workers = sum(int(one.get("CPU", 0) // cores) for one in machines)
    if not workers:
        most = max((int(one.get("CPU", 0)) for one in machines), default=0)
        raise UsageError(
            f"--ray-cores {cores}: no machine of the Ray cluster has so many cores, the largest has {most}; "
            "give fewer"
        )
    return Place(workers, cores, gpu=False)
