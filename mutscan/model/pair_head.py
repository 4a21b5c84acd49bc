"""The second look at a pair: residue vectors of both chains against each other, and their sequences.

One global vector for each chain has to say everything about a chain before it
is known what it will be compared with. The pair head compares residues:

- every residue of one chain with its best match in the other ("late
  interaction", doi 10.1145/3397271.3401075), asymmetric as the TM-score is;
- the residues around an aligned pair, along the diagonal of both chains;
- the alignment of the two sequences (`mutscan.model.sequence_alignment`).

All of these are distances that are 0 between equal chains, and both scores are
exp(-sum_k w_k d_k) with positive weights w_k that depend on the pair: equal
inputs give exactly 1, and everything that differs can only lower a score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from mutscan.model.sequence_alignment import N_ALIGNMENT, residue_distances

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mutscan.model.siamese import SiameseConfig

_WINDOW: Final = 9  # residues a matching vector looks at
NEAR: Final = 4  # reach of the diagonal window over residue vectors, and of the narrow one over letters
FAR: Final = 12  # reach of the wide window over letters
_D_RESIDUE: Final = 16
_SCALE: Final = 150.0  # residues; lengths are seen relative to this


class PairHead(nn.Module):
    """TM-score and lDDT of pairs from the vectors of both chains.

    Parameters
    ----------
    config : SiameseConfig
        `d_match` is the width of the vectors that are matched.
    """

    def __init__(self, config: SiameseConfig) -> None:
        super().__init__()
        d = config.d_model
        self.match_one = nn.Linear(d, config.d_match)
        self.match_window = nn.Conv1d(d, config.d_match, _WINDOW, padding=_WINDOW // 2)
        self.residue = nn.Linear(d, _D_RESIDUE)
        n_lddt = 5 + 1 + 4 + N_ALIGNMENT
        # Softplus of these is what each distance weighs at first: most for those the net can shape.
        self.tm_weights = _small_net(
            9 + N_ALIGNMENT, [-1.0] * 5 + [-4.0] * N_ALIGNMENT + [-1.0, -4.0], config
        )
        self.lddt_weights = _small_net(2 * _D_RESIDUE + n_lddt, [-3.0] * n_lddt, config)
        self.letter_distance: Tensor
        self.register_buffer("letter_distance", torch.from_numpy(residue_distances()), persistent=False)

    def quick_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the two small networks that weigh distances; they bear a higher learning rate."""
        yield from self.tm_weights.parameters()
        yield from self.lddt_weights.parameters()

    def matching(self, residues: Tensor, mask: Tensor) -> Tensor:
        """Vectors to be matched, of length 1 each: (B, L, d) -> (B, L, 2, d_match), 0 at padding."""
        one = self.match_one(residues)
        window = self.match_window(residues.transpose(1, 2)).transpose(1, 2)
        both = torch.stack([one, window], dim=2).float()
        return functional.normalize(both, dim=-1) * mask[:, :, None, None]

    @staticmethod
    def best_matches(first: Tensor, second: Tensor, mask_1: Tensor, mask_2: Tensor) -> tuple[Tensor, Tensor]:
        """Distance of residues to their best match in the other chain, mean over the chain.

        Parameters
        ----------
        first, second : Tensor, shape (P, L1, 2, d_match), (P, L2, 2, d_match)
            From `matching`.
        mask_1, mask_2 : bool Tensor, shape (P, L1), (P, L2)

        Returns
        -------
        distance_12, distance_21 : Tensor, shape (P, 2)
            Of the residues of chain 1 in chain 2, and the other way round; 1 - cosine.
        """
        # Which residue matches best is found without a gradient, how well it does with one: the
        # gradient of a maximum over whole matrices would cost several times as much as all else.
        with torch.no_grad():
            cosine = torch.einsum("pihd,pjhd->phij", first, second)
            cosine.masked_fill_(~mask_2[:, None, None, :], -2.0)
            best_in_2 = cosine.argmax(3)  # (P, 2, L1)
            cosine.masked_fill_(~mask_1[:, None, :, None], -2.0)
            best_in_1 = cosine.argmax(2)  # (P, 2, L2)
        means = []
        for own, other, best, mask in (
            (first, second, best_in_2, mask_1),
            (second, first, best_in_1, mask_2),
        ):
            chosen = best.transpose(1, 2)[..., None].expand(-1, -1, -1, other.shape[-1])
            matched = (own * other.gather(1, chosen)).sum(-1)  # (P, L, 2)
            means.append((matched * mask[..., None]).sum(1) / mask.sum(1)[:, None])
        return 1.0 - means[0], 1.0 - means[1]

    def tm_score(
        self,
        pooled: Tensor,
        matches: tuple[Tensor, Tensor],
        alignment: Tensor,
        length_1: Tensor,
        length_2: Tensor,
    ) -> Tensor:
        """TM-score normalised by chain 1, in (0, 1].

        Parameters
        ----------
        pooled : Tensor, shape (P,)
            1 - cosine of the global vectors.
        matches : two Tensors, shape (P, 2)
            From `best_matches`.
        alignment : Tensor, shape (P, 8)
            `AlignmentScores.distances` of the two sequences.
        length_1, length_2 : Tensor, shape (P,)
        """
        length_1, length_2 = length_1.to(pooled), length_2.to(pooled)
        ratio = torch.log(length_1 / length_2)[:, None]
        distances = torch.cat(
            [pooled[:, None], *matches, alignment, ratio.clamp(min=0), (-ratio).clamp(min=0)], dim=1
        )
        lengths = [torch.log(length / _SCALE)[:, None] for length in (length_1, length_2)]
        # Remote relatives align little more than strangers do: logarithms tell small shares apart.
        shares = torch.log(1.02 - alignment) + 2.0
        seen = torch.cat([*lengths, ratio, ratio.abs(), 2.0 * pooled[:, None], *matches, shares], dim=1)
        weights = self.tm_weights(seen)
        return torch.exp(-(functional.softplus(weights) * distances).sum(1))

    def lddt(
        self,
        residues: Tensor,
        letters: Tensor,
        rows: tuple[Tensor, Tensor],
        bounds: tuple[Tensor, Tensor, Tensor, Tensor],
        pair: Tensor,
    ) -> Tensor:
        """LDDT of aligned residues, in (0, 1].

        Parameters
        ----------
        residues : Tensor, shape (N, d)
            Residue vectors of all chains, end to end.
        letters : int64 Tensor, shape (N,)
            Their places in ``LETTERS``.
        rows : two int64 Tensors, shape (R,)
            The aligned residues of chain 1 and chain 2.
        bounds : four int64 Tensors, shape (R,)
            First and one past the last row of chain 1, the same of chain 2.
        pair : Tensor, shape (R, 1 + 4 + 8)
            Distances between the two chains as a whole, see `pair_distances`.
        """
        near, alike = self._along_diagonals(residues, letters, rows, bounds)
        distances = torch.cat([near, alike, pair], dim=1)
        one, two = (self.residue(residues[row]) for row in rows)
        weights = self.lddt_weights(torch.cat([one + two, (one - two).abs(), distances], dim=1))
        return torch.exp(-(functional.softplus(weights) * distances).sum(1))

    @staticmethod
    def pair_distances(pooled: Tensor, matches: tuple[Tensor, Tensor], alignment: Tensor) -> Tensor:
        """Join what `lddt` is told of each pair as a whole: (P,), 2 x (P, 2), (P, 8) -> (P, 13)."""
        return torch.cat([pooled[:, None], *matches, alignment], dim=1)

    def _along_diagonals(
        self,
        residues: Tensor,
        letters: Tensor,
        rows: tuple[Tensor, Tensor],
        bounds: tuple[Tensor, Tensor, Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Distances of the residues themselves and around them: vectors (R, 2), letters (R, 3)."""
        unit = functional.normalize(residues, dim=-1)
        vector = letter = narrow = wide = n_near = n_far = unit.new_zeros(len(rows[0]))
        for step in range(-FAR, FAR + 1):
            one, two = rows[0] + step, rows[1] + step
            inside = (one >= bounds[0]) & (one < bounds[1]) & (two >= bounds[2]) & (two < bounds[3])
            one, two = torch.where(inside, one, rows[0]), torch.where(inside, two, rows[1])
            unlike = self.letter_distance[letters[one], letters[two]] * inside
            wide, n_far = wide + unlike, n_far + inside
            if abs(step) <= NEAR:
                apart = (1.0 - (unit[one] * unit[two]).sum(-1)).clamp(min=0) * inside
                vector, narrow, n_near = vector + apart, narrow + unlike, n_near + inside
                if step == 0:
                    here, letter = apart, unlike
        return (
            torch.stack([here, vector / n_near], dim=1),
            torch.stack([letter, narrow / n_near, wide / n_far], dim=1),
        )


def _small_net(d_in: int, start: list[float], config: SiameseConfig) -> nn.Sequential:
    last = nn.Linear(config.d_pair, len(start))
    last.register_parameter("bias", nn.Parameter(torch.tensor(start)))
    return nn.Sequential(nn.Linear(d_in, config.d_pair), nn.GELU(), last)
