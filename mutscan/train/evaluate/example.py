"""Figure 1 of the preprint: two superposed structures, a distance matrix, and the difference of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib import colormaps
from matplotlib.collections import LineCollection

from mutscan.reports.coordinates import distances
from mutscan.reports.drawing import Drawing, colour_bar, drawing, matrix, panel
from mutscan.train.chains.tables import SIMILAR

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BREAK: Final = 4.5  # Å between neighbours: beyond, residues are missing


@dataclass(frozen=True, eq=False)
class ExamplePair:
    """Two structures and which of their residues correspond.

    Parameters
    ----------
    id_1, id_2 : str
    ca_1, ca_2 : float array, shape (L, 3), Å
    aligned : int array, shape (n, 2)
    rotation, translation
        ``ca_2 @ rotation.T + translation`` lies on ``ca_1``.
    """

    id_1: str
    id_2: str
    ca_1: NDArray[np.float64]
    ca_2: NDArray[np.float64]
    aligned: NDArray[np.int64]
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    @property
    def moved(self) -> NDArray[np.float64]:
        """Chain 2 on chain 1, shape (L2, 3), Å."""
        turned: NDArray[np.float64] = np.einsum("ij,nj->ni", self.rotation, self.ca_2)
        return turned + self.translation


def draw_example(pair: ExamplePair) -> list[Drawing]:
    """Figure 1: superposition, distance matrix of chain 1, difference of both matrices."""
    first, second = pair.aligned.T
    distance = np.linalg.norm(pair.ca_1[first] - pair.moved[second], axis=1)
    d_1, d_2 = distances(pair.ca_1), distances(pair.ca_2[second])
    change = np.full_like(d_1, np.nan)
    change[np.ix_(first, first)] = np.abs(d_1[np.ix_(first, first)] - d_2)
    who = f"{pair.id_1} and {pair.id_2}"
    return [
        _superposition(pair, distance, who),
        matrix(
            "distance_matrix",
            d_1,
            f"Distances within {pair.id_1}",
            "Distance between each two C-alpha atoms of chain 1, Å: a map of the fold. Dark: close.",
            colours="viridis",
            axis="residue of chain 1",
        ),
        matrix(
            "difference_matrix",
            change,
            "Distances that differ",
            f"Difference between the distances within {who}, Å; white: none, grey: no partner.",
            colours="Reds",
            axis="residue of chain 1",
        ),
    ]


def _superposition(pair: ExamplePair, distance: NDArray[np.float64], who: str) -> Drawing:
    centre = pair.ca_1.mean(axis=0)
    # The two directions in which chain 1 is widest; signs fixed so that the picture is, too.
    _, _, directions = np.linalg.svd(pair.ca_1 - centre, full_matrices=False)
    plane = (
        directions[:2] * np.sign(directions[:2][np.arange(2), np.abs(directions[:2]).argmax(axis=1)])[:, None]
    )
    flat_1, flat_2 = (np.einsum("ij,nj->ni", plane, ca - centre) for ca in (pair.ca_1, pair.moved))
    near = np.full(len(pair.ca_2), np.nan)
    near[pair.aligned[:, 1]] = distance
    with panel() as (figure, axes):
        axes.add_collection(
            LineCollection(list(_steps(flat_1, pair.ca_1)), colors="#8a949e", linewidths=1.2, alpha=0.9)
        )
        steps = _steps(flat_2, pair.ca_2)
        whole = np.linalg.norm(np.diff(pair.ca_2, axis=0), axis=1) <= _BREAK
        values = ((near[:-1] + near[1:]) / 2)[whole]
        colours = colormaps["viridis"].with_extremes(bad="#d9a3c0")
        trace = LineCollection(list(steps), cmap=colours, linewidths=2.0, capstyle="round")
        trace.set_array(np.ma.masked_invalid(values))
        trace.set_clim(0.0, max(float(np.quantile(distance, 0.95)), 0.1))
        axes.add_collection(trace)
        colour_bar(figure, axes, trace, "distance, Å")
        axes.set_aspect("equal")
        axes.autoscale_view()
        axes.set_axis_off()
        caption = (
            f"{who}, superposed for the highest TM-score, in the direction in which chain 1 is widest. "
            "Grey: chain 1. Coloured: chain 2, by the distance to its partner; pink: no partner. "
            f"The pair was chosen by rule: of those with TM ≥ {SIMILAR}, the one whose TM error is nearest "
            "the median."
        )
        return drawing(figure, "superposition", "Two structures superposed", caption)


def _steps(flat: NDArray[np.float64], ca: NDArray[np.float64]) -> NDArray[np.float64]:
    """Line pieces between neighbours, shape (s, 2, 2), without bridges over missing residues."""
    whole = np.linalg.norm(np.diff(ca, axis=0), axis=1) <= _BREAK
    pieces: NDArray[np.float64] = np.stack([flat[:-1], flat[1:]], axis=1)[whole]
    return pieces
