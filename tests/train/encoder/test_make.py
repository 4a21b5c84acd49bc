"""Pretraining an encoder: sequences, packing, the loop, the folder it leaves; it can be killed."""

import contextlib
import errno
import gzip
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import mutscan.train.encoder.make as encoder_module
from mutscan.cli.app import app
from mutscan.embed import load_encoder
from mutscan.embed.tokens import ESM_VOCABULARY, clean, esm_tokens
from mutscan.errors import CheckpointError, MutscanError, RunFolderError, UsageError
from mutscan.residues import STANDARD
from mutscan.train.chains.corpus import RESIDUES, Corpus, read_corpus
from mutscan.train.chains.splits import assign_splits
from mutscan.train.encoder.batches import (
    PackedBatches,
    Vocabulary,
    cut,
    fixed_batches,
    widths_of,
)
from mutscan.train.encoder.config import PRETRAIN_PRESETS, PretrainConfig, read_pretrain_config
from mutscan.train.encoder.distances import (
    EDGES,
    DistanceHead,
    contact_precision,
    distance_loss,
    read_structures,
)
from mutscan.train.encoder.make import train_encoder
from mutscan.train.encoder.network import SHAPES, EncoderShape, new_network, read_network
from mutscan.train.loop.processes import Ranks, own_device
from tests.places import ROOT
from tests.tiny_encoders import quiet_transformers, write_esm, write_t5

VOCABULARY = Vocabulary.standard()
MASK, PAD = ESM_VOCABULARY.index("<mask>"), ESM_VOCABULARY.index("<pad>")
CONFIG = replace(
    PRETRAIN_PRESETS["tiny"],
    shape=EncoderShape(1, 16, 2, 32),
    steps=30,
    max_length=60,
    batch_tokens=1024,
    chunk_tokens=512,
    validate_every=10,
    validation_share=0.1,
    precision="fp32",
)


def made_up(n: int, *, seed: int = 0) -> list[str]:
    """Sequences in which each residue nearly tells the next: something a network can learn."""
    rng = np.random.default_rng(seed)
    sequences = []
    for length in rng.integers(8, 120, n).tolist():
        place, letters = int(rng.integers(20)), []
        for _ in range(length):
            letters.append(STANDARD[place])
            place = (place + 1) % 20 if rng.random() < 0.9 else int(rng.integers(20))
        sequences.append("".join(letters))
    return sequences


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sequences") / "sequences.parquet"
    sequences = made_up(200)
    # Clusters of 1, 2, 3 ... members.
    clusters = np.searchsorted(np.cumsum(np.arange(1, 40)), np.arange(len(sequences)), side="right")
    pd.DataFrame({"sequence": sequences, "cluster": clusters}).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def corpus(table: Path) -> Corpus:
    return read_corpus([table])


def texts_of(corpus: Corpus) -> list[str]:
    letters = np.array(list(RESIDUES))
    return ["".join(letters[corpus.codes[a:b]]) for a, b in pairwise(corpus.starts)]


# Sequences


def test_files_are_read_alike(tmp_path: Path) -> None:
    raw = ["MKTAYIAKQR", "mkt-ayx*", "UZOBJACDEF", "GG GG.A"]
    cleaned = [clean(text) for text in raw]
    pd.DataFrame({"sequence": raw}).to_parquet(tmp_path / "a.parquet")
    text = "".join(f">s{k}\n{line}\n" for k, line in enumerate(raw))
    (tmp_path / "b.fasta").write_text(text, encoding="utf-8")
    (tmp_path / "c.fa.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.parquet", "b.fasta", "c.fa.gz"):
        assert texts_of(read_corpus([tmp_path / name])) == cleaned
    together = read_corpus([tmp_path])
    assert texts_of(together) == cleaned  # each sequence once, though three files have it
    assert together.n_clusters == len(cleaned)


def test_a_repeated_sequence_stays_in_its_named_cluster(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(">x\nMKTAYIAK\n", encoding="utf-8")
    frame = pd.DataFrame({"sequence": ["MKTAYIAK", "MKTAYIAR", "WWWW"], "cluster": ["p", "p", "q"]})
    frame.to_parquet(tmp_path / "b.parquet")
    corpus = read_corpus([tmp_path / "a.fasta", tmp_path / "b.parquet"])
    assert sorted(corpus.cluster_sizes.tolist()) == [1, 2]
    assert len(corpus) == 3


@pytest.mark.parametrize(
    ("sequences", "words"),
    [
        ([], "contains no sequence"),
        (["MKT", ""], "sequence 2: cannot embed an empty sequence"),
        (["MKT", "MK1T"], "sequence 2: character '1' at 3"),
        (["MKÅT"], "sequence 1: character 'Å' at 3"),
        (["MKT", None], "the column sequence has empty cells"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, sequences: list[str | None], words: str) -> None:
    path = tmp_path / "s.parquet"
    pd.DataFrame({"sequence": pd.Series(sequences, dtype="str")}).to_parquet(path)
    with pytest.raises(UsageError, match=re.escape(words)):
        read_corpus([path])


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"seq": ["MKT"]}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 but no table")
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("a.parquet", "no column sequence; there are seq"),
        ("broken.parquet", "cannot be read as a Parquet table"),
        ("empty", "contains no Parquet or FASTA file"),
        ("none.fasta", "no such file"),
    ):
        with pytest.raises(UsageError, match=words):
            read_corpus([tmp_path / name])


def test_clusters_are_held_out_by_a_seeded_hash(corpus: Corpus) -> None:
    first = corpus.held_out(seed=0, share=0.2, most=100)
    assert first.sum() == round(0.2 * corpus.n_clusters)
    assert (first == corpus.held_out(seed=0, share=0.2, most=100)).all()
    assert (first != corpus.held_out(seed=1, share=0.2, most=100)).any()
    more = corpus.held_out(seed=0, share=0.5, most=100)
    assert (more | ~first).all()  # a larger share holds the smaller one
    assert corpus.held_out(seed=0, share=0.5, most=3).sum() == 3


def test_one_cluster_is_not_enough(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(">x\nMKTAYIAK\n", encoding="utf-8")
    with pytest.raises(UsageError, match="at least two were expected"):
        read_corpus([tmp_path / "a.fasta"]).held_out(seed=0, share=0.1, most=10)


# Packing


def batches_of(corpus: Corpus, clusters: np.ndarray, **changes: int) -> PackedBatches:
    sizes = {"max_length": 60, "chunk_tokens": 512, "chunks": 3, "seed": 0} | changes
    return PackedBatches(corpus, clusters, VOCABULARY, **sizes)


def test_chunks_are_full_and_hold_little_padding(corpus: Corpus) -> None:
    batches = batches_of(corpus, np.arange(corpus.n_clusters), chunk_tokens=1024)
    drawn = [item for step in range(50) for item in batches(step)]
    assert len(drawn) == 150
    padding = 1 - sum(item.n_tokens for item in drawn) / sum(item.tokens.size for item in drawn)
    assert padding < 0.07  # widths are rounded up to eights, and crops are short here
    assert all(item.tokens.size <= 1024 for item in drawn)
    assert np.mean([item.tokens.size for item in drawn]) > 0.9 * 1024
    mixed = [len({item.tokens.shape[1] for item in batches(step)}) > 1 for step in range(50)]
    assert np.mean(mixed) > 0.5  # a step holds several lengths
    for item in drawn[:20]:
        width = item.tokens.shape[1]
        inside = np.arange(width) < item.lengths[:, None]
        assert ((item.tokens == PAD) == ~inside).all()
        assert (item.mask is None) == bool(inside.all())
        assert item.lengths.max() <= 62


def test_a_batch_depends_on_seed_and_step_only(corpus: Corpus) -> None:
    clusters = np.arange(corpus.n_clusters)
    one, other = batches_of(corpus, clusters), batches_of(corpus, clusters)
    late = other(97)
    for step in (0, 43, 97):
        again = late if step == 97 else other(step)
        for a, b in zip(one(step), again, strict=True):
            assert np.array_equal(a.tokens, b.tokens)
            assert np.array_equal(a.targets, b.targets)
            assert a.number == b.number
    numbers = [item.number for step in range(5) for item in one(step)]
    assert numbers == list(range(15))
    different = batches_of(corpus, clusters, seed=1)
    assert not np.array_equal(one(0)[0].tokens, different(0)[0].tokens)


def test_masking_is_esms(corpus: Corpus) -> None:
    batches = batches_of(corpus, np.arange(corpus.n_clusters))
    total = chosen = masked = changed = left = 0
    for step in range(60):
        for item in batches(step):
            given = item.tokens.ravel()[item.places]
            assert np.isin(item.targets, VOCABULARY.residues[:20]).all()  # never X, <cls>, <eos>, <pad>
            total += item.n_tokens - 2 * len(item.lengths)
            chosen += len(item.places)
            masked += int((given == MASK).sum())
            left += int((given == item.targets).sum())
            changed += int(((given != item.targets) & (given != MASK)).sum())
            others = np.delete(item.tokens.ravel(), item.places)
            assert MASK not in others
    assert chosen / total == pytest.approx(0.15, abs=0.01)
    assert masked / chosen == pytest.approx(0.8, abs=0.02)
    assert changed / chosen == pytest.approx(0.1 * 19 / 20, abs=0.015)
    assert left / chosen == pytest.approx(0.1 + 0.1 / 20, abs=0.015)


def test_unknown_residues_are_read_but_never_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(">x\nXXXXXXXXXX\n>y\nXXXXXXXXXXXX\n", encoding="utf-8")
    corpus = read_corpus([tmp_path / "a.fasta"])
    item = fixed_batches(corpus, np.arange(2), VOCABULARY, max_length=60, chunk_tokens=64, seed=0)[0]
    assert len(item.places) == 0
    with pytest.raises(UsageError, match="has a residue to predict"):
        train_encoder([tmp_path / "a.fasta"], tmp_path / "out", CONFIG, device="cpu")


def test_clusters_are_drawn_by_the_root_of_their_size(tmp_path: Path) -> None:
    # Nine sequences of As in one cluster, one of Cs in another: 3 to 1.
    frame = pd.DataFrame({"sequence": ["A" * n for n in range(30, 39)] + ["C" * 34]})
    frame["cluster"] = [0] * 9 + [1]
    frame.to_parquet(tmp_path / "s.parquet")
    corpus = read_corpus([tmp_path / "s.parquet"])
    batches = batches_of(corpus, np.arange(2))
    targets = np.concatenate([item.targets for step in range(100) for item in batches(step)])
    share = float((targets == ESM_VOCABULARY.index("A")).mean())
    assert share == pytest.approx(0.75, abs=0.03)


def test_held_out_clusters_are_never_drawn(corpus: Corpus) -> None:
    held_out = corpus.held_out(seed=0, share=0.5, most=100)
    texts = np.array(texts_of(corpus), dtype=object)
    sides: list[set[str]] = []
    for side in (np.flatnonzero(~held_out), np.flatnonzero(held_out)):
        members = [
            m for c in side for m in corpus.members[corpus.cluster_starts[c] : corpus.cluster_starts[c + 1]]
        ]
        sides.append({text[k : k + 12] for text in texts[members] for k in range(len(text) - 11)})
    only_held = sides[1] - sides[0]
    batches = batches_of(corpus, np.flatnonzero(~held_out))
    seen = set()
    for step in range(30):
        for item in batches(step):
            tokens = item.tokens.copy()
            tokens.ravel()[item.places] = item.targets  # as it was before masking
            for row, n in zip(tokens, item.lengths, strict=True):
                text = "".join(ESM_VOCABULARY[t] for t in row[1 : n - 1])
                seen |= {text[k : k + 12] for k in range(len(text) - 11)}
    assert only_held
    assert not seen & only_held
    assert seen <= sides[0]


def test_cutting() -> None:
    widths = np.sort(widths_of(np.random.default_rng(0).integers(1, 60, 300)))[::-1]
    starts = cut(widths, 256)
    assert starts[0] == 0
    assert starts[-1] == 300
    for a, b in pairwise(starts):
        assert (b - a) * widths[a] <= 256
        assert b == 300 or (b + 1 - a) * widths[a] > 256
    with pytest.raises(UsageError, match="a crop of --max-length 60 residues needs 64 tokens"):
        PackedBatches(None, None, VOCABULARY, max_length=60, chunk_tokens=63, chunks=1, seed=0)  # type: ignore[arg-type]


# Training


@pytest.fixture(scope="module")
def whole(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "encoder"
    train_encoder([table], out, replace(CONFIG, steps=60), device="cpu", threads=1, peak_tflops=0.001)
    return out


def log_of(out: Path) -> list[dict]:
    lines = (out.with_name(out.name + ".work") / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def results_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_it_learns(whole: Path) -> None:
    lines = log_of(whole)
    assert [line["step"] for line in lines] == [10, 20, 30, 40, 50, 60]
    first, last = lines[0]["validation"], lines[-1]["validation"]
    assert last["perplexity"] < 0.8 * first["perplexity"]
    assert last["perplexity"] == pytest.approx(math.exp(last["loss"]), abs=1e-3)
    for line in lines:
        assert line["speed"]["tokens_per_second"] > 0
        assert 0 <= line["train"]["padding"] < 0.2
        assert 0 < line["speed"]["flop_utilisation"]
    metrics = json.loads((whole / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["best_step"] == min(lines, key=lambda line: line["validation"]["loss"])["step"]
    assert metrics["settings"]["steps"] == 60
    assert re.fullmatch("[0-9a-f]{64}", metrics["data_sha256"])
    assert f"**{metrics['validation']['perplexity']:.2f}**" in (whole / "README.md").read_text(
        encoding="utf-8"
    )


def test_transformers_and_mutscan_read_the_encoder(whole: Path) -> None:
    from transformers import AutoTokenizer, EsmForMaskedLM, EsmModel

    quiet_transformers()
    _, report = EsmForMaskedLM.from_pretrained(whole, output_loading_info=True, dtype=torch.float32)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    bare, report = EsmModel.from_pretrained(
        whole, add_pooling_layer=False, output_loading_info=True, dtype=torch.float32
    )
    assert not report["missing_keys"]
    assert all(name.startswith("lm_head.") for name in report["unexpected_keys"])

    ids = AutoTokenizer.from_pretrained(whole)("MKTAYX", return_tensors="pt")["input_ids"]
    assert [ESM_VOCABULARY[k] for k in ids[0]] == ["<cls>", *"MKTAYX", "<eos>"]
    encoder = load_encoder(str(whole), device="cpu", precision="fp32")
    with torch.no_grad():
        hidden = bare.eval()(input_ids=ids).last_hidden_state[0, 1:-1].numpy()
    np.testing.assert_allclose(encoder.embed_one("MKTAYX"), hidden, atol=1e-5)


def test_the_perplexity_is_that_of_the_written_encoder(whole: Path, corpus: Corpus) -> None:
    from transformers import EsmForMaskedLM

    quiet_transformers()
    model = EsmForMaskedLM.from_pretrained(whole, dtype=torch.float32).eval()
    held_out = np.flatnonzero(corpus.held_out(seed=0, share=0.1, most=100))
    total, n = 0.0, 0
    for item in fixed_batches(corpus, held_out, VOCABULARY, max_length=60, chunk_tokens=512, seed=0):
        tokens, places = torch.from_numpy(item.tokens), torch.from_numpy(item.places)
        mask = torch.arange(tokens.shape[1]) < torch.from_numpy(item.lengths)[:, None]
        with torch.no_grad():
            logits = model(input_ids=tokens, attention_mask=mask.long()).logits.flatten(0, 1)[places]
        total += float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(item.targets))) * len(
            places
        )
        n += len(places)
    metrics = json.loads((whole / "metrics.json").read_text(encoding="utf-8"))
    assert total / n == pytest.approx(metrics["validation"]["loss"], abs=2e-3)


def test_rotary_frequencies_stay_exact(whole: Path) -> None:
    from safetensors.torch import load_file

    stored = load_file(whole / "model.safetensors")
    kinds = {str(tensor.dtype) for name, tensor in stored.items() if not name.endswith("inv_freq")}
    assert kinds == {"torch.float16"}
    assert all(stored[name].dtype == torch.float32 for name in stored if name.endswith("inv_freq"))


COMMAND = [
    sys.executable, "-m", "mutscan", "train", "encoder", "--preset", "tiny", "--device", "cpu",
    "--threads", "1", "--quiet",
]  # fmt: skip
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(whole: Path, table: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        'preset = "tiny"\nsteps = 60\nmax_length = 60\nbatch_tokens = 1024\nchunk_tokens = 512\n'
        'validate_every = 10\nprecision = "fp32"\n'
        "[shape]\nlayers = 1\nwidth = 16\nheads = 2\nfeed_forward = 32\n",
        encoding="utf-8",
    )
    out = tmp_path / "encoder"
    log = tmp_path / "encoder.work" / "log.jsonl"
    process = subprocess.Popen(
        [*COMMAND, "--sequences", str(table), "--out", str(out), "--config", str(config)],
        env=ENVIRONMENT,
    )
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text(encoding="utf-8").count("\n") >= 2):
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    with log.open("a", encoding="utf-8") as file:
        file.write('{"step": 30, "validation": {"loss": 1}')  # as a line that was being written

    settings = read_pretrain_config(config)
    train_encoder([table], out, settings, device="cpu", threads=1)
    # The same name, so the same card; and the same weights, configuration, metrics.
    assert results_of(out) == results_of(whole)
    for line, other in zip(log_of(out), log_of(whole), strict=True):
        assert line["train"]["padding"] == other["train"]["padding"]
        for key in ("step", "rate", "train", "validation", "best_step"):
            if key != "train" or line["step"] != 30:
                assert line[key] == other[key]


@pytest.mark.slow
def test_two_processes_train_as_one(table: Path, tmp_path: Path) -> None:
    chains = tmp_path / "chains.parquet"
    write_chains(chains, 40)
    config = replace(CONFIG, chunk_tokens=256, steps=20, structure_weight=0.3, structure_crop=40)
    alone = train_encoder([table], tmp_path / "one", config, structures=chains, device="cpu", threads=1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = tmp_path / "config.toml"
    settings.write_text(
        'preset = "tiny"\nsteps = 20\nmax_length = 60\nbatch_tokens = 1024\nchunk_tokens = 256\n'
        'validate_every = 10\nprecision = "fp32"\nstructure_weight = 0.3\nstructure_crop = 40\n'
        "[shape]\nlayers = 1\nwidth = 16\nheads = 2\nfeed_forward = 32\n",
        encoding="utf-8",
    )
    ranks = [
        subprocess.Popen(
            [
                *COMMAND, "--sequences", str(table), "--structures", str(chains), "--json",
                "--out", str(tmp_path / "two"), "--config", str(settings),
            ],
            stdout=subprocess.PIPE,
            # What torchrun sets for each of its processes.
            env=ENVIRONMENT
            | {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            },
        )
        for rank in range(2)
    ]  # fmt: skip
    spoken = [process.communicate(timeout=120)[0] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0]
    assert spoken[1] == b""  # one of them speaks
    metrics = json.loads(spoken[0])
    assert metrics["settings"] == alone.metrics["settings"]
    assert metrics["tokens"] == alone.metrics["tokens"]
    assert len(log_of(tmp_path / "two")) == 2
    for line, other in zip(log_of(tmp_path / "two"), log_of(tmp_path / "one"), strict=True):
        assert line["train"]["loss"] == pytest.approx(other["train"]["loss"], abs=1e-4)
        for name, value in other["validation"].items():
            # One in 200 of the surest contacts may change places with its neighbour.
            tolerance = 0.02 if name == "contact_precision" else 2e-3
            assert line["validation"][name] == pytest.approx(value, abs=tolerance)


def test_more_processes_than_micro_batches_are_refused(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_module, "joined", lambda device: contextlib.nullcontext(Ranks(0, 3)))
    with pytest.raises(UsageError, match="3 processes, but a step of --batch-tokens 1024 is only 2"):
        train_encoder([table], tmp_path / "x", CONFIG, device="cpu")


def test_each_process_gets_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_device("cuda:1") == "cuda:1"
    for name, value in (("RANK", "5"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "8")):
        monkeypatch.setenv(name, value)
    assert own_device("cuda") == "cuda:1"
    assert own_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="use --device cuda"):
        own_device("cuda:1")


def test_a_state_of_another_training_is_refused(whole: Path, table: Path, tmp_path: Path) -> None:
    work = whole.with_name("encoder.work")
    with pytest.raises(CheckpointError, match="other settings"):
        train_encoder([table], tmp_path / "x", replace(CONFIG, steps=61), work=work, device="cpu")
    other = tmp_path / "other.parquet"
    pd.DataFrame({"sequence": made_up(30, seed=5)}).to_parquet(other)
    with pytest.raises(CheckpointError, match=r"other data.*--restart"):
        train_encoder([other], tmp_path / "x", replace(CONFIG, steps=60), work=work, device="cpu")


def test_a_diverging_run_says_so(table: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, learning_rate=1e6, clip=1e9, warmup=0, steps=10)
    with pytest.raises(MutscanError, match="learning rate below 1e\\+06"):
        train_encoder([table], tmp_path / "x", config, device="cpu", threads=1)
    assert not (tmp_path / "x").exists()


def test_transformers_reads_its_tokenizer(whole: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(whole, local_files_only=True)
    assert tokenizer("MKX")["input_ids"] == esm_tokens(whole).encode("MKX").tolist()


def test_bf16_comes_close_to_fp32(whole: Path, table: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=60, precision="bf16")
    trained = train_encoder([table], tmp_path / "x", config, device="cpu", threads=1)
    exact = log_of(whole)[-1]["validation"]["loss"]
    assert trained.metrics["validation"]["loss"] == pytest.approx(exact, rel=0.02)
    assert trained.metrics["validation"]["loss"] != exact


# Going on from an encoder


@pytest.mark.parametrize("half", [True, False])
def test_an_encoder_is_continued(table: Path, tmp_path: Path, half: bool) -> None:
    start = write_esm(tmp_path / "start", half=half, vocabulary=True, initializer_range=0.02)
    from transformers import EsmForMaskedLM

    quiet_transformers()
    model = read_network(start, seed=0)
    assert not model.new_head
    assert model.window == 64
    ids = torch.tensor([[0, 5, 6, 32, 8, 2]])
    reference = EsmForMaskedLM.from_pretrained(start, dtype=torch.float32).eval()
    with torch.no_grad():
        torch.testing.assert_close(model.network.eval()(ids).logits, reference(ids).logits)

    trained = train_encoder(
        [table], tmp_path / "out", replace(CONFIG, steps=10), init=start, dtype="fp32", device="cpu"
    )
    assert trained.metrics["init"] == {"revision": model.revision, "new_head": False}
    assert trained.metrics["settings"]["shape"]["width"] == 16
    assert (tmp_path / "out" / "vocab.txt").read_bytes() == (start / "vocab.txt").read_bytes()
    again = read_network(tmp_path / "out", seed=0)
    moved = dict(again.network.named_parameters())
    for name, parameter in model.network.named_parameters():
        assert torch.equal(parameter, moved[name]) == ("contact_head" in name)


def test_an_encoder_without_a_head_gets_a_new_one(table: Path, tmp_path: Path) -> None:
    from transformers import EsmModel

    start = write_esm(tmp_path / "start", half=False)
    quiet_transformers()
    EsmModel.from_pretrained(start, add_pooling_layer=False).save_pretrained(tmp_path / "bare")
    model = read_network(tmp_path / "bare", seed=3)
    assert model.new_head
    tied = model.network.lm_head.decoder.weight  # type: ignore[union-attr]
    assert tied is model.network.esm.embeddings.word_embeddings.weight  # type: ignore[union-attr]


def test_what_cannot_be_continued_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        read_network(tmp_path / "none", seed=0)
    with pytest.raises(CheckpointError, match="only ESM encoders"):
        read_network(write_t5(tmp_path / "t5"), seed=0)
    start = write_esm(tmp_path / "start", max_positions=48)
    with pytest.raises(UsageError, match="is also --init"):
        train_encoder([table], start, CONFIG, init=start, device="cpu")
    with pytest.raises(UsageError, match="has positions for 44 residues"):
        train_encoder([table], tmp_path / "x", CONFIG, init=start, device="cpu")


def test_the_provided_encoder_is_continued(shared: Path) -> None:
    model = read_network(shared / "models" / "esm8m-pretrained", seed=0)
    assert model.shape == SHAPES["8m"]
    assert not model.new_head
    # What its card says: 12.86 on other clusters; a single protein is near.
    sequence = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
    ids = torch.tensor([[0, *(ESM_VOCABULARY.index(letter) for letter in sequence), 2]])
    with torch.no_grad():
        logits = model.network.eval()(ids).logits[0, 1:-1]  # type: ignore[operator]
    assert float((logits.argmax(-1) == ids[0, 1:-1]).float().mean()) > 0.8


# Distances


def write_chains(path: Path, n: int = 24) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for k in range(n):
        length = int(rng.integers(40, 90))
        steps = rng.normal(size=(length, 3))
        ca = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
        sequence = "".join(rng.choice(list(STANDARD), length))
        packed = np.round((ca - ca.mean(axis=0)) * 100).astype("<i2").tobytes()
        rows.append({"id": f"c{k}", "sequence": sequence, "ca": packed, "cluster25": k // 2})
    frame = pd.DataFrame(rows)
    frame.to_parquet(path)
    return frame


def test_only_the_train_split_is_learned_from(tmp_path: Path) -> None:
    frame = write_chains(tmp_path / "s.parquet", 60)
    splits = assign_splits(frame["cluster25"].to_numpy(), seed=3)
    chains = read_structures(tmp_path / "s.parquet", VOCABULARY, chains=5, crop=200, seed=3)
    letters = np.array(ESM_VOCABULARY, dtype=object)

    def read(batch) -> set[str]:  # type: ignore[no-untyped-def]
        return {"".join(letters[row[1 : n - 1]]) for row, n in zip(batch.tokens, batch.lengths, strict=True)}

    drawn = set().union(*(read(chains(step)) for step in range(80)))
    assert drawn == set(frame["sequence"][splits == "train"])
    checked = set().union(*(read(batch) for batch in chains.check()))
    assert checked <= set(frame["sequence"][splits == "validation"])
    assert len(checked) == frame["cluster25"][splits == "validation"].nunique()


def test_intervals_are_those_of_the_coordinates(tmp_path: Path) -> None:
    frame = write_chains(tmp_path / "s.parquet")
    chains = read_structures(tmp_path / "s.parquet", VOCABULARY, chains=6, crop=30, seed=0)
    batch, again = chains(5), chains(5)
    assert np.array_equal(batch.tokens, again.tokens)
    assert (batch.lengths == 32).all()
    text = "".join(ESM_VOCABULARY[t] for t in batch.tokens[0, 1:31])
    row = next(row for _, row in frame.iterrows() if text in row["sequence"])
    start = row["sequence"].index(text)
    ca = np.frombuffer(row["ca"], "<i2").reshape(-1, 3)[start : start + 30] / 100.0
    for i, j in ((0, 3), (4, 20), (29, 2)):
        distance = float(np.linalg.norm(ca[i] - ca[j]))
        interval = int(batch.intervals[0, i, j])
        assert distance >= ([0.0, *EDGES][interval] - 1e-4)
        assert distance <= ([*EDGES, np.inf][interval] + 1e-4)
    assert batch.intervals[0, 4, 6] == -1


def test_distance_head_learns_and_its_precision_counts_contacts(tmp_path: Path) -> None:
    write_chains(tmp_path / "s.parquet")
    batch = read_structures(tmp_path / "s.parquet", VOCABULARY, chains=3, crop=40, seed=0)(0)
    intervals = torch.from_numpy(batch.intervals)
    torch.manual_seed(0)
    residues = torch.randn(*intervals.shape[:2], 8, requires_grad=True)
    head = DistanceHead(8, 16)
    logits = head(residues)
    torch.testing.assert_close(logits, logits.transpose(1, 2))
    optimiser = torch.optim.Adam([residues, *head.parameters()], 0.05)
    before = float(distance_loss(logits, intervals).detach())
    for _ in range(60):
        optimiser.zero_grad()
        distance_loss(head(residues), intervals).backward()
        optimiser.step()
    assert float(distance_loss(head(residues), intervals).detach()) < 0.7 * before

    true = torch.nn.functional.one_hot(intervals.clamp(min=0).long(), len(EDGES) + 1).float() * 50
    lengths = torch.from_numpy(batch.lengths - 2)
    contacts = (intervals >= 0) & (intervals < 4)
    precisions = contact_precision(true, intervals, lengths)
    assert len(precisions) == 3
    for k, precision in enumerate(precisions):
        n = int(lengths[k])
        far = torch.ones(n, n).triu(24).bool() & contacts[k, :n, :n]
        assert precision == pytest.approx(min(1.0, int(far.sum()) / (n // 5)))


def test_distances_help_only_where_they_are_asked_for(table: Path, tmp_path: Path) -> None:
    chains = tmp_path / "chains.parquet"
    write_chains(chains, 40)
    config = replace(CONFIG, steps=10, structure_weight=0.5, structure_chains=3, structure_crop=40)
    trained = train_encoder([table], tmp_path / "a", config, structures=chains, device="cpu", threads=1)
    held = trained.metrics["validation"]
    assert 0 < held["structure_loss"] < math.log(len(EDGES) + 1) + 0.5
    assert 0 <= held["contact_precision"] <= 1
    assert "distogram" in (tmp_path / "a" / "README.md").read_text(encoding="utf-8")
    # Its state is whole: finished, it is not trained again.
    again = train_encoder([table], tmp_path / "a", config, structures=chains, device="cpu", threads=1)
    assert again.metrics == trained.metrics
    with pytest.raises(UsageError, match="the distance loss has weight 0"):
        train_encoder([table], tmp_path / "b", CONFIG, structures=chains, device="cpu")
    with pytest.raises(UsageError, match="there are no structures"):
        train_encoder([table], tmp_path / "b", config, device="cpu")


def test_structures_without_clusters_are_refused(tmp_path: Path) -> None:
    write_chains(tmp_path / "s.parquet").drop(columns="cluster25").to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match="no column cluster25"):
        read_structures(tmp_path / "t.parquet", VOCABULARY, chains=2, crop=30, seed=0)
    one = write_chains(tmp_path / "s.parquet", 2)
    one.to_parquet(tmp_path / "one.parquet")
    with pytest.raises(UsageError, match="at least one in each was expected"):
        read_structures(tmp_path / "one.parquet", VOCABULARY, chains=2, crop=30, seed=0)


# Settings and the command


def test_settings_are_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('preset = "tiny"\nsteps = 7\nlearning_rate = 1\n[shape]\nwidth = 64\n', encoding="utf-8")
    config = read_pretrain_config(path, "8m", shape={"layers": 3, "heads": None}, seed=4, warmup=None)
    assert config.shape == EncoderShape(3, 64, 2, 64)
    assert (config.steps, config.seed, config.learning_rate, config.warmup) == (7, 4, 1.0, 5)
    path.write_text("stepz = 7\n", encoding="utf-8")
    with pytest.raises(UsageError, match="unknown setting stepz"):
        read_pretrain_config(path)
    path.write_text("steps = 'many'\n", encoding="utf-8")
    with pytest.raises(UsageError, match="expected a int"):
        read_pretrain_config(path)
    with pytest.raises(UsageError, match="no encoder preset is called 9m"):
        read_pretrain_config(None, "9m")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps is 0; expected at least 1"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"validation_share": 1.0}, "expected between 0 and 1"),
        ({"precision": "fp16"}, "expected 'bf16' or 'fp32'"),
        ({"structure_weight": -1.0}, "expected 0 or more"),
    ],
)
def test_senseless_settings_are_refused(changes: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(CONFIG, **changes)


def test_shapes() -> None:
    with pytest.raises(UsageError, match="width of 30 cannot be shared by 4 heads"):
        EncoderShape(1, 30, 4, 8)
    counted = sum(
        p.numel() for p in new_network(SHAPES["8m"], seed=0).network.parameters() if p.requires_grad
    )
    assert counted == pytest.approx(7.5e6, rel=0.01)
    # 6 N tokens, as usual, for short sequences: 6 x 7.37 million weights of the layers.
    shape = SHAPES["8m"]
    flops = shape.flops(torch.ones(1000), 0) / 1000
    assert flops == pytest.approx(6 * 6 * 12 * 320**2, rel=0.01)


def test_the_rate_rises_and_falls() -> None:
    config = PretrainConfig(steps=100, warmup=10, learning_rate=1.0)
    rates = [config.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.02, abs=0.001)
    assert config.chunks * config.largest_chunk <= config.batch_tokens


def test_a_full_disk_is_told_in_words(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mutscan.train.loop.steps.save_state", full)
    with pytest.raises(RunFolderError, match=r"the disk is full; .* run the same command again"):
        train_encoder([table], tmp_path / "x", CONFIG, device="cpu", threads=1)


def test_the_command(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "encoder"
    arguments = [
        "train", "encoder", "--sequences", str(table), "--out", str(out), "--preset", "tiny", "--steps", "4",
        "--validate-every", "2", "--layers", "1", "--width", "16", "--feed-forward", "32", "--device", "cpu",
        "--store", "fp32", "--json",
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert metrics["settings"]["shape"] == {"layers": 1, "width": 16, "heads": 2, "feed_forward": 32}
    assert metrics["validation"]["perplexity"] > 1
    for more, code, words in (
        (["--init", str(out), "--layers", "2"], 2, "the new encoder has the size of this one"),
        (["--precision", "fp16"], 2, "expected 'bf16' or 'fp32'"),
        (["--chunk-tokens", "64"], 2, "needs 128 tokens"),
        (["--compile"], 2, "--compile needs CUDA"),
        (["--sequences", str(tmp_path / "none.fasta")], 2, "no such file"),
    ):
        wrong = [*arguments, *more]
        result = CliRunner().invoke(app, wrong)
        assert result.exit_code == code, result.output
        assert words in " ".join(result.stderr.split())
