"""The pair head: compares residue vectors and sequences of two chains.

A global vector describes a chain before it is known what the chain will be
compared with. The pair head compares residues:

- every residue of one chain with its best match in the other ("late
  interaction", doi 10.1145/3397271.3401075), asymmetric as the TM-score is;
- the residues around an aligned pair, along the diagonal of both chains;
- the alignment of the two sequences (`mutscan.model.sequence_alignment`): its
  scores, and where its path departs from laying the pair's residues on each
  other. Only sequences are aligned: gaps between structures stay unknown.

All of these are distances that are 0 between equal chains, and both scores are
exp(-sum_k w_k d_k) with positive weights w_k that depend on the pair: equal
inputs give exactly 1, and everything that differs can only lower a score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from mutscan.model.row_products import row_products, sum_of_products
from mutscan.model.sequence_alignment import FAR, N_ALIGNMENT, NEAR, REACHES, residue_distances
from mutscan.model.vectors import groups_of_like_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mutscan.model.config import SiameseConfig

_WINDOW: Final = 9  # residues a matching vector looks at
CLOSE: Final = 2  # reach of the closest window over letters; the others are NEAR (vectors, too) and FAR
_D_RESIDUE: Final = 16
_SCALE: Final = 150.0  # residues; lengths are seen relative to this
_CELLS: Final = 2**22  # of a residue-by-residue matrix held at a time where no gradient is wanted


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
        n_lddt = 2 + 4 + len(REACHES) + 1 + 4 + N_ALIGNMENT
        # Softplus of these is what each distance weighs at first: most for those the net can shape.
        self.tm_weights = _small_net(
            9 + N_ALIGNMENT, [-1.0] * 5 + [-4.0] * N_ALIGNMENT + [-1.0, -4.0], config
        )
        self.lddt_weights = _small_net(2 * _D_RESIDUE + n_lddt + 2, [-3.0] * n_lddt, config)
        self.letter_distance: Tensor
        self.register_buffer("letter_distance", torch.from_numpy(residue_distances()), persistent=False)

    def quick_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the two small networks that weigh distances; they tolerate a higher learning rate."""
        yield from self.tm_weights.parameters()
        yield from self.lddt_weights.parameters()

    def matching(self, residues: Tensor, mask: Tensor) -> Tensor:
        """Vectors to be matched, of length 1 each: (B, L, d) -> (B, L, 2, d_match), 0 at padding."""
        one = self.match_one(residues)
        window = self.match_window(residues.transpose(1, 2)).transpose(1, 2)
        both = torch.stack([one, window], dim=2).float()
        return functional.normalize(both, dim=-1) * mask[:, :, None, None]

    @staticmethod
    def best_matches(
        matching: Tensor,
        starts: Tensor,
        lengths: Tensor,
        pairs: tuple[Tensor, Tensor],
        block_elements: int,
    ) -> tuple[Tensor, Tensor]:
        """Distance of residues to their best match in the other chain, mean over the chain.

        Parameters
        ----------
        matching : Tensor, shape (N, 2, d_match)
            From `matching`, all chains end to end.
        starts, lengths : int64 Tensor, shape (C,)
            First row and number of residues of each chain.
        pairs : two int64 Tensors, shape (P,)
            Chain 1 and chain 2 of each pair.
        block_elements : int
            Cells of the residue-by-residue matrices that are held at a time.

        Returns
        -------
        distance_12, distance_21 : Tensor, shape (P, 2)
            Of the residues of chain 1 in chain 2, and the other way round; 1 - cosine.
        """
        means: Tensor = _BestMatches.apply(  # type: ignore[no-untyped-call]
            matching, starts, lengths, *pairs, block_elements
        )
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

    def lddt_evidence(
        self,
        residues: Tensor,
        letters: Tensor,
        rows: tuple[Tensor, Tensor],
        bounds: tuple[Tensor, Tensor, Tensor, Tensor],
        departures: Tensor,
        pair: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Gather the inputs of the predicted lDDT of aligned residues.

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
        departures : Tensor, shape (R, 3)
            `AlignmentPaths.departures`.
        pair : Tensor, shape (R, 1 + 4 + 8)
            Distances between the two chains as a whole, see `pair_distances`.

        Returns
        -------
        distances : Tensor, shape (R, 22)
            What lowers the lDDT.
        seen : Tensor, shape (R, 56)
            What the weights of these depend on: the distances, the two residues, the room of the windows.
        """
        near, alike, room = self._along_diagonals(residues, letters, rows, bounds)
        distances = torch.cat([near, alike, departures, pair], dim=1)
        seen = self.residue(residues)
        one, two = (seen.index_select(0, row) for row in rows)
        return distances, torch.cat([one + two, (one - two).abs(), distances, room], dim=1)

    def lddt(self, distances: Tensor, seen: Tensor) -> Tensor:
        """LDDT of aligned residues, in (0, 1]: (..., 22), (..., 56) -> (...)."""
        return torch.exp(-(functional.softplus(self.lddt_weights(seen)) * distances).sum(-1))

    @staticmethod
    def pair_distances(pooled: Tensor, matches: tuple[Tensor, Tensor], alignment: Tensor) -> Tensor:
        """Join the inputs of `lddt` that describe a pair as a whole: (P,), 2 x (P, 2), (P, 8) -> (P, 13)."""
        return torch.cat([pooled[:, None], *matches, alignment], dim=1)

    def _along_diagonals(
        self,
        residues: Tensor,
        letters: Tensor,
        rows: tuple[Tensor, Tensor],
        bounds: tuple[Tensor, Tensor, Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Distances of the residues themselves and around them: vectors (R, 2), letters (R, 4).

        And the share of the windows that lies inside both chains, (R, 2).
        """
        with torch.no_grad():
            steps = torch.arange(-FAR, FAR + 1, device=residues.device)
            one, two = (row[:, None] + steps for row in rows)  # (R, 2 FAR + 1)
            inside = (one >= bounds[0][:, None]) & (one < bounds[1][:, None])
            inside &= (two >= bounds[2][:, None]) & (two < bounds[3][:, None])
            one, two = (
                torch.where(inside, place, row[:, None]) for place, row in zip((one, two), rows, strict=True)
            )
            table = self.letter_distance
            unlike = table.flatten()[letters[one] * len(table) + letters[two]] * inside
            narrow = slice(FAR - NEAR, FAR + NEAR + 1)
            n_near, n_far = inside[:, narrow].sum(1), inside.sum(1)
            closest = slice(FAR - CLOSE, FAR + CLOSE + 1)
            alike = torch.stack(
                [
                    unlike[:, FAR],
                    unlike[:, closest].sum(1) / inside[:, closest].sum(1),
                    unlike[:, narrow].sum(1) / n_near,
                    unlike.sum(1) / n_far,
                ],
                dim=1,
            )
            room = torch.stack([n_near / (2 * NEAR + 1), n_far / (2 * FAR + 1)], dim=1)
            # Windows of neighbours overlap: each two residues are compared once.
            points = one[:, narrow] * len(residues) + two[:, narrow]
            different, place = torch.unique(points, return_inverse=True)
        ends = different // len(residues), different % len(residues)
        norms = torch.linalg.vector_norm(residues, dim=-1).clamp(min=1e-12)
        lengths = norms.index_select(0, ends[0]) * norms.index_select(0, ends[1])
        apart = (1.0 - row_products(residues, *ends) / lengths).clamp(min=0)
        window = apart.index_select(0, place.flatten()).view_as(place)
        near = torch.stack([window[:, NEAR], (window * inside[:, narrow]).sum(1) / n_near], dim=1)
        return near, alike, room


def _small_net(d_in: int, start: list[float], config: SiameseConfig) -> nn.Sequential:
    last = nn.Linear(config.d_pair, len(start))
    last.register_parameter("bias", nn.Parameter(torch.tensor(start)))
    return nn.Sequential(nn.Linear(d_in, config.d_pair), nn.GELU(), last)


class _BestMatches(torch.autograd.Function):
    """Mean over a chain's residues of the cosine with their best match: (2 directions, P, 2 kinds).

    Which residue matches best has no gradient, how well it does has one; autograd's own would
    go through whole matrices and cost several times as much as all else.
    """

    @staticmethod
    def forward(
        ctx: Any,
        matching: Tensor,
        starts: Tensor,
        lengths: Tensor,
        first: Tensor,
        second: Tensor,
        block_elements: int,
    ) -> Tensor:
        flat = matching.flatten(0, 1)  # residue n's vector of kind h is row 2 n + h
        means = flat.new_zeros(2, len(first), 2)
        found = []  # rows, their best matches, share in the mean, place of the mean
        for group in groups_of_like_size(torch.maximum(lengths[first], lengths[second]), block_elements):
            sides = [_rows(starts[end[group]], lengths[end[group]]) for end in (first, second)]
            (one, share_1), (two, share_2) = sides
            vectors = [
                flat.index_select(0, rows.flatten()).view(2 * len(group), -1, flat.shape[1])
                for rows in (one, two)
            ]
            if not ctx.needs_input_grad[0]:
                best_1, best_2 = highest_cosines(*vectors)
                means[0, group] = (best_1.view(one.shape) * share_1).sum(2)
                means[1, group] = (best_2.view(two.shape) * share_2).sum(2)
                continue
            cosine = torch.bmm(vectors[0], vectors[1].transpose(1, 2))
            cosine = cosine.view(len(group), 2, one.shape[2], two.shape[2])
            in_2, in_1 = cosine.max(3), cosine.max(2)
            means[0, group] = (in_2.values * share_1).sum(2)
            means[1, group] = (in_1.values * share_2).sum(2)
            for way, (own, share, other, best) in enumerate(
                ((one, share_1, two, in_2.indices), (two, share_2, one, in_1.indices))
            ):
                mean = (way * len(first) + group)[:, None] * 2 + torch.arange(2, device=group.device)
                counted = (own, other.gather(2, best), share.expand_as(own), mean[..., None].expand_as(own))
                found.append([part.flatten() for part in counted])
        if found:
            ctx.save_for_backward(flat, *(torch.cat(parts) for parts in zip(*found, strict=True)))
        return means

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flat, own, other, share, mean = ctx.saved_tensors
        summed = sum_of_products(flat, own, other, share * gradients[0].flatten()[mean])
        return summed.view(-1, 2, flat.shape[1]), None, None, None, None, None


def highest_cosines(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Highest cosine of each row with any row of the other matrix, block of rows by block of rows.

    Parameters
    ----------
    one, two : Tensor, shape (N, W1, d) and (N, W2, d)
        Vectors of length 1.

    Returns
    -------
    Tensor, shape (N, W1), and Tensor, shape (N, W2)
    """
    of_one = []
    of_two = one.new_full(two.shape[:2], -torch.inf)
    for rows in torch.split(one, max(1, _CELLS // (len(two) * two.shape[1])), dim=1):
        cosine = torch.bmm(rows, two.transpose(1, 2))  # (N, rows, W2)
        of_one.append(cosine.amax(2))
        torch.maximum(of_two, cosine.amax(1), out=of_two)
    return torch.cat(of_one, dim=1), of_two


def _rows(start: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of padded chains (P, 2, W) and each residue's share in its chain (P, 1, W).

    Behind its end a chain repeats its last residue, which changes no maximum, with a share of 0.
    """
    place = torch.arange(int(length.max()), device=length.device)
    residue = start[:, None] + torch.minimum(place, length[:, None] - 1)
    kinds = torch.arange(2, device=length.device)
    share = (place < length[:, None]) / length[:, None]
    return 2 * residue[:, None] + kinds[:, None], share[:, None]
