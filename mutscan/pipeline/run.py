"""`Run`: a finished run, read from its folder; needs neither model nor builder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from mutscan.errors import UsageError
from mutscan.files import write_errors, write_text
from mutscan.reports.render import render_report
from mutscan.results import EVIDENCE_SCHEMA, TEXT_COLUMNS, RunFolder

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import py3Dmol

    from mutscan.pipeline.batching import BatchRun

_SCORED: Final = ("ok", "partial")


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, read from its folder.

    Parameters
    ----------
    directory : Path
    """

    directory: Path

    def __repr__(self) -> str:
        """Name the folder and count its rows by status."""
        try:
            told = ", ".join(f"{n} {status}" for status, n in self.counts.items())
        except (OSError, ValueError, KeyError):
            told = "not finished"
        return f"<Run {self.directory}: {told}>"

    def _repr_html_(self) -> str | None:
        """Show the run in a notebook; None, which shows `repr`, while it cannot be read."""
        from mutscan.reports.notebook import run_html

        try:
            return run_html(self.directory)
        except (UsageError, OSError):
            return None

    @property
    def variants(self) -> pd.DataFrame:
        """One row for each input line; the columns of interface `variants.csv`."""
        return pd.read_csv(self.directory / "variants.csv", dtype=dict.fromkeys(TEXT_COLUMNS, str))

    @property
    def residues(self) -> pd.DataFrame:
        """One row for each residue of each scored variant."""
        return pd.read_parquet(self.directory / "residues.parquet")

    @property
    def evidence(self) -> pd.DataFrame:
        """What speaks for and against each variant; no rows where the model is not calibrated."""
        path = RunFolder(self.directory).evidence_parquet
        if not path.is_file():
            return pd.DataFrame({name: [] for name in EVIDENCE_SCHEMA.names})
        return pd.read_parquet(path)

    @property
    def metadata(self) -> dict[str, Any]:
        """Contents of run.json."""
        stored: dict[str, Any] = json.loads((self.directory / "run.json").read_text(encoding="utf-8"))
        return stored

    @property
    def counts(self) -> dict[str, int]:
        """Rows by status."""
        counts: dict[str, int] = self.metadata["counts"]
        return counts

    @property
    def exit_code(self) -> int:
        """0 every row ok, 3 some not, 4 no row scored."""
        return exit_code_of(self.counts)

    def to_html(self, path: str | os.PathLike[str], *, offline: bool = False) -> Path:
        """Draw the report again from the saved files, to `path`.

        Parameters
        ----------
        path : path
        offline : bool
            Use 3Dmol.js only where the cache holds it; the report does without otherwise.
        """
        from mutscan.fetch import get_viewer

        target = Path(path)
        found = get_viewer(offline=offline)
        page = render_report(self.directory, viewer=found.script, viewer_note=found.note)
        with write_errors(target):
            write_text(target, page)
        return target

    def view(self, variant: str | None = None, *, width: int = 800, height: int = 500) -> py3Dmol.view:
        """Show a mutant's structure on the wild type's in a notebook.

        Parameters
        ----------
        variant : str, optional
            As in `variants`; the one that matters most when not given.
        width, height : int
            Pixels.

        Raises
        ------
        UsageError
            The run built no such mutant.
        """
        from mutscan.reports.notebook import notebook_view

        return notebook_view(self.directory, variant, width=width, height=height)


def exit_code_of(counts: Mapping[str, int]) -> int:
    """Exit code for rows by status: 0 every row ok, 3 some not, 4 no row scored."""
    if not any(counts.get(status) for status in _SCORED):
        return 4
    return 0 if counts.get("ok", 0) == sum(counts.values()) else 3


def open_run(directory: str | os.PathLike[str]) -> Run | BatchRun:
    """Open a finished run, on one protein or on many.

    Raises
    ------
    UsageError
        Not the folder of a finished run.
    """
    path = Path(directory)
    if (path / "proteins.csv").is_file():
        from mutscan.pipeline.batching import BatchRun  # it opens runs, too

        return BatchRun(path)
    missing = [
        name for name in ("run.json", "variants.csv", "residues.parquet") if not (path / name).is_file()
    ]
    if missing:
        raise UsageError(f"{path}: not the folder of a finished run, {missing[0]} is missing")
    return Run(path)
