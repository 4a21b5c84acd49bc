import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mutscan.errors import CheckpointError
from mutscan.model import checkpoint
from mutscan.model.checkpoint import (
    EncoderReference,
    ModelConfig,
    checked_hash,
    find_model,
    list_models,
    load_checkpoint,
    load_config,
    model_hash,
    save_checkpoint,
    verify_model,
    write_sums,
)
from mutscan.model.config import PRESETS, SiameseConfig
from mutscan.model.predict import Predictor, check_finite
from mutscan.model.siamese import SiameseNet

pytestmark = pytest.mark.timeout(60)

TINY = SiameseConfig(d_input=12, d_model=16, n_heads=4, n_layers=2, d_feed_forward=24, d_pool=8)
ASYMMETRIC = dataclasses.replace(TINY, relu_output=False, length_exponent=0.8)


def net_of(config: SiameseConfig = TINY, seed: int = 0) -> SiameseNet:
    torch.manual_seed(seed)
    return SiameseNet(config).eval()


def embedding(length: int, seed: int = 0, width: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(length, width)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model with an encoder of its own, on a shelf with its SHA256SUMS."""
    encoder = tmp_path / "made-elsewhere"
    encoder.mkdir()
    (encoder / "config.json").write_text('{"model_type": "esm"}', encoding="utf-8")
    (encoder / "model.safetensors").write_bytes(b"weights of the encoder")
    path = tmp_path / "models" / "tiny"
    config = ModelConfig(
        name="tiny", siamese=ASYMMETRIC, training={"epochs": 5, "seed": 0}, data_sha256="ab" * 32, version="2"
    )
    save_checkpoint(path, net_of(ASYMMETRIC), config, encoder=encoder)
    write_sums(path.parent)
    return path


# The network of the preprint


@pytest.mark.parametrize(("preset", "parameters"), [("paper", 5_125_633), ("repo2025", 7_223_809)])
def test_parameters_of_the_published_networks(preset: str, parameters: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in SiameseNet(PRESETS[preset]).parameters()) == parameters


def test_initialisation_is_xavier_uniform_for_matrices_and_default_for_the_rest() -> None:
    net = net_of()
    for name, parameter in net.named_parameters():
        if parameter.dim() >= 2:
            bound = np.sqrt(6 / sum(parameter.shape))
            assert parameter.abs().max() <= bound, name
            if parameter.numel() > 100:
                assert float(parameter.detach().std()) == pytest.approx(bound / np.sqrt(3), rel=0.25), name
    assert torch.all(net.layers[0].attention_norm.weight == 1)


def test_network_is_the_one_written_down() -> None:
    """Against a plain float64 numpy transcription of the preprint's network."""
    net = net_of().double()
    weights = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    x = embedding(9).astype(np.float64)

    def linear(name: str, v: np.ndarray) -> np.ndarray:
        return v @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, v: np.ndarray) -> np.ndarray:
        centred = v - v.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def softmax(v: np.ndarray) -> np.ndarray:
        e = np.exp(v - v.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    h = norm("input_norm", linear("input_projection", x))
    for layer in ("layers.0", "layers.1"):
        q, k, v = np.split(linear(f"{layer}.query_key_value", norm(f"{layer}.attention_norm", h)), 3, axis=1)
        heads = []
        for part in np.split(np.arange(16), 4):
            heads.append(softmax(q[:, part] @ k[:, part].T / np.sqrt(4)) @ v[:, part])
        h = h + linear(f"{layer}.attention_output", np.concatenate(heads, axis=1))
        inner = np.maximum(linear(f"{layer}.feed_forward.0", norm(f"{layer}.feed_forward_norm", h)), 0)
        h = h + linear(f"{layer}.feed_forward.3", inner)
    y = np.maximum(linear("output_projection", h), 0)
    energy = linear("pool.2", np.maximum(linear("pool.0", y), 0))[:, 0]
    z = softmax(energy) @ y

    with torch.no_grad():
        residues, pooled = net(torch.from_numpy(x)[None], torch.ones(1, 9, dtype=torch.bool))
    np.testing.assert_allclose(residues[0], y, atol=1e-6)
    np.testing.assert_allclose(pooled[0], z, atol=1e-6)


@pytest.mark.parametrize("config", [TINY, ASYMMETRIC], ids=["paper-like", "mini-like"])
def test_padding_changes_no_prediction(config: SiameseConfig) -> None:
    net = net_of(config)
    lengths = (7, 12, 3)
    batch, mask = torch.full((3, 20, 12), 1e4), torch.zeros(3, 20, dtype=torch.bool)
    for row, length in enumerate(lengths):
        batch[row, :length] = torch.from_numpy(embedding(length, seed=row))
        mask[row, :length] = True
    with torch.no_grad():
        residues, pooled = net(batch, mask)
        for row, length in enumerate(lengths):
            alone, alone_pooled = net(batch[row : row + 1, :length], mask[row : row + 1, :length])
            torch.testing.assert_close(residues[row, :length], alone[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(pooled[row], alone_pooled[0], atol=1e-5, rtol=1e-5)
            assert torch.all(residues[row, length:] == 0)


# Prediction


@pytest.mark.parametrize("config", [TINY, ASYMMETRIC], ids=["paper-like", "mini-like"])
def test_a_protein_against_itself_is_perfect(config: SiameseConfig) -> None:
    predictor = Predictor(net_of(config))
    encoded = predictor.encode(embedding(30), "A" * 30)
    prediction = predictor.compare(encoded, encoded)
    assert prediction.tm_score == pytest.approx(1.0, abs=1e-6)
    assert prediction.tm_score <= 1.0
    assert prediction.tm_raw == pytest.approx(1.0, abs=1e-6)
    # A residue whose vector ReLU has emptied has no direction to compare; the rest are 1.
    filled = (encoded.residues.abs().sum(1) > 0).numpy()
    np.testing.assert_allclose(prediction.lddt[filled], 1.0, atol=1e-6)
    assert prediction.lddt.max() <= 1.0
    assert prediction.lddt.dtype == np.float32


def test_swapping_the_pair_swaps_the_two_tm_scores_and_keeps_the_cosines() -> None:
    predictor = Predictor(net_of(ASYMMETRIC))
    long, short = predictor.encode(embedding(40), "A" * 40), predictor.encode(embedding(20, seed=1), "A" * 20)
    pairs = np.stack([np.arange(0, 40, 2), np.arange(20)], axis=1)
    forth, back = predictor.compare(long, short, pairs), predictor.compare(short, long, pairs[:, ::-1])
    assert forth.tm_score_2 == back.tm_score
    assert forth.tm_score == back.tm_score_2
    assert forth.tm_raw == pytest.approx(back.tm_raw * 0.5**0.8, rel=1e-5), "normalised by the longer: less"
    np.testing.assert_allclose(forth.lddt[::2], back.lddt, atol=1e-6)
    assert np.isnan(forth.lddt[1::2]).all()
    assert (len(forth.lddt), len(back.lddt)) == (40, 20)


def test_predictions_are_cosines_clipped_for_the_report() -> None:
    predictor = Predictor(net_of(dataclasses.replace(TINY, relu_output=False)))
    one, two = predictor.encode(embedding(25), "A" * 25), predictor.encode(-embedding(25), "A" * 25)
    prediction = predictor.compare(one, two)
    a, b = one.residues.double(), two.residues.double()
    cosine = ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).numpy()
    assert cosine.min() < 0, "the case is worth its name"
    np.testing.assert_allclose(prediction.lddt, cosine.clip(0, 1), atol=1e-6)
    p, q = one.pooled.double(), two.pooled.double()
    raw = float((p @ q) / (p.norm() * q.norm()))
    assert prediction.tm_raw == pytest.approx(raw, abs=1e-6)
    assert prediction.tm_score == pytest.approx(min(1.0, max(0.0, raw)), abs=1e-6)


def test_pairs_for_an_indel() -> None:
    predictor = Predictor(net_of())
    wild_type, mutant = (
        predictor.encode(embedding(10), "A" * 10),
        predictor.encode(embedding(9, seed=1), "A" * 9),
    )
    pairs = np.array([[i, i if i < 4 else i - 1] for i in range(10) if i != 4])
    prediction = predictor.compare(wild_type, mutant, pairs)
    assert np.isnan(prediction.lddt).tolist() == [i == 4 for i in range(10)]
    nothing = predictor.compare(wild_type, mutant, np.empty((0, 2), dtype=int))
    assert np.isnan(nothing.lddt).all()


def test_misuse_is_told() -> None:
    predictor = Predictor(net_of())
    one, two = predictor.encode(embedding(10), "A" * 10), predictor.encode(embedding(9), "A" * 9)
    with pytest.raises(ValueError, match="10 and 9 residues need `pairs`"):
        predictor.compare(one, two)
    for pairs in ([[10, 0]], [[0, 9]], [[-1, 0]]):
        with pytest.raises(ValueError, match="outside"):
            predictor.compare(one, two, np.array(pairs))
    with pytest.raises(ValueError, match=r"shape \(0, 12\)"):
        predictor.encode(np.empty((0, 12), dtype=np.float32), "")
    with pytest.raises(CheckpointError, match="gives 320 numbers per residue, this model was trained on 12"):
        predictor.encode(embedding(5, width=320), "A" * 5)


def test_a_prediction_does_not_depend_on_threads_or_repetition() -> None:
    predictor = Predictor(net_of(PRESETS["mini"]))
    x = embedding(150, width=320)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 4, 1):
            torch.set_num_threads(threads)
            results.append(predictor.encode(x, "MKV" * 50))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert torch.equal(results[0].residues, other.residues)
        assert torch.equal(results[0].pooled, other.pooled)


def test_dropout_is_off_even_for_a_net_fresh_from_training() -> None:
    predictor = Predictor(net_of().train())
    x = embedding(20)
    assert torch.equal(*(predictor.encode(x, "M" * 20).residues for _ in range(2)))


# Save and load


def test_saved_and_loaded_is_the_same(folder: Path) -> None:
    net, config = load_checkpoint(folder)
    original = net_of(ASYMMETRIC)
    assert config.name == "tiny"
    assert config.siamese == ASYMMETRIC
    assert config.training == {"epochs": 5, "seed": 0}
    assert (config.lddt_exponent, config.lddt_radius, config.version) == (3.0, 15.0, "2")
    assert config.data_sha256 == "ab" * 32
    assert ModelConfig.from_dict(config.to_dict()) == config
    assert not net.training
    for name, tensor in original.state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor)
    assert all(parameter.requires_grad for parameter in net.parameters()), "training can go on from it"
    assert Path(config.encoder.resolve(folder)).is_dir()
    assert (folder / "encoder" / "model.safetensors").read_bytes() == b"weights of the encoder"
    assert not list(folder.rglob("*.tmp"))


def test_config_is_for_people_too(folder: Path) -> None:
    document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert document["siamese"]["d_model"] == 16
    assert document["encoder"] == {"name": "encoder", "revision": None, "precision": "fp32"}
    assert document["lddt"] == {"exponent": 3.0, "radius": 15.0}


def test_half_precision_weights_are_loaded_as_fp32(tmp_path: Path) -> None:
    net = net_of()
    save_checkpoint(tmp_path / "m", net, ModelConfig("m", TINY), dtype="fp16")
    stored = load_file(tmp_path / "m" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    loaded, _ = load_checkpoint(tmp_path / "m")
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, net.state_dict()[name], atol=1e-3, rtol=1e-3)


def test_an_encoder_on_the_hub_is_named_with_its_revision(tmp_path: Path) -> None:
    reference = EncoderReference("Rostlab/prot_t5_xl_half_uniref50-enc", "abc123", "fp16")
    save_checkpoint(tmp_path / "m", net_of(), ModelConfig("m", TINY, reference))
    config = load_config(tmp_path / "m")
    assert config.encoder == reference
    assert config.encoder.resolve(tmp_path / "m") == "Rostlab/prot_t5_xl_half_uniref50-enc"


def test_saving_again_replaces_and_never_half(tmp_path: Path) -> None:
    path = tmp_path / "m"
    save_checkpoint(path, net_of(), ModelConfig("m", TINY))
    before = (path / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="the config says"):
        save_checkpoint(path, net_of(), ModelConfig("m", ASYMMETRIC))
    broken = net_of()
    broken.pool[0].bias.data[0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        save_checkpoint(path, broken, ModelConfig("m", TINY))
    assert (path / "model.safetensors").read_bytes() == before
    save_checkpoint(path, net_of(seed=1), ModelConfig("m", TINY))
    assert (path / "model.safetensors").read_bytes() != before


# What can be wrong


def rewrite(path: Path, **changes: object) -> None:
    file = path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}), encoding="utf-8")


def rewrite_weights(path: Path, change: str) -> None:
    state = load_file(path / "model.safetensors")
    if change == "drop":
        del state["pool.2.bias"]
    elif change == "add":
        state["pool.9.bias"] = torch.zeros(1)
    elif change == "nan":
        state["pool.2.bias"][0] = float("nan")
    save_file(state, path / "model.safetensors")


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def without(path: Path, key: str) -> None:
    document = json.loads((path / "config.json").read_text())
    del document[key]
    (path / "config.json").write_text(json.dumps(document))


BROKEN = {
    "no config": (lambda p: (p / "config.json").unlink(), r"no config\.json"),
    "config is no JSON": (lambda p: truncate(p / "config.json"), "cannot be read as JSON"),
    "config is a list": (lambda p: (p / "config.json").write_text("[1]"), "contains a list"),
    "newer format": (lambda p: rewrite(p, format=2), "format is 2, this mutscan reads 1"),
    "a transformers model": (
        lambda p: (p / "config.json").write_text('{"model_type": "esm"}'),
        "format is None",
    ),
    "missing section": (lambda p: without(p, "siamese"), "missing siamese"),
    "unknown key": (lambda p: rewrite(p, siamise={}), "unknown siamise"),
    "unknown shape": (lambda p: rewrite(p, siamese={**ASYMMETRIC.to_dict(), "depth": 3}), "unknown depth"),
    "missing shape": (lambda p: rewrite(p, siamese={"d_model": 16}), "missing d_feed_forward"),
    "wrong type": (
        lambda p: rewrite(p, siamese={**ASYMMETRIC.to_dict(), "d_model": "16"}),
        "d_model is '16'",
    ),
    "zero width": (lambda p: rewrite(p, siamese={**ASYMMETRIC.to_dict(), "n_heads": 0}), "n_heads is 0"),
    "section of text": (lambda p: rewrite(p, lddt="3"), "expected an object"),
    "exponent is no number": (
        lambda p: (p / "config.json").write_text(
            (p / "config.json").read_text().replace('"exponent": 3.0', '"exponent": NaN')
        ),
        "lddt.exponent is nan",
    ),
    "lddt of text": (lambda p: rewrite(p, lddt={"exponent": "three", "radius": 15}), "wrong type"),
    "no weights": (lambda p: (p / "model.safetensors").unlink(), r"no model\.safetensors"),
    "truncated weights": (lambda p: truncate(p / "model.safetensors"), "damaged"),
    "missing weight": (lambda p: rewrite_weights(p, "drop"), r"missing pool\.2\.bias"),
    "surplus weight": (lambda p: rewrite_weights(p, "add"), r"not expected pool\.9\.bias"),
    "another shape": (
        lambda p: rewrite(p, siamese={**ASYMMETRIC.to_dict(), "d_pool": 9}),
        r"pool\.0\.weight is \(8, 16\), expected \(9, 16\)",
    ),
    "not finite": (lambda p: rewrite_weights(p, "nan"), r"pool\.2\.bias holds numbers that are not finite"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_checkpoint_is_one_actionable_error(what: str, folder: Path) -> None:
    breaks, message = BROKEN[what]
    breaks(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(folder)
    assert caught.value.exit_code == 6
    assert "\n" not in caught.value.message
    assert str(folder) in caught.value.message


# Finding and verifying


@pytest.fixture
def shelves(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in `tmp_path` whose models/ holds the saved one."""
    monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "mutscan" / "model" / "checkpoint.py"))
    monkeypatch.setenv("MUTSCAN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def test_model_is_found_in_the_checkout_the_wheel_and_the_cache(shelves: Path) -> None:
    assert find_model("tiny") == shelves / "models" / "tiny"
    shutil.copytree(shelves / "models" / "tiny", shelves / "mutscan" / "models" / "tiny")
    assert find_model("tiny") == shelves / "mutscan" / "models" / "tiny", "the wheel's own first"
    shutil.copytree(shelves / "models" / "tiny", shelves / "cache" / "models" / "fetched")
    assert find_model("fetched") == shelves / "cache" / "models" / "fetched"
    listed = {info.name: info for info in list_models()}
    assert {name: info.source for name, info in listed.items()} == {"tiny": "shipped", "fetched": "cache"}
    assert listed["tiny"].path == shelves / "mutscan" / "models" / "tiny"
    assert listed["tiny"].size == sum(f.stat().st_size for f in listed["tiny"].path.rglob("*") if f.is_file())


def test_model_is_found_by_folder(shelves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shelves / "models" / "tiny"
    assert find_model(folder) == folder
    assert find_model(str(folder)) == folder
    monkeypatch.chdir(shelves / "models")
    (shelves / "models" / "tiny").rename(shelves / "models" / "mine")
    assert load_config(find_model("./mine")).name == "tiny"


def test_a_folder_that_happens_to_have_a_model_s_name_does_not_hide_it(
    shelves: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shelves / "elsewhere" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(shelves / "elsewhere")
    assert find_model("tiny") == shelves / "models" / "tiny"


def test_model_that_is_not_there(shelves: Path) -> None:
    with pytest.raises(CheckpointError, match="no model is named mini; installed models: tiny"):
        find_model("mini")
    with pytest.raises(CheckpointError, match="no such folder"):
        find_model(str(shelves / "nothing"))
    (shelves / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no config\.json; expected"):
        find_model(shelves / "empty")


def test_sums_are_those_of_sha256sum_and_verify(folder: Path) -> None:
    assert verify_model(folder) == []
    sums = (folder.parent / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in sums] == [
        "tiny/SHA256SUMS",
        "tiny/config.json",
        "tiny/encoder/config.json",
        "tiny/encoder/model.safetensors",
        "tiny/model.safetensors",
    ]
    if shutil.which("sha256sum"):
        for place in (folder.parent, folder):
            subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=place, check=True)
    own = (folder / "SHA256SUMS").read_text()
    (folder / "SHA256SUMS").unlink()
    assert write_sums(folder) == folder / "SHA256SUMS"
    assert (folder / "SHA256SUMS").read_text() == own
    assert [f"tiny/{line.split('  ')[1]}" for line in own.splitlines()] == [
        line.split("  ")[1] for line in sums[1:]
    ]


def flip_last_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors", "encoder/model.safetensors", "families.npz", "calibration.json", "affected.json"
    ],
)  # fmt: skip
def test_what_was_fitted_is_checked_wherever_the_model_is_copied(
    folder: Path, tmp_path: Path, name: str
) -> None:
    for other in ("families.npz", "calibration.json", "affected.json"):
        (folder / other).write_bytes(b"{}")
    write_sums(folder.parent)
    copied = shutil.copytree(folder, tmp_path / "elsewhere" / "mine")
    (copied.parent / "SHA256SUMS").write_bytes(b"of other files, \xff\n")
    assert checked_hash(copied) == checked_hash(folder) == model_hash(folder)
    assert verify_model(copied) == []
    flip_last_bit(copied / name)
    with pytest.raises(
        CheckpointError, match=rf"{name}: sha256 is .*mine/SHA256SUMS says .*mutscan models sums .*mine'"
    ):
        checked_hash(copied)
    (copied / name).unlink()
    assert verify_model(copied) == [f"{copied / name}: listed in {copied / 'SHA256SUMS'}, but missing"]


def test_a_model_without_a_list_of_its_own_is_checked_by_that_of_its_shelf(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()
    flip_last_bit(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"sha256 is .*models/SHA256SUMS says .*mutscan models sums"):
        checked_hash(folder)
    (folder.parent / "SHA256SUMS").unlink()
    assert checked_hash(folder) == model_hash(folder)


def test_a_models_own_list_is_whole(folder: Path) -> None:
    (folder / "calibration.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"calibration\.json: not listed in .*tiny/SHA256SUMS"):
        checked_hash(folder)
    (folder / "calibration.json").unlink()
    (folder / "SHA256SUMS").write_text("rubbish\n")
    with pytest.raises(CheckpointError, match=r"tiny/SHA256SUMS, line 1: expected a sha256"):
        checked_hash(folder)


def test_a_net_that_overflows_is_refused() -> None:
    with pytest.raises(CheckpointError, match="not finite; its weights are damaged"):
        check_finite(np.array([0.9]), np.array([0.5, np.nan]))


def test_verify_names_each_difference(folder: Path) -> None:
    truncate(folder / "model.safetensors")
    (folder / "encoder" / "config.json").unlink()
    (folder / "README.md").write_text("new")
    problems = verify_model(folder)
    own, shelf = folder / "SHA256SUMS", folder.parent / "SHA256SUMS"
    for sums in (own, shelf):
        assert f"{folder / 'README.md'}: not listed in {sums}" in problems
        assert f"{folder / 'encoder' / 'config.json'}: listed in {sums}, but missing" in problems
    assert sum("model.safetensors: sha256 is" in problem for problem in problems) == 2
    assert len(problems) == 6
    own.unlink()
    shelf.write_text("rubbish\n")
    assert any("line 1: expected a sha256" in problem for problem in verify_model(folder))
    shelf.unlink()
    assert verify_model(folder) == [f"{own}: missing, so nothing can be verified"]
    assert verify_model(folder / "nothing") == [f"{folder / 'nothing'}: no such folder"]


def test_hash_is_of_what_predictions_depend_on(folder: Path, tmp_path: Path) -> None:
    before = model_hash(folder)
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert model_hash(moved) == before
    (folder / ".DS_Store").write_bytes(b"not part of the model")
    (folder / "README.md").write_text("a model card")
    (folder / "SHA256SUMS").write_text("other files")
    (folder / "encoder" / "vocab.txt").write_text("of the tokenizer")
    assert model_hash(folder) == before
    for file in ("model.safetensors", "encoder/model.safetensors", "config.json"):
        data = (moved / file).read_bytes()
        (moved / file).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert model_hash(moved) != before
        (moved / file).write_bytes(data)
    (moved / "config.json").rename(moved / "other.json")
    assert model_hash(moved) != before


def test_shipped_models_are_whole(project: Path) -> None:
    shipped = [info for info in list_models() if info.source == "shipped"]
    if not shipped:
        pytest.skip("this checkout ships no model yet")
    for info in shipped:
        assert verify_model(info.path) == []
        net, config = load_checkpoint(info.path)
        assert config.name == info.name
        assert net.config == config.siamese
    assert sum(info.size for info in shipped) <= 40e6
