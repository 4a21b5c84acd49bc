"""What a model is set beside: identity, constants, the encoder's cosines, TM-Vec against plain torch."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from mutscan.embed import load_encoder
from mutscan.errors import CheckpointError
from mutscan.progress import Silent
from mutscan.train.chains.tables import Chains, Pairs
from mutscan.train.evaluate.baselines import (
    CALIBRATION_CHAINS,
    Line,
    calibration_pairs,
    cosine_baselines,
    fit_line,
    trivial_baselines,
)
from mutscan.train.evaluate.predictions import (
    LabelledResidues,
    VectorTable,
    identical_residues,
    label_residues,
)
from mutscan.train.evaluate.tmvec import load_tmvec, tmvec_vectors
from tests import tiny_encoders

SEQUENCES = ("MKTAYIAKQRQISFVK", "MKTAYIVKQRNISFVKSH", "GSHMLEDPVDAFKQAW")


@pytest.fixture
def chains() -> Chains:
    rng = np.random.default_rng(0)
    ca = tuple(
        np.cumsum(rng.normal(scale=2.2, size=(len(s), 3)), axis=0).astype(np.float32) for s in SEQUENCES
    )
    return Chains(("a", "b", "c"), SEQUENCES, ca, np.array([0, 0, 1]))


@pytest.fixture
def pairs() -> Pairs:
    aligned = [
        np.repeat(np.arange(16)[:, None], 2, axis=1),
        np.empty((0, 2)),
        np.array([[2, 4], [3, 5], [9, 8]]),
    ]
    counts = [len(part) for part in aligned]
    return Pairs(
        np.array([0, 1, 2]),
        np.array([1, 2, 1]),
        np.array([0.9, 0.2, 0.75], dtype=np.float32),
        np.array([0.8, 0.2, 0.7], dtype=np.float32),
        np.concatenate(aligned).astype(np.int32),
        np.concatenate([[0], np.cumsum(counts)]),
    )


@pytest.fixture
def residues(chains: Chains, pairs: Pairs) -> LabelledResidues:
    return label_residues(chains, pairs, pairs.tm_score >= 0.7, exponent=3.0, radius=15.0)


def test_labels_are_those_of_the_scores_without_residues_that_have_no_neighbour(
    chains: Chains, pairs: Pairs, residues: LabelledResidues
) -> None:
    from mutscan.scores import lddt

    assert (np.diff(residues.starts) > 0).tolist() == [True, False, True]
    part = slice(residues.starts[0], residues.starts[1])
    rows = pairs.aligned[:16]
    expected = lddt(chains.ca[0][rows[:, 0]], chains.ca[1][rows[:, 1]], exponent=3)
    assert residues.lddt[part] == pytest.approx(expected[~np.isnan(expected)], abs=1e-6)
    assert residues.pair_of.tolist() == [0] * int(residues.starts[1]) + [2] * int(
        residues.starts[3] - residues.starts[2]
    )


def test_identity_is_that_of_a_plain_loop(chains: Chains, pairs: Pairs, residues: LabelledResidues) -> None:
    same = []
    for k, (a, b) in enumerate(zip(pairs.chain_1, pairs.chain_2, strict=True)):
        part = pairs.aligned[pairs.starts[k] : pairs.starts[k + 1]]
        same.append(sum(SEQUENCES[a][i] == SEQUENCES[b][j] for i, j in part))
    assert identical_residues(chains, pairs).sum() == sum(same)
    one, median, identity = trivial_baselines(chains, pairs, residues, tm_constant=0.4, lddt_constant=0.95)
    lengths = [len(SEQUENCES[a]) for a in pairs.chain_1]
    assert identity.tm_score == pytest.approx(np.array(same) / lengths)
    assert identity.lddt == pytest.approx(np.where(residues.pair_of == 0, same[0] / 16, same[2] / 3))
    assert (one.tm_score == 1).all()
    assert (one.lddt == 1).all()
    assert set(median.tm_score) == {0.4}
    assert set(median.lddt) == {0.95}


# The encoder's own cosines


def filled(chains: Chains, width: int = 6, seed: int = 0) -> tuple[VectorTable, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    table = VectorTable(chains.lengths, np.arange(3))
    vectors = [rng.normal(size=(length, width)).astype(np.float32) for length in chains.lengths]
    for chain in (2, 0, 1):
        table.put(chain, vectors[chain].mean(axis=0), vectors[chain])
    return table, vectors


def plain_cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def test_cosines_are_those_of_means_and_of_aligned_residues(
    chains: Chains, pairs: Pairs, residues: LabelledResidues
) -> None:
    table, vectors = filled(chains)
    line = Line(0.5, 0.3)
    raw, calibrated = cosine_baselines(table, pairs, residues, (line, line), "")
    for k, (a, b) in enumerate(zip(pairs.chain_1, pairs.chain_2, strict=True)):
        cosine = plain_cosine(vectors[a].mean(axis=0), vectors[b].mean(axis=0))
        assert raw.tm_score[k] == pytest.approx(cosine, abs=1e-6)
        assert calibrated.tm_score[k] == pytest.approx(np.clip(0.3 + 0.5 * cosine, 0, 1), abs=1e-6)
    for row, (k, (i, j)) in enumerate(zip(residues.pair_of, residues.aligned, strict=True)):
        cosine = plain_cosine(vectors[pairs.chain_1[k]][i], vectors[pairs.chain_2[k]][j])
        assert raw.lddt[row] == pytest.approx(cosine, abs=1e-6)
    assert calibrated.about["tm"] == {"slope": 0.5, "intercept": 0.3}


def test_without_training_pairs_the_cosine_stays_raw_and_says_so(
    chains: Chains, pairs: Pairs, residues: LabelledResidues
) -> None:
    table, _ = filled(chains)
    raw, calibrated = cosine_baselines(table, pairs, residues, (None, None), "no training pair")
    assert raw.tm_score is not None
    assert (calibrated.tm_score, calibrated.lddt) == (None, None)
    assert calibrated.not_run == "no training pair"


def test_a_large_table_of_residue_vectors_is_a_file(
    chains: Chains, pairs: Pairs, residues: LabelledResidues, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mutscan.train.evaluate import predictions

    expected = cosine_baselines(filled(chains)[0], pairs, residues, (None, None), "")[0].lddt
    monkeypatch.setattr(predictions, "_IN_MEMORY", 100)
    table, _ = filled(chains)
    assert isinstance(table._residues, np.memmap)
    assert (cosine_baselines(table, pairs, residues, (None, None), "")[0].lddt == expected).all()


def test_a_line_is_fitted_by_least_squares() -> None:
    x = np.linspace(0.9, 1.0, 30)
    line = fit_line(x, 3 * x - 2.4)
    assert line is not None
    assert (line.slope, line.intercept) == pytest.approx((3.0, -2.4))
    assert fit_line(np.ones(5), np.arange(5.0)) is None
    assert fit_line(np.empty(0), np.empty(0)) is None


def test_calibration_takes_training_pairs_of_few_chains() -> None:
    rng = np.random.default_rng(0)
    n = 5000
    ends = rng.integers(0, 900, (n, 2))
    pairs = Pairs(
        ends[:, 0], ends[:, 1], np.ones(n, np.float32), np.ones(n, np.float32),
        np.empty((0, 2), np.int32), np.zeros(n + 1, np.int64),
    )  # fmt: skip
    training = np.flatnonzero((ends < 600).all(axis=1))
    chosen = calibration_pairs(pairs, training, seed=3)
    assert np.isin(chosen, training).all()
    assert len(np.unique(ends[chosen])) <= CALIBRATION_CHAINS
    assert len(chosen) >= CALIBRATION_CHAINS // 2
    assert (calibration_pairs(pairs, training, seed=3) == chosen).all()
    assert len(calibration_pairs(pairs, training[:0])) == 0


# TM-Vec


class PlainTMVec(nn.Module):
    """TM-Vec as its authors wrote it: batches with padding and a mask."""

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, activation="relu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)
        self.dropout = nn.Dropout(0.1)
        self.mlp = nn.Linear(16, 8)

    def forward(self, x: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        x = self.encoder(x, src_key_padding_mask=padding)
        x = x.masked_fill(padding[..., None], 0.0)
        return self.mlp(x.sum(dim=1) / (~padding).sum(dim=1)[:, None])


@pytest.fixture(scope="module")
def prott5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny_encoders.quiet_transformers()
    return tiny_encoders.write_t5(tmp_path_factory.mktemp("t5"), half=False)


def write_tmvec(folder: Path, n_layers: int = 2, *, lightning: bool = False) -> PlainTMVec:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(n_layers)
    net = PlainTMVec(n_layers).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    if lightning:
        torch.save({"state_dict": net.state_dict(), "epoch": 3}, folder / "tm_vec.ckpt")
    else:
        save_file(net.state_dict(), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"d_model": 16, "nhead": 4, "num_layers": n_layers}))
    return net


@pytest.mark.parametrize(("n_layers", "lightning"), [(2, False), (4, True)])
def test_tmvec_is_the_plain_network_with_its_mask(
    n_layers: int, lightning: bool, chains: Chains, prott5: Path, tmp_path: Path
) -> None:
    plain = write_tmvec(tmp_path / "tmvec", n_layers, lightning=lightning)
    embeddings = [
        torch.from_numpy(e) for _, e in sorted(load_encoder(str(prott5), device="cpu").embed(SEQUENCES))
    ]
    assert [len(e) for e in embeddings] == [16, 18, 16], "residues only: </s> is cut"
    batch = nn.utils.rnn.pad_sequence(embeddings, batch_first=True, padding_value=7.0)
    padding = torch.arange(18) >= torch.tensor([[16], [18], [16]])
    with torch.no_grad():
        expected = plain(batch, padding)
    table = tmvec_vectors(
        tmp_path / "tmvec", str(prott5), chains, np.array([0, 1, 2]), device="cpu", progress=Silent()
    )
    found = table.chain_vectors(np.array([0, 1, 2]))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    cosine = functional.cosine_similarity(found[:1], found[1:], dim=1)
    assert len(torch.unique(cosine)) == 2, "the network tells the chains apart"


def test_tmvec_published_size(tmp_path: Path) -> None:
    from mutscan.train.evaluate.tmvec import TMVec

    with torch.device("meta"):
        sizes = [sum(p.numel() for p in TMVec(1024, 4, n, 2048, 512).parameters()) for n in (2, 4)]
    assert sizes == [17_324_544, 34_124_288]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "holds 0 weight files"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"junk"), "cannot be read as weights"),
        (lambda folder: (folder / "a.ckpt").write_bytes(b"junk"), "cannot be read as weights"),
        (
            lambda folder: save_file({"lm_head.weight": torch.zeros(2)}, folder / "model.safetensors"),
            "is not TM-Vec",
        ),
        (
            lambda folder: save_file(
                {"encoder.layers.0.linear1.weight": torch.zeros(32, 16), "mlp.weight": torch.zeros(8, 16)},
                folder / "model.safetensors",
            ),
            "does not fit TM-Vec",
        ),
    ],
)
def test_weights_that_are_not_tmvecs_are_refused(make, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_tmvec(tmp_path)


def test_tmvec_on_another_encoder_is_refused(chains: Chains, tmp_path: Path) -> None:
    write_tmvec(tmp_path / "tmvec")
    tiny_encoders.quiet_transformers()
    other = tiny_encoders.write_esm(tmp_path / "esm", hidden_size=8)
    with pytest.raises(CheckpointError, match=r"takes embeddings of width 16, the encoder .* gives 8"):
        tmvec_vectors(tmp_path / "tmvec", str(other), chains, np.array([0]), device="cpu", progress=Silent())
