"""Run MODELLER's helper process, read its result, report what is missing. Keys are never shown."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from mutscan.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["ok", "missing", "unrelated", "no_licence", "broken"]

_HELPER: Final = Path(__file__).with_name("modeller_helper.py")
_PROBE_SECONDS: Final = 120.0
_LICENCE: Final = re.compile(r"check_lice|licen[cs]e[ _-]*key", re.IGNORECASE)
_SHOWN_KEY: Final = re.compile(r"(licen[cs]e[ _-]*key['\"]?\s*[:=]\s*)(?!XXXX\b)\S+", re.IGNORECASE)
_HIDDEN: Final = "[hidden]"
_INSTALL: Final = (
    "get a licence key at https://salilab.org/modeller/ (free for academic use), then run "
    "`KEY_MODELLER=<your key> conda install -c salilab modeller` in the environment of mutscan"
)
_OTHERWISE: Final = "--builder openmm and --builder template work without it"


@dataclass(frozen=True, slots=True)
class ModellerStatus:
    """Whether Salilab's MODELLER can be used.

    Parameters
    ----------
    state : str
        ``ok``; ``missing``: not installed; ``unrelated``: another package has its name, as
        PyPI's `modeller` does; ``no_licence``: installed, but its key is missing or refused;
        ``broken``: installed, but it does not start.
    message : str
        One line: what was found and what helps. Never holds the licence key.
    version : str, optional
    location : str, optional
        Folder of the package that was found.
    """

    state: State
    message: str
    version: str | None = None
    location: str | None = None


def modeller_status() -> ModellerStatus:
    """Find out whether MODELLER can be used, by starting it in a process of its own.

    The package is recognised by what it can do, not by its name.
    """
    with tempfile.TemporaryDirectory(prefix="mutscan-modeller-") as folder:
        answer = run_helper({"action": "probe"}, Path(folder), _PROBE_SECONDS)
    return status_of(answer)


@dataclass(frozen=True)
class Answer:
    """What the helper left: its result, what it printed, and why it has no result."""

    result: dict[str, Any]
    printed: str
    ended: str

    def scrub(self, text: str) -> str:
        """`text` without the licence key."""
        return _scrub(text, self.result.get("location") or None)


def run_helper(job: Mapping[str, object], folder: Path, timeout: float) -> Answer:
    """Run the helper in `folder` and read what it left there."""
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if "PYTHONPATH" in environment:
        # The helper works in another folder: relative entries must still mean the same.
        entries = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(entry).absolute()) for entry in entries if entry)
    try:
        # -P: beside the helper lies this module, which has MODELLER's name.
        done = subprocess.run(
            [sys.executable, "-P", str(_HELPER)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        printed, ended = done.stdout, f"it ended with exit code {done.returncode}"
    except subprocess.TimeoutExpired as error:
        printed, ended = error.stdout or b"", f"it was stopped after {timeout:.0f} s"
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        result = {"state": "broken", "detail": "", "location": "", "version": ""}
    if ended.startswith("it was stopped"):
        result = {**result, "state": "broken", "detail": ""}
    text = printed.decode("utf-8", errors="replace")
    return Answer(result, _scrub(text, result.get("location") or None), ended)


def status_of(answer: Answer) -> ModellerStatus:
    """Say what the helper found, and what helps."""
    result = answer.result
    location = result.get("location") or None
    detail = answer.scrub(result.get("detail", ""))
    state: State = result["state"]
    if state == "broken" and _LICENCE.search(answer.printed):
        # It printed the reason and ended the process.
        state = "no_licence"
    if state == "ok":
        message = f"MODELLER {result['version']} at {location}"
    elif state == "missing":
        message = f"MODELLER is not installed for {sys.executable}: {_INSTALL}; {_OTHERWISE}"
    elif state == "unrelated":
        message = (
            f"the package `modeller` at {location} is not Salilab's MODELLER "
            f"({detail or 'it has no modeller.automodel'}; PyPI has an unrelated package of that name): "
            f"`pip uninstall modeller`, then {_INSTALL}; {_OTHERWISE}"
        )
    elif state == "no_licence":
        config = Path(location or "modeller") / "config.py"
        message = (
            f"MODELLER at {location} has no valid licence key: get one at https://salilab.org/modeller/ "
            f"(free for academic use) and put it in place of XXXX in {config} "
            f"(conda reads KEY_MODELLER only while it installs); {_OTHERWISE}"
        )
    else:
        # 1 is the helper's own way of saying that it could explain.
        unexplained = "" if answer.ended.endswith("code 1") else answer.ended
        reason = "; ".join(text for text in (detail, unexplained) if text) or answer.ended
        tail = _tail(answer.printed)
        message = (
            f"MODELLER at {location or 'an unknown place'} does not work: {_one_line(reason)}"
            + (f" [{tail}]" if tail else "")
            + f"; try `{sys.executable} -c 'import modeller'`, or reinstall it from the conda channel "
            + f"salilab; {_OTHERWISE}"
        )
    return ModellerStatus(state, _one_line(message), result.get("version") or None, location)


def _scrub(text: str, location: str | None) -> str:
    """Take licence keys out of what MODELLER printed."""
    keys = {value for name, value in os.environ.items() if name.upper().startswith("KEY_MODELLER")}
    if location is not None:
        keys.add(_configured_key(Path(location) / "config.py"))
    # XXXX is what an installation without a key holds.
    for key in sorted(keys - {"", "XXXX"}, key=len, reverse=True):
        text = text.replace(key, _HIDDEN)
    return _SHOWN_KEY.sub(rf"\1{_HIDDEN}", text)


def _configured_key(config: Path) -> str:
    """Read the key in MODELLER's config.py, without running it, to know what must not be shown."""
    try:
        tree = ast.parse(config.read_text(encoding="utf-8", errors="replace"))
    except (OSError, SyntaxError, ValueError):
        return ""
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == "license" for target in node.targets)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            return node.value.value
    return ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _tail(printed: str, lines: int = 6) -> str:
    kept = [line.strip() for line in printed.splitlines() if line.strip()][-lines:]
    return " | ".join(kept)[-600:]


def failure(message: str, answer: Answer) -> BuildError:
    """Make a build error with the last lines MODELLER printed; all of it goes along as a note."""
    tail = _tail(answer.printed)
    if tail and tail not in message:
        message = f"{message} [{tail}]"
    error = BuildError(_one_line(message))
    error.add_note(f"MODELLER, {answer.ended}, printed:\n{answer.printed}")
    return error
