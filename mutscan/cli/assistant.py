"""The server behind ``mutscan mcp``: tools of the Model Context Protocol on the runs of one folder."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from mutscan.errors import MissingDependencyError, MutscanError, UsageError
from mutscan.fetch.names import read_name
from mutscan.fetch.uniprot import is_accession
from mutscan.files import file_name, read_json
from mutscan.pipeline.options import DEFAULTS
from mutscan.variants import parse_variant
from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server import MCPServer

MOST_VARIANTS: Final = 200
"""Variants of one call: its answer holds them all."""

MOST_RUNS: Final = 200
"""Runs that are listed."""

INSTRUCTIONS: Final = (
    "mutscan scores variants of a protein: p_deleterious is a calibrated probability, TM-score and lDDT say "
    "whether and where the structure changes; the two are separate findings. Paths are those of one folder, "
    "relative to it. Check the variants first; scoring takes seconds to minutes for each variant."
)


class Assistant:
    """What the tools do, confined to a folder.

    Parameters
    ----------
    folder : Path
        Holds inputs and runs; nothing outside of it is read or written, links out of it included.
    offline : bool
        Never touch the network.

    Raises
    ------
    UsageError
        No such folder.
    """

    def __init__(self, folder: Path, *, offline: bool = False) -> None:
        if not folder.is_dir():
            raise UsageError(f"--folder {folder}: no such folder")
        self._folder = folder.resolve()
        self._offline = offline
        self._busy = threading.Lock()

    def list_runs(self) -> dict[str, Any]:
        """List the saved runs of the folder: name, command, protein, date, and rows by status."""
        runs = []
        for path in sorted(self._folder.rglob("run.json")):
            # Those of single proteins are found by the run over many that holds them.
            if path.parent.parent.name == "proteins" or not self._is_inside(path):
                continue
            try:
                said = read_json(path)
            except (OSError, ValueError):
                continue
            if isinstance(said, dict) and "mutscan" in said:
                protein = said.get("wild_type")
                runs.append(
                    {
                        "run": self._name(path.parent),
                        "command": said.get("command"),
                        "wild_type": protein.get("name") if isinstance(protein, dict) else None,
                        "finished": said.get("finished"),
                        "counts": said.get("counts"),
                    }
                )
        return {"runs": runs[:MOST_RUNS], "not_listed": max(0, len(runs) - MOST_RUNS)}

    def check(
        self,
        wild_type: str,
        variants: list[str],
        structure: str = "",
        chain: str = "",
        organism: str = DEFAULTS.organism,
    ) -> dict[str, Any]:
        """Check variants before they are scored: read them, compare their letters with the protein.

        wild_type: UniProt accession, another name (a gene symbol with its organism, NP_000537.3, pdb:1TUP:A),
        or a structure or FASTA file of the folder. variants: R175H, p.Arg175His, several substitutions in one
        mutant as R175H;R248Q. structure, chain: a structure file for an accession or FASTA file. Nothing is
        computed or written.
        """
        from mutscan import pipeline
        from mutscan.cli.check import check_rows

        plan = pipeline.check(
            self._protein(wild_type),
            _limited(variants),
            structure=self._given(structure),
            chain=chain or None,
            organism=organism,
            offline=self._offline,
        )
        protein = plan.wild_type
        return {
            "wild_type": protein.name,
            "length": len(protein.sequence),
            "structure": None if protein.structure is None else protein.structure.name,
            "notes": list(protein.notes),
            "variants": check_rows(plan),
        }

    def score(
        self,
        wild_type: str,
        variants: list[str],
        run: str = "",
        builder: Literal["auto", "openmm", "modeller", "template", "none"] = "auto",
        structure: str = "",
        chain: str = "",
        organism: str = DEFAULTS.organism,
    ) -> dict[str, Any]:
        """Score variants of one protein and save the run in the folder.

        Arguments as check. run: name of the new run folder. builder: who builds mutant structures to measure;
        none is fastest and gives predicted scores only. One score runs at a time.
        """
        from mutscan import pipeline
        from mutscan.reports.digest import headline
        from mutscan.reports.saved import read_run

        given = self._protein(wild_type)
        out = self._run_folder(run or f"mutscan-{file_name(Path(wild_type).name.split('.')[0])}")
        with self._busy:
            done = pipeline.score(
                given,
                _limited(variants),
                out=out,
                builder=builder,
                structure=self._given(structure),
                chain=chain or None,
                organism=organism,
                offline=self._offline,
            )
        saved = read_run(done.directory)
        return {"run": self._name(out), "headline": headline(saved), "variants": saved.json_rows()}

    def explain(self, run: str, variant: str) -> dict[str, Any]:
        """Explain a variant of a saved run: its sentence, scores, evidence for and against, and regions.

        run: as list_runs names it; NAME/proteins/PROTEIN for one protein of a run over many.
        """
        from mutscan.reports.affected import in_words
        from mutscan.reports.saved import read_run

        saved = read_run(self._run_folder(run))
        wanted = str(parse_variant(variant))
        row = next((row for row in saved.json_rows() if row["variant"] == wanted), None)
        if row is None:
            known = ", ".join(saved.scored["variant"].head(10)) or "none"
            raise UsageError(f"{run}: has no variant {wanted}; scored there: {known}")
        return {
            "row": row,
            "evidence": [
                {"evidence": name, "value": value or None, "log_odds": round(weight, 4)}
                for name, value, weight in saved.evidence().get(wanted, ())
            ],
            "regions": [
                {
                    "region": region.name,
                    "kind": region.kind,
                    "source": region.source,
                    "where": in_words(region.stretches),
                    "disturbed": region.disturbed,
                }
                for region in saved.regions_of(wanted)
            ],
        }

    def _protein(self, text: str) -> str:
        """Return the name of a protein as it is, or the path of a file of the folder."""
        named = is_accession(text) or read_name(text) is not None
        # A file of the server's own folder goes before a name, and it must not lie elsewhere.
        if named and not ((self._folder / text).exists() or Path(text).expanduser().exists()):
            return text
        return str(self._file(text))

    def _given(self, text: str) -> Path | None:
        return self._file(text) if text else None

    def _file(self, text: str) -> Path:
        path = self._inside(text)
        if not path.is_file():
            raise UsageError(f"{text!r}: no such file in the folder of this server")
        return path

    def _run_folder(self, text: str) -> Path:
        """Path of a run folder, which may be new; no link in it may lead out."""
        path = self._inside(text)
        if path == self._folder:
            raise UsageError(f"{text!r}: expected the name of a run folder")
        for entry in path.rglob("*") if path.is_dir() else ():
            if entry.is_symlink() and not self._is_inside(entry):
                raise UsageError(f"{text!r}: holds a link out of the folder of this server ({entry.name})")
        return path

    def _inside(self, text: str) -> Path:
        path = (self._folder / text).resolve() if "\0" not in text else None
        if path is None or not path.is_relative_to(self._folder):
            raise UsageError(f"{text!r}: is outside of the folder of this server; give a path in it")
        return path

    def _is_inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self._folder)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()


def _limited(variants: list[str]) -> list[str]:
    if not 1 <= len(variants) <= MOST_VARIANTS:
        raise UsageError(
            f"{len(variants)} variants; expected 1 to {MOST_VARIANTS} in one call (mutscan score takes more)"
        )
    return variants


def make_server(folder: Path, *, offline: bool = False) -> MCPServer[Any]:
    """Make the server of one folder; its ``run()`` answers on stdin and stdout.

    Raises
    ------
    MissingDependencyError
        The SDK is not installed.
    UsageError
        No such folder.
    """
    try:
        from mcp.server import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError as error:
        raise MissingDependencyError(
            "mutscan mcp needs the package mcp; install it: pip install 'mutscan[mcp]'"
        ) from error

    def told(tool: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        """Tell the caller of errors whose cause it can remove; it hears no more of others than that."""

        @functools.wraps(tool)
        def call(**given: Any) -> dict[str, Any]:
            try:
                return tool(**given)
            except MutscanError as error:
                raise ToolError(f"{error.message} ({error.code})") from error

        return call

    assistant = Assistant(folder, offline=offline)
    server: MCPServer[Any] = MCPServer(
        "mutscan", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING"
    )
    for tool in (assistant.list_runs, assistant.check, assistant.score, assistant.explain):
        server.add_tool(told(tool))
    return server
