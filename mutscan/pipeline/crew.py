"""Runs on a Ray cluster: what its workers get ready, and do with a unit of work.

The process that was started keeps the run folder's lock, hands out the units and, for many proteins, writes
the tables. It loads no model, so it may run where there is no GPU.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import torch

from mutscan.cluster import Crew, connect
from mutscan.errors import MutscanError, UsageError
from mutscan.files import write_errors
from mutscan.model.checkpoint import find_model, model_hash
from mutscan.pipeline.job import Request, finish_job, loaded_model, logging_to
from mutscan.pipeline.options import Options, Shard, from_anywhere
from mutscan.pipeline.parts import model_from_anywhere
from mutscan.pipeline.run import Run
from mutscan.pipeline.tasks import Unit, Worker
from mutscan.progress import Silent
from mutscan.results import BatchFolder, RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mutscan.cluster import Cluster, Place
    from mutscan.pipeline.network import LoadedModel
    from mutscan.pipeline.tasks import Task

SHARES_A_WORKER: Final = 8
"""Shares of one protein's work for each worker: what the slowest has left at the end is then little."""

LOCK_PATIENCE: Final = 120.0
"""Seconds a worker waits for a protein's folder, which a lost worker may hold for a while."""


@contextmanager
def cluster_for(options: Options) -> Iterator[Cluster]:
    """Connect to the cluster that a run asks for (`mutscan.cluster.connect`).

    Raises
    ------
    UsageError
        The device is one of several GPUs.
    """
    if options.device not in ("auto", "cpu", "cuda"):
        raise UsageError(
            f"--device {options.device}: with --engine ray each worker has a GPU of its own; "
            "give auto, cuda or cpu"
        )
    with connect(
        options.ray_address,
        cores=options.ray_cores,
        gpus=options.device != "cpu",
        progress=options.progress,
    ) as cluster:
        yield cluster


@dataclass(frozen=True)
class _Start:
    """What all workers begin with.

    Parameters
    ----------
    cores : int
    model_sha256 : str
        Of the model where the command was given.
    """

    cores: int
    model_sha256: str

    def check(self, model: LoadedModel) -> None:
        """Refuse another model."""
        if model.sha256 != self.model_sha256:
            raise UsageError(
                f"the model {model.config.name} has sha256 {model.sha256[:12]}, expected "
                f"{self.model_sha256[:12]}; copy the same model to each machine"
            )


@contextmanager
def _on_this_host() -> Iterator[None]:
    """Name the machine in errors."""
    try:
        yield
    except MutscanError as error:
        raise type(error)(f"{socket.gethostname()}: {error.message}", code=error.code) from error


def _sent(options: Options, place: Place) -> Options:
    """Turn options into those of a worker elsewhere."""
    device = options.device if options.device != "auto" else "cuda" if place.gpu else "cpu"
    return replace(
        options,
        model=model_from_anywhere(options.model),
        builder=str(from_anywhere("builder", options.builder)),
        alignment=str(from_anywhere("alignment", options.alignment)),
        device=device,
        jobs=options.jobs or place.cores,
        engine="local",
        ray_address=None,
        ray_cores=None,
        restart=False,
        progress=Silent(),
    )


def _start(options: Options, place: Place) -> _Start:
    return _Start(place.cores, model_hash(find_model(options.model)))


# Many proteins -------------------------------------------------------------------------------------


def batch_on(
    cluster: Cluster, worker: Worker, folder: BatchFolder, command: str | None
) -> Callable[[Sequence[Unit]], Iterator[Task]]:
    """Make the function that does units of a run over many proteins on a cluster.

    Parameters
    ----------
    cluster : Cluster
    worker : Worker
        Who would do them here.
    folder : BatchFolder
        The run folder, open.
    command : str, optional
        Binds the run folder to the job; None where it is bound already.

    Returns
    -------
    callable
        Yields the tasks of each unit when they are finished.
    """
    directory, start = folder.path.absolute(), _start(worker.options, cluster.place)
    if command is not None:
        folder.claim(worker.asked(command, start.model_sha256), partly=True)
    sent = Worker(
        directory,
        _sent(worker.options, cluster.place),
        worker.sources.from_anywhere(),
        worker.arguments,
        reports=worker.reports,
        patience=LOCK_PATIENCE,
    )
    crew = Crew(cluster, _BatchCrew(sent, command, start), directory)

    def run(units: Sequence[Unit]) -> Iterator[Task]:
        for unit in crew.run(units, _name):
            if unit.share is None:
                yield from unit.tasks

    return run


def _name(unit: Unit) -> str:
    first, more = unit.tasks[0].name, len(unit.tasks) - 1
    if unit.share is not None:
        return f"{first}, share {unit.share}"
    return f"{first} and {more} more" if more else first


@dataclass(frozen=True)
class _BatchCrew:
    worker: Worker
    command: str | None
    start: _Start

    def __call__(self) -> Callable[[Unit], None]:
        torch.set_num_threads(self.start.cores)
        directory = self.worker.places.directory
        with _on_this_host():
            self.start.check(self.worker.model)
            if self.command is not None:
                with BatchFolder(directory, shared=True) as folder:
                    folder.claim(self.worker.claim(self.command))
        return self.do

    def do(self, unit: Unit) -> None:
        directory = self.worker.places.directory
        with _on_this_host(), write_errors(directory), logging_to(directory / "log.txt"):
            for _ in self.worker.do(unit):
                pass


# One protein ---------------------------------------------------------------------------------------


def job_on_ray(request: Request) -> Run:
    """Do a run on one protein on a Ray cluster: shares of its first stage, then the second stage."""
    options, directory = request.options, request.directory.absolute()
    with RunFolder(directory, restart=options.restart), cluster_for(options) as cluster:
        sent = replace(request, options=replace(_sent(options, cluster.place), out=directory))
        crew = Crew(cluster, _JobCrew(sent, _start(options, cluster.place)), directory)
        of = SHARES_A_WORKER * cluster.place.workers if options.predicts else 0
        shares = [Shard(index, of) for index in range(1, of + 1)]
        options.progress.start("shares", of)
        for _ in crew.run(shares, lambda share: f"share {share}"):
            options.progress.advance()
        options.progress.finish()
        [*crew.run([None], lambda _: "tables")]
    return Run(directory)


@dataclass(frozen=True)
class _JobCrew:
    request: Request
    start: _Start

    def __call__(self) -> Callable[[Shard | None], None]:
        torch.set_num_threads(self.start.cores)
        request = self.request
        with _on_this_host():
            model = loaded_model(request.options)
            self.start.check(model)

        def do(share: Shard | None) -> None:
            with (
                _on_this_host(),
                RunFolder(request.directory, shared=True) as folder,
                request.job(model, folder, whole=share is None) as job,
            ):
                job.work(job.items if share is None else share.pick(job.items))
                if share is None:
                    finish_job(request, job)

        return do
