"""Scripts that open a run's structures in PyMOL and ChimeraX: coloured by lDDT drop, labelled by region.

Both are drawn from the saved run alone. A mutant's B-factor column holds its
measured lDDT (0-1), and all mutants lie on the wild type; a script therefore
loads, colours and labels, and computes nothing.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from mutscan.calling.naming import STRUCTURE
from mutscan.errors import UsageError
from mutscan.files import write_text
from mutscan.reports.affected import in_words
from mutscan.reports.saved import read_run, site_positions
from mutscan.results import RunFolder
from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mutscan.reports.affected import AffectedRegion
    from mutscan.reports.saved import SavedRun

LOADED: Final = 30
"""Mutants a script loads, those that matter most; more make a viewer slow, and nobody looks at them."""

KEPT, MILD, LOST, WILD_TYPE, UNKNOWN = "#f2f2f2", "#e69f00", "#d55e00", "#9fb8c8", "#666666"
"""Colours after Okabe and Ito: lDDT as in the wild type, half of the drop, the whole; the others."""

_SIDE_CHAIN: Final = "not (name N+C+O or hydro)"

_NUMBER: Final = re.compile(r"-?[0-9]+[A-Za-z0-9]?")

LABEL: Final = 60
"""Letters of a label."""


@dataclass(frozen=True, slots=True)
class _Marked:
    """What a script marks in one mutant; residues by the structure's own numbers."""

    variant: str
    stem: str
    sites: tuple[str, ...]
    regions: tuple[tuple[str, tuple[str, ...]], ...]
    remark: str

    @property
    def title(self) -> str:
        """The variant for a label."""
        return self.variant.replace(";", " + ")

    @property
    def name(self) -> str:
        """Name of the object: letters, digits and ``_`` only, which both viewers take unquoted."""
        return re.sub(r"[^A-Za-z0-9_]", "_", self.stem)


@dataclass(frozen=True, slots=True)
class _Scene:
    """A run as the scripts see it."""

    protein: str
    mutants: tuple[_Marked, ...]
    built: int
    lowest: float


def write_views(directory: Path) -> tuple[Path, ...]:
    """Write ``structures/view.pml`` and ``view.cxc`` of a finished run; nothing where none was built.

    Returns
    -------
    tuple of Path
        The files written.
    """
    folder = RunFolder(directory)
    if not (folder.structures / "wild_type.cif").is_file():
        return ()
    scene = _scene(read_run(directory), folder)
    written = []
    for name, lines in (("view.pml", _pymol(scene)), ("view.cxc", _chimerax(scene))):
        write_text(folder.structures / name, "\n".join(lines) + "\n")
        written.append(folder.structures / name)
    return tuple(written)


def view_script(directory: Path, viewer: str) -> str:
    """Text of the script for one viewer, ``pymol`` or ``chimerax``.

    Raises
    ------
    UsageError
        It is no run folder, or its run built no structures.
    """
    run = read_run(directory)
    folder = RunFolder(directory)
    if not (folder.structures / "wild_type.cif").is_file():
        raise UsageError(
            f"{directory} holds no structures/wild_type.cif: its run built no mutants, so there is nothing "
            "to open; run mutscan score with a structure and a --builder"
        )
    scene = _scene(run, folder)
    lines = _pymol(scene) if viewer == "pymol" else _chimerax(scene)
    return "\n".join(lines) + "\n"


def by_severity(run: SavedRun) -> pd.DataFrame:
    """Return the scored rows, the most disruptive first: by probability where known, else by z."""
    return run.scored.sort_values(
        ["p_deleterious", "z_score", "lddt_measured_mean", "variant"],
        ascending=[False, True, True, True],
        kind="stable",
    )


def _scene(run: SavedRun, folder: RunFolder) -> _Scene:
    built = [
        row
        for row in by_severity(run).to_dict(orient="records")
        if folder.structure_of(str(row["variant"])).is_file()
    ]
    wanted = {str(row["variant"]): row for row in built[:LOADED]}
    marked: dict[str, _Marked] = {}
    lowest = math.inf
    for variant, block in run.residues():
        row = wanted.get(variant)
        if row is None:
            continue
        least = block["lddt_measured"].min()
        lowest = min(lowest, float(least)) if least == least else lowest
        marked[variant] = _Marked(
            variant=variant,
            stem=folder.structure_of(variant).stem,
            sites=structure_numbers(block[block["position"].isin(site_positions(str(row["positions"])))]),
            regions=tuple(_regions(run.disturbed_by(variant), block)),
            remark=str(row["affected_regions"]),
        )
    mutants = tuple(marked[variant] for variant in wanted if variant in marked)
    return _Scene(run.name, mutants, len(built), colour_foot(lowest))


def colour_foot(lowest: float) -> float:
    """Round lDDT at or below the lowest of a run, where the colour scale ends.

    Examples
    --------
    >>> colour_foot(0.973), colour_foot(0.42), colour_foot(1.0), colour_foot(float("inf"))
    (0.95, 0.4, 0.95, 0.95)
    """
    step = 20 if lowest >= 0.9 else 10
    return max(math.floor(min(lowest, 0.99) * step + 1e-9) / step, 0.0)


def structure_numbers(block: pd.DataFrame) -> tuple[str, ...]:
    """Numbers that the structure gives to residues of residues.parquet; those without one are left out.

    Raises
    ------
    UsageError
        One is no residue number: a viewer could take it for a command.
    """
    numbers = tuple(number for number in block["structure_number"] if isinstance(number, str) and number)
    for number in numbers:
        if not _NUMBER.fullmatch(number):
            raise UsageError(
                f"residues.parquet: structure_number {number!r} is no residue number such as 82 or 82A; "
                "score the variants again with --restart"
            )
    return numbers


def _regions(regions: Sequence[AffectedRegion], block: pd.DataFrame) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Label and residues of each disturbed region that has coordinates."""
    for region in regions:
        held = [block["position"].between(first, last) for first, last in region.stretches]
        numbers = structure_numbers(block[np.any(held, axis=0)])
        if numbers:
            # The source needs no mention where the name comes from the structure on display.
            named = (region.name, "" if region.source == STRUCTURE else region.source)
            yield ", ".join(filter(None, named)) or in_words(region.stretches), numbers


def label_text(text: str, limit: int = LABEL) -> str:
    """Text as a label that no viewer can take for a command: ASCII letters, digits and a few signs.

    Greek letters are spelled out, other letters lose their accents, and long text is cut between words.

    Examples
    --------
    >>> label_text("α-helix; é, UniProt")
    'alpha-helix e, UniProt'
    """
    spelled = "".join(_spelled(letter) for letter in unicodedata.normalize("NFKD", text))
    words = re.sub(r"[^A-Za-z0-9_ .,:+()/-]+", " ", spelled).split()
    kept = ""
    for word in words:
        if kept and len(kept) + len(word) + len(" ...") + 1 > limit:
            return f"{kept} ..."
        kept = f"{kept} {word}".strip()
    return kept[:limit]


def _spelled(letter: str) -> str:
    if unicodedata.combining(letter):  # an accent, which normalisation has split off
        return ""
    name = unicodedata.name(letter, "")
    return name.rpartition(" ")[2].lower() if name.startswith("GREEK") else letter


def _comment(text: str) -> str:
    return f"# {label_text(text.replace(';', ','), 400)}"


def _head(scene: _Scene, viewer: str, opened: str, walk: str) -> Iterator[str]:
    shown = len(scene.mutants)
    more = "" if shown == scene.built else f", the {shown} of {scene.built} built that matter most"
    yield _comment(f"mutscan {__version__}: {scene.protein}, {shown} mutants on the wild type{more}")
    yield _comment(f"Open it in {viewer}: {opened}; {walk}")
    yield _comment(
        f"Mutants: measured lDDT (B-factor column, 0-1), grey-white kept, vermillion {scene.lowest:g} or less"
    )
    yield _comment("Sticks: changed residues. Spheres: C-alpha atoms of affected residues, named by region")
    yield _comment("Wild type: blue-grey; its B-factor column holds what its file said (pLDDT for AlphaFold)")


def _rgb(colour: str) -> str:
    return "[" + ", ".join(f"{int(colour[place : place + 2], 16) / 255:.3f}" for place in (1, 3, 5)) + "]"


def _pymol_resi(numbers: Iterable[str]) -> str:
    # A minus sign is a range to PyMOL unless it is escaped.
    return "resi " + "+".join(number.replace("-", "\\-") for number in numbers)


def _pymol(scene: _Scene) -> Iterator[str]:
    yield from _head(scene, "PyMOL", "pymol view.pml", "PgDn and PgUp walk through the mutants")
    # Files lie beside the script, wherever it is opened from.
    yield "python"
    yield "import os"
    yield "cmd.cd(os.path.dirname(os.path.abspath(__script__)))"
    yield "python end"
    for name, colour in (
        ("kept", KEPT), ("mild", MILD), ("lost", LOST), ("wild_type", WILD_TYPE), ("unknown", UNKNOWN),
    ):  # fmt: skip
        yield f"set_color mutscan_{name}, {_rgb(colour)}"
    yield "load wild_type.cif, wild_type"
    for mutant in scene.mutants:
        yield f"load {mutant.stem}.cif, {mutant.name}"
    yield "hide everything"
    yield "show cartoon"
    yield "color mutscan_wild_type, wild_type"
    yield "set cartoon_transparency, 0.5, wild_type"
    yield "set sphere_scale, 0.3"
    yield "set label_size, 16"
    yield "set label_position, [0, 0, 6]"  # before the cartoon, not inside
    yield "set label_color, black"
    yield "set label_outline_color, white"
    yield "bg_color white"
    for mutant in scene.mutants:
        name = mutant.name
        yield _comment(f"{mutant.title}: {mutant.remark or 'no affected region'}")
        yield (
            f"spectrum b, mutscan_lost mutscan_mild mutscan_kept, {name}, minimum={scene.lowest:g}, maximum=1"
        )
        yield f"color mutscan_unknown, {name} and b < 0.00001"
        if mutant.sites:
            sites = _pymol_resi(mutant.sites)
            yield f"select site_{name}, {name} and {sites}"
            yield f"show sticks, {name} and {sites} and {_SIDE_CHAIN}"
            first = _pymol_resi(mutant.sites[:1])
            yield f'label {name} and {first} and name CA, "{label_text(mutant.title)}"'
        for place, (region, numbers) in enumerate(mutant.regions, start=1):
            yield f"select affected_{name}_{place}, {name} and {_pymol_resi(numbers)}"
            yield f"show spheres, affected_{name}_{place} and name CA"
            middle = _labelled(numbers, mutant.sites)
            yield f'label {name} and {_pymol_resi([middle])} and name CA, "{label_text(region)}"'
    yield "deselect"
    yield "orient wild_type"
    # A scene for each mutant: PgDn and PgUp walk through them.
    for mutant in scene.mutants:
        yield "disable all"
        yield "enable wild_type"
        yield f"enable {mutant.name}"
        yield "hide sticks, wild_type"
        if mutant.sites:
            yield f"show sticks, wild_type and {_pymol_resi(mutant.sites)} and {_SIDE_CHAIN}"
        yield f"scene {mutant.name}, store, {label_text(mutant.title)}"
    if scene.mutants:
        yield f"scene {scene.mutants[0].name}, recall, animate=0"


def _labelled(numbers: Sequence[str], sites: Sequence[str]) -> str:
    """Return the residue that carries a region's name: the middle one that is no changed residue."""
    free = [number for number in numbers if number not in sites] or list(numbers)
    return free[len(free) // 2]


def _chimerax(scene: _Scene) -> Iterator[str]:
    yield from _head(scene, "ChimeraX", "open view.cxc", "the model panel shows and hides mutants")
    yield "open wild_type.cif name wild_type"
    for mutant in scene.mutants:
        yield f"open {mutant.stem}.cif name {mutant.name}"
    yield "set bgColor white"
    yield "hide atoms"
    yield "cartoon"
    yield f"color #1 {WILD_TYPE}"
    yield "transparency #1 50 target c"
    half = (1 + scene.lowest) / 2
    palette = f"{scene.lowest:g},{LOST}:{half:g},{MILD}:1,{KEPT}"
    for number, mutant in enumerate(scene.mutants, start=2):
        yield _comment(f"{mutant.title}: {mutant.remark or 'no affected region'}")
        yield f"color byattribute bfactor #{number} target abc palette {palette}"
        yield f"color #{number}@@bfactor<0.00001 {UNKNOWN} target abc"
        if mutant.sites:
            sites = ",".join(mutant.sites)
            yield f"name site_{mutant.name} #{number}:{sites}"
            yield f"show #{number}:{sites} atoms"
            yield f"style #{number}:{sites} stick"
            yield f"color #{number}:{sites} byhetero target a"
            yield f'label #{number}:{mutant.sites[0]} residues text "{label_text(mutant.title)}" color black'
        for place, (region, numbers) in enumerate(mutant.regions, start=1):
            chosen = f"#{number}:{','.join(numbers)}"
            yield f"name affected_{mutant.name}_{place} {chosen}"
            yield f"show {chosen}@CA atoms"
            yield f"style {chosen}@CA ball"
            middle = _labelled(numbers, mutant.sites)
            yield f'label #{number}:{middle} residues text "{label_text(region)}" color black'
    if len(scene.mutants) > 1:
        yield f"hide #3-{len(scene.mutants) + 1} models"
    yield f"key {LOST}:{scene.lowest:g} {MILD}:{half:g} {KEPT}:1"
    yield "view #1"
