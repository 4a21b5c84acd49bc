"""How a run is done: the options that `score`, `scan` and `batch` share, with their defaults."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from mutscan.alignments import AUTO, LIBRARY
from mutscan.builders import BUILDERS, NO_BUILDER
from mutscan.errors import UsageError
from mutscan.files import check_name
from mutscan.model.names import DEFAULT_MODEL
from mutscan.progress import Progress, Silent

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")

PREDICT: Final = ("all", "probability")
"""``probability``: no mutant is embedded, so there are no predicted TM-scores and lDDT."""

PRIORS: Final = ("clinical", "scan")
"""Lists that a probability may hold for: variants that clinics report, or all substitutions of a protein."""

ENGINES: Final = ("local", "ray")

NUMBERING: Final = ("sequence", "author")
"""``author``: the residue numbers of the structure file."""

INVERSE_FOLDING: Final = ("auto", "off")
"""``auto``: where the extra mutscan[mpnn] is installed and the wild type has a structure."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Part of a job: its `index`-th of `of`, from 1."""

    index: int = 1
    of: int = 1

    @classmethod
    def read(cls, text: str) -> Shard:
        """Read ``I/N``.

        Raises
        ------
        UsageError
            No such notation, or no such part.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip(), re.ASCII)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"--shard {text}: expected I/N with I from 1 to N, such as 2/8")
        return cls(int(match[1]), int(match[2]))

    def pick(self, items: Sequence[_T]) -> Sequence[_T]:
        """Deal out items like cards, and return those of this part.

        Examples
        --------
        >>> Shard(2, 3).pick("abcdefg")
        'be'
        """
        return items[self.index - 1 :: self.of]

    def __str__(self) -> str:
        """``I/N``."""
        return f"{self.index}/{self.of}"


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one run; `mutscan.score` explains each.

    Raises
    ------
    UsageError
        An option has a value that it does not know.
    """

    out: str | os.PathLike[str] | None = None
    model: str = DEFAULT_MODEL
    builder: str = "auto"
    structure: str | os.PathLike[str] | None = None
    chain: str | None = None
    plddt: bool = False
    alignment: str | os.PathLike[str] = AUTO
    device: str = "auto"
    precision: str = "auto"
    batch_residues: int | None = None
    jobs: int | None = None
    offline: bool = False
    restart: bool = False
    prior: str = "clinical"
    inverse_folding: str = "auto"
    predict: str = "all"
    numbering: str = "sequence"
    organism: str = "human"
    strict: bool = False
    shard: str | None = None
    engine: str = "local"
    ray_address: str | None = None
    ray_cores: int | None = None
    seed: int = 0
    progress: Progress = field(default_factory=Silent)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        for path in (self.out, self.structure, self.alignment, self.model, self.builder):
            if path is not None:
                check_name(path)
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed}: expected 0 or more")
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"--jobs {self.jobs}: expected 1 or more")
        for name, known in (
            ("prior", PRIORS),
            ("inverse_folding", INVERSE_FOLDING),
            ("predict", PREDICT),
            ("numbering", NUMBERING),
            ("engine", ENGINES),
        ):
            if getattr(self, name) not in known:
                given = f"--{name.replace('_', '-')} {getattr(self, name)}"
                raise UsageError(f"{given}: expected {' or '.join(known)}")
        if not self.predicts and self.builder not in ("auto", "none"):
            raise UsageError(
                f"--predict probability builds no mutants; leave --builder {self.builder} out, "
                "or use --predict all"
            )
        if self.shard is not None:
            Shard.read(self.shard)
        for name in ("ray_address", "ray_cores"):
            if getattr(self, name) is not None and self.engine != "ray":
                raise UsageError(f"--{name.replace('_', '-')} needs --engine ray")
        if self.ray_cores is not None and self.ray_cores < 1:
            raise UsageError(f"--ray-cores {self.ray_cores}: expected 1 or more")
        if self.shard is not None and self.engine == "ray":
            raise UsageError("--shard and --engine ray: give one of them, Ray divides the work itself")

    @property
    def predicts(self) -> bool:
        """Whether mutants are embedded and built."""
        return self.predict == "all"

    @property
    def builders(self) -> str:
        """Value for `choose_builders`."""
        return self.builder if self.predicts else "none"

    @property
    def part(self) -> Shard:
        """Part of the job that the run does; the whole of it without ``--shard``."""
        return Shard() if self.shard is None else Shard.read(self.shard)


def from_anywhere(name: str, value: object) -> object:
    """Make the argument of a command one that means the same in any folder: paths become absolute.

    Parameters
    ----------
    name : str
        As in the functions of `mutscan`.
    value : object
    """
    if name not in _PATHS or not isinstance(value, str | os.PathLike):
        return value
    text = os.fspath(value)
    if text in _PATHS[name]:
        return text
    mark = "@" if name == "wild_type" and text.startswith("@") else ""
    path = os.path.expanduser(text.removeprefix(mark))
    return mark + os.path.abspath(path) if os.path.exists(path) else text


_PATHS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("wild_type", "structure", "sequences", "structures_dir", "alignments_dir"), ()),
    **dict.fromkeys(("table", "variants_file"), ("-",)),
    "alignment": (AUTO, LIBRARY),
    "builder": (*BUILDERS, NO_BUILDER),
}
"""Arguments that may be paths, and values of theirs that are none. A model's name goes before a folder's."""


DEFAULTS = Options()
"""Where the defaults are written, for functions and for the command line."""
