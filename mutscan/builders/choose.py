"""Choose the backends of a run."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mutscan.builders import BUILDERS, NO_BUILDER
from mutscan.builders.folder import FolderBuilder
from mutscan.builders.modeller import ModellerBuilder, modeller_status, seeds_from
from mutscan.builders.template import TemplateBuilder
from mutscan.errors import MissingDependencyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mutscan.builders import MutantBuilder
    from mutscan.structures import WildType


def choose_builders(text: str, wild_type: WildType, *, seed: int = 0) -> tuple[MutantBuilder, ...]:
    """Choose the backends for ``--builder``; they are tried in this order for each mutant.

    ``auto`` is MODELLER when it is installed and licensed, else openmm; the template builder
    builds the mutants that the force field cannot describe, and their rows say so.
    Any other choice is used alone.

    Raises
    ------
    UsageError
        Neither a backend nor a folder.
    MissingDependencyError
        MODELLER asked for and not usable.
    """
    folder = Path(text).expanduser()
    names = (*BUILDERS, NO_BUILDER)
    if text not in names and not folder.is_dir():
        raise UsageError(
            f"--builder {text}: expected one of {', '.join(names)}, or a folder of mutant structures"
        )
    if wild_type.structure is None or text == NO_BUILDER:
        return ()
    if text == "auto":
        licensed = modeller_status().state == "ok"
        first = ModellerBuilder(seeds=seeds_from(seed)) if licensed else _openmm(seed)
        return (first, TemplateBuilder())
    if text == "openmm":
        return (_openmm(seed),)
    if text == "template":
        return (TemplateBuilder(),)
    if text == "modeller":
        status = modeller_status()
        if status.state != "ok":
            raise MissingDependencyError(status.message)
        return (ModellerBuilder(seeds=seeds_from(seed)),)
    assert wild_type.structure_index is not None
    position_of = {
        int(index): position
        for position, index in enumerate(wild_type.structure_index.tolist(), start=1)
        if index >= 0
    }
    return (FolderBuilder(folder, position_of),)


def _openmm(seed: int) -> MutantBuilder:
    from mutscan.builders.openmm import OpenMMBuilder  # runs that build nothing start sooner without it

    return OpenMMBuilder(seed=seed)


def describe_builders(builders: Sequence[MutantBuilder]) -> list[dict[str, object]]:
    """Names and settings, as they go to run.json and into the run's fingerprint."""
    described = [{"name": builder.name, **builder.settings()} for builder in builders]
    plain: list[dict[str, object]] = json.loads(json.dumps(described))
    return plain


def default_jobs() -> int:
    """Cores this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
