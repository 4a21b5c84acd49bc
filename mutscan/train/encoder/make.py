"""`train_encoder`: make an encoder's folder from sequences."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mutscan.embed import resolve_device, resolve_precision, set_threads
from mutscan.errors import UsageError
from mutscan.files import write_errors, write_json, write_text
from mutscan.progress import Silent
from mutscan.train.chains.corpus import read_corpus
from mutscan.train.encoder.batches import PackedBatches, check_sizes, fixed_batches
from mutscan.train.encoder.distances import read_structures
from mutscan.train.encoder.network import MaskedLM, new_network, read_network, write_network
from mutscan.train.encoder.trainer import Pretrained, Pretrainer
from mutscan.train.loop.processes import joined, own_device
from mutscan.train.loop.state import STATE_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.train.chains.corpus import Corpus
    from mutscan.train.encoder.batches import MicroBatch
    from mutscan.train.encoder.config import PretrainConfig


@dataclass(frozen=True, slots=True)
class TrainedEncoder:
    """An encoder made by `train_encoder`.

    Parameters
    ----------
    path : Path
        Its folder.
    metrics : dict
        Contents of its metrics.json.
    """

    path: Path
    metrics: dict[str, Any]


def train_encoder(
    sequences: Sequence[Path],
    out: Path,
    config: PretrainConfig,
    *,
    init: Path | None = None,
    structures: Path | None = None,
    work: Path | None = None,
    dtype: str = "fp16",
    device: str = "auto",
    threads: int | None = None,
    compiled: bool = False,
    peak_tflops: float | None = None,
    restart: bool = False,
    progress: Progress | None = None,
) -> TrainedEncoder:
    """Pretrain an encoder as a masked-language model and write its folder.

    Some clusters of the sequences are held out by a seeded hash; the weights with the lowest
    perplexity on them are kept. An interrupted run resumes from the last saved state and ends with the
    same weights. Started by ``torchrun``, the processes share each step's micro-batches.

    Parameters
    ----------
    sequences : sequence of Path
        As `read_corpus` takes them.
    out : Path
        Folder of the encoder, in transformers' format; also gets metrics.json and README.md.
    config : PretrainConfig
        With `init`, its shape is replaced by that encoder's.
    init : Path, optional
        Encoder to continue from.
    structures : Path, optional
        Table of chains, as `read_structures` takes it; only those of the train split are learned from.
        Needs ``config.structure_weight``.
    work : Path, optional
        Folder for state and log; ``OUT.work`` by default.
    dtype : {"fp16", "fp32"}
        Precision of the stored weights.
    device : str
        ``auto | cpu | cuda[:N] | mps``.
    threads : int, optional
        CPU threads.
    compiled : bool
        Compile the network, on CUDA.
    peak_tflops : float, optional
        Peak performance of all devices, to log the share of it that is used.
    restart : bool
        Discard the state of an earlier run.
    progress : Progress, optional

    Raises
    ------
    UsageError
        The sequences or structures cannot be trained on, or settings contradict each other.
    CheckpointError
        `init` is no ESM encoder, or the work folder holds the state of another training.
    MutscanError
        With the code ``diverged``: the loss grows without bound.
    """
    progress = progress if progress is not None else Silent()
    where = resolve_device(own_device(device))
    resolve_precision(config.precision, where)
    _check(config, structures, where, compiled)
    if init is not None and init.resolve() == out.resolve():
        raise UsageError(f"--out {out} is also --init; give another folder for the new encoder")
    if threads is not None:
        set_threads(threads)
    corpus = read_corpus(sequences)
    model, config = _first_network(config, init)
    held_out = corpus.held_out(
        seed=config.seed, share=config.validation_share, most=config.validation_clusters
    )
    batches, validation = _batches(corpus, held_out, model, config)
    digest = hashlib.sha256(f"{corpus.digest} {model.revision}".encode())
    chains = None
    if structures is not None:
        sizes = {"chains": config.structure_chains, "crop": config.structure_crop}
        chains = read_structures(structures, model.vocabulary, **sizes, seed=config.seed)
        digest.update(chains.digest.encode())

    work = work if work is not None else out.with_name(out.name + ".work")
    with write_errors(work):
        work.mkdir(parents=True, exist_ok=True)
    with write_errors(work), joined(where) as ranks:
        if config.chunks < ranks.size:
            raise UsageError(
                f"{ranks.size} processes, but a step of --batch-tokens {config.batch_tokens} is only "
                f"{config.chunks} micro-batches of --chunk-tokens {config.chunk_tokens}; give smaller ones"
            )
        if restart and ranks.leads:
            (work / STATE_FILE).unlink(missing_ok=True)
        ranks.wait()
        trainer = Pretrainer(
            config,
            model,
            batches,
            validation,
            work,
            where,
            digest.hexdigest()[:16],
            structures=chains,
            compiled=compiled,
            peak_tflops=peak_tflops,
            ranks=ranks,
        )
        progress.start("pretrain", config.steps)
        result = trainer.run(advance=progress.advance)
        progress.finish()
        metrics = _metrics(model, config, corpus, held_out, structures, result)
        if ranks.leads:
            _write(model, result, out, dtype, metrics)
        ranks.wait()  # the folder is complete when any process returns
    return TrainedEncoder(out, metrics)


def _first_network(config: PretrainConfig, init: Path | None) -> tuple[MaskedLM, PretrainConfig]:
    """Make the network, or read the one to continue from; return it with the settings of its shape."""
    if init is None:
        return new_network(config.shape, seed=config.seed, max_length=config.max_length), config
    model = read_network(init, seed=config.seed)
    if config.max_length > model.window:
        raise UsageError(
            f"--max-length {config.max_length}: --init {init} has positions for {model.window} residues; "
            "give a smaller --max-length"
        )
    return model, replace(config, shape=model.shape)


def _batches(
    corpus: Corpus, held_out: NDArray[np.bool_], model: MaskedLM, config: PretrainConfig
) -> tuple[PackedBatches, list[MicroBatch]]:
    """Batches of the training clusters, and those of the held-out ones."""
    sizes = {
        "max_length": config.max_length,
        "chunk_tokens": config.largest_chunk,
        "seed": config.seed,
    }
    training = np.flatnonzero(~held_out)
    batches = PackedBatches(corpus, training, model.vocabulary, chunks=config.chunks, **sizes)
    validation = fixed_batches(corpus, np.flatnonzero(held_out), model.vocabulary, **sizes)
    if not sum(len(batch.places) for batch in validation):
        raise UsageError(
            f"none of the {int(held_out.sum())} held-out clusters has a residue to predict; give more or "
            "longer sequences, or a larger validation_share"
        )
    return batches, validation


def _metrics(
    model: MaskedLM,
    config: PretrainConfig,
    corpus: Corpus,
    held_out: NDArray[np.bool_],
    structures: Path | None,
    result: Pretrained,
) -> dict[str, Any]:
    return {
        "validation": result.validation.to_dict(),
        "best_step": result.best_step,
        "tokens": result.tokens,
        "padding": round(result.padding, 4),
        "parameters": sum(p.numel() for p in model.network.parameters() if p.requires_grad),
        "data": {
            "sequences": len(corpus),
            "residues": len(corpus.codes),
            "clusters": corpus.n_clusters,
            "validation_clusters": int(held_out.sum()),
            "structures": structures is not None,
        },
        "data_sha256": corpus.digest,
        "init": None if model.revision is None else {"revision": model.revision, "new_head": model.new_head},
        "settings": asdict(config),
    }


def _write(model: MaskedLM, result: Pretrained, out: Path, dtype: str, metrics: dict[str, Any]) -> None:
    write_network(model, result.weights, out, dtype=dtype)
    write_json(out / "metrics.json", metrics)
    write_text(out / "README.md", _readme(out.name, model, metrics, dtype))


def _check(config: PretrainConfig, structures: Path | None, device: torch.device, compiled: bool) -> None:
    check_sizes(config.max_length, config.largest_chunk)
    if structures is not None and not config.structure_weight:
        raise UsageError(
            f"--structures {structures}: the distance loss has weight 0; give --structure-weight, such as 0.1"
        )
    if structures is None and config.structure_weight:
        raise UsageError(
            f"structure_weight is {config.structure_weight:g}, but there are no structures; give --structures"
        )
    if compiled and device.type != "cuda":
        raise UsageError(f"--compile needs CUDA, but the device is {device}; leave it out")


def _readme(name: str, model: MaskedLM, metrics: dict[str, Any], dtype: str) -> str:
    shape, data, held = model.shape, metrics["data"], metrics["validation"]
    settings = json.dumps(metrics["settings"], indent=2)
    origin = "new weights" if model.revision is None else f"an encoder of revision {model.revision}"
    structures = ""
    if data["structures"]:
        structures = (
            "\n\nA distogram of C-alpha distances was trained at the same time, on chains of the train split "
            f"only: held-out cross-entropy {held['structure_loss']:.3f}, precision of the L/5 most probable "
            f"long-range contacts {held.get('contact_precision', float('nan')):.3f}."
        )
    return f"""# {name}

A protein encoder: {shape.layers} layers, width {shape.width}, {shape.heads} heads, feed-forward
{shape.feed_forward}; {metrics["parameters"] / 1e6:.2f} million weights with the language-model head,
stored as {dtype}. ESM architecture of transformers, for proteins of up to {model.window} residues at a time.

Trained as a masked-language model (15 % of the residues) from {origin} with `mutscan train encoder`,
on {data["sequences"]:,} sequences ({data["residues"]:,} residues) in {data["clusters"]:,} clusters, of
which {data["validation_clusters"]:,} were held out: {metrics["tokens"]:,} tokens in
{metrics["settings"]["steps"]:,} steps, weights of step {metrics["best_step"]:,}.

Perplexity on the held-out clusters: **{held["perplexity"]:.2f}** (a uniform guess has 20, the
frequencies of residues alone give about 18).{structures}

sha256 of the sequences and their clusters: `{metrics["data_sha256"]}`

```python
import mutscan.embed
embedding = mutscan.embed.load_encoder("{name}").embed_one("MEEPQSDPSV")  # float32, (residues, {shape.width})
```

Settings:

```json
{settings}
```
"""
