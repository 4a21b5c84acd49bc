"""The similarity of two proteins in a few lines, for the top of the page and for the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.reports.sentences import number

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mutscan.structures.segments import Element

SAME_FOLD: Final = 0.5
"""TM-score from which two proteins usually share a fold (Xu & Zhang, Bioinformatics 26, 889, 2010)."""

UNALIKE: Final = 0.3
"""TM-score below which two proteins are as similar as random ones (the same source)."""

_NOT_PLAIN: Final = frozenset(
    {"residues", "notes", "sequence_a", "sequence_b", "ca_a", "ca_b", "elements_a", "elements_b"}
)

FEWEST: Final = 30
"""Residues of the shorter protein from which a TM-score speaks of a fold: both limits above are those of
whole domains, and a single helix of two dozen residues reaches them by chance."""


@dataclass(frozen=True, eq=False)
class Compared:
    """Similarity of protein A (the reference, chain 1) and protein B.

    Parameters
    ----------
    name_a, name_b : str
    length_a, length_b : int
        Of the sequences.
    resolved_a, resolved_b : int, optional
        Residues with coordinates; None without a structure.
    tm_predicted, tm_predicted_b : float
        Predicted TM-score normalised by `length_a` and by `length_b`.
    tm_measured, tm_measured_b : float, optional
        TM-align's, normalised by `resolved_a` and by `resolved_b`; None without two structures.
    rmsd : float, optional
        Over the aligned residues, Å.
    alignment : str
        ``structure`` (TM-align) or ``sequence`` (global, BLOSUM62).
    n_aligned : int
    identity : float
        Share of identical residues among the aligned.
    lddt_predicted_mean : float
    lddt_measured_mean : float, optional
        None without two structures, or where fewer than three residues are aligned.
    residues : DataFrame
        One row for each aligned pair: ``position_a, residue_a, position_b, residue_b,
        lddt_predicted, lddt_measured``; positions 1-based on each sequence.
    notes : tuple of str
    model : str
        Name and sha256 of the model that predicted.
    sequence_a, sequence_b : str
    ca_a, ca_b : float array, shape (L, 3), Å, optional
        C-alpha coordinates laid out on each sequence, NaN where unresolved; None without a structure.
        Of two structures B lies on A, by TM-align's superposition.
    elements_a, elements_b : tuple of Element
        Helices and strands, as indices of each sequence.
    """

    name_a: str
    name_b: str
    length_a: int
    length_b: int
    resolved_a: int | None
    resolved_b: int | None
    tm_predicted: float
    tm_predicted_b: float
    tm_measured: float | None
    tm_measured_b: float | None
    rmsd: float | None
    alignment: str
    n_aligned: int
    identity: float
    lddt_predicted_mean: float
    lddt_measured_mean: float | None
    residues: pd.DataFrame
    notes: tuple[str, ...] = ()
    model: str = ""
    sequence_a: str = ""
    sequence_b: str = ""
    ca_a: NDArray[np.float64] | None = None
    ca_b: NDArray[np.float64] | None = None
    elements_a: tuple[Element, ...] = ()
    elements_b: tuple[Element, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON-able values, residues as a list of rows."""
        plain: dict[str, Any] = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name not in _NOT_PLAIN
        }
        plain["notes"] = list(self.notes)
        plain["residues"] = [
            {
                key: None if isinstance(value, float) and np.isnan(value) else value
                for key, value in row.items()
            }
            for row in self.residues.to_dict(orient="records")
        ]
        return plain


def compared_headline(comparison: Compared) -> str:
    """State in one sentence how similar two proteins are, and by which scores.

    The fold is that of both where the TM-score normalised by the longer protein says so, and that of
    a part where only the one normalised by the shorter does. Numbers are judged as they are printed.

    ``A and B have the same fold: TM-score 0.82 by the length of A (147 residues), 0.85 by the length
    of B (141), measured; predicted 0.79 and 0.80.``
    """
    c = comparison
    predicted = (number(c.tm_predicted, 2), number(c.tm_predicted_b, 2))
    if c.tm_measured is not None and c.tm_measured_b is not None:
        values, lengths = (c.tm_measured, c.tm_measured_b), (c.resolved_a or 0, c.resolved_b or 0)
        basis = f"measured; predicted {' and '.join(dict.fromkeys(predicted))}"
    else:
        values, lengths = (c.tm_predicted, c.tm_predicted_b), (c.length_a, c.length_b)
        basis = "predicted, not measured without two structures"
    names, (one, other) = (c.name_a, c.name_b), (number(value, 2) for value in values)
    scores = f"TM-score {one} by the length of {names[0]} ({_residues(lengths[0])})"
    if lengths[0] == lengths[1] and one == other:
        scores = f"TM-score {one} by the length of either ({_residues(lengths[0])}), {basis}"
    else:
        scores += f", {other} by the length of {names[1]} ({lengths[1]}), {basis}"
    longer = int(lengths[1] > lengths[0])
    shorter = 1 - longer
    if lengths[shorter] < FEWEST:
        few = f"{names[shorter]} has only {_residues(lengths[shorter])}"
        return f"No fold is judged for {names[0]} and {names[1]}, because {few}: {scores}."
    by_longer, by_shorter = round(values[longer], 2), round(values[shorter], 2)
    probably = "" if c.tm_measured is not None else "probably "
    if by_longer >= SAME_FOLD:
        verdict = f"{probably}have the same fold"
    elif by_shorter >= SAME_FOLD:
        verdict = f"{probably}share a fold over the length of {names[shorter]} only"
    elif max(by_longer, by_shorter) < UNALIKE:
        verdict = "are no more similar than random proteins"
    else:
        verdict = "are similar in parts at most"
    return f"{names[0]} and {names[1]} {verdict}: {scores}."


def compared_scores(comparison: Compared) -> tuple[tuple[str, str, str], ...]:
    """Name, predicted and measured value of each score; a length in a name is the one divided by."""
    c = comparison
    rows: list[tuple[str, float | None, float | None]] = []
    for name, length, resolved, predicted, measured in (
        (c.name_a, c.length_a, c.resolved_a, c.tm_predicted, c.tm_measured),
        (c.name_b, c.length_b, c.resolved_b, c.tm_predicted_b, c.tm_measured_b),
    ):
        partly = measured is not None and resolved != length
        rows.append(
            (f"TM-score, by all {length} residues of {name}", predicted, None if partly else measured)
        )
        if partly:
            rows.append((f"TM-score, by the {resolved} resolved residues of {name}", None, measured))
    rows.append(("lDDT, mean over aligned residues", c.lddt_predicted_mean, c.lddt_measured_mean))
    return tuple((name, number(predicted), number(measured)) for name, predicted, measured in rows)


def compared_facts(comparison: Compared) -> tuple[str, ...]:
    """List what the scores are based on, a line each."""
    c = comparison
    how = "TM-align of the structures" if c.alignment == "structure" else "global, BLOSUM62"
    sizes = [(c.length_a, c.resolved_a, c.name_a), (c.length_b, c.resolved_b, c.name_b)]
    # TM-align can pair only what has coordinates.
    of = [f"{r if r is not None and c.alignment == 'structure' else n} of {name}" for n, r, name in sizes]
    pairs = "1 pair of residues" if c.n_aligned == 1 else f"{c.n_aligned} pairs of residues"
    facts = [f"{pairs} aligned, out of {of[0]} and {of[1]} ({how})"]
    if c.n_aligned:
        rmsd = "" if c.rmsd is None else f", RMSD {number(c.rmsd, 2)} Å"
        alike = round(c.identity * c.n_aligned)
        facts.append(f"{alike} of {c.n_aligned} aligned residues identical{rmsd}")
    facts += [
        f"{resolved} of {length} residues of {name} have coordinates"
        for length, resolved, name in sizes
        if resolved is not None and resolved < length
    ]
    return tuple(facts)


def _residues(count: int) -> str:
    return f"{count} residue{'s' * (count != 1)}"
