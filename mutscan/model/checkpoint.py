"""A trained model on disk: ``config.json``, ``model.safetensors`` and, for its own encoder, ``encoder/``.

``SHA256SUMS`` in a model folder lists the hash of every file in it, in the format of ``sha256sum``, and
travels with it. A file of that name beside model folders lists the files of all of them.
"""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mutscan.errors import CheckpointError
from mutscan.files import cache_dir, read_json, replacing, write_errors, write_json, write_text
from mutscan.hashes import file_sha256, text_sha256
from mutscan.model.config import SiameseConfig
from mutscan.model.siamese import SiameseNet
from mutscan.scores import EXPONENT, RADIUS

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 1
"""Version of config.json's layout; a reader refuses a newer one."""

CONFIG_FILE: Final = "config.json"
WEIGHTS_FILE: Final = "model.safetensors"
SUMS_FILE: Final = "SHA256SUMS"
OWN_ENCODER: Final = "encoder"
_FITTED: Final = (".safetensors", ".npz", "calibration.json", "affected.json")
"""Ends of the names of files that were fitted, not written: a changed one is damaged."""

_NO_PREDICTION: Final = frozenset(
    {"README.md", SUMS_FILE, "metrics.json", "splits.csv", "encoder/vocab.txt",
     "encoder/tokenizer_config.json", "encoder/special_tokens_map.json"}
)  # fmt: skip
"""Files that no prediction depends on: those about the model, and those of transformers' tokenizer. A
vocabulary other than ESM-2's is part of the encoder's revision, which config.json holds."""


@dataclass(frozen=True, slots=True)
class EncoderReference:
    """Which encoder a Siamese net was trained on.

    Parameters
    ----------
    name : str
        ``"encoder"`` for the model folder's own sub-folder, else a name on the Hugging Face hub.
    revision : str, optional
        Commit on the hub; for a sub-folder the ``sha256:...`` that `Encoder.revision` must give.
    precision : str
        What the encoder ran in when the net was trained.
    """

    name: str = OWN_ENCODER
    revision: str | None = None
    precision: str = "fp32"

    def resolve(self, directory: Path) -> str:
        """Folder or hub name to load the encoder from, given the model's folder."""
        return str(directory / OWN_ENCODER) if self.name == OWN_ENCODER else self.name


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """All of config.json.

    Parameters
    ----------
    name : str
        Name of the model, also of its folder.
    siamese : SiameseConfig
        Shape of the net.
    encoder : EncoderReference
    lddt_exponent, lddt_radius : float
        Definition of the lDDT that the net was trained to predict (`mutscan.scores.lddt`); radius in Å.
    training : mapping
        Settings of the training run, as they were.
    data_sha256 : str, optional
        Hash of the training data.
    version : str
        Version of the model.
    """

    name: str
    siamese: SiameseConfig
    encoder: EncoderReference = field(default_factory=EncoderReference)
    lddt_exponent: float = EXPONENT
    lddt_radius: float = RADIUS
    training: Mapping[str, Any] = field(default_factory=dict)
    data_sha256: str | None = None
    version: str = "1"

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary, as written to config.json."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "siamese": self.siamese.to_dict(),
            "encoder": {
                "name": self.encoder.name,
                "revision": self.encoder.revision,
                "precision": self.encoder.precision,
            },
            "lddt": {"exponent": self.lddt_exponent, "radius": self.lddt_radius},
            "training": dict(self.training),
            "data_sha256": self.data_sha256,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], *, where: str = "config.json") -> ModelConfig:
        """Read what `to_dict` wrote.

        Raises
        ------
        CheckpointError
            For a missing, unknown or ill-typed entry; `where` names the file in the message.
        """
        found = document.get("format")
        if found != FORMAT:
            raise CheckpointError(
                f"{where}: format is {found!r}, this mutscan reads {FORMAT}; "
                "is it a mutscan model, and is mutscan up to date?"
            )
        allowed = set(cls("", SiameseConfig()).to_dict())
        _check_keys(document, allowed, required={"name", "siamese", "encoder", "lddt"}, where=where)
        siamese = _section(document, "siamese", where)
        encoder = _section(document, "encoder", where)
        lddt = _section(document, "lddt", where)
        _check_keys(siamese, {f.name for f in fields(SiameseConfig)}, where=f"{where}, siamese", exact=True)
        _check_keys(encoder, {"name", "revision", "precision"}, required={"name"}, where=f"{where}, encoder")
        _check_keys(lddt, {"exponent", "radius"}, where=f"{where}, lddt", exact=True)
        defaults = SiameseConfig()
        for key, value in siamese.items():
            default = getattr(defaults, key)
            right = isinstance(value, type(default)) or (type(default) is float and type(value) is int)
            if not right or (type(default) is int and (type(value) is bool or value < min(default, 1))):
                raise CheckpointError(
                    f"{where}: siamese.{key} is {value!r}, expected a {type(default).__name__}"
                    f"{f' of at least {min(default, 1)}' if type(default) is int else ''}"
                )
        try:
            return cls(
                name=str(document["name"]),
                siamese=SiameseConfig(**siamese),
                encoder=EncoderReference(
                    name=str(encoder["name"]),
                    revision=None if encoder.get("revision") is None else str(encoder["revision"]),
                    precision=str(encoder.get("precision", "fp32")),
                ),
                lddt_exponent=_at_least_zero(lddt, "exponent"),
                lddt_radius=_at_least_zero(lddt, "radius"),
                training=dict(document.get("training") or {}),
                data_sha256=document.get("data_sha256"),
                version=str(document.get("version", "1")),
            )
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{where}: an entry has the wrong type ({error})") from error


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One line of ``mutscan models list``.

    Parameters
    ----------
    name : str
    path : Path
    source : {"shipped", "cache"}
    size : int
        Bytes of all its files.
    """

    name: str
    path: Path
    source: str
    size: int


def _at_least_zero(lddt: Mapping[str, Any], key: str) -> float:
    value = float(lddt[key])
    if not 0 <= value < math.inf:
        raise ValueError(f"lddt.{key} is {value}, expected a number of at least 0")
    return value


def _section(document: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = document[key]
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: {key} is {value!r}, expected an object")
    return value


def _check_keys(
    found: Mapping[str, Any],
    allowed: set[str],
    *,
    where: str,
    required: set[str] | None = None,
    exact: bool = False,
) -> None:
    needed = allowed if exact else required or set()
    missing = sorted(needed - set(found))
    unknown = sorted(set(found) - allowed)
    if missing or unknown:
        parts = [
            f"{what} {', '.join(names)}"
            for what, names in (("missing", missing), ("unknown", unknown))
            if names
        ]
        raise CheckpointError(f"{where}: {'; '.join(parts)}; was it written by another version of mutscan?")


# Where models are ---------------------------------------------------------------------------------


def _shelves() -> list[tuple[str, Path]]:
    """Folders that hold models, in the order they are searched."""
    package = Path(__file__).parents[1]
    return [
        ("shipped", package / "models"),  # inside the wheel
        ("shipped", package.parent / "models"),  # beside the package, in a checkout
        ("cache", cache_dir() / "models"),
    ]


def find_model(name_or_dir: str | Path) -> Path:
    """Find the folder of a model, given its name or the folder itself.

    A name is searched in the wheel, in the source checkout and in the user's cache.

    Raises
    ------
    CheckpointError
        If there is none; the message lists the names there are.
    """
    text = str(name_or_dir)
    given = Path(text).expanduser()
    is_name = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", text) is not None
    if is_name and isinstance(name_or_dir, str):
        for _, shelf in _shelves():
            if (shelf / text / CONFIG_FILE).is_file():
                return shelf / text
    if given.is_dir():
        if not (given / CONFIG_FILE).is_file():
            raise CheckpointError(
                f"model folder {given}: no {CONFIG_FILE}; expected {CONFIG_FILE} and {WEIGHTS_FILE} in it"
            )
        return given
    known = ", ".join(info.name for info in list_models()) or "none"
    if is_name:
        raise CheckpointError(f"no model is named {text}; installed models: {known} (or give a folder)")
    raise CheckpointError(f"model folder {given}: no such folder; installed models: {known}")


def list_models() -> list[ModelInfo]:
    """All models that can be named, each name once: shipped ones, then cached ones."""
    found: dict[str, ModelInfo] = {}
    for source, shelf in _shelves():
        if not shelf.is_dir():
            continue
        for path in sorted(shelf.iterdir()):
            if (path / CONFIG_FILE).is_file() and path.name not in found:
                size = sum(file.stat().st_size for file in _files(path))
                found[path.name] = ModelInfo(path.name, path, source, size)
    return list(found.values())


# Hashes -------------------------------------------------------------------------------------------


def _files(path: Path) -> list[Path]:
    """All files of a model folder, sorted; hidden files and folders are not part of a model."""
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )


def model_hash(path: Path) -> str:
    """sha256 over names and contents of the files that predictions depend on; it identifies the model.

    A corrected model card is not another model. `verify_model` checks every file.
    """
    return _joint_hash(_hashes(path))


def checked_hash(path: Path) -> str:
    """Give the `model_hash` of a model whose fitted files are those that ``SHA256SUMS`` lists.

    A model without such a list, as one that is being trained, has nothing to be compared with.

    Raises
    ------
    CheckpointError
        A file of weights or of a calibration has changed since it was listed, or the model's own list is
        damaged or lacks one.
    """
    hashes = _hashes(path)
    fitted = {name: found for name, found in hashes.items() if name.endswith(_FITTED)}
    for sums in _read_sums(path.resolve()):
        problems = [
            _changed(path / name, found, sums.listed[name], sums.file)
            for name, found in fitted.items()
            if sums.listed.get(name, found) != found
        ]
        if sums.is_own:
            problems += sums.no_hashes
            problems += [_unlisted(path / name, sums.file) for name in fitted if name not in sums.listed]
        if problems:
            raise CheckpointError(
                f"{problems[0]}; install the model again, or run 'mutscan models sums {sums.file.parent}' if "
                "you changed it yourself"
            )
    return _joint_hash(hashes)


def _hashes(path: Path) -> dict[str, str]:
    """Hash of each file that predictions depend on, by name."""
    names = {file.relative_to(path).as_posix(): file for file in _files(path)}
    return {name: file_sha256(file) for name, file in names.items() if name not in _NO_PREDICTION}


def _joint_hash(hashes: Mapping[str, str]) -> str:
    return text_sha256(_sums(hashes))


def _changed(file: Path, found: str, listed: str, sums: Path) -> str:
    return (
        f"{file}: sha256 is {found[:12]}..., {sums} says {listed[:12]}...; the file is damaged or was changed"
    )


def _unlisted(file: Path, sums: Path) -> str:
    return f"{file}: not listed in {sums}"


@dataclass(frozen=True, slots=True)
class _Sums:
    """A ``SHA256SUMS`` that lists files of a model: hashes by name in the model, and lines that are none."""

    file: Path
    is_own: bool
    listed: Mapping[str, str]
    no_hashes: list[str]


def _read_sums(path: Path) -> list[_Sums]:
    """Read the lists of a model's files: its own, and the one beside its folder if it is of models."""
    found: list[_Sums] = []
    for folder, prefix in ((path, ""), (path.parent, f"{path.name}/")):
        file = folder / SUMS_FILE
        if not file.is_file():
            continue
        listed: dict[str, str] = {}
        no_hashes: list[str] = []
        for number, line in enumerate(
            file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
        ):
            match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)", line)
            if match is None:
                if line.strip():
                    no_hashes.append(f"{file}, line {number}: expected a sha256, two spaces and a file name")
            elif match.group(2).startswith(prefix):
                listed[match.group(2).removeprefix(prefix)] = match.group(1).lower()
        if listed or not found:
            found.append(_Sums(file, folder == path, listed, no_hashes))
    return found


def write_sums(folder: Path) -> Path:
    """Write ``SHA256SUMS`` into a model folder, or into a folder of models and each of them.

    ``sha256sum --check`` reads it.

    Returns
    -------
    Path
        The file written in `folder`.

    Raises
    ------
    CheckpointError
        It is no model, and there is none in it.
    """
    target = folder / SUMS_FILE
    with write_errors(target):
        if (folder / CONFIG_FILE).is_file():
            own = {file.relative_to(folder).as_posix(): file_sha256(file) for file in _files(folder)}
            own.pop(SUMS_FILE, None)
            write_text(target, _sums(own))
            return target
        models = sorted(path.parent for path in folder.glob(f"*/{CONFIG_FILE}"))
        if not models:
            raise CheckpointError(
                f"{folder}: contains no model; expected a model's folder, or one with a folder for each model"
            )
        for model in models:
            write_sums(model)
        files = [file for model in models for file in _files(model)]
        write_text(target, _sums({file.relative_to(folder).as_posix(): file_sha256(file) for file in files}))
    return target


def _sums(hashes: Mapping[str, str]) -> str:
    """Write hashes by name as ``sha256sum`` does."""
    return "".join(f"{found}  {name}\n" for name, found in hashes.items())


def verify_model(path: Path) -> list[str]:
    """Compare a model's files with its ``SHA256SUMS``, and with the one beside its folder.

    Returns
    -------
    list of str
        What is wrong, in plain words; empty when every file is there, listed and unchanged.
    """
    path = Path(path)
    if not path.is_dir():
        return [f"{path}: no such folder"]
    path = path.resolve()
    lists = _read_sums(path)
    problems = [] if lists else [f"{path / SUMS_FILE}: missing, so nothing can be verified"]
    hashes = {file.relative_to(path).as_posix(): file_sha256(file) for file in _files(path)}
    for sums in lists:
        problems += sums.no_hashes
        listed = sums.listed
        for name in sorted({*listed, *hashes} - ({SUMS_FILE} if sums.is_own else set())):
            if name not in hashes:
                problems.append(f"{path / name}: listed in {sums.file}, but missing")
            elif name not in listed:
                problems.append(_unlisted(path / name, sums.file))
            elif hashes[name] != listed[name]:
                problems.append(_changed(path / name, hashes[name], listed[name], sums.file))
    return problems


# Save and load ------------------------------------------------------------------------------------


def save_checkpoint(
    path: Path, net: SiameseNet, config: ModelConfig, *, encoder: Path | None = None, dtype: str = "fp32"
) -> None:
    """Write config.json and model.safetensors, each whole or not at all.

    Parameters
    ----------
    path : Path
        Model folder, made if need be; other files in it are left.
    net : SiameseNet
    config : ModelConfig
        Its `siamese` must be the net's.
    encoder : Path, optional
        Folder of an encoder of our own, copied to ``encoder/``.
    dtype : {"fp32", "fp16"}
        Precision of the stored weights; loading always gives fp32.
    """
    if net.config != config.siamese:
        raise ValueError(f"the net is {net.config}, the config says {config.siamese}")
    types = {"fp32": torch.float32, "fp16": torch.float16}
    path.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.detach().to(device="cpu", dtype=types[dtype]).contiguous()
        for name, tensor in net.state_dict().items()
    }
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise ValueError("the net holds weights that are not finite; it is not saved")
    if encoder is not None and encoder.resolve() != (path / OWN_ENCODER).resolve():
        for file in _files(encoder):
            target = path / OWN_ENCODER / file.relative_to(encoder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    with replacing(path / WEIGHTS_FILE) as temporary:
        save_file(state, temporary, metadata={"format": "pt"})
    # Last, because a folder with config.json counts as a model.
    write_json(path / CONFIG_FILE, config.to_dict())


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> tuple[SiameseNet, ModelConfig]:
    """Load a model: the net in fp32 and evaluation mode, and its config.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, or the weights are not exactly those config.json describes.
    """
    path = Path(path)
    config = load_config(path)
    weights = path / WEIGHTS_FILE
    try:
        state = load_file(weights)
    except FileNotFoundError as error:
        raise CheckpointError(f"model folder {path}: no {WEIGHTS_FILE} beside {CONFIG_FILE}") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{weights}: cannot be read as safetensors ({error}); the file is damaged, "
            "reinstall or copy it again"
        ) from error
    try:
        with torch.device("meta"):
            net = SiameseNet(config.siamese)
    except (RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path / CONFIG_FILE}: no network has this shape ({error})") from error
    expected = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    problems = [f"missing {name}" for name in sorted(expected.keys() - found.keys())]
    problems += [f"not expected {name}" for name in sorted(found.keys() - expected.keys())]
    problems += [
        f"{name} is {found[name]}, expected {expected[name]}"
        for name in sorted(expected.keys() & found.keys())
        if found[name] != expected[name]
    ]
    if problems:
        shown = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
        raise CheckpointError(f"{weights}: does not fit {CONFIG_FILE} beside it ({shown})")
    state = {name: tensor.to(torch.float32) for name, tensor in state.items()}
    broken = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise CheckpointError(
            f"{weights}: {broken[0]} holds numbers that are not finite; the file is damaged"
        )
    net.load_state_dict(state, strict=True, assign=True)
    net.requires_grad_(True)
    net.eval()
    return net.to(device), config


def load_config(path: Path) -> ModelConfig:
    """Read config.json of a model folder."""
    file = Path(path) / CONFIG_FILE
    try:
        document = read_json(file)
    except FileNotFoundError as error:
        raise CheckpointError(f"model folder {path}: no {CONFIG_FILE}; expected a mutscan model") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: cannot be read as JSON ({error})") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{file}: contains a {type(document).__name__}, expected an object")
    return ModelConfig.from_dict(document, where=str(file))
