"""The Siamese network of the preprint: residue embeddings in, residue vectors and one global vector out.

The predicted lDDT of residues (i, j) is the cosine of their residue vectors,
the predicted TM-score the cosine of the two global vectors
(doi 10.1101/2025.10.27.684815).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from mutscan.model.config import SiameseConfig
from mutscan.model.packing import Packing
from mutscan.model.pair_head import PairHead
from mutscan.model.vectors import ChainVectors, PairRows

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS: Final = 65_536  # aligned residues looked at together


class _EncoderLayer(nn.Module):
    """Pre-norm transformer layer: attention and feed-forward, each with a residual."""

    def __init__(self, config: SiameseConfig) -> None:
        super().__init__()
        d = config.d_model
        self.n_heads = config.n_heads
        self.dropout = config.dropout
        self.attention_norm = nn.LayerNorm(d)
        self.query_key_value = nn.Linear(d, 3 * d)
        self.attention_output = nn.Linear(d, d)
        self.feed_forward_norm = nn.LayerNorm(d)
        self.feed_forward = nn.Sequential(
            nn.Linear(d, config.d_feed_forward),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.d_feed_forward, d),
        )
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, attend: Tensor | Packing) -> Tensor:
        qkv = self.query_key_value(self.attention_norm(x))  # (B, L, 3d)
        dropout = self.dropout if self.training else 0.0
        if isinstance(attend, Tensor):
            batch, length, d = x.shape
            query, key, value = (
                part.view(batch, length, self.n_heads, d // self.n_heads).transpose(1, 2)  # (B, H, L, d/H)
                for part in qkv.chunk(3, dim=-1)
            )
            mixed = functional.scaled_dot_product_attention(
                query, key, value, attn_mask=attend, dropout_p=dropout
            )
            mixed = mixed.transpose(1, 2).reshape(batch, length, d)
        else:
            mixed = attend.attend(qkv, self.n_heads, dropout)
        x = x + self.drop(self.attention_output(mixed))
        transformed: Tensor = self.drop(self.feed_forward(self.feed_forward_norm(x)))
        return x + transformed


class SiameseNet(nn.Module):
    """Residue vectors and a global vector for each protein of a batch."""

    def __init__(self, config: SiameseConfig) -> None:
        super().__init__()
        self.config = config
        d = config.d_model
        self.input_projection = nn.Linear(config.d_input, d)
        self.input_norm = nn.LayerNorm(d) if config.input_norm else nn.Identity()
        self.input_drop = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(_EncoderLayer(config) for _ in range(config.n_layers))
        self.output_projection = nn.Linear(d, d)
        self.pool = nn.Sequential(nn.Linear(d, config.d_pool), nn.ReLU(), nn.Linear(config.d_pool, 1))
        self.pair_head = PairHead(config) if config.d_match else None
        for parameter in self.parameters():
            if parameter.dim() >= 2:
                nn.init.xavier_uniform_(parameter)

    def forward(self, embeddings: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch of proteins.

        Parameters
        ----------
        embeddings : Tensor, shape (B, L, d_input)
        mask : bool Tensor, shape (B, L)
            True = real residue.

        Returns
        -------
        residues : Tensor, shape (B, L, d_model)
            Residue vectors; zero at padding.
        pooled : Tensor, shape (B, d_model)
            Attention-pooled global vectors.
        """
        y = self._residues(embeddings, mask, mask[:, None, None, :])  # no residue looks at padding
        energy = self.pool(y).squeeze(-1).float().masked_fill(~mask, -torch.inf)  # (B, L)
        weights = energy.softmax(dim=-1)
        pooled = torch.einsum("bl,bld->bd", weights, y.float())  # (B, d)
        return y, pooled

    def encode_packed(self, embeddings: Tensor, packing: Packing) -> tuple[Tensor, Tensor, Tensor | None]:
        """Encode chains that lie end to end: `forward` and `matching` for training on a CPU.

        Parameters
        ----------
        embeddings : Tensor, shape (T, d_input)
        packing : Packing

        Returns
        -------
        residues : float32 Tensor, shape (N, d_model)
        pooled : float32 Tensor, shape (C, d_model)
        matching : Tensor, shape (N, 2, d_match), or None where there is no pair head
        """
        y = self._residues(embeddings, packing.mask, packing)
        rows = packing.rows
        residues = y.index_select(0, rows).float()
        pooled = packing.pool(self.pool(y).squeeze(-1).float().index_select(0, rows), residues)
        matching = self.matching(y[None], packing.mask[None])
        return residues, pooled, None if matching is None else matching[0].index_select(0, rows)

    def _residues(self, embeddings: Tensor, mask: Tensor, attend: Tensor | Packing) -> Tensor:
        """Residue vectors, zero where there is no residue."""
        x = self.input_drop(self.input_norm(self.input_projection(embeddings)))
        for layer in self.layers:
            x = layer(x, attend)
        y: Tensor = self.output_projection(x)
        if self.config.relu_output:
            y = functional.relu(y)
        return y * mask[..., None]

    def matching(self, residues: Tensor, mask: Tensor) -> Tensor | None:
        """Vectors for the pair head, (B, L, d_model) -> (B, L, 2, d_match); None where there is no head."""
        if self.pair_head is None:
            return None
        matching: Tensor = self.pair_head.matching(residues, mask)
        return matching

    def compare(
        self, chains: ChainVectors, pairs: PairRows, *, block_elements: int = 200_000
    ) -> tuple[Tensor, Tensor]:
        """Predict the scores of pairs of encoded chains.

        Parameters
        ----------
        chains : ChainVectors
        pairs : PairRows
        block_elements : int
            Cells of the residue-by-residue matrices that are held at a time.

        Returns
        -------
        tm_score : Tensor, shape (P,)
            Normalised by chain 1; not clipped.
        lddt : Tensor, shape (R,)
            Not clipped.
        """
        first, second = pairs.first, pairs.second
        length_1, length_2 = chains.lengths[first], chains.lengths[second]
        head = self.pair_head
        if head is None:
            pooled_1, pooled_2 = chains.pooled[first], chains.pooled[second]
            tm_score = self.tm_score(pooled_1, pooled_2, length_1, length_2)
            return tm_score, self.lddt(chains.residues[pairs.row_1], chains.residues[pairs.row_2])
        pooled, matches = self._apart(head, chains, pairs, block_elements)
        tm_score = head.tm_score(pooled, matches, pairs.alignment, length_1, length_2)
        whole = head.pair_distances(pooled, matches, pairs.alignment)
        parts = [head.lddt(*evidence) for evidence in self._evidence(head, chains, pairs, whole)]
        return tm_score, torch.cat([*parts, tm_score.new_empty(0)])

    def lddt_evidence(self, chains: ChainVectors, pairs: PairRows) -> tuple[Tensor, Tensor]:
        """Gather the pair head's inputs for the lDDT of all residue pairs, (R, 22) and (R, 56)."""
        head = self.pair_head
        assert head is not None, "only a net with a pair head weighs distances"
        apart, matches = self._apart(head, chains, pairs, 200_000)
        whole = head.pair_distances(apart, matches, pairs.alignment)
        distances, seen = zip(*self._evidence(head, chains, pairs, whole), strict=True)
        return torch.cat(distances), torch.cat(seen)

    @staticmethod
    def _evidence(
        head: PairHead, chains: ChainVectors, pairs: PairRows, whole: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """`PairHead.lddt_evidence`, block of rows by block of rows."""
        first, second = pairs.first, pairs.second
        starts = chains.starts
        ends = starts + chains.lengths
        for begin in range(0, len(pairs.row_1), _ROWS):
            block = slice(begin, begin + _ROWS)
            of = pairs.pair_of[block]
            yield head.lddt_evidence(
                chains.residues,
                chains.letters,
                (pairs.row_1[block], pairs.row_2[block]),
                (starts[first[of]], ends[first[of]], starts[second[of]], ends[second[of]]),
                pairs.departures[block],
                whole[of],
            )

    def _apart(
        self, head: PairHead, chains: ChainVectors, pairs: PairRows, block_elements: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Distance of the global vectors (P,), and of best matches both ways, (P, 2) each."""
        pooled = chains.pooled[pairs.first], chains.pooled[pairs.second]
        cosine = functional.cosine_similarity(*pooled, dim=-1, eps=1e-8)
        return (1.0 - cosine).clamp(min=0.0), self._matches(head, chains, pairs, block_elements)

    @staticmethod
    def _matches(
        head: PairHead, chains: ChainVectors, pairs: PairRows, block_elements: int
    ) -> tuple[Tensor, Tensor]:
        """Best-match distances of all pairs, block by block of like size."""
        assert chains.matching is not None, "a net with a pair head has matching vectors"
        # The same two chains the other way round have the same matches.
        ends = torch.stack([pairs.first, pairs.second])
        n_chains = len(chains.lengths)
        several, place = torch.unique(ends.amin(0) * n_chains + ends.amax(0), return_inverse=True)
        low, high = several // n_chains, several % n_chains
        matches = head.best_matches(
            chains.matching, chains.starts, chains.lengths, (low, high), block_elements
        )
        of_low, of_high = (side.index_select(0, place) for side in matches)
        forth = (pairs.first <= pairs.second)[:, None]
        return torch.where(forth, of_low, of_high), torch.where(forth, of_high, of_low)

    def tm_score(self, pooled_1: Tensor, pooled_2: Tensor, lengths_1: Tensor, lengths_2: Tensor) -> Tensor:
        """TM-score normalised by chain 1 from global vectors alone, shape (B,), not clipped.

        The cosine of the global vectors (B, d) stands for the TM-score normalised by the shorter
        chain; the length term takes it to chain 1 (see `SiameseConfig.length_exponent`).
        """
        cosine = functional.cosine_similarity(pooled_1, pooled_2, dim=-1, eps=1e-8)
        if self.config.length_exponent == 0.0:
            return cosine
        ratio = (lengths_2.to(cosine) / lengths_1.to(cosine)).clamp(max=1.0)
        return cosine * ratio.pow(self.config.length_exponent)

    @staticmethod
    def lddt(residues_1: Tensor, residues_2: Tensor) -> Tensor:
        """Predicted lDDT of residue pairs given row by row: (..., d), (..., d) -> (...), not clipped."""
        return functional.cosine_similarity(residues_1.float(), residues_2.float(), dim=-1, eps=1e-8)
