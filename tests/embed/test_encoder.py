import hashlib
import http.server
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from mutscan.embed import (
    EmbeddingCache,
    Encoder,
    clean,
    embed_cached,
    load_encoder,
    resolve_device,
    resolve_precision,
    set_threads,
)
from mutscan.embed.device import DTYPES
from mutscan.embed.encoder import _join, _replica, windows
from mutscan.embed.esm_forward import EsmForward
from mutscan.embed.esm_weights import EsmWeights
from mutscan.embed.network import load_network
from mutscan.embed.source import find_encoder
from mutscan.embed.tokens import ESM_VOCABULARY, esm_tokens, t5_tokens, write_tokenizer
from mutscan.errors import CheckpointError, FetchError, MutscanError, UsageError
from mutscan.residues import STANDARD
from tests import tiny_encoders

pytestmark = pytest.mark.timeout(120)


def proteins(*lengths: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(STANDARD), length)) for length in lengths]


@pytest.fixture(scope="session")
def esm_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny_encoders.quiet_transformers()
    return tiny_encoders.write_esm(tmp_path_factory.mktemp("esm"))


@pytest.fixture(scope="session")
def esm2_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny_encoders.quiet_transformers()
    directory = tmp_path_factory.mktemp("esm2")
    return tiny_encoders.write_esm(directory, half=False, vocabulary=True, token_dropout=True)


@pytest.fixture(scope="session")
def t5_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny_encoders.quiet_transformers()
    return tiny_encoders.write_t5(tmp_path_factory.mktemp("t5"))


@pytest.fixture(params=["esm", "esm2", "t5"])
def any_dir(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{request.param}_dir")


def copy(source: Path, target: Path) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


# Sequences and tokens


def test_clean_keeps_one_letter_per_residue() -> None:
    assert clean(" mk-t.\nUZOBJ*") == "MKTXXXXX"
    assert clean("ACDX") == "ACDX"


@pytest.mark.parametrize("bad", ["", "-", "*", "  \n"])
def test_clean_refuses_nothing(bad: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        clean(bad)


@pytest.mark.parametrize("bad", ["AC1D", "A*C", "AÉC", "A?C"])
def test_clean_names_what_is_no_residue(bad: str) -> None:
    with pytest.raises(ValueError, match=r"at 2 is not|at 3 is not"):
        clean(bad)


def test_esm_tokens_are_those_of_transformers(esm_dir: Path, esm2_dir: Path) -> None:
    from transformers import EsmTokenizer

    sequence = STANDARD + "X"
    expected = EsmTokenizer(str(esm2_dir / "vocab.txt"))(sequence)["input_ids"]
    assert esm_tokens(esm2_dir).encode(sequence).tolist() == expected
    assert esm_tokens(esm_dir).encode(sequence).tolist() == expected, "the built-in vocabulary"
    assert esm_tokens(esm_dir).pad == 1


def test_t5_tokens_are_those_of_transformers(t5_dir: Path) -> None:
    pytest.importorskip("google.protobuf", reason="transformers reads spiece.model through protobuf")
    from transformers import T5Tokenizer

    sequence = proteins(40)[0] + "X"
    tokenizer = T5Tokenizer.from_pretrained(str(t5_dir), do_lower_case=False, local_files_only=True)
    assert t5_tokens(t5_dir).encode(sequence).tolist() == tokenizer(" ".join(sequence))["input_ids"]


def test_t5_tokens_from_tokenizer_json_equal_those_from_sentencepiece(t5_dir: Path, tmp_path: Path) -> None:
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor()
    pieces.load(str(t5_dir / "spiece.model"))
    vocabulary = [[pieces.id_to_piece(i), pieces.get_score(i)] for i in range(pieces.get_piece_size())]
    document = {"model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    mine, other = t5_tokens(tmp_path), t5_tokens(t5_dir)
    assert mine.encode(STANDARD).tolist() == other.encode(STANDARD).tolist()
    assert (mine.pad, mine.behind) == (other.pad, other.behind) == (0, (1,))


def test_vocabulary_without_a_residue_is_refused(esm2_dir: Path, tmp_path: Path) -> None:
    copy(esm2_dir, tmp_path)
    (tmp_path / "vocab.txt").write_text("<cls>\n<pad>\n<eos>\nA\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="no token for C D E"):
        load_encoder(str(tmp_path), device="cpu")


# The networks


def test_esm_embedding_is_that_of_plain_transformers(any_esm: Path) -> None:
    from transformers import EsmModel

    (sequence,) = proteins(30)
    encoder = load_encoder(str(any_esm), device="cpu")
    model = EsmModel.from_pretrained(str(any_esm), add_pooling_layer=False, dtype=torch.float32).eval()
    ids = [0, *(tiny_encoders.ESM_VOCABULARY.index(letter) for letter in sequence), 2]
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([ids])).last_hidden_state[0, 1:-1].numpy()
    embedding = encoder.embed_one(sequence)
    assert embedding.shape == (30, 16)
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, expected, atol=1e-5)


@pytest.fixture(params=["esm", "esm2"])
def any_esm(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{request.param}_dir")


def test_t5_embedding_is_that_of_plain_transformers(t5_dir: Path) -> None:
    import sentencepiece
    from transformers import T5EncoderModel

    (sequence,) = proteins(30)
    pieces = sentencepiece.SentencePieceProcessor()
    pieces.load(str(t5_dir / "spiece.model"))
    ids = [*pieces.encode(" ".join(sequence)), 1]
    assert len(ids) == 31
    model = T5EncoderModel.from_pretrained(str(t5_dir), dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([ids])).last_hidden_state[0, :30].numpy()
    np.testing.assert_allclose(
        load_encoder(str(t5_dir), device="cpu").embed_one(sequence), expected, atol=1e-5
    )


def test_unknown_residues_are_embedded_as_x(any_dir: Path) -> None:
    encoder = load_encoder(str(any_dir), device="cpu")
    np.testing.assert_array_equal(encoder.embed_one("MKUZOBJT"), encoder.embed_one("mkxxxxxt*"))


def test_half_precision_weights_run_in_fp32_on_the_cpu(esm_dir: Path, t5_dir: Path) -> None:
    for directory in (esm_dir, t5_dir):
        assert {t.dtype for t in load_file(directory / "model.safetensors").values()} == {torch.float16}
        encoder = load_encoder(str(directory), device="cpu")
        assert encoder.precision == "fp32"
        assert {p.dtype for p in encoder._network.parameters()} == {torch.float32}
        assert not any(p.requires_grad for p in encoder._network.parameters())
        assert not encoder._network.training


@pytest.mark.parametrize("token_dropout", [False, True])
@pytest.mark.parametrize("norm_before", [False, True])
def test_the_forward_pass_of_our_own_is_that_of_transformers(
    tmp_path: Path, token_dropout: bool, norm_before: bool
) -> None:
    directory = tiny_encoders.write_esm(
        tmp_path, half=False, token_dropout=token_dropout, emb_layer_norm_before=norm_before
    )
    state = load_file(directory / "model.safetensors")
    torch.manual_seed(5)
    for name, tensor in state.items():  # biases are 0 and scales 1 at first
        if tensor.ndim == 1 and "inv_freq" not in name:
            tensor += 0.3 * torch.randn(len(tensor))
    save_file(state, directory / "model.safetensors", {"format": "pt"})
    for length in (1, 2, 33, 60):
        (sequence,) = proteins(length)
        encoder = load_encoder(str(directory), device="cpu")
        assert isinstance(encoder._network, EsmForward)
        own = encoder.embed_one(sequence)
        encoder._network = encoder._network.network
        np.testing.assert_allclose(own, encoder.embed_one(sequence), atol=5e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("token_dropout", [False, True])
@pytest.mark.parametrize("norm_before", [False, True])
def test_weights_read_without_transformers_give_the_same_bytes(
    tmp_path: Path, precision: str, token_dropout: bool, norm_before: bool
) -> None:
    directory = tiny_encoders.write_esm(
        tmp_path, token_dropout=token_dropout, emb_layer_norm_before=norm_before
    )
    plain = load_encoder(str(directory), device="cpu", precision=precision)
    assert isinstance(plain._network, EsmForward)
    assert isinstance(plain._network.network, EsmWeights)
    other = load_encoder(str(directory), device="cpu", precision=precision)
    files = find_encoder(str(directory))
    network, _ = load_network(files, DTYPES[plain.precision], torch.device("cpu"))
    assert not isinstance(network, EsmWeights)
    other._network = EsmForward(network, 70)
    for sequence in proteins(3, 60):
        assert plain.embed_one(sequence).tobytes() == other.embed_one(sequence).tobytes()


def test_a_small_esm_is_embedded_without_importing_transformers(esm_dir: Path) -> None:
    code = (
        "import sys; from mutscan.embed import load_encoder; "
        f"print(load_encoder({str(esm_dir)!r}, device='cpu').embed_one('MKTAY').shape, "
        "'transformers' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["(5,", "16)", "False"]


def test_another_kind_of_esm_is_left_to_transformers(tmp_path: Path) -> None:
    absolute = tiny_encoders.write_esm(tmp_path / "a", position_embedding_type="absolute")
    assert not isinstance(load_encoder(str(absolute), device="cpu")._network, EsmForward | EsmWeights)
    silent = tiny_encoders.write_esm(tmp_path / "b")
    config = json.loads((silent / "config.json").read_text())
    del config["layer_norm_eps"]  # transformers knows the default
    (silent / "config.json").write_text(json.dumps(config))
    network = load_encoder(str(silent), device="cpu")._network
    assert isinstance(network, EsmForward)
    assert not isinstance(network.network, EsmWeights)


def test_bf16_on_the_cpu_is_close_to_fp32(any_dir: Path) -> None:
    (sequence,) = proteins(40)
    exact = load_encoder(str(any_dir), device="cpu").embed_one(sequence)
    rough = load_encoder(str(any_dir), device="cpu", precision="bf16")
    assert rough.key != load_encoder(str(any_dir), device="cpu").key
    got = rough.embed_one(sequence)
    assert got.dtype == np.float32
    cosine = (got * exact).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosine.min() > 0.99
    assert not np.array_equal(got, exact)


def test_loading_says_nothing_on_the_terminal(
    any_dir: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_warning()
    transformers_logging.enable_progress_bar()
    try:
        load_encoder(str(any_dir), device="cpu").embed_one("ACDEFGHIK")
        assert transformers_logging.get_verbosity() == logging.WARNING, "the user's settings are put back"
        assert transformers_logging.is_progress_bar_enabled()
    finally:
        tiny_encoders.quiet_transformers()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert not caplog.records


def test_rotary_frequencies_are_those_in_the_file_whatever_transformers_calls_them(
    esm_dir: Path, tmp_path: Path
) -> None:
    copy(esm_dir, tmp_path)
    state = {k: v for k, v in load_file(esm_dir / "model.safetensors").items() if "inv_freq" not in k}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})

    def frequencies(directory: Path) -> list[torch.Tensor]:
        modules = load_encoder(str(directory), device="cpu")._network.modules()
        return [m.inv_freq for m in modules if isinstance(getattr(m, "inv_freq", None), torch.Tensor)]

    computed = frequencies(tmp_path)[0]  # none stored
    np.testing.assert_allclose(computed, 10000.0 ** -np.array([0, 2 / 8, 4 / 8, 6 / 8]), rtol=1e-6)
    for name in ("rotary_embeddings", "encoder.layer.0.attention.self.rotary_embeddings"):
        stored = torch.tensor([1.0, 0.5, 0.25, 0.125])
        save_file(
            {**state, f"esm.{name}.inv_freq": stored},
            tmp_path / "model.safetensors",
            metadata={"format": "pt"},
        )
        for found in frequencies(tmp_path):
            np.testing.assert_array_equal(found, stored)


def test_old_names_of_layer_norms_are_understood(esm_dir: Path, tmp_path: Path) -> None:
    copy(esm_dir, tmp_path)
    state = load_file(esm_dir / "model.safetensors")

    for old, new in (("gamma", "weight"), ("weight", "gamma")):
        other = {}
        for key, tensor in state.items():
            key = key.replace(f"LayerNorm.{old}", f"LayerNorm.{new}")
            bias = {"weight": "bias", "gamma": "beta"}
            other[key.replace(f"LayerNorm.{bias[old]}", f"LayerNorm.{bias[new]}")] = tensor
        save_file(other, tmp_path / "model.safetensors", metadata={"format": "pt"})
        np.testing.assert_array_equal(
            load_encoder(str(tmp_path), device="cpu").embed_one("ACDEFGHIKL"),
            load_encoder(str(esm_dir), device="cpu").embed_one("ACDEFGHIKL"),
        )


def test_encoder_of_a_full_t5_and_of_pickled_shards(tmp_path: Path) -> None:
    full = tiny_encoders.write_t5(tmp_path / "full", full=True, pickled=True)
    state = torch.load(full / "pytorch_model.bin", weights_only=True)
    assert any(key.startswith("decoder.") for key in state)
    expected = load_encoder(str(full), device="cpu").embed_one("ACDEFGHIKL")

    sharded = copy(full, tmp_path / "sharded")
    (sharded / "pytorch_model.bin").unlink()
    names = sorted(state)
    parts = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for name, keys in parts.items():
        torch.save({key: state[key] for key in keys}, sharded / name)
    index = {"weight_map": {key: name for name, keys in parts.items() for key in keys}}
    (sharded / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    np.testing.assert_array_equal(load_encoder(str(sharded), device="cpu").embed_one("ACDEFGHIKL"), expected)

    (sharded / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(CheckpointError, match=r"pytorch_model-00002-of-00002\.bin missing"):
        load_encoder(str(sharded), device="cpu")


# Independence of company


def test_on_the_cpu_an_embedding_is_bit_identical_in_any_company(any_dir: Path) -> None:
    encoder = load_encoder(str(any_dir), device="cpu")
    sequences = proteins(12, 33, 7, 33, 50, 64)
    alone = [encoder.embed_one(sequence) for sequence in sequences]
    for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4], [2, 2, 4, 2]):
        got = dict(encoder.embed([sequences[i] for i in order]))
        assert sorted(got) == list(range(len(order)))
        for place, i in enumerate(order):
            np.testing.assert_array_equal(got[place], alone[i])


def test_on_the_cpu_an_embedding_does_not_depend_on_the_number_of_threads(any_dir: Path) -> None:
    encoder = load_encoder(str(any_dir), device="cpu")
    sequences = proteins(*range(20, 64), 60, 60, 60)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            set_threads(threads)
            results.append(dict(encoder.embed(sequences)))
            assert torch.get_num_threads() == threads
            weights = {p.data_ptr() for p in encoder._network.parameters()}
            assert {p.data_ptr() for p in _replica(encoder._network).parameters()} == weights
    finally:
        set_threads(before)
    for other in results[1:]:
        for index, embedding in results[0].items():
            np.testing.assert_array_equal(embedding, other[index])


@pytest.mark.parametrize("batch_residues", [1, 70, 150, 10_000])
def test_batched_and_padded_equals_alone(any_dir: Path, batch_residues: int) -> None:
    encoder = load_encoder(str(any_dir), device="cpu", batch_residues=batch_residues)
    sequences = proteins(12, 33, 7, 33, 50, 60, 1)
    alone = dict(encoder.embed(sequences))
    encoder._batched = True  # as on a GPU
    together = dict(encoder.embed(sequences))
    assert together.keys() == alone.keys()
    for index, embedding in alone.items():
        assert together[index].shape == (len(sequences[index]), 16)
        np.testing.assert_allclose(together[index], embedding, atol=1e-5)


def test_batches_keep_to_the_budget_and_pad_little(esm_dir: Path) -> None:
    encoder = load_encoder(str(esm_dir), device="cpu", batch_residues=120)
    encoder._batched = True
    widths = spy(encoder)
    sequences = proteins(*[10, 60, 20, 30, 60, 10, 20, 20, 10, 30])
    list(encoder.embed(sequences))
    assert widths[0] == (2, 62), "longest first, special tokens besides the budget"
    assert all(n * (width - 2) <= 120 for n, width in widths)
    assert sum(n * (width - 2) for n, width in widths) <= 1.2 * sum(map(len, sequences))


def test_equal_sequences_are_computed_once(esm_dir: Path) -> None:
    encoder = load_encoder(str(esm_dir), device="cpu")
    calls = spy(encoder)
    got = dict(encoder.embed(["ACDEF", "acdef*", "ACDEF", "WWW"]))
    assert len(calls) == 2
    assert sorted(got) == [0, 1, 2, 3]


def test_bad_sequence_is_refused_before_anything_is_computed(esm_dir: Path) -> None:
    encoder = load_encoder(str(esm_dir), device="cpu")
    calls = spy(encoder)
    with pytest.raises(ValueError, match="not a residue"):
        encoder.embed(["ACDEF", "AC!"])
    assert not calls
    assert list(encoder.embed([])) == []


def test_stopping_early_leaves_nothing_behind(esm_dir: Path) -> None:
    encoder = load_encoder(str(esm_dir), device="cpu")
    before = torch.get_num_threads()
    try:
        set_threads(3)
        results = encoder.embed(proteins(*range(10, 40)))
        next(results)
        results.close()
        assert torch.get_num_threads() == 3
        assert not [t for t in threading.enumerate() if t.name.startswith("embed")]
    finally:
        set_threads(before)


def spy(encoder: Encoder, limit: int | None = None) -> list[tuple[int, int]]:
    """Record the shape of each pass; above `limit` tokens, fail as a full GPU does."""
    shapes: list[tuple[int, int]] = []
    network = encoder._network

    class Watched(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> object:
            if limit is not None and input_ids.numel() > limit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nand more")
            shapes.append((input_ids.shape[0], input_ids.shape[1]))
            return network(input_ids=input_ids, attention_mask=attention_mask)

    encoder._network = Watched()
    return shapes


# Memory


def test_out_of_memory_halves_the_batches_and_changes_no_number(any_dir: Path) -> None:
    sequences = proteins(60, 60, 60, 50, 50, 40, 40, 30, 20, 10)
    expected = dict(load_encoder(str(any_dir), device="cpu").embed(sequences))
    encoder = load_encoder(str(any_dir), device="cpu", batch_residues=1000)
    encoder._batched = True
    shapes = spy(encoder, limit=130)
    got = dict(encoder.embed(sequences))
    assert got.keys() == expected.keys()
    for index, embedding in expected.items():
        np.testing.assert_allclose(got[index], embedding, atol=1e-5)
    assert max(n * width for n, width in shapes) <= 130
    assert encoder.batch_residues <= 130, "the smaller budget stays"
    assert not encoder.fell_back(60)


def test_one_sequence_too_large_for_the_gpu_goes_to_the_cpu_with_a_warning(
    esm_dir: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    sequences = proteins(60, 55, 40, 20)
    expected = dict(load_encoder(str(esm_dir), device="cpu").embed(sequences))
    encoder = load_encoder(str(esm_dir), device="cpu", batch_residues=1000)
    encoder._batched = True
    shapes = spy(encoder, limit=50)
    encoder._on_cpu = lambda: load_encoder(str(esm_dir), device="cpu")
    cache = EmbeddingCache(tmp_path)
    got = dict(embed_cached(encoder, sequences, cache))
    for index, embedding in expected.items():
        np.testing.assert_allclose(got[index], embedding, atol=1e-5)
    assert all(n * width <= 50 for n, width in shapes)
    assert [encoder.fell_back(n) for n in (60, 55, 40, 20)] == [True, True, False, False]
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert any("60 residues do not fit in the memory" in text and "CPU" in text for text in warnings)
    kept = [cache.get(sequence, encoder.key) is not None for sequence in sequences]
    assert kept == [False, False, True, True], "what the key does not describe is not kept under it"


def test_out_of_memory_on_the_cpu_is_one_clear_error(esm_dir: Path) -> None:
    encoder = load_encoder(str(esm_dir), device="cpu")
    spy(encoder, limit=20)
    with pytest.raises(MutscanError, match="not enough memory to embed 40 residues") as caught:
        list(encoder.embed(proteins(10, 40)))
    assert caught.value.code == "out_of_memory"


def test_other_failures_of_the_network_are_not_taken_for_memory(esm_dir: Path) -> None:
    encoder = load_encoder(str(esm_dir), device="cpu")

    def broken(**_: object) -> object:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    encoder._network = broken  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="mat1"):
        list(encoder.embed(["ACD"]))


def test_numbers_that_are_not_finite_are_refused(esm_dir: Path) -> None:
    encoder = load_encoder(str(esm_dir), device="cpu")
    with torch.inference_mode(False):
        for parameter in encoder._network.parameters():
            parameter.data.fill_(float("nan"))
    with pytest.raises(MutscanError, match="non-finite numbers in fp32"):
        encoder.embed_one("ACDEF")


# Windows


@given(length=st.integers(1, 6000), window=st.integers(16, 2048))
def test_windows_cover_the_sequence_and_overlap(length: int, window: int) -> None:
    spans = windows(length, window)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert all(0 < stop - start <= window for start, stop in spans)
    if len(spans) > 1:
        assert all(stop - start == window for start, stop in spans)
        overlaps = [a[1] - b[0] for a, b in itertools.pairwise(spans)]
        assert min(overlaps) >= min(256, max(1, window // 4)) - 1


@given(length=st.integers(17, 300), window=st.integers(16, 64))
def test_joined_windows_that_agree_give_what_they_agree_on(length: int, window: int) -> None:
    truth = np.random.default_rng(length).normal(size=(length, 3)).astype(np.float32)
    spans = windows(length, window)
    parts = [truth[start:stop] for start, stop in spans]
    np.testing.assert_allclose(_join(parts, spans), truth, atol=1e-6)


def test_two_windows_cross_fade_linearly() -> None:
    parts = [np.zeros((8, 1), np.float32), np.ones((8, 1), np.float32)]
    expected = [0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(_join(parts, [(0, 8), (5, 13)])[:, 0], expected, atol=1e-7)


def test_a_sequence_longer_than_the_window(any_dir: Path) -> None:
    encoder = load_encoder(str(any_dir), device="cpu", window=32)
    long, short = proteins(75, 32)
    got = dict(encoder.embed([short, long]))
    assert got[1].shape == (75, 16)
    np.testing.assert_array_equal(got[0], load_encoder(str(any_dir), device="cpu").embed_one(short))
    spans = windows(75, 32)
    first, last = encoder.embed_one(long[:32]), encoder.embed_one(long[spans[-1][0] :])
    np.testing.assert_allclose(got[1][: spans[1][0]], first[: spans[1][0]], atol=1e-6)
    np.testing.assert_allclose(got[1][spans[-2][1] :], last[spans[-2][1] - spans[-1][0] :], atol=1e-6)
    encoder._batched = True
    np.testing.assert_allclose(dict(encoder.embed([long]))[0], got[1], atol=1e-5)


def test_mutants_of_a_long_protein_share_the_windows_without_a_substitution(any_dir: Path) -> None:
    encoder = load_encoder(str(any_dir), device="cpu", window=32)
    (long,) = proteins(200)
    sites = {"A": 3, "C": 100, "D": 100, "E": 196}
    changed = {letter: long[:site] + letter + long[site + 1 :] for letter, site in sites.items()}
    both = changed["A"][:150] + changed["E"][150:]  # each of its windows is one of another mutant
    mutants = [*changed.values(), both, long]
    alone = [encoder.embed_one(mutant) for mutant in mutants]
    shapes = spy(encoder)
    got = list(encoder.embed(mutants))
    assert [index for index, _ in got] == list(range(len(mutants))), "in the order given"
    for index, embedding in got:
        assert embedding.tobytes() == alone[index].tobytes()
    spans = windows(200, 32)
    holding = [sum(start <= site < stop for start, stop in spans) for site in sites.values()]
    assert len(shapes) == len(spans) + sum(holding) < len(spans) * 2


def test_the_window_is_what_the_positions_allow(esm_dir: Path, t5_dir: Path, tmp_path: Path) -> None:
    assert load_encoder(str(esm_dir), device="cpu").window == 68 - 4
    assert load_encoder(str(t5_dir), device="cpu").window == 2048
    absolute = tiny_encoders.write_esm(tmp_path, position_embedding_type="absolute")
    encoder = load_encoder(str(absolute), device="cpu")
    (sequence,) = proteins(64)
    assert encoder.embed_one(sequence).shape == (64, 16), "the last position there is"
    assert encoder.embed_one(sequence + "A").shape == (65, 16)


# Identity


def test_key_names_weights_precision_and_window_but_not_the_folder(esm_dir: Path, tmp_path: Path) -> None:
    here, there = (
        load_encoder(str(esm_dir), device="cpu"),
        load_encoder(str(copy(esm_dir, tmp_path / "moved")), device="cpu"),
    )
    assert here.key == there.key
    assert here.revision.startswith("sha256:")
    assert load_encoder(str(esm_dir), device="cpu", window=32).key != here.key
    other = tiny_encoders.write_esm(tmp_path / "other", num_hidden_layers=1)
    assert load_encoder(str(other), device="cpu").key != here.key


def test_a_tokenizer_that_says_nothing_new_is_not_another_revision(esm_dir: Path, tmp_path: Path) -> None:
    folder = copy(esm_dir, tmp_path / "encoder")
    revision = find_encoder(str(folder)).revision
    write_tokenizer(folder, window=1022)
    assert find_encoder(str(folder)).revision == revision
    (folder / "vocab.txt").write_text("\n".join(ESM_VOCABULARY[::-1]))
    assert find_encoder(str(folder)).revision != revision


def test_a_folder_must_have_the_revision_asked_for(esm_dir: Path) -> None:
    revision = load_encoder(str(esm_dir), device="cpu").revision
    load_encoder(str(esm_dir), device="cpu", revision=revision)
    with pytest.raises(CheckpointError, match="expected sha256:0000"):
        load_encoder(str(esm_dir), device="cpu", revision="sha256:0000")


# What can be wrong with a checkpoint


def edit_config(directory: Path, **changes: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")


def drop_weight(directory: Path) -> None:
    state = load_file(directory / "model.safetensors")
    del state["esm.encoder.layer.1.output.dense.weight"]
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})


def add_weight(directory: Path) -> None:
    state = load_file(directory / "model.safetensors")
    save_file({**state, "esm.adapter.weight": torch.zeros(2)}, directory / "model.safetensors")


def truncate(directory: Path, name: str) -> None:
    data = (directory / name).read_bytes()
    (directory / name).write_bytes(data[: len(data) // 2])


BROKEN = {
    "no config": (lambda d: (d / "config.json").unlink(), "no config.json"),
    "config is no JSON": (lambda d: truncate(d, "config.json"), "cannot be read as JSON"),
    "config is a list": (lambda d: (d / "config.json").write_text("[]"), "holds a list"),
    "another architecture": (lambda d: edit_config(d, model_type="bert"), "model_type bert .* expected t5"),
    "ESMFold": (lambda d: edit_config(d, is_folding_model=True), "ESMFold"),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "no weights; expected model.safetensors"),
    "truncated weights": (lambda d: truncate(d, "model.safetensors"), "damaged"),
    "missing weight": (drop_weight, "missing: encoder.layer.1.output.dense.weight"),
    "surplus weight": (add_weight, "not expected: adapter.weight"),
    "another shape": (lambda d: edit_config(d, intermediate_size=48), "do not fit"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_checkpoint_is_one_actionable_error(what: str, esm_dir: Path, tmp_path: Path) -> None:
    breaks, message = BROKEN[what]
    breaks(copy(esm_dir, tmp_path))
    with pytest.raises(CheckpointError, match=message) as caught:
        load_encoder(str(tmp_path), device="cpu")
    assert caught.value.exit_code == 6
    assert "\n" not in caught.value.message
    assert str(tmp_path) in caught.value.message


def test_family_is_told_by_the_architecture_when_model_type_is_not_there(
    t5_dir: Path, tmp_path: Path
) -> None:
    copy(t5_dir, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["model_type"]
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert load_encoder(str(tmp_path), device="cpu").family == "t5"


def test_t5_needs_its_vocabulary(t5_dir: Path, tmp_path: Path) -> None:
    copy(t5_dir, tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"not a model")
    with pytest.raises(CheckpointError, match="not a sentencepiece model"):
        load_encoder(str(tmp_path), device="cpu")
    (tmp_path / "spiece.model").unlink()
    with pytest.raises(CheckpointError, match=r"no spiece\.model"):
        load_encoder(str(tmp_path), device="cpu")


def test_pickles_are_read_safely(t5_dir: Path, tmp_path: Path) -> None:
    copy(t5_dir, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"weights": Path("/etc")}, tmp_path / "pytorch_model.bin")  # an object, not a tensor
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: weights cannot be read") as caught:
        load_encoder(str(tmp_path), device="cpu")
    assert "\n" not in caught.value.message
    (tmp_path / "pytorch_model.bin").write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: weights cannot be read"):
        load_encoder(str(tmp_path), device="cpu")


@pytest.mark.parametrize("name", ["/nowhere/encoder", "./nowhere", "~/nowhere", "a/b/c"])
def test_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        load_encoder(name)


# The hub


def hub_cache(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(directory))


def put_into_hub_cache(cache: Path, name: str, source: Path, commit: str) -> Path:
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    return copy(source, repository / "snapshots" / commit)


@pytest.mark.parametrize("offline", [True, False])
def test_encoder_from_the_hub_cache(
    t5_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    hub_cache(monkeypatch, tmp_path)
    commit = "0123456789abcdef0123456789abcdef01234567"
    put_into_hub_cache(tmp_path, "Lab/prot_t5_tiny", t5_dir, commit)
    encoder = load_encoder("Lab/prot_t5_tiny", device="cpu", offline=offline)
    assert encoder.revision == commit
    assert f"Lab/prot_t5_tiny@{commit}" in encoder.key
    np.testing.assert_array_equal(
        encoder.embed_one("ACDEF"), load_encoder(str(t5_dir), device="cpu").embed_one("ACDEF")
    )
    load_encoder("Lab/prot_t5_tiny", revision=commit, device="cpu", offline=offline)


def test_offline_without_the_encoder_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_cache(monkeypatch, tmp_path)
    with pytest.raises(FetchError, match=r"Rostlab/prot_t5_xl_half_uniref50-enc .*--offline") as caught:
        load_encoder("Rostlab/prot_t5_xl_half_uniref50-enc", offline=True, device="cpu")
    assert caught.value.exit_code == 5
    assert "\n" not in caught.value.message


def test_offline_with_half_a_download_names_it(
    t5_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_cache(monkeypatch, tmp_path)
    snapshot = put_into_hub_cache(tmp_path, "Lab/half", t5_dir, "c" * 40)
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(FetchError, match=r"Lab/half is not \(completely\)"):
        load_encoder("Lab/half", offline=True, device="cpu")


@pytest.mark.parametrize("name", ["two words", "a/b--c", "-x/y"])
def test_malformed_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_cache(monkeypatch, tmp_path)
    with pytest.raises(UsageError, match="well-formed"):
        load_encoder(name, device="cpu")


class FakeHub(http.server.BaseHTTPRequestHandler):
    """Answers the few requests of a download as huggingface.co does."""

    repositories: dict[str, Path]
    commit = "89abcdef0123456789abcdef0123456789abcdef"
    asked: list[str]

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        self.asked.append(self.path)
        for name, folder in self.repositories.items():
            if self.path.split("?")[0].startswith(f"/api/models/{name}/revision/"):
                siblings = [{"rfilename": file.name} for file in folder.iterdir()]
                body = json.dumps({"id": name, "sha": self.commit, "siblings": siblings}).encode()
                return self.send(200, body, {"Content-Type": "application/json"}, with_body)
            if self.path.split("?")[0].startswith(f"/api/models/{name}/tree/"):
                rows = [
                    {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "0" * 40}
                    for f in folder.iterdir()
                ]
                return self.send(
                    200, json.dumps(rows).encode(), {"Content-Type": "application/json"}, with_body
                )
            prefix = f"/{name}/resolve/{self.commit}/"
            if self.path.startswith(prefix) and (folder / self.path.removeprefix(prefix)).is_file():
                body = (folder / self.path.removeprefix(prefix)).read_bytes()
                etag = hashlib.sha256(body).hexdigest()
                return self.send(200, body, {"ETag": f'"{etag}"', "X-Repo-Commit": self.commit}, with_body)
        return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)

    def send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_fetching_from_a_hub(esm_dir: Path, tmp_path: Path) -> None:
    """In a process of its own: huggingface_hub reads its address when it is imported."""
    safe, pickled = (
        copy(esm_dir, tmp_path / "safe"),
        tiny_encoders.write_t5(tmp_path / "pickled", pickled=True),
    )
    for unwanted in ("pytorch_model.bin", "tf_model.h5"):
        (safe / unwanted).write_bytes(b"a copy nobody needs")
    handler = type(
        "Hub", (FakeHub,), {"repositories": {"lab/safe": safe, "lab/pickled": pickled}, "asked": []}
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    script = """
import sys
from mutscan.embed import load_encoder
from mutscan.errors import FetchError
for _ in range(2):
    for name in sys.argv[1:]:
        try:
            encoder = load_encoder(name, device="cpu")
            print(name, encoder.revision, encoder.family, len(encoder.embed_one("ACDEF")), flush=True)
        except FetchError as error:
            print(name, error.exit_code, error, flush=True)
    sys.stdin.readline()
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    names = ["lab/safe", "lab/pickled", "lab/none"]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *names],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            lines = [process.stdout.readline() for _ in names]
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        process.stdin.write("nobody answers any more\n\n")
        process.stdin.close()
        again = process.stdout.readlines()
        noise = process.stderr.read()
    assert lines[:1] == [f"lab/safe {FakeHub.commit} esm 5\n"], noise
    assert lines[1] == f"lab/pickled {FakeHub.commit} t5 5\n"
    assert lines[2].startswith("lab/none 5 encoder lab/none: the Hugging Face hub has no such")
    assert again[:2] == lines[:2], "from the cache, without asking the network"
    assert "check the network" in again[2]
    assert noise == "", "no bars off a terminal, no load reports"
    fetched = {path.rsplit("/", 1)[-1] for path in handler.asked if "/resolve/" in path}
    assert "model.safetensors" in fetched
    assert "tf_model.h5" not in fetched
    assert not any("lab/safe/resolve" in path and path.endswith(".bin") for path in handler.asked)


# Device, precision, threads


def test_device_and_precision_words() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda:0")
    assert resolve_device("cpu") == cpu
    assert resolve_device("auto").type in {"cpu", "cuda", "mps"}
    assert resolve_precision("auto", cpu) == "fp32"
    assert resolve_precision("auto", cpu, family="t5") == "fp32"
    assert resolve_precision("bf16", cpu) == "bf16"
    assert resolve_precision("auto", torch.device("mps")) == "fp32"
    for word in ("gpu", "cuda:x", "cuda:-1", "", "tpu"):
        with pytest.raises(UsageError, match="expected auto, cpu, cuda"):
            resolve_device(word)
    for word in ("half", "fp8", ""):
        with pytest.raises(UsageError, match="expected auto, fp32, bf16 or fp16"):
            resolve_precision(word, cpu)
    with pytest.raises(UsageError, match="for GPUs"):
        resolve_precision("fp16", cpu)
    assert resolve_precision("fp16", cuda) == "fp16"
    with pytest.raises(UsageError, match="at least 1"):
        set_threads(0)


def test_automatic_precision_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda:0")
    for has_bf16, esm in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bf16)  # noqa: B023 - used at once
        assert resolve_precision("auto", cuda, family="esm") == esm
        assert resolve_precision("auto", cuda, family="t5") == "fp16"
    with pytest.raises(UsageError, match="no bfloat16"):
        resolve_precision("bf16", cuda)


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="sees no CUDA device"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda:0")
    assert resolve_device("CUDA:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match="sees 2 CUDA"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("wrong", [{"batch_residues": 0}, {"window": 3}, {"precision": "fp16"}])
def test_bad_settings_are_refused(wrong: dict[str, object], esm_dir: Path) -> None:
    with pytest.raises(UsageError):
        load_encoder(str(esm_dir), device="cpu", **wrong)  # type: ignore[arg-type]


# The cache


def test_cache_gives_back_what_was_put(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "cache")
    embedding = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    assert cache.get("ACDEF", "k") is None
    cache.put("ACDEF", "k", embedding)
    got = cache.get("acdef*", "k")
    assert got is not None
    np.testing.assert_array_equal(got, embedding)
    assert cache.get("ACDEY", "k") is None
    assert cache.get("ACDEF", "another encoder") is None
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_cache_keeps_half_precision_in_half_the_room_without_loss(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(50, 64)).astype(np.float32)
    half = exact.astype(np.float16).astype(np.float32)
    huge = exact * 1e6
    for sequence, embedding in zip(proteins(50, 50, 50), (exact, half, huge), strict=True):
        cache.put(sequence, "k", embedding)
        np.testing.assert_array_equal(cache.get(sequence, "k"), embedding)
    sizes = [cache.path(s, "k").stat().st_size for s in proteins(50, 50, 50)]
    assert sizes[0] > 1.8 * sizes[1]


def test_a_damaged_file_counts_as_absent_and_goes(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    embedding = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    path = cache.path("ACDEF", "k")

    def flipped(data: bytes) -> bytes:
        return data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]

    damages = (lambda d: d[:-4], lambda d: b"", lambda d: d[:20], lambda d: b"rubbish" * 50, flipped)
    for damage in damages:
        cache.put("ACDEF", "k", embedding)
        path.write_bytes(damage(path.read_bytes()))
        assert cache.get("ACDEF", "k") is None
        assert not path.exists()
    cache.put("ACDEY", "k", embedding)
    os.replace(cache.path("ACDEY", "k"), path)  # another sequence's file under this name
    assert cache.get("ACDEF", "k") is None


def test_a_cache_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = EmbeddingCache(tmp_path / "file")
    for sequence in ("ACDEF", "ACDEG"):
        cache.put(sequence, "k", np.zeros((5, 3), np.float32))
        assert cache.get(sequence, "k") is None
    assert [r.levelno for r in caplog.records].count(logging.WARNING) == 1
    assert "cannot be written" in caplog.text


def test_embed_cached_computes_only_what_is_new(esm_dir: Path, tmp_path: Path) -> None:
    encoder = load_encoder(str(esm_dir), device="cpu")
    cache = EmbeddingCache(tmp_path)
    sequences = proteins(20, 30, 40)
    first = dict(embed_cached(encoder, sequences[:2], cache))
    calls = spy(encoder)
    second = dict(embed_cached(encoder, [sequences[2], *sequences[:2]], cache))
    assert calls == [(1, 42)]
    np.testing.assert_array_equal(second[1], first[0])
    np.testing.assert_array_equal(second[2], first[1])
    assert sorted(dict(embed_cached(encoder, sequences, None))) == [0, 1, 2]
    assert len(calls) == 4


# The encoder we ship


def test_pretrained_encoder_frozen_values(shared: Path) -> None:
    """Made with transformers 5.23 (equal to plain EsmModel's there), 5.8 and 5.0; none may change them."""
    encoder = load_encoder(str(shared / "models" / "esm8m-pretrained"), device="cpu")
    assert (encoder.dim, encoder.window, encoder.family) == (320, 1022, "esm")
    embedding = encoder.embed_one("MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ")
    frozen = [
        [-0.75062066, 0.51790320, -0.17737564, 0.66680914],
        [-0.01627062, 0.08601094, 0.34832480, -0.43487474],
        [-0.63396830, 0.76269730, 0.15574835, -0.35547468],
    ]
    np.testing.assert_allclose(embedding[[0, 16, 32], :4], frozen, atol=1e-4)
    assert np.linalg.norm(embedding) == pytest.approx(93.824036, abs=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_gpu_is_close_to_the_cpu(any_dir: Path, precision: str) -> None:
    sequences = proteins(12, 33, 7, 33, 50, 60)
    reference = dict(load_encoder(str(any_dir), device="cpu").embed(sequences))
    encoder = load_encoder(str(any_dir), device="cuda", precision=precision)
    tolerance = 1e-3 if precision == "fp32" else 0.1
    for index, embedding in encoder.embed(sequences):
        np.testing.assert_allclose(embedding, reference[index], atol=tolerance)
