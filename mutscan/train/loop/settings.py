"""Settings of a training: a preset, changed by a TOML file, changed by options."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from mutscan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


Settings = TypeVar("Settings")
"""A dataclass of settings."""


def read_toml(path: Path | None) -> dict[str, Any]:
    """Read a settings file; none gives no settings.

    Raises
    ------
    UsageError
        The file is missing or no TOML.
    """
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as TOML ({error})") from error


def updated(base: Settings, changes: Mapping[str, Any], where: str) -> Settings:
    """Copy a dataclass of settings with some of them changed.

    Parameters
    ----------
    base : dataclass instance
    changes : mapping of field -> value
        A whole number is taken where a float is expected.
    where : str
        Of the changes, for messages.

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
