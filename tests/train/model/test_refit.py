"""The last fit of the lDDT's weights, and the few pairs of each family it and validation look at."""

import numpy as np
import pytest
import torch

from mutscan.model.config import SiameseConfig
from mutscan.model.siamese import SiameseNet
from mutscan.train.chains.tables import Chains, Pairs
from mutscan.train.model.batches import few_of_each_family
from mutscan.train.model.loss import LossConfig, response_loss
from mutscan.train.model.refit import Evidence, refit_lddt

CONFIG = LossConfig(lddt_square=4.0, response=0.05)


def net_of() -> SiameseNet:
    torch.manual_seed(0)
    return SiameseNet(
        SiameseConfig(d_input=12, d_model=8, n_heads=2, n_layers=1, d_feed_forward=8, d_match=4)
    )


def evidence(seed: int, *, mutants: bool = False) -> Evidence:
    """Labels follow the first distance; the residues of a mutant move with the second."""
    generator = torch.Generator().manual_seed(seed)
    distances = torch.rand(4000, 22, generator=generator)
    seen = torch.cat([torch.randn(4000, 32, generator=generator), distances, torch.ones(4000, 2)], dim=1)
    lddt = torch.exp(-distances[:, 0])
    lddt[::50] = torch.nan
    response = 0.2 * distances[:, 1] if mutants else torch.full((4000,), torch.nan)
    return Evidence(distances, seen, lddt, response, np.arange(0, 4001, 40))


def error(net: SiameseNet, of: Evidence) -> float:
    assert net.pair_head is not None
    with torch.no_grad():
        return float((net.pair_head.lddt(of.distances, of.seen) - of.lddt).nanmean().abs())


def test_the_weights_fit_and_nothing_else_changes() -> None:
    net, again = net_of(), net_of()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    start = error(net, evidence(1))
    for one in (net, again):
        refit_lddt(one, evidence(0), None, CONFIG, 200, seed=0)
    assert error(net, evidence(1)) < 0.3 * start, "on evidence that was not fitted"
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), "same seed, same bytes"
        assert torch.equal(value, before[name]) == ("lddt_weights" not in name), name


def test_mutants_keep_their_order() -> None:
    ranked = []
    for mutants in (None, evidence(2, mutants=True)):
        net = net_of()
        refit_lddt(net, evidence(0), mutants, LossConfig(response=1.0), 200, seed=0)
        new = evidence(3, mutants=True)
        assert net.pair_head is not None
        with torch.no_grad():
            lddt = net.pair_head.lddt(new.distances, new.seen)
        ranked.append(float(response_loss(lddt, new.response, torch.arange(100).repeat_interleave(40), 100)))
    assert ranked[1] < 0.8 * ranked[0]


def test_no_steps_change_nothing() -> None:
    net, fresh = net_of(), net_of()
    refit_lddt(net, evidence(0), None, CONFIG, 0, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), fresh.parameters(), strict=True))


@pytest.mark.parametrize("most", [0, 1, 3])
def test_few_pairs_of_each_family(most: int) -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(4), 5)
    chains = Chains(
        tuple(map(str, range(20))), ("A",) * 20, tuple(np.zeros((1, 3)) for _ in range(20)), clusters
    )
    one, two = rng.integers(0, 20, (2, 200))
    nothing = np.zeros(200)
    pairs = Pairs(
        one, two, nothing, nothing, np.empty((0, 2), dtype=np.int64), np.zeros(201, dtype=np.int64), None
    )
    chosen = few_of_each_family(chains, pairs, most, seed=0)
    families = [tuple(sorted((clusters[a], clusters[b]))) for a, b in zip(one, two, strict=True)]
    counts = {family: sum(families[k] == family for k in chosen) for family in set(families)}
    if most:
        assert counts == {family: min(most, families.count(family)) for family in set(families)}
        assert (np.diff(chosen) > 0).all()
        assert chosen.tolist() != few_of_each_family(chains, pairs, most, seed=1).tolist()
    else:
        assert chosen.tolist() == list(range(200))
