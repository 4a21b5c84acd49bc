"""`train_model`: make a model folder from tables of pairs and an encoder.

Embeddings, labels, alignments and the state of the training are kept in a work folder, from which an
interrupted run continues.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mutscan.embed import clean, find_encoder, load_encoder, load_trainable, resolve_device, set_threads
from mutscan.model.checkpoint import EncoderReference, ModelConfig, save_checkpoint
from mutscan.progress import Silent
from mutscan.train.chains.labels import response_labels
from mutscan.train.chains.splits import SPLIT_FILE, SPLITS, pairs_inside, write_splits
from mutscan.train.chains.tables import SIMILAR
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
    from collections.abc import Callable, Mapping, Sequence

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
    work : Path
        The work folder.
    best_step : int
        The step whose weights were chosen by the validation pairs.
    test_tables : mapping of int -> (structures, pairs)
        Tables to evaluate the model on, by their numbers from 1: the first, and those of the others that
        hold pairs of the test split.
    """

    path: Path
    work: Path
    best_step: int
    test_tables: Mapping[int, tuple[Path, Path]]


@dataclass(frozen=True, eq=False)
class _Run:
    """What all steps of a training need."""

    config: TrainConfig
    work: Path
    device: torch.device
    ranks: Ranks
    progress: Progress


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

    Pairs across splits are left out. The weights with the lowest validation error are kept. Started by
    ``torchrun``, all processes train one model; the first process writes, and the work folder must be one
    that all of them see.

    Parameters
    ----------
    structures, pairs : sequence of Path
        Tables as `read_training_set` takes them; it also says who decides the splits.
    encoder : str
        Folder or hub name. A folder, or an encoder that learned, becomes part of the model.
    out : Path
        The model folder.
    config : TrainConfig
        ``net.d_input`` is taken from the encoder, `steps` from `epochs` where they are given.
    work : Path, optional
        Folder for embeddings, labels, state and log; ``OUT.work`` by default.
    name : str, optional
        Name of the model; the folder's name by default.
    device, precision, offline
        As for `mutscan.score`; the net runs on the same device.
    threads : int, optional
        CPU threads of the net.
    restart : bool
        Discard the state of an earlier run.
    peak_tflops : float, optional
        Peak performance of all devices, to log the share of it that is used.
    progress : Progress, optional

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
                else _frozen(work, data.chains, encoder, str(where), precision, offline, progress)
            )
        if threads is not None:
            set_threads(threads)
        run = _Run(_complete(config, data, source), work, where, ranks, progress)
        fit = _fit(run, data, source, peak_tflops)
    if ranks.leads:
        _write(out, name or out.name, run, data, source, fit)
    return TrainedModel(out, work, fit.best_step, data.test_tables())


def _complete(config: TrainConfig, data: TrainingSet, source: _Source) -> TrainConfig:
    """Set the encoder's width, and the number of steps that the epochs make."""
    config = replace(config, net=replace(config.net, d_input=source.inputs.dim))
    if not config.epochs:
        return config
    training = data.inside("train", longest=config.max_length)
    return replace(config, steps=math.ceil(config.epochs * len(training) / config.batch_pairs))


def _fit(run: _Run, data: TrainingSet, source: _Source, peak_tflops: float | None) -> Fit:
    """Train, and fit the last layer of the pair head again."""
    config = run.config
    training = data.inside("train", longest=config.max_length)
    held_out = data.inside("validation", longest=config.max_length, mutants=False)
    held_out = held_out[
        few_of_each_family(data.chains, data.pairs.take(held_out), config.validate_family, seed=config.seed)
    ]
    pairs, others = data.pairs.take(training), data.pairs.take(held_out)
    alignments: list[PairAlignments | None] = [None, None]
    if config.net.d_match:
        with leader_first(run.ranks):
            alignments = [
                pair_alignments(data.chains, *one, progress=run.progress, work=run.work, name=name)
                for name, *one in (("train", pairs, data.mutant[training]), ("validation", others, None))
            ]
    used = np.unique(np.concatenate([pairs.chain_1, pairs.chain_2]))
    geometry = {c: local_geometry(data.chains.ca[c]) for c in used.tolist()} if config.geometry else {}
    labels = data.labels_of(held_out)
    trainer = Trainer(
        config,
        source.inputs,
        _batches(data, training, config, alignments[0]),
        all_pairs(data.chains, others, labels, lddt_from=SIMILAR, alignments=alignments[1]),
        geometry,
        run.work,
        run.device,
        f"{data.sha256[:16]}/{source.key}",
        ranks=run.ranks,
        peak_tflops=peak_tflops,
    )
    run.progress.start("train", config.steps)
    fit = trainer.run(advance=run.progress.advance, describe=run.progress.note)
    run.progress.finish()
    if config.refit_steps and config.net.d_match:
        mutants = np.flatnonzero(data.mutant & np.isin(data.splits[data.pairs.chain_1], SPLITS[:2]))
        _refit(data, fit, source.inputs, trainer.validation, mutants, config, run.device)
    return fit


def _write(out: Path, name: str, run: _Run, data: TrainingSet, source: _Source, fit: Fit) -> None:
    """Write the model folder, apart from its metrics."""
    reference, folder = source.finish(run.work)
    model = ModelConfig(
        name=name,
        siamese=run.config.net,
        encoder=reference,
        lddt_exponent=data.exponent,
        lddt_radius=data.radius,
        training=_describe(data, run.config, fit),
        data_sha256=data.sha256,
    )
    save_checkpoint(out, fit.net, model, encoder=folder)
    write_splits(out / SPLIT_FILE, data.chains, data.splits, sequences=False)


def _refit(
    data: TrainingSet,
    fit: Fit,
    inputs: ChainInputs,
    natural: PairBatch,
    mutant: NDArray[np.int64],
    config: TrainConfig,
    device: torch.device,
) -> None:
    """Fit the weights of the lDDT's distances again, in every process alike."""
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
    """Describe the training, for config.json."""
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
        # Of natural pairs: the constant baselines.
        "medians": {
            "tm_score": float(np.median(scores)),
            "lddt": float(np.nanmedian(data.labels_of(training[scores >= SIMILAR]))),
        },
    }


@dataclass(frozen=True, eq=False)
class _Source:
    """Inputs of the net, and the encoder that the finished model names."""

    inputs: ChainInputs
    key: str
    finish: Callable[[Path], tuple[EncoderReference, Path | None]]


def _frozen(
    work: Path,
    chains: Chains,
    name: str,
    device: str,
    precision: str,
    offline: bool,
    progress: Progress,
) -> _Source:
    """Embed all chains once; the model gets the encoder unchanged."""
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
    """Train the encoder in the same steps; the model gets the trained encoder."""
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
