"""Score many mutants of one wild type: what `Predictor` does, with the work that they share done once.

A substitution keeps residue k beside residue k. The windows along the diagonal are then plain means,
the wild type's part of every product is the same for all mutants, and only one of the two directions
is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from mutscan.model.pair_head import CLOSE, highest_cosines
from mutscan.model.predict import check_finite, one_thread_on_cpu
from mutscan.model.sequence_alignment import FAR, NEAR, REACHES, align_scores, letter_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from mutscan.model.pair_head import PairHead
    from mutscan.model.predict import Predictor


class SubstitutionPredictor:
    """TM-score and lDDT of mutants as long as their wild type, residue by residue.

    The numbers are those of `Predictor.compare` to within 1e-6. On a CPU those of one mutant do not
    depend on the others.

    Parameters
    ----------
    predictor : Predictor
    embedding : float32 array, shape (L, d)
        Of the wild type.
    sequence : str, length L
        The wild type.
    """

    def __init__(self, predictor: Predictor, embedding: NDArray[np.float32], sequence: str) -> None:
        self._device = predictor.device
        self._net = predictor.net
        self._sequence = sequence
        self._one_by_one = self._device.type == "cpu"
        length = len(sequence)
        self._length = torch.tensor([length], device=self._device)
        self._letters = torch.from_numpy(letter_places(sequence)).to(self._device)
        with torch.inference_mode(), one_thread_on_cpu(self._device):
            x = torch.tensor(embedding, dtype=torch.float32, device=self._device)
            self._residues, self._pooled, self._matching, self._seen = self._encode(x[None])
            self._unit = functional.normalize(self._residues, dim=-1)  # (1, L, d)
            place = torch.arange(length, device=self._device)
            # Residues inside the chain that a window of either reach holds, as a share, (L,).
            self._room = torch.stack(
                [
                    (place.clamp(max=reach) + 1 + (length - 1 - place).clamp(max=reach)) / (2 * reach + 1)
                    for reach in (NEAR, FAR)
                ],
                dim=1,
            )  # (L, 2)

    def predict(
        self, embeddings: Sequence[NDArray[np.float32]], mutants: Sequence[str]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Predict mutants; on a GPU together.

        Parameters
        ----------
        embeddings : sequence of B float32 arrays, shape (L, d)
        mutants : sequence of B str, length L

        Returns
        -------
        tm : float array, shape (B,)
            Normalised by the wild type; not clipped.
        lddt : float32 array, shape (B, L)
            Clipped to [0, 1].
        """
        if any(len(mutant) != len(self._sequence) for mutant in mutants):
            raise ValueError(f"mutants of a protein of {len(self._sequence)} residues have as many")
        # On a CPU one after the other: the net's data then stays in the cache.
        step = 1 if self._one_by_one else len(mutants)
        scores, profiles = [], []
        with torch.inference_mode(), one_thread_on_cpu(self._device):
            for first in range(0, len(mutants), step):
                some = slice(first, first + step)
                x = torch.from_numpy(np.stack(embeddings[some])).to(self._device)  # (B, L, d)
                tm, lddt = self._compare(x, mutants[some])
                scores.append(tm.double().cpu().numpy())
                profiles.append(lddt.clamp(0.0, 1.0).cpu().numpy())
                check_finite(scores[-1], profiles[-1])
        return np.concatenate(scores), np.concatenate(profiles)

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Residue vectors (B, L, d), global vectors (B, d), matching (2 B, L, d_match), seen (B, L, 16)."""
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        residues, pooled = self._net(x, mask)
        head = self._net.pair_head
        if head is None:
            return residues, pooled, None, None
        matching = head.matching(residues, mask).transpose(1, 2).flatten(0, 1)
        return residues, pooled, matching, head.residue(residues)

    def _compare(self, x: Tensor, mutants: Sequence[str]) -> tuple[Tensor, Tensor]:
        """TM-score (B,) and lDDT (B, L)."""
        residues, pooled, matching, seen = self._encode(x)
        head = self._net.pair_head
        if head is None:
            tm = self._net.tm_score(self._pooled, pooled, self._length, self._length)
            return tm, self._net.lddt(self._residues, residues)
        assert matching is not None, "a net with a pair head has matching vectors"
        assert seen is not None, "a net with a pair head looks at residues"
        return self._with_head(head, residues, pooled, matching, seen, mutants)

    def _with_head(
        self,
        head: PairHead,
        residues: Tensor,
        pooled: Tensor,
        matching: Tensor,
        seen: Tensor,
        mutants: Sequence[str],
    ) -> tuple[Tensor, Tensor]:
        """Scores of a net with a pair head."""
        cosine = functional.cosine_similarity(self._pooled, pooled, dim=-1, eps=1e-8)
        apart = (1.0 - cosine).clamp(min=0.0)
        matches = self._best_matches(matching)
        aligned = [align_scores(self._sequence, mutant, ungapped=True).distances() for mutant in mutants]
        alignment = torch.from_numpy(np.stack(aligned)).to(self._device)
        lengths = self._length.expand(len(mutants))
        tm = head.tm_score(apart, matches, alignment, lengths, lengths)
        letters = torch.from_numpy(np.stack([letter_places(mutant) for mutant in mutants])).to(self._device)
        unlike = head.letter_distance[self._letters, letters]  # (B, L)
        norm = torch.linalg.vector_norm(residues, dim=-1).clamp(min=1e-12)
        here = (1.0 - (self._unit * residues).sum(-1) / norm).clamp(min=0.0)
        whole = head.pair_distances(apart, matches, alignment)  # (B, 13)
        near = [here, _window_mean(here, NEAR), unlike]
        near += [_window_mean(unlike, reach) for reach in (CLOSE, NEAR, FAR)]
        distances = torch.cat(
            [
                torch.stack(near, dim=2),
                unlike.new_zeros((*unlike.shape, len(REACHES))),  # the sequences lie side by side
                whole[:, None].expand(-1, residues.shape[1], -1),
            ],
            dim=2,
        )  # (B, L, 22)
        assert self._seen is not None, "a net with a pair head looks at residues"
        room = self._room.expand(len(mutants), -1, -1)
        known = torch.cat([self._seen + seen, (self._seen - seen).abs(), distances, room], dim=2)
        return tm, head.lddt(distances, known)

    def _best_matches(self, matching: Tensor) -> tuple[Tensor, Tensor]:
        """`PairHead.best_matches` of the wild type with each mutant: (2 B, L, d_match) -> two (B, 2)."""
        assert self._matching is not None, "a net with a pair head has matching vectors"
        own = self._matching.expand(len(matching) // 2, *self._matching.shape).flatten(0, 1)
        there, back = (1.0 - best.mean(1) for best in highest_cosines(own, matching))
        return there.view(-1, 2), back.view(-1, 2)


def _window_mean(values: Tensor, reach: int) -> Tensor:
    """Mean over `reach` residues to each side and the residue itself, those there are: (B, L)."""
    return functional.avg_pool1d(values, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)
