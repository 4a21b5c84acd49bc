"""Find the files of an encoder: a folder, or a name on the Hugging Face hub."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import httpx
import huggingface_hub
from huggingface_hub import constants as hub_constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, but not re-exported for mypy
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from mutscan.embed.tokens import ESM_VOCABULARY, esm_vocabulary
from mutscan.errors import CheckpointError, FetchError, UsageError
from mutscan.files import read_json
from mutscan.hashes import file_sha256, text_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

Family = Literal["t5", "esm"]

_SMALL_FILES: Final = (
    "config.json",
    "spiece.model",
    "tokenizer.json",
    "vocab.txt",
)
_SAFETENSORS: Final = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
_PICKLES: Final = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin")


@dataclass(frozen=True, slots=True)
class EncoderFiles:
    """The files of one encoder on this machine.

    Parameters
    ----------
    name : str
        As asked for: hub name or folder.
    directory : Path
        Holds config.json, weights and vocabulary.
    revision : str
        Commit on the hub; for a folder ``sha256:`` and 16 digits of the hash of its files.
    family : {"t5", "esm"}
    weights : tuple of Path
        One file, or all shards.
    """

    name: str
    directory: Path
    revision: str
    family: Family
    weights: tuple[Path, ...]


def find_encoder(name_or_path: str, *, revision: str | None = None, offline: bool = False) -> EncoderFiles:
    """Find an encoder; fetch it from the hub if that is needed and allowed.

    An encoder that is complete in the local hub cache is read from there without the network.

    Raises
    ------
    CheckpointError
        A folder that is not an encoder, is not complete, or is not the revision asked for.
    FetchError
        A name that is not in the cache and cannot be had (offline, no such name, no network).
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return _local(name_or_path, path, revision)
    if path.is_absolute() or name_or_path.startswith((".", "~")) or path.exists() or len(path.parts) > 2:
        raise CheckpointError(
            f"encoder {name_or_path}: no such folder; expected one with config.json and model.safetensors, "
            "or a name on the Hugging Face hub such as Rostlab/prot_t5_xl_half_uniref50-enc"
        )
    return _hub(name_or_path, revision, offline)


def _local(name: str, path: Path, revision: str | None) -> EncoderFiles:
    family = _family(path)
    weights = weight_files(path)
    _check_vocabulary(path, family)
    files = {path / "config.json", *weights, *(path / name for name in _SMALL_FILES)}
    if family == "esm" and esm_vocabulary(path) == ESM_VOCABULARY:
        # It is read by transformers' tokenizer; without it, mutscan uses the same vocabulary.
        files.discard(path / "vocab.txt")
    lines = [f"{file.name}\0{file_sha256(file)}\n" for file in sorted(files) if file.is_file()]
    found = f"sha256:{text_sha256(''.join(lines))[:16]}"
    if revision is not None and revision != found:
        raise CheckpointError(
            f"encoder {path}: its files hash to {found}, expected {revision}; they were changed or damaged"
        )
    return EncoderFiles(name, path, found, family, weights)


def _hub(name: str, revision: str | None, offline: bool) -> EncoderFiles:
    try:
        path = _snapshot(name, revision, local=True)
        return _cached(name, path)
    except (FetchError, CheckpointError) as error:
        if offline:
            raise FetchError(
                f"encoder {name}{f' at {revision}' if revision else ''} is not (completely) in the Hugging "
                f"Face cache {hub_constants.HF_HUB_CACHE} and --offline forbids fetching it; run once "
                "without --offline, or give a model whose encoder is a folder",
                code="offline",
            ) from error
    return _cached(name, _snapshot(name, revision, local=False))


def _cached(name: str, path: Path) -> EncoderFiles:
    family = _family(path)
    weights = weight_files(path)
    _check_vocabulary(path, family)
    return EncoderFiles(name, path, path.name, family, weights)


def _snapshot(name: str, revision: str | None, *, local: bool) -> Path:
    def fetch(patterns: tuple[str, ...]) -> Path:
        with _hub_quiet():
            folder = huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=list(patterns), local_files_only=local
            )
        return Path(folder)

    at = f" at revision {revision}" if revision else ""
    try:
        path = fetch(_SMALL_FILES + _SAFETENSORS)
        if not local and not any(path.glob("*.safetensors")):
            # Older repositories (ProtT5's among them) hold pickled weights only.
            path = fetch(_PICKLES)
        return path
    except GatedRepoError as error:
        raise FetchError(
            f"encoder {name}: access needs a log-in; accept the terms on huggingface.co and set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise FetchError(f"encoder {name}: the Hugging Face hub has no revision {revision}") from error
    except RepositoryNotFoundError as error:
        raise FetchError(
            f"encoder {name}: the Hugging Face hub has no such (public) model; check the name, "
            "or give a folder"
        ) from error
    except (OSError, httpx.HTTPError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise FetchError(
            f"encoder {name}{at}: could not be fetched from the Hugging Face hub ({first_line}); "
            "check the network, or copy the files here and give their folder"
        ) from error
    except ValueError as error:
        raise UsageError(f"encoder {name}: neither a folder nor a well-formed name on the hub") from error


@contextmanager
def _hub_quiet() -> Iterator[None]:
    """Download bars on a terminal only; no advice about tokens."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    bars_off = are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    if not sys.stderr.isatty() and not bars_off:
        disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if not sys.stderr.isatty() and not bars_off:
            enable_progress_bars()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.parent}: no {path.name}; expected an encoder in transformers' format"
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as JSON ({error}); fetch or copy the encoder again"
        ) from error
    if not isinstance(document, dict):
        raise CheckpointError(
            f"{path}: holds a {type(document).__name__}, expected an object with model_type"
        )
    return document


def _family(path: Path) -> Family:
    """Read the family from config.json's ``model_type``, else from ``architectures``."""
    config = _read_json(path / "config.json")
    kind = str(config.get("model_type") or "").lower()
    architectures = [str(name) for name in config.get("architectures") or []]
    if config.get("is_folding_model"):
        raise CheckpointError(f"{path}: this is ESMFold, expected a plain ESM-2 or ProtT5 encoder")
    if kind == "t5" or (not kind and any(name.startswith("T5") for name in architectures)):
        return "t5"
    if kind == "esm" or (not kind and any(name.startswith("Esm") for name in architectures)):
        return "esm"
    raise CheckpointError(
        f"{path}: config.json says model_type {kind or 'nothing'} "
        f"({', '.join(architectures) or 'no architecture'}), expected t5 (ProtT5) or esm (ESM-2)"
    )


def weight_files(path: Path) -> tuple[Path, ...]:
    """Weight file, or all shards its index names; safetensors before pickles.

    Raises
    ------
    CheckpointError
        If there are none, or a shard is missing.
    """
    for single in ("model.safetensors", "pytorch_model.bin"):
        if (path / single).is_file():
            return (path / single,)
        index = path / f"{single}.index.json"
        if index.is_file():
            table = _read_json(index).get("weight_map")
            if not isinstance(table, dict) or not table:
                raise CheckpointError(f"{index}: no weight_map; fetch or copy the encoder again")
            shards = tuple(path / name for name in sorted({str(value) for value in table.values()}))
            missing = [shard.name for shard in shards if not shard.is_file()]
            if missing:
                raise CheckpointError(f"{path}: weights are incomplete: {', '.join(missing)} missing")
            return shards
    raise CheckpointError(
        f"{path}: no weights; expected model.safetensors (or pytorch_model.bin) beside config.json"
    )


def _check_vocabulary(path: Path, family: Family) -> None:
    if family == "t5" and not any((path / name).is_file() for name in ("spiece.model", "tokenizer.json")):
        raise CheckpointError(
            f"{path}: no spiece.model (or tokenizer.json); a T5 encoder needs its vocabulary "
            "beside config.json"
        )
