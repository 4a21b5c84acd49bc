"""`train_model`: tables and an encoder in, a model folder out.

Everything on the way (embeddings, labels, the state of the training) is kept
in a work folder; a run that is killed goes on from there.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mutscan.embed import clean, find_encoder, load_encoder, load_trainable, resolve_device, set_threads
from mutscan.files import write_json
from mutscan.model.checkpoint import EncoderReference, ModelConfig, save_checkpoint
from mutscan.progress import Silent
from mutscan.train.chains.labels import response_labels
from mutscan.train.chains.splits import SPLIT_FILE, SPLITS, pairs_inside, write_splits
from mutscan.train.chains.tables import SIMILAR
from mutscan.train.evaluate.pairs import evaluate_pairs
from mutscan.train.loop.processes import Ranks, joined, leader_first, own_device
from mutscan.train.loop.state import STATE_FILE
from mutscan.train.model.alignments import pair_alignments
from mutscan.train.model.batches import (
    ConnectedBatches,
    PairBatches,
    all_pairs,
    few_of_each_family,
    pair_weights,
)
from mutscan.train.model.embeddings import build_store
from mutscan.train.model.encoding import ChainEncoder
from mutscan.train.model.geometry import local_geometry
from mutscan.train.model.inputs import CachedInputs, EncodedInputs
from mutscan.train.model.refit import gather_evidence, refit_lddt
from mutscan.train.model.trainer import Fit, Trainer
from mutscan.train.model.training_set import read_training_set

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.train.chains.tables import Chains
    from mutscan.train.model.alignments import PairAlignments
    from mutscan.train.model.batches import PairBatch
    from mutscan.train.model.config import TrainConfig
    from mutscan.train.model.inputs import ChainInputs
    from mutscan.train.model.training_set import TrainingSet


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model made by `train_model`.

    Parameters
    ----------
    path : Path
        Its folder.
    metrics : dict
        Contents of its metrics.json: errors on the test split.
    best_step : int
        The step whose weights were chosen by the validation pairs.
    """

    path: Path
    metrics: dict[str, Any]
    best_step: int


def train_model(
    structures: Sequence[Path],
    pairs: Sequence[Path],
    encoder: str,
    out: Path,
    config: TrainConfig,
    *,
    work: Path | None = None,
    name: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    offline: bool = False,
    restart: bool = False,
    peak_tflops: float | None = None,
    progress: Progress | None = None,
) -> TrainedModel:
    """Train a Siamese net, and its encoder if `config` says so, and write the model folder.

    The clusters of the tables are split 80 : 10 : 10 by a seeded hash; pairs across splits are left
    out. The weights with the best validation error are kept, and evaluated once on the test split.
    Started by ``torchrun``, all processes train one model; the first of them writes, and the work
    folder must be one that all of them see.

    Parameters
    ----------
    structures, pairs : sequence of Path
        Tables as `read_training_set` takes them.
    encoder : str
        Folder or hub name. A folder, or an encoder that learned, becomes part of the model.
    out : Path
        The model folder.
    config : TrainConfig
        ``net.d_input`` is taken from the encoder, `steps` from `epochs` where they are given.
    work : Path, optional
        For embeddings, labels, state and log; ``OUT.work`` when not given.
    name : str, optional
        Of the model; the folder's name when not given.
    device, precision, offline
        Of the encoder, as `mutscan.score`; the device is the net's too.
    threads : int, optional
        CPU threads of the net.
    restart : bool
        Forget the state of an earlier run.
    peak_tflops : float, optional
        What all devices together can do; the log then tells the share of it that is used.
    progress : Progress, optional

    Returns
    -------
    TrainedModel
        In a process that follows another one, without metrics.

    Raises
    ------
    UsageError
        The tables cannot be trained on.
    CheckpointError
        The work folder holds the state of another training.
    """
    progress = progress if progress is not None else Silent()
    work = work if work is not None else out.with_name(out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    where = resolve_device(own_device(device))
    with joined(where) as ranks:
        with leader_first(ranks):
            if restart and ranks.leads:
                (work / STATE_FILE).unlink(missing_ok=True)
            data = read_training_set(
                structures,
                pairs,
                seed=config.seed,
                lddt_from=config.loss.tm_lddt,
                work=work,
                progress=progress,
            )
            if ranks.leads:
                write_splits(work / SPLIT_FILE, data.chains, data.splits)
            source = (
                _learning(data.chains, encoder, config, where, offline=offline)
                if config.encoder_rate
                else _frozen(
                    work,
                    data.chains,
                    encoder,
                    device=str(where),
                    precision=precision,
                    offline=offline,
                    progress=progress,
                )
            )
        config = replace(config, net=replace(config.net, d_input=source.inputs.dim))
        if threads is not None:
            set_threads(threads)
        config, fit = _fit(data, source, config, work, where, ranks, peak_tflops, progress)
    if not ranks.leads:
        return TrainedModel(out, {}, fit.best_step)

    reference, folder = source.finish(work)
    model = ModelConfig(
        name=name or out.name,
        siamese=config.net,
        encoder=reference,
        lddt_exponent=data.exponent,
        lddt_radius=data.radius,
        training=_describe(data, config, fit),
        data_sha256=data.sha256,
    )
    save_checkpoint(out, fit.net, model, encoder=folder)
    write_splits(out / SPLIT_FILE, data.chains, data.splits, sequences=False)
    metrics = _evaluate(out, structures, pairs, data, work, str(where), precision, progress)
    return TrainedModel(out, metrics, fit.best_step)


def _fit(
    data: TrainingSet,
    source: _Source,
    config: TrainConfig,
    work: Path,
    device: torch.device,
    ranks: Ranks,
    peak_tflops: float | None,
    progress: Progress,
) -> tuple[TrainConfig, Fit]:
    """Train; also gives the settings with the number of steps that the epochs came to."""
    training = data.inside("train", longest=config.max_length)
    held_out = data.inside("validation", longest=config.max_length, mutants=False)
    held_out = held_out[
        few_of_each_family(data.chains, data.pairs.take(held_out), config.validate_family, seed=config.seed)
    ]
    if config.epochs:
        config = replace(config, steps=math.ceil(config.epochs * len(training) / config.batch_pairs))
    pairs, others = data.pairs.take(training), data.pairs.take(held_out)
    alignments: PairAlignments | None = None
    held_out_alignments: PairAlignments | None = None
    if config.net.d_match:
        with leader_first(ranks):
            alignments = pair_alignments(
                data.chains, pairs, mutant=data.mutant[training], progress=progress, work=work, name="train"
            )
            held_out_alignments = pair_alignments(
                data.chains, others, progress=progress, work=work, name="validation"
            )
    used = np.unique(np.concatenate([pairs.chain_1, pairs.chain_2]))
    geometry = {c: local_geometry(data.chains.ca[c]) for c in used.tolist()} if config.geometry else {}
    trainer = Trainer(
        config,
        source.inputs,
        _batches(data, training, config, alignments),
        all_pairs(
            data.chains,
            others,
            data.labels_of(held_out),
            lddt_from=SIMILAR,
            alignments=held_out_alignments,
        ),
        geometry,
        work,
        device,
        f"{data.sha256[:16]}/{source.key}",
        ranks=ranks,
        peak_tflops=peak_tflops,
    )
    progress.start("train", config.steps)
    fit = trainer.run(advance=progress.advance, describe=progress.note)
    progress.finish()
    if config.refit_steps and config.net.d_match:
        mutants = np.flatnonzero(data.mutant & (data.splits[data.pairs.chain_1] != "test"))
        _refit(data, fit, source.inputs, trainer.validation, mutants, config, device)
    return config, fit


def _refit(
    data: TrainingSet,
    fit: Fit,
    inputs: ChainInputs,
    natural: PairBatch,
    mutant: NDArray[np.int64],
    config: TrainConfig,
    device: torch.device,
) -> None:
    """Fit the weights of the lDDT's distances anew; every process does, and to the same end."""
    encode = ChainEncoder(fit.net, inputs, config, device, Ranks())
    batches = [natural]
    if len(mutant) and config.loss.response:
        pairs, settings = data.pairs.take(mutant), {"exponent": data.exponent, "radius": data.radius}
        every = np.ones(len(mutant), dtype=np.bool_)
        batches.append(
            all_pairs(
                data.chains,
                pairs,
                data.labels_of(mutant),
                lddt_from=config.loss.tm_lddt,
                alignments=pair_alignments(data.chains, pairs, mutant=every, progress=Silent()),
                mutant=every,
                response=response_labels(data.chains, pairs, every, **settings),
            )
        )
    evidence = []
    for batch in batches:
        with torch.no_grad():
            vectors = encode(batch)
        rows = batch.rows(device)
        evidence.append(gather_evidence(fit.net, vectors, rows, batch.lddt, batch.response))
    refit_lddt(
        fit.net,
        evidence[0],
        evidence[1] if len(evidence) > 1 else None,
        config.loss,
        config.refit_steps,
        seed=config.seed,
    )


def _batches(
    data: TrainingSet,
    training: NDArray[np.int64],
    config: TrainConfig,
    alignments: PairAlignments | None,
) -> ConnectedBatches | PairBatches:
    pairs, labels, mutant = data.pairs.take(training), data.labels_of(training), data.mutant[training]
    weights = pair_weights(
        data.chains,
        pairs,
        mutant=mutant,
        mutant_weight=config.mutant_weight,
        balance_bands=config.balance_bands,
        balance_clusters=config.balance_clusters,
    )
    common: dict[str, Any] = {
        "lddt_from": config.loss.tm_lddt,
        "seed": config.seed,
        "alignments": alignments,
        "mutant": mutant,
        "response": response_labels(data.chains, pairs, mutant, exponent=data.exponent, radius=data.radius)
        if config.loss.response
        else None,
    }
    if config.sampler == "pairs":
        return PairBatches(data.chains, pairs, labels, weights, size=config.batch_pairs, **common)
    return ConnectedBatches(
        data.chains,
        pairs,
        labels,
        weights,
        residues=config.batch_residues,
        neighbours=config.neighbours,
        mutants=config.mutants,
        **common,
    )


def _describe(data: TrainingSet, config: TrainConfig, fit: Fit) -> dict[str, Any]:
    """Tell config.json of the training."""
    training = data.inside("train", longest=config.max_length, mutants=False)
    scores = data.pairs.tm_score[training]
    counts = {split: len(pairs_inside(data.pairs, data.splits, split)) for split in SPLITS}
    return {
        "settings": asdict(config),
        "steps": fit.steps,
        "best_step": fit.best_step,
        "validation": asdict(fit.validation),
        "pairs": counts,
        "mutant_pairs": int(data.mutant.sum()),
        # Of natural pairs: the constant baselines that the model is compared with.
        "medians": {
            "tm_score": float(np.median(scores)),
            "lddt": float(np.nanmedian(data.labels_of(training[scores >= SIMILAR]))),
        },
    }


def _evaluate(
    out: Path,
    structures: Sequence[Path],
    pairs: Sequence[Path],
    data: TrainingSet,
    work: Path,
    device: str,
    precision: str,
    progress: Progress,
) -> dict[str, Any]:
    """Evaluate on the test pairs of each table, and write those of the first into the model."""
    tables = list(structures) * (len(pairs) // len(structures))
    metrics: dict[str, Any] = {}
    for number, (table, pair) in enumerate(zip(tables, pairs, strict=True), start=1):
        if number > 1 and not data.holds_test_pairs(number - 1):
            continue
        evaluation = evaluate_pairs(
            str(out.resolve()),
            table,
            pair,
            split="test",
            device=device,
            precision=precision,
            progress=progress,
        )
        evaluation.write(work / ("test" if number == 1 else f"test-{number}"))
        if number == 1:
            metrics = evaluation.metrics
            write_json(out / "metrics.json", metrics)
    return metrics


@dataclass(frozen=True, eq=False)
class _Source:
    """Where the net's inputs come from, and which encoder the finished model names."""

    inputs: ChainInputs
    key: str
    finish: Callable[[Path], tuple[EncoderReference, Path | None]]


def _frozen(
    work: Path,
    chains: Chains,
    name: str,
    *,
    device: str,
    precision: str,
    offline: bool,
    progress: Progress,
) -> _Source:
    """Embed all chains once; the model gets the encoder as it is."""
    encoder = load_encoder(name, device=device, precision=precision, offline=offline)
    progress.start("embed chains", len(chains))
    store = build_store(work, chains, encoder, advance=progress.advance)
    progress.finish()

    def finish(work: Path) -> tuple[EncoderReference, Path | None]:
        if encoder.revision.startswith("sha256:"):
            return EncoderReference("encoder", encoder.revision, precision=encoder.precision), Path(name)
        return EncoderReference(encoder.name, encoder.revision, precision=encoder.precision), None

    return _Source(CachedInputs(store), encoder.key, finish)


def _learning(
    chains: Chains, name: str, config: TrainConfig, device: torch.device, *, offline: bool
) -> _Source:
    """Train the encoder in the same steps; the model gets what became of it."""
    encoder = load_trainable(name, device=device, offline=offline)
    files = encoder.files

    def finish(work: Path) -> tuple[EncoderReference, Path | None]:
        folder = work / "encoder"
        encoder.save(folder)
        revision = find_encoder(str(folder)).revision
        return EncoderReference("encoder", revision, precision=config.precision), folder

    known = files.revision if files.revision.startswith("sha256:") else f"{files.name}@{files.revision}"
    inputs = EncodedInputs(encoder, tuple(clean(sequence) for sequence in chains.sequences))
    return _Source(inputs, f"{files.family}/{known}/learning/{device.type}/{encoder.window}", finish)
