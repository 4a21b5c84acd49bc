"""Settings of a training: a preset, changed by a TOML file and by options."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mutscan.errors import UsageError
from mutscan.hashes import json_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


Settings = TypeVar("Settings")
"""A dataclass of settings."""


class LoopSettings(Protocol):
    """What the loop reads from the settings of a training, a dataclass."""

    @property
    def steps(self) -> int: ...
    @property
    def validate_every(self) -> int: ...
    @property
    def precision(self) -> str: ...
    def rate(self, step: int) -> float:
        """Learning rate of a step."""


def settings_digest(settings: LoopSettings) -> str:
    """Short sha256 of all settings: a state is continued only under the settings it was made with."""
    return json_sha256(asdict(settings))[:16]  # type: ignore[call-overload]


def cosine_decay(step: int, warmup: int, steps: int) -> float:
    """Learning rate after the warm-up, as a share of its peak: it falls by a cosine to a fiftieth."""
    through = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * through))


def read_preset(
    path: Path | None, preset: str, presets: Mapping[str, Settings], what: str
) -> tuple[Settings, dict[str, Any], str]:
    """Read a settings file and find the preset it changes.

    Parameters
    ----------
    path : Path, optional
        TOML; without a file there are no changes.
    preset : str
        Preset where the file names none.
    presets : mapping of name -> settings
    what : str
        Kind of preset, for messages.

    Returns
    -------
    base : settings
    changes : dict
        Contents of the file, without the preset's name.
    where : str
        Source of the changes, for messages.

    Raises
    ------
    UsageError
        The file is missing or no TOML, or the preset is unknown.
    """
    changes: dict[str, Any] = {}
    if path is not None:
        try:
            changes = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: cannot be read as TOML ({error})") from error
    name = str(changes.pop("preset", preset))
    if name not in presets:
        raise UsageError(f"no {what} preset is called {name}; there are {', '.join(presets)}")
    return presets[name], changes, "settings" if path is None else str(path)


def updated(base: Settings, changes: Mapping[str, Any], where: str) -> Settings:
    """Copy a dataclass of settings with some of them changed.

    Parameters
    ----------
    base : dataclass instance
    changes : mapping of field -> value
        A whole number is accepted where a float is expected.
    where : str
        Source of the changes, for messages.

    Raises
    ------
    UsageError
        A field is unknown or of another type.
    """
    known = {field.name: type(getattr(base, field.name)) for field in fields(base)}  # type: ignore[arg-type]
    for key, value in changes.items():
        if key not in known:
            raise UsageError(f"{where}: unknown setting {key}; there are {', '.join(known)}")
        fits = type(value) is known[key] or (known[key] is float and type(value) is int)
        if not fits:
            raise UsageError(f"{where}: {key} is {value!r}; expected a {known[key].__name__}")
    numbers = {key: float(value) if known[key] is float else value for key, value in changes.items()}
    return replace(base, **numbers)  # type: ignore[type-var]
