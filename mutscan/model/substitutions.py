"""Many mutants of one wild type through the net: what `Predictor` does, without what it does twice.

A substitution keeps residue k beside residue k. The windows along the diagonal
are then running sums, the wild type's part of every product is the same for all
mutants, and only one of the two directions is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from mutscan.model.pair_head import CLOSE
from mutscan.model.predict import one_thread_on_cpu
from mutscan.model.sequence_alignment import FAR, NEAR, REACHES, align_scores, letter_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from mutscan.model.pair_head import PairHead
    from mutscan.model.predict import Encoded, Predictor


class SubstitutionPredictor:
    """TM-score and lDDT of mutants as long as their wild type, residue by residue.

    The numbers are those of `Predictor.compare` to within 1e-6.

    Parameters
    ----------
    predictor : Predictor
    reference : Encoded
        The wild type, L residues.
    """

    def __init__(self, predictor: Predictor, reference: Encoded) -> None:
        self._predictor = predictor
        self._net = predictor.net
        self._reference = reference
        device = predictor.device
        length = len(reference)
        self._mask = torch.ones((1, length), dtype=torch.bool, device=device)
        self._length = torch.tensor([length], device=device)
        self._letters = torch.from_numpy(letter_places(reference.sequence)).to(device)
        head = self._net.pair_head
        if head is not None:
            with torch.inference_mode():
                self._unit = functional.normalize(reference.residues, dim=-1)  # (L, d)
                self._seen = head.residue(reference.residues)  # (L, 16)
            place = torch.arange(length, device=device)
            # Residues inside the chain that a window of either reach holds, (L,).
            self._n_close, self._n_near, self._n_far = (
                (torch.minimum(place, place.new_tensor(reach)) + 1)
                + torch.minimum(length - 1 - place, place.new_tensor(reach))
                for reach in (CLOSE, NEAR, FAR)
            )
            self._room = torch.stack(
                [self._n_near / (2 * NEAR + 1), self._n_far / (2 * FAR + 1)], dim=1
            )  # (L, 2)

    @torch.inference_mode()
    def predict(
        self, embeddings: Sequence[NDArray[np.float32]], mutants: Sequence[str]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Predict mutants together.

        On a CPU call it with one mutant at a time: what the net needs then stays in the cache.

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
        if any(len(mutant) != len(self._reference) for mutant in mutants):
            raise ValueError(f"mutants of a protein of {len(self._reference)} residues have as many")
        x = torch.from_numpy(np.stack(embeddings)).to(self._predictor.device)  # (B, L, d)
        mask = self._mask.expand(len(mutants), -1)
        with one_thread_on_cpu(self._predictor.device):
            residues, pooled = self._net(x, mask)
            head = self._net.pair_head
            if head is None:
                tm = self._net.tm_score(self._reference.pooled[None], pooled, self._length, self._length)
                lddt = self._net.lddt(self._reference.residues, residues)
            else:
                matching = head.matching(residues, mask)
                tm, lddt = self._with_head(head, residues, pooled, matching, mutants)
        return tm.double().cpu().numpy(), lddt.clamp(0.0, 1.0).cpu().numpy()

    def _with_head(
        self, head: PairHead, residues: Tensor, pooled: Tensor, matching: Tensor, mutants: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """TM-score (B,) and lDDT (B, L) of a net with a pair head."""
        reference, device = self._reference, self._predictor.device
        cosine = functional.cosine_similarity(reference.pooled[None], pooled, dim=-1, eps=1e-8)
        apart = (1.0 - cosine).clamp(min=0.0)
        assert reference.matching is not None, "a net with a pair head has matching vectors"
        pairs = [_best_matches(reference.matching, own) for own in matching]
        matches = (torch.stack([one for one, _ in pairs]), torch.stack([two for _, two in pairs]))
        aligned = [align_scores(reference.sequence, mutant, ungapped=True).distances() for mutant in mutants]
        alignment = torch.from_numpy(np.stack(aligned)).to(device)
        lengths = self._length.expand(len(mutants))
        tm = head.tm_score(apart, matches, alignment, lengths, lengths)
        letters = torch.from_numpy(np.stack([letter_places(mutant) for mutant in mutants])).to(device)
        unlike = head.letter_distance[self._letters, letters]  # (B, L)
        here = (1.0 - (self._unit * functional.normalize(residues, dim=-1)).sum(-1)).clamp(min=0.0)
        whole = head.pair_distances(apart, matches, alignment)  # (B, 13)
        distances = torch.cat(
            [
                torch.stack(
                    [
                        here,
                        _window_sum(here, NEAR) / self._n_near,
                        unlike,
                        _window_sum(unlike, CLOSE) / self._n_close,
                        _window_sum(unlike, NEAR) / self._n_near,
                        _window_sum(unlike, FAR) / self._n_far,
                    ],
                    dim=2,
                ),
                unlike.new_zeros((*unlike.shape, len(REACHES))),  # the sequences lie side by side
                whole[:, None].expand(-1, residues.shape[1], -1),
            ],
            dim=2,
        )  # (B, L, 22)
        one, two = self._seen, head.residue(residues)
        room = self._room.expand(len(mutants), -1, -1)
        seen = torch.cat([one + two, (one - two).abs(), distances, room], dim=2)
        return tm, head.lddt(distances, seen)


def _best_matches(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """`PairHead.best_matches` of two chains of one length: (L, 2, d_match) each -> (2,), (2,)."""
    one, two = first.transpose(0, 1), second.transpose(0, 1)  # (2, L, d_match)
    cosine = torch.bmm(one, two.transpose(1, 2))
    means = []
    for own, other, best in ((one, two, cosine.max(2).indices), (two, one, cosine.max(1).indices)):
        matched = other.gather(1, best[..., None].expand(-1, -1, other.shape[2]))
        means.append((own * matched).sum(2).mean(1))
    return 1.0 - means[0], 1.0 - means[1]


def _window_sum(values: Tensor, reach: int) -> Tensor:
    """Sum over `reach` residues to each side and the residue itself; what is outside counts 0: (B, L)."""
    length = values.shape[1]
    padded = functional.pad(values, (reach, reach))
    total = padded[:, :length]
    for step in range(1, 2 * reach + 1):
        total = total + padded[:, step : step + length]
    return total
