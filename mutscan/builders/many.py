"""Build the missing mutants of many wild types, several wild types at a time."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Protocol, TypeVar

from mutscan.builders.choose import choose_builders
from mutscan.builders.pool import BuildTask, MutantFactory, read_measured

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mutscan.progress import Progress
    from mutscan.structures import WildType

_log = logging.getLogger(__name__)


class ToBuild(Protocol):
    """A wild type, its mutants, and the folder for builders and results."""

    @property
    def wild_type(self) -> WildType: ...

    @property
    def folder(self) -> Path: ...

    @property
    def tasks(self) -> Sequence[BuildTask]: ...


_P = TypeVar("_P", bound=ToBuild)


def build_missing(
    proteins: Sequence[_P], builder: str, jobs: int, progress: Progress
) -> list[tuple[_P, BuildTask, str]]:
    """Build the missing mutants, each protein in a process of its own, `jobs` at a time.

    Returns
    -------
    list of (protein, task, reason)
        Failed mutants, in the order in which they failed.
    """
    todo = [
        (protein, missing)
        for protein in proteins
        if (missing := [task for task in protein.tasks if read_measured(task, protein.wild_type) is None])
    ]
    progress.start("building mutants", sum(len(missing) for _, missing in todo))
    failures: list[tuple[_P, BuildTask, str]] = []
    stop = threading.Event()

    def work(protein: _P, missing: Sequence[BuildTask]) -> None:
        protein.folder.mkdir(parents=True, exist_ok=True)
        for leftover in protein.folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        factory = MutantFactory(
            protein.wild_type,
            choose_builders(builder, protein.wild_type),
            protein.folder / "builders",
            jobs=1,
            log=_log.warning,
        )
        for task, error in factory.run(missing):
            if error is not None:
                failures.append((protein, task, error.message))
            progress.advance()
            if stop.is_set():
                return

    with ThreadPoolExecutor(max_workers=jobs) as threads:
        running = [threads.submit(work, *one) for one in todo]
        try:
            for future in as_completed(running):
                future.result()
        except BaseException:
            stop.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    progress.finish()
    return failures
