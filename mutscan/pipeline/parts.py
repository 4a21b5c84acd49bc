"""Parts of a job that are done apart (``--shard``), and how they are merged.

A part does its share of the job's first stage, and leaves the files of that in its run folder. `merge`
gathers the files of all parts in one folder, where the command then finds everything done and goes on to
the second stage. So the tables are written in one place, whoever did the work.
"""

from __future__ import annotations

import importlib
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mutscan.errors import UsageError
from mutscan.files import read_json, write_errors, write_json
from mutscan.model.checkpoint import find_model
from mutscan.pipeline.options import from_anywhere
from mutscan.pipeline.provenance import OF_ONE_PROTEIN, asked, heading
from mutscan.results import (
    CLAIM_WORDS,
    JOB_FILE,
    BatchFolder,
    JobFolder,
    RunFolder,
    read_state,
    shortened,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mutscan.pipeline.batching import BatchRun
    from mutscan.pipeline.options import Options
    from mutscan.pipeline.run import Run
    from mutscan.progress import Progress

CALL_FILE: Final = "call.json"
"""In a part's state: the call that does the whole job."""

MERGED_FILE: Final = "merged.json"
"""In the state of a folder that all parts were merged into."""

_OWN: Final = frozenset({"lock", "owner.json", JOB_FILE, CALL_FILE, "builders"})
"""What the state of a part has for itself."""


def part_claim(options: Options, inputs_sha256: str) -> dict[str, object]:
    """Give what binds a folder to a part of a job; nothing for a whole one."""
    return {} if options.shard is None else {"shard": options.shard, "inputs_sha256": inputs_sha256}


def is_merged(folder: JobFolder, inputs_sha256: str, options: Options) -> bool:
    """Whether `merge` put all parts of a job into a folder, and the second stage is still to be done.

    Raises
    ------
    UsageError
        The parts were made of other inputs than these.
    """
    path = folder.state / MERGED_FILE
    if options.shard is not None or not path.exists():
        return False
    if read_state(path).get("inputs_sha256") != inputs_sha256:
        raise UsageError(
            f"{folder.path}: the input files are not those that the parts were made of (variants, sequences, "
            "structures or alignments have changed); put them back, or make the parts again"
        )
    return True


def end_merge(folder: JobFolder) -> None:
    """Make a merged folder that of an ordinary run."""
    (folder.state / MERGED_FILE).unlink(missing_ok=True)


def write_part(
    folder: JobFolder, command: str, options: Options, arguments: Mapping[str, object], n_items: int
) -> None:
    """Say in a run folder that a part of a job is done, and which call does the whole.

    Parameters
    ----------
    folder : JobFolder
    command : str
        Function of `mutscan`: ``score``, ``scan`` or ``batch``.
    options : Options
    arguments : mapping
        Arguments of the command that are not in `options`.
    n_items : int
        Items of the job's first stage.
    """
    without = {"batch": OF_ONE_PROTEIN, "scan": ("strict",)}.get(command, ())
    given = asked(options, arguments, without=without)
    # Parts may be merged in another folder than they were made in.
    call = {name: from_anywhere(name, value) for name, value in given.items()}
    call["model"] = model_from_anywhere(options.model)
    write_json(folder.state / CALL_FILE, {"command": command, "arguments": call})
    described = {
        **heading(command, given),
        "shard": options.shard,
        "items": n_items,
        "items_done": len(options.part.pick(range(n_items))),
    }
    write_json(folder.path / folder.PROOF, described)


def model_from_anywhere(name: str) -> str:
    """Make a model's folder absolute; a name stays one."""
    given = Path(name).expanduser()
    return str(given.absolute()) if find_model(name) == given else name


@dataclass(frozen=True)
class _Part:
    path: Path
    shard: tuple[int, int]
    claim: Mapping[str, Any]
    command: str
    arguments: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> _Part:
        state = path / ".state"
        if not path.is_dir():
            raise UsageError(f"{path}: no such folder; expected the run folder of a part (--shard I/N)")
        try:
            claim = read_state(state / JOB_FILE)
            index, of = map(int, claim["shard"].split("/"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(f"{path}: is no part of a job; expected the run folder of --shard I/N") from None
        try:
            call = read_json(state / CALL_FILE)
            return cls(path, (index, of), claim, str(call["command"]), dict(call["arguments"]))
        except (OSError, ValueError, KeyError, TypeError):
            raise UsageError(
                f"{path}: part {index}/{of} is not finished; run its command again, then merge"
            ) from None

    @property
    def job(self) -> dict[str, Any]:
        """The claim of the whole job."""
        return {name: value for name, value in self.claim.items() if name not in ("shard", "inputs_sha256")}


def merge(
    runs: Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str],
    progress: Progress | None = None,
) -> Run | BatchRun:
    """Join the parts of one job, which ``shard`` of `score`, `scan` or `batch` made.

    The result has the bytes of the undivided run. Files that the parts read (variants, structures, a
    model that is not shipped) must be where they were.

    Parameters
    ----------
    runs : sequence of path
        Run folders of all parts, in any order.
    out : path
        Run folder of the whole.
    progress : Progress, optional

    Returns
    -------
    Run or BatchRun

    Raises
    ------
    UsageError
        A part is missing, not finished, given twice, or of another job, model, version or seed.
    """
    if isinstance(runs, str | os.PathLike):
        runs = [runs]
    parts = [_Part.read(Path(run).expanduser()) for run in runs]
    _check(parts)
    target = Path(out).expanduser()
    if any(target.resolve().is_relative_to(part.path.resolve()) for part in parts):
        raise UsageError(f"--out {target}: is one of the parts, or in it; give a new folder")
    first = parts[0]
    kind = BatchFolder if "proteins" in first.job else RunFolder
    with kind(target) as folder, write_errors(target):
        folder.claim(first.job)
        for part in parts:
            _copy(part.path, target)
        write_json(folder.state / MERGED_FILE, {"inputs_sha256": first.claim["inputs_sha256"]})
    function = getattr(importlib.import_module("mutscan"), first.command)
    arguments = {**first.arguments}
    wild_type = [arguments.pop(name) for name in ("wild_type", "table") if name in arguments]
    joined: Run | BatchRun = function(*wild_type, **arguments, out=target, progress=progress)
    return joined


def _check(parts: Sequence[_Part]) -> None:
    if not parts:
        raise UsageError("nothing to merge; give the run folders of all parts")
    first = parts[0]
    seen: dict[int, _Part] = {}
    for part in parts:
        for name in sorted({*first.claim, *part.claim} - {"shard"}):
            one, other = first.claim.get(name), part.claim.get(name)
            if one != other:
                raise UsageError(
                    f"{part.path}: belongs to another job than {first.path}: "
                    f"{CLAIM_WORDS.get(name, name)} is {shortened(other, 24)}, there {shortened(one, 24)}"
                )
        if part.command != first.command:
            raise UsageError(f"{part.path}: is a part of {part.command}, {first.path} one of {first.command}")
        index, of = part.shard
        if of != first.shard[1]:
            raise UsageError(f"{part.path}: is part {index}/{of}, {first.path} one of {first.shard[1]} parts")
        if index in seen:
            raise UsageError(f"{part.path} and {seen[index].path}: both are part {index}/{of}; give one")
        seen[index] = part
    missing = [index for index in range(1, first.shard[1] + 1) if index not in seen]
    if missing:
        names = ", ".join(f"{index}/{first.shard[1]}" for index in missing[:20])
        names += f" and {len(missing) - 20} more" if len(missing) > 20 else ""
        raise UsageError(f"missing {'part' if len(missing) == 1 else 'parts'} {names}; merge needs all")


def _copy(source: Path, target: Path) -> None:
    """Copy what a part made, each file under its name only when it is complete."""
    for name in (".state", "structures", "proteins"):
        for folder, folders, files in os.walk(source / name):
            here = Path(folder)
            if here == source / ".state":
                folders[:] = [one for one in folders if one not in _OWN]
                files = [one for one in files if one not in _OWN]
            there = target / here.relative_to(source)
            there.mkdir(parents=True, exist_ok=True)
            for one in files:
                if one in ("lock", "owner.json") or one.endswith(".tmp"):
                    continue
                temporary = there / f".{uuid.uuid4().hex}.tmp"
                try:
                    shutil.copyfile(here / one, temporary)
                    temporary.replace(there / one)
                finally:
                    temporary.unlink(missing_ok=True)
