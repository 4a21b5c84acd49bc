"""The preprint's loss, by worked examples and by a plain loop over pairs."""

import numpy as np
import pytest
import torch

from mutscan.errors import UsageError
from mutscan.train.model.loss import LossConfig, pair_loss, response_loss

PAPER = LossConfig()


def loss_of(tm: float, tm_predicted: float, lddt_error: float | None = None) -> float:
    """Loss of one pair, with two aligned residues that are off by `lddt_error` up and down."""
    lddt = torch.tensor([] if lddt_error is None else [0.5, 0.6])
    predicted = torch.tensor([] if lddt_error is None else [0.5 + lddt_error, 0.6 - lddt_error])
    pair_of = torch.zeros(len(lddt), dtype=torch.int64)
    return pair_loss(
        torch.tensor([tm_predicted]), torch.tensor([tm]), predicted, lddt, pair_of, PAPER
    ).loss.item()


@pytest.mark.parametrize(
    ("tm", "tm_predicted", "lddt_error", "expected"),
    [
        (0.65, 0.80, 0.3, 0.15),
        (0.80, 0.90, 0.10, 0.10),
        (0.05, 0.90, None, 0.0),
        (0.70, 0.80, 0.20, 0.7 * 0.20 + 0.3 * 0.10),  # the similar branch begins at exactly 0.7
        (0.10, 0.30, None, 0.20),  # and the kept pairs at exactly 0.1
        (0.80, 0.90, None, 0.3 * 0.10),  # no aligned residue: E = 0
    ],
)
def test_vectors_of_the_specification(
    tm: float, tm_predicted: float, lddt_error: float | None, expected: float
) -> None:
    assert loss_of(tm, tm_predicted, lddt_error) == pytest.approx(expected, abs=1e-6)


def made_up_batch(seed: int) -> tuple[torch.Tensor, ...]:
    rng = np.random.default_rng(seed)
    n_pairs, n_residues = 40, 900
    lddt = rng.random(n_residues)
    lddt[rng.random(n_residues) < 0.05] = np.nan
    arrays = (rng.random(n_pairs), rng.random(n_pairs), rng.random(n_residues), lddt)
    return (
        *(torch.tensor(array) for array in arrays),
        torch.from_numpy(rng.integers(0, n_pairs, n_residues)),
    )


@pytest.mark.parametrize(("kind", "lddt_square"), [("absolute", 0.0), ("squared", 0.0), ("squared", 4.0)])
def test_equals_a_plain_loop_over_pairs(kind: str, lddt_square: float) -> None:
    tm_predicted, tm, predicted, lddt, pair_of = made_up_batch(3)
    config = LossConfig(tm_kind=kind, lddt_square=lddt_square)
    plain = []
    losses = []
    for k in range(len(tm)):
        T = float(tm[k])
        if T < 0.1:
            continue
        G = abs(float(tm_predicted[k]) - T) ** (2 if kind == "squared" else 1)
        mine = (pair_of == k) & ~lddt.isnan()
        off = (predicted[mine] - lddt[mine]).abs()
        E = float((off + lddt_square * off * off).mean()) if mine.any() else 0.0
        if T >= 0.7 and mine.any():
            plain.append(float(off.mean()))
        losses.append(G if T < 0.7 else 0.7 * E + 0.3 * G)
    result = pair_loss(tm_predicted, tm, predicted, lddt, pair_of, config)
    assert result.loss.item() == pytest.approx(np.mean(losses), abs=1e-12)
    assert result.lddt_error.item() == pytest.approx(np.mean(plain), abs=1e-12), "logged without the square"


def test_order_of_residues_does_not_matter() -> None:
    tm_predicted, tm, predicted, lddt, pair_of = made_up_batch(4)
    order = torch.randperm(len(lddt), generator=torch.Generator().manual_seed(0))
    plain = pair_loss(tm_predicted, tm, predicted, lddt, pair_of, PAPER).loss
    mixed = pair_loss(tm_predicted, tm, predicted[order], lddt[order], pair_of[order], PAPER).loss
    assert mixed.item() == pytest.approx(plain.item(), abs=1e-12)


def test_weights_enter_the_mean() -> None:
    tm_predicted, tm = torch.tensor([0.5, 0.5]), torch.tensor([0.4, 0.2])
    none = torch.empty(0)
    loss = pair_loss(tm_predicted, tm, none, none, none.long(), PAPER, torch.tensor([3.0, 1.0])).loss
    assert loss.item() == pytest.approx((3 * 0.1 + 0.3) / 4)


def test_nothing_kept_is_a_zero_with_a_gradient() -> None:
    tm_predicted = torch.tensor([0.5], requires_grad=True)
    none = torch.empty(0)
    result = pair_loss(tm_predicted, torch.tensor([0.05]), none, none, none.long(), PAPER)
    result.loss.backward()
    assert result.loss.item() == 0.0
    assert tm_predicted.grad is not None
    assert tm_predicted.grad.item() == 0.0


def test_a_missing_label_gives_no_gradient() -> None:
    predicted = torch.tensor([0.9, 0.9], requires_grad=True)
    lddt = torch.tensor([0.5, torch.nan])
    pair_of = torch.tensor([0, 0])
    pair_loss(torch.tensor([0.8]), torch.tensor([0.8]), predicted, lddt, pair_of, PAPER).loss.backward()
    assert predicted.grad is not None
    assert predicted.grad.tolist() == pytest.approx([0.7, 0.0])


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="'absolute' or 'squared'"):
        LossConfig(tm_kind="huber")


def made_up_mutants(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Responses of pairs 1 to 6; pair 0 is none of a mutant."""
    rng = np.random.default_rng(seed)
    pair_of = np.repeat(np.arange(7), 30)
    response = rng.gamma(1.0, 0.05, len(pair_of)) * np.repeat(rng.uniform(0.3, 3, 7), 30)
    response[pair_of == 0] = np.nan
    return (
        torch.from_numpy(response),
        torch.from_numpy(pair_of),
        torch.from_numpy(rng.permutation(len(pair_of))),
    )


def test_response_does_not_care_for_scale_but_for_order() -> None:
    response, pair_of, order = made_up_mutants(0)
    drop = response.nan_to_num(0.2)
    # Labels are floored well above predictions: a faithful prediction is proportional to the floored ones.
    faithful = response_loss(1.0 - 0.2 * (drop + 0.01), response, pair_of, 7)
    smaller = response_loss(1.0 - 0.002 * (drop + 0.01), response, pair_of, 7)
    shuffled = response_loss(1.0 - 0.2 * (drop[order] + 0.01), response, pair_of, 7)
    inverse = response_loss(1.0 - 1e-3 / (drop + 0.01), response, pair_of, 7)
    assert float(faithful) < 0.02
    assert float(smaller) == pytest.approx(float(faithful), abs=0.02)
    assert float(faithful) < 0.3 < float(shuffled) < float(inverse)


def test_response_of_shuffled_rows_and_of_too_few_mutants() -> None:
    response, pair_of, order = made_up_mutants(1)
    predicted = torch.rand(len(response), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    plain = response_loss(predicted, response, pair_of, 7)
    mixed = response_loss(predicted[order], response[order], pair_of[order], 7)
    assert float(mixed) == pytest.approx(float(plain), abs=1e-12)
    predicted.requires_grad_()
    few = response_loss(predicted, torch.where(pair_of < 3, response, torch.nan), pair_of, 7)
    few.backward()
    assert few.item() == 0.0
    assert not predicted.grad.any()
