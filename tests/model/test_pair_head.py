"""The pair head: what it promises of any two chains, whatever its weights are."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mutscan.model import pair_head
from mutscan.model.config import SiameseConfig
from mutscan.model.packing import Packing
from mutscan.model.predict import Predictor
from mutscan.model.sequence_alignment import (
    LETTERS,
    AlignmentPaths,
    align_scores,
    letter_places,
    residue_distances,
    substitution_scores,
)
from mutscan.model.siamese import SiameseNet
from mutscan.model.vectors import ChainVectors, PairRows, groups_of_like_size

pytestmark = pytest.mark.timeout(60)

HEADED = SiameseConfig(
    d_input=12, d_model=16, n_heads=2, n_layers=1, d_feed_forward=24, d_pool=8, dropout=0.0,
    relu_output=False, length_exponent=0.8, d_match=8, d_pair=10,
)  # fmt: skip
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


def net_of(config: SiameseConfig = HEADED, seed: int = 0) -> SiameseNet:
    torch.manual_seed(seed)
    return SiameseNet(config).eval()


def protein(length: int, seed: int) -> tuple[np.ndarray, str]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(length, 12)).astype(np.float32), "".join(rng.choice(list(RESIDUES), length))


# The alignment of the sequences


@given(st.text(RESIDUES + "XUO", min_size=1, max_size=60))
@settings(max_examples=50, deadline=None)
def test_a_sequence_is_no_distance_from_itself(sequence: str) -> None:
    for ungapped in (False, True):
        assert align_scores(sequence, sequence, ungapped=ungapped).distances().tolist() == [0.0] * 8


def test_scores_are_those_of_blast() -> None:
    scores = align_scores("MKTAYIAKQR", "MKTAYIKQR")
    # 8 identities M5 K5 T5 A4 Y7 I4 | K5 Q5 R5 and one gap of length 1: -11
    assert scores.overall == 5 + 5 + 5 + 4 + 7 + 4 + 5 + 5 + 5 - 11
    assert scores.own_1 == 5 + 5 + 5 + 4 + 7 + 4 + 4 + 5 + 5 + 5
    assert scores.local == scores.overall
    assert (scores.aligned, scores.identical) == (9, 9)
    assert scores.swapped() == align_scores("MKTAYIKQR", "MKTAYIAKQR")


def test_without_gaps_residue_k_belongs_to_residue_k() -> None:
    wild_type, mutant = "MKTAYIAKQRWW", "MKTAYDAKQRWG"
    free, fixed = align_scores(wild_type, mutant), align_scores(wild_type, mutant, ungapped=True)
    assert fixed.local == free.local, "a substitution is aligned without gaps anyway"
    assert (fixed.aligned, fixed.identical) == (free.aligned, free.identical) == (11, 10)
    matrix = substitution_scores()
    places = letter_places(wild_type), letter_places(mutant)
    assert fixed.overall == matrix[places].sum()


def test_distances_are_between_nothing_in_common_and_the_same() -> None:
    far = align_scores("W" * 40, "P" * 40).distances()
    assert far.tolist() == pytest.approx([1.0] * 8), "nothing aligns at all"
    part = align_scores("ACDEFGHIKL" * 4, "ACDEFGHIKL").distances()
    assert part[0] == 0.0, "over the shorter"
    assert part[1] == pytest.approx(0.75)
    assert part[5:].tolist() == pytest.approx([0.75, 0.0, 0.0]), (
        "a quarter covered, all of the other, identical"
    )


def test_letters_beyond_the_twenty() -> None:
    assert [LETTERS[place] for place in letter_places("AUOXB-")] == list("ACKXXX")
    table = residue_distances()
    assert table.shape == (21, 21)
    assert (table.diagonal() == 0).all()
    np.testing.assert_array_equal(table, table.T)


# The head


@given(st.integers(1, 40), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_equal_inputs_give_exactly_one(length: int, seed: int) -> None:
    predictor = Predictor(net_of(seed=seed))
    encoded = predictor.encode(*protein(length, seed))
    prediction = predictor.compare(encoded, encoded)
    assert prediction.tm_score == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(prediction.lddt, 1.0, atol=1e-5)


def test_scores_lie_between_zero_and_one_and_depend_on_the_reference() -> None:
    predictor = Predictor(net_of())
    long, short = predictor.encode(*protein(50, 1)), predictor.encode(*protein(20, 2))
    pairs = np.stack([np.arange(20) + 10, np.arange(20)], axis=1)
    forth, back = predictor.compare(long, short, pairs), predictor.compare(short, long, pairs[:, ::-1])
    assert 0 < forth.tm_score < 1
    assert forth.tm_score_2 == pytest.approx(back.tm_score, abs=1e-6)
    assert forth.tm_score != pytest.approx(forth.tm_score_2, abs=1e-4)
    aligned = forth.lddt[10:30]
    assert ((aligned > 0) & (aligned < 1)).all()
    assert np.isnan(forth.lddt[:10]).all()


def together(net: SiameseNet, proteins: list[tuple[np.ndarray, str]], *, padding: int = 0) -> ChainVectors:
    """Encode all in one padded batch."""
    lengths = torch.tensor([len(sequence) for _, sequence in proteins])
    longest = int(lengths.max()) + padding
    x = torch.full((len(proteins), longest, 12), 7.0)
    for row, (values, _) in enumerate(proteins):
        x[row, : len(values)] = torch.from_numpy(values)
    mask = torch.arange(longest) < lengths[:, None]
    residues, pooled = net(x, mask)
    matching = net.matching(residues, mask)
    assert matching is not None
    letters = torch.from_numpy(np.concatenate([letter_places(sequence) for _, sequence in proteins]))
    return ChainVectors(residues[mask], pooled, matching[mask], letters, lengths)


def pair_rows(chains: ChainVectors, proteins: list[tuple[np.ndarray, str]], ends: np.ndarray) -> PairRows:
    """Every pair, each with the residues 0 to 4 aligned."""
    aligned = [align_scores(proteins[a][1], proteins[b][1]) for a, b in ends.tolist()]
    distances = [one.distances() for one in aligned]
    first, second = torch.from_numpy(ends.T.copy())
    pair_of = torch.arange(len(ends)).repeat_interleave(5)
    step = torch.arange(5).repeat(len(ends))
    lengths = tuple(chains.lengths[end][pair_of].numpy() for end in (first, second))
    departures = AlignmentPaths.of(aligned).departures(
        (step.numpy(), step.numpy()), pair_of.numpy(), (lengths[0], lengths[1])
    )
    return PairRows(
        first, second, torch.from_numpy(np.stack(distances)),
        chains.starts[first][pair_of] + step, chains.starts[second][pair_of] + step, pair_of,
        torch.from_numpy(departures),
    )  # fmt: skip


@pytest.mark.parametrize("block", [1, 2_000, 10**7])
def test_many_pairs_at_once_are_the_pairs_one_by_one(block: int) -> None:
    net = net_of()
    proteins = [protein(length, seed) for seed, length in enumerate((12, 31, 7, 50, 31))]
    ends = np.array([[a, b] for a in range(5) for b in range(5) if a != b])
    with torch.no_grad():
        chains = together(net, proteins, padding=9)
        tm, lddt = net.compare(chains, pair_rows(chains, proteins, ends), block_elements=block)
    predictor = Predictor(net)
    encoded = [predictor.encode(values, sequence) for values, sequence in proteins]
    for place, (a, b) in enumerate(ends.tolist()):
        one = predictor.compare(encoded[a], encoded[b], np.tile(np.arange(5)[:, None], 2))
        assert one.tm_raw == pytest.approx(float(tm[place]), abs=2e-6)
        np.testing.assert_allclose(one.lddt[:5], lddt[5 * place : 5 * place + 5].numpy(), atol=2e-6)


@pytest.mark.parametrize("cells", [1, 50, 300])
def test_long_chains_are_matched_block_by_block_with_the_same_numbers(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = net_of()
    one, two = protein(40, 1), protein(37, 2)
    chains = together(net, [one, two])
    rows = pair_rows(chains, [one, two], np.array([[0, 1], [1, 0]]))
    tm_score, lddt = net.compare(chains, rows)  # with a gradient: the whole matrix
    assert tm_score.requires_grad
    shapes = []
    product = torch.bmm

    def watched(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        shapes.append((*first.shape[:2], second.shape[2]))
        return product(first, second)

    monkeypatch.setattr(torch, "bmm", watched)
    monkeypatch.setattr(pair_head, "_CELLS", cells)
    with torch.no_grad():
        again = net.compare(together(net, [one, two]), rows)
    assert all(shape[1] == 1 or np.prod(shape[1:]) <= cells for shape in shapes)
    assert sum(shape[1] for shape in shapes) == 40, "each residue once, for both directions"
    torch.testing.assert_close(again, (tm_score.detach(), lddt.detach()), atol=1e-6, rtol=0)


def written_out(
    net: SiameseNet, chains: ChainVectors, pairs: PairRows
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What `SiameseNet.compare` says, pair by pair and residue by residue, with autograd's own gradients."""
    head = net.pair_head
    assert head is not None
    assert chains.matching is not None
    tm_scores, lddts = [], []
    spans = [slice(int(s), int(s + n)) for s, n in zip(chains.starts, chains.lengths, strict=True)]
    table = torch.from_numpy(residue_distances())
    for place, (a, b) in enumerate(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)):
        one, two = chains.matching[spans[a]], chains.matching[spans[b]]
        cosine = torch.einsum("ihd,jhd->hij", one, two)
        matches = 1 - cosine.max(2).values.mean(1), 1 - cosine.max(1).values.mean(1)
        pooled = 1 - torch.cosine_similarity(chains.pooled[a], chains.pooled[b], dim=0)
        alignment = pairs.alignment[place]
        tm_scores.append(
            head.tm_score(
                pooled[None], (matches[0][None], matches[1][None]), alignment[None],
                chains.lengths[a : a + 1], chains.lengths[b : b + 1],
            )[0]
        )  # fmt: skip
        for row in torch.nonzero(pairs.pair_of == place).flatten().tolist():
            i, j = int(pairs.row_1[row]), int(pairs.row_2[row])
            vector, letter = {}, {}
            for step in range(-12, 13):
                if spans[a].start <= i + step < spans[a].stop and spans[b].start <= j + step < spans[b].stop:
                    ends = chains.residues[i + step], chains.residues[j + step]
                    vector[step] = 1 - torch.cosine_similarity(*ends, dim=0)
                    letter[step] = table[chains.letters[i + step], chains.letters[j + step]]
            close, near = ([step for step in vector if abs(step) <= reach] for reach in (2, 4))
            room = torch.tensor([len(near) / 9, len(vector) / 25])
            distances = torch.stack(
                [
                    vector[0],
                    sum(vector[step] for step in near) / len(near),
                    letter[0],
                    sum(letter[step] for step in close) / len(close),
                    sum(letter[step] for step in near) / len(near),
                    sum(letter.values()) / len(letter),
                    *pairs.departures[row],
                    pooled,
                    *matches[0],
                    *matches[1],
                    *alignment,
                ]
            )
            seen = [head.residue(chains.residues[end]) for end in (i, j)]
            weights = head.lddt_weights(torch.cat([sum(seen), (seen[0] - seen[1]).abs(), distances, room]))
            lddts.append(torch.exp(-(torch.nn.functional.softplus(weights) * distances).sum()))
    return tm_scores, lddts


def test_departures_are_counted_along_the_path() -> None:
    proteins = [protein(length, seed)[1] for seed, length in enumerate((40, 34))]
    one = proteins[0]
    others = [one, one[:15] + one[18:], one[:20] + "WW" + one[20:], proteins[1]]
    scores = [align_scores(one, other) for other in others]
    pair_of, first, second = (
        np.array(column)
        for column in zip(
            *[(k, i, j) for k, other in enumerate(others) for i in range(40) for j in range(len(other))],
            strict=True,
        )
    )
    lengths = np.array([len(other) for other in others])[pair_of]
    found = AlignmentPaths.of(scores).departures((first, second), pair_of, (np.full(len(first), 40), lengths))
    for k, other in enumerate(others):
        path = {(a + n, b + n) for a, b, size in scores[k].blocks for n in range(size)}
        for row in np.flatnonzero(pair_of == k)[::7].tolist():
            i, j = int(first[row]), int(second[row])
            for column, reach in enumerate((0, 4, 12)):
                inside = [
                    (i + step, j + step)
                    for step in range(-reach, reach + 1)
                    if 0 <= i + step < 40 and 0 <= j + step < len(other)
                ]
                share = sum(place not in path for place in inside) / len(inside)
                assert found[row, column] == pytest.approx(share, abs=1e-6)
    assert not found[(pair_of == 0) & (first == second)].any(), "a chain lies on itself"
    taken = AlignmentPaths.of(scores).take(np.array([2, 0]))
    assert taken.blocks.tolist() == [list(block) for k in (2, 0) for block in scores[k].blocks]


def test_scores_and_gradients_are_those_of_the_formulas_written_out() -> None:
    proteins = [protein(length, seed) for seed, length in enumerate((12, 31, 7, 50, 31))]
    ends = np.array([[a, b] for a in range(5) for b in range(5) if a != b])
    gradients = []
    scores = []
    for way in (SiameseNet.compare, written_out):
        net = net_of()
        chains = together(net, proteins)
        rows = pair_rows(chains, proteins, ends)
        tm, lddt = (torch.stack(list(part)) for part in way(net, chains, rows))
        weight = torch.linspace(-1, 1, len(lddt))  # residues pull in different directions
        ((tm * torch.linspace(1, 2, len(tm))).sum() + (lddt * weight).sum()).backward()
        scores.append(torch.cat([tm, lddt]).detach())
        gradients.append({name: p.grad for name, p in net.named_parameters()})
    torch.testing.assert_close(*scores, rtol=0, atol=2e-6)
    for name, gradient in gradients[1].items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(
            gradients[0][name], gradient, rtol=0, atol=1e-5 * max(1.0, scale), msg=name
        )


def test_both_losses_reach_every_weight() -> None:
    net = net_of().train()
    proteins = [protein(20, 1), protein(24, 2), protein(9, 3)]
    chains = together(net, proteins)
    tm, lddt = net.compare(chains, pair_rows(chains, proteins, np.array([[0, 1], [1, 2], [2, 0]])))
    (tm.sum() + lddt.sum()).backward()
    missed = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert missed == []


@pytest.mark.parametrize("lengths", [[3, 40, 17, 12, 1], [252], [251, 253]])
def test_chains_end_to_end_are_the_chains_padded(lengths: list[int]) -> None:
    mask = torch.arange(max(lengths) + 9) < torch.tensor(lengths)[:, None]
    x = torch.randn(*mask.shape, 12, generator=torch.Generator().manual_seed(0))
    packing = Packing.of(lengths, torch.device("cpu"))
    packed = torch.full((packing.n_rows, 12), 7.0)  # what is between the chains is of no consequence
    packed[packing.rows] = x[mask]
    found = []
    for end_to_end in (False, True):
        net = net_of().train()
        if end_to_end:
            residues, pooled, matching = net.encode_packed(packed, packing)
        else:
            padded, pooled = net(x, mask)
            residues, matching = padded[mask], net.matching(padded, mask)[mask]
        (residues.square().sum() + pooled.sin().sum() + matching.sin().sum()).backward()
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        found.append([residues, pooled, matching, *gradients])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_groups_are_all_pairs_once_and_no_larger_than_asked() -> None:
    sizes = torch.tensor([5, 300, 40, 40, 7, 300])
    groups = groups_of_like_size(sizes, 40 * 40 * 2)
    assert sorted(torch.cat(groups).tolist()) == list(range(6))
    for group in groups:
        assert len(group) == 1 or len(group) * int(sizes[group].max()) ** 2 <= 40 * 40 * 2


def test_the_paper_has_no_head() -> None:
    net = net_of(dataclasses.replace(HEADED, d_match=0))
    assert net.pair_head is None
    assert not any("pair_head" in name for name in net.state_dict())
