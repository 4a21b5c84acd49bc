"""The similarity of two proteins in a few lines, for the top of the page and for the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.reports.sentences import number

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

SAME_FOLD: Final = 0.5
"""TM-score from which two proteins usually share a fold (Xu & Zhang, Bioinformatics 26, 889, 2010)."""

UNALIKE: Final = 0.3
"""TM-score below which two proteins are as similar as random ones (the same source)."""


@dataclass(frozen=True, eq=False)
class Compared:
    """Similarity of protein A (the reference, chain 1) and protein B.

    Parameters
    ----------
    name_a, name_b : str
    length_a, length_b : int
    tm_predicted, tm_predicted_b : float
        Predicted TM-score normalised by A and by B.
    tm_measured, tm_measured_b : float, optional
        TM-align's, on the residues with coordinates; None without two structures.
    rmsd : float, optional
        Over the aligned residues, Å.
    alignment : str
        ``structure`` (TM-align) or ``sequence`` (global, BLOSUM62).
    n_aligned : int
    identity : float
        Share of identical residues among the aligned.
    lddt_predicted_mean : float
    lddt_measured_mean : float, optional
    residues : DataFrame
        One row for each aligned pair: ``position_a, residue_a, position_b, residue_b,
        lddt_predicted, lddt_measured``; positions 1-based on each sequence.
    notes : tuple of str
    model : str
        Name and sha256 of the model that predicted.
    sequence_a, sequence_b : str
    ca_a, ca_b : float array, shape (L, 3), Å, optional
        C-alpha coordinates laid out on each sequence, NaN where unresolved; None without a structure.
    """

    name_a: str
    name_b: str
    length_a: int
    length_b: int
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

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON-able values, residues as a list of rows."""
        plain: dict[str, Any] = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in {"residues", "notes", "sequence_a", "sequence_b", "ca_a", "ca_b"}
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
    """State in one sentence how similar two proteins are.

    ``A and B very likely share a fold: TM-score 0.82 measured, 0.79 predicted.``
    """
    measured = comparison.tm_measured
    if measured is not None:
        best = max(measured, comparison.tm_measured_b or 0.0)
        scores = f"TM-score {number(measured, 2)} measured, {number(comparison.tm_predicted, 2)} predicted"
    else:
        best = max(comparison.tm_predicted, comparison.tm_predicted_b)
        scores = (
            f"TM-score {number(comparison.tm_predicted, 2)} predicted, not measured without two structures"
        )
    if best >= SAME_FOLD:
        verdict = "have the same fold" if measured is not None else "probably have the same fold"
    elif best < UNALIKE:
        verdict = "are no more similar than random proteins"
    else:
        verdict = "are similar in parts at most"
    return f"{comparison.name_a} and {comparison.name_b} {verdict}: {scores}."


def compared_scores(comparison: Compared) -> tuple[tuple[str, str, str], ...]:
    """Name, predicted and measured value of each score."""
    c = comparison
    rows = (
        (f"TM-score, by the length of {c.name_a}", c.tm_predicted, c.tm_measured),
        (f"TM-score, by the length of {c.name_b}", c.tm_predicted_b, c.tm_measured_b),
        ("lDDT, mean over aligned residues", c.lddt_predicted_mean, c.lddt_measured_mean),
    )
    return tuple((name, number(predicted), number(measured)) for name, predicted, measured in rows)


def compared_facts(comparison: Compared) -> tuple[str, ...]:
    """List what the scores are based on, a line each."""
    how = "TM-align of the structures" if comparison.alignment == "structure" else "global, BLOSUM62"
    rmsd = "" if comparison.rmsd is None else f", RMSD {number(comparison.rmsd, 2)} Å"
    return (
        f"{comparison.length_a} and {comparison.length_b} residues, {comparison.n_aligned} aligned ({how})",
        f"{100 * comparison.identity:.0f} % of the aligned residues are identical{rmsd}",
    )
