"""What two proteins have in common, in a few lines: the page's top and the terminal's say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from mutscan.report.digest import number

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

SAME_FOLD: Final = 0.5
"""TM-score from which two proteins usually share a fold (Xu & Zhang, Bioinformatics 26, 889, 2010)."""

UNALIKE: Final = 0.3
"""TM-score below which two proteins are as alike as random ones (the same)."""


class Compared(Protocol):
    """What is read of a `mutscan.pipeline.Comparison`; its numbers and tables are explained there."""

    @property
    def name_a(self) -> str: ...
    @property
    def name_b(self) -> str: ...
    @property
    def length_a(self) -> int: ...
    @property
    def length_b(self) -> int: ...
    @property
    def tm_predicted(self) -> float: ...
    @property
    def tm_predicted_b(self) -> float: ...
    @property
    def tm_measured(self) -> float | None: ...
    @property
    def tm_measured_b(self) -> float | None: ...
    @property
    def rmsd(self) -> float | None: ...
    @property
    def alignment(self) -> str: ...
    @property
    def n_aligned(self) -> int: ...
    @property
    def identity(self) -> float: ...
    @property
    def lddt_predicted_mean(self) -> float: ...
    @property
    def lddt_measured_mean(self) -> float | None: ...
    @property
    def residues(self) -> pd.DataFrame: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def model(self) -> str: ...
    @property
    def sequence_a(self) -> str: ...
    @property
    def sequence_b(self) -> str: ...
    @property
    def ca_a(self) -> NDArray[np.float64] | None: ...
    @property
    def ca_b(self) -> NDArray[np.float64] | None: ...


def compared_headline(comparison: Compared) -> str:
    """Say in one sentence how alike two proteins are.

    ``A and B very likely share a fold: TM-score 0.82 measured, 0.79 predicted.``
    """
    measured = comparison.tm_measured
    if measured is not None:
        best = max(measured, comparison.tm_measured_b or 0.0)
        scores = f"TM-score {number(measured, 2)} measured, {number(comparison.tm_predicted, 2)} predicted"
    else:
        best = max(comparison.tm_predicted, comparison.tm_predicted_b)
        scores = f"TM-score {number(comparison.tm_predicted, 2)} predicted, no two structures to measure"
    if best >= SAME_FOLD:
        verdict = "have the same fold" if measured is not None else "probably have the same fold"
    elif best < UNALIKE:
        verdict = "are no more alike than random proteins"
    else:
        verdict = "are alike in parts at most"
    return f"{comparison.name_a} and {comparison.name_b} {verdict}: {scores}."


def compared_scores(comparison: Compared) -> tuple[tuple[str, str, str], ...]:
    """Name, predicted and measured value of each score."""
    return (
        (
            f"TM-score, by the length of {comparison.name_a}",
            number(comparison.tm_predicted),
            number(comparison.tm_measured),
        ),
        (
            f"TM-score, by the length of {comparison.name_b}",
            number(comparison.tm_predicted_b),
            number(comparison.tm_measured_b),
        ),
        (
            "lDDT, mean over aligned residues",
            number(comparison.lddt_predicted_mean),
            number(comparison.lddt_measured_mean),
        ),
    )


def compared_facts(comparison: Compared) -> tuple[str, ...]:
    """Say what the scores rest on, a line each."""
    how = "TM-align of the structures" if comparison.alignment == "structure" else "global, BLOSUM62"
    rmsd = "" if comparison.rmsd is None else f", RMSD {number(comparison.rmsd, 2)} Å"
    return (
        f"{comparison.length_a} and {comparison.length_b} residues, {comparison.n_aligned} aligned ({how})",
        f"{100 * comparison.identity:.0f} % of the aligned residues are identical{rmsd}",
    )
