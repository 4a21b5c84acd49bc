"""`train_model`: tables and an encoder in, a model folder out.

Everything on the way (embeddings, labels, the state of the training) is kept
in a work folder; a run that is killed goes on from there.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mutscan.embed import clean, find_encoder, load_encoder, load_trainable, resolve_device, set_threads
from mutscan.errors import UsageError
from mutscan.files import write_json
from mutscan.model.checkpoint import EncoderReference, ModelConfig, save_checkpoint
from mutscan.pipeline.progress import Silent
from mutscan.results import read_arrays, write_arrays
from mutscan.train.batches import ConnectedBatches, PairBatches, all_pairs, pair_weights
from mutscan.train.dataset import read_tables
from mutscan.train.evaluate import SPLIT_FILE, evaluate_pairs
from mutscan.train.fit import Trainer
from mutscan.train.geometry import local_geometry
from mutscan.train.inputs import CachedInputs, EncodedInputs
from mutscan.train.labels import lddt_labels
from mutscan.train.metrics import SIMILAR
from mutscan.train.splits import SPLITS, assign_splits, pairs_inside, write_splits
from mutscan.train.state import STATE_FILE
from mutscan.train.store import build_store

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from mutscan.pipeline.progress import Progress
    from mutscan.train.config import TrainConfig
    from mutscan.train.dataset import Chains, Pairs
    from mutscan.train.inputs import ChainInputs

_EXPONENT = 3.0
_RADIUS = 15.0


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
    structures: Path,
    pairs: Path,
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
    progress: Progress | None = None,
) -> TrainedModel:
    """Train a Siamese net, and its encoder if `config` says so, and write the model folder.

    The clusters of the table are split 80 : 10 : 10 by a seeded hash; pairs across splits are left
    out. The weights with the best validation error are kept, and evaluated once on the test split.

    Parameters
    ----------
    structures, pairs : Path
        Tables as `read_tables` takes them; the chains need ``cluster25``.
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
    if restart:
        (work / STATE_FILE).unlink(missing_ok=True)
    chains, table = read_tables(structures, pairs)
    if chains.clusters is None:
        raise UsageError(
            f"{structures}: has no column cluster25; training and test can only be kept apart by clusters "
            "of sequences (25 % identity)"
        )
    splits = assign_splits(chains.clusters, seed=config.seed)
    write_splits(work / SPLIT_FILE, chains, splits)

    where = resolve_device(device)
    if config.encoder_rate:
        source = _learning(chains, encoder, config, where, offline=offline)
    else:
        source = _frozen(
            work, chains, encoder, device=device, precision=precision, offline=offline, progress=progress
        )
    config = replace(config, net=replace(config.net, d_input=source.inputs.dim))
    labels = _labels(work, chains, table, progress)

    if threads is not None:
        set_threads(threads)
    training, training_labels = _inside(chains, table, labels, splits, "train", config.max_length)
    validation, validation_labels = _inside(chains, table, labels, splits, "validation", config.max_length)
    if config.epochs:
        config = replace(config, steps=math.ceil(config.epochs * len(training) / config.batch_pairs))
    batches = _batches(chains, training, training_labels, config)
    held_out = all_pairs(chains, validation, validation_labels, lddt_from=SIMILAR)
    used = np.unique(np.concatenate([training.chain_1, training.chain_2]))
    geometry = {c: local_geometry(chains.ca[c]) for c in used.tolist()} if config.geometry else {}
    data = _data_hash(chains, table)
    trainer = Trainer(
        config,
        source.inputs,
        batches,
        held_out,
        geometry,
        work,
        where,
        f"{data[:16]}/{source.key}",
    )
    progress.start("train", config.steps)
    fit = trainer.run(advance=progress.advance)
    progress.finish()

    reference, folder = source.finish(work)
    model = ModelConfig(
        name=name or out.name,
        siamese=config.net,
        encoder=reference,
        lddt_exponent=_EXPONENT,
        lddt_radius=_RADIUS,
        training={
            "settings": asdict(config),
            "steps": fit.steps,
            "best_step": fit.best_step,
            "validation": asdict(fit.validation),
            "pairs": {split: len(pairs_inside(table, splits, split)) for split in SPLITS},
            "medians": {
                "tm_score": float(np.median(training.tm_score)),
                "lddt": float(np.nanmedian(training_labels[training.rows(_similar(training))])),
            },
        },
        data_sha256=data,
    )
    save_checkpoint(out, fit.net, model, encoder=folder)
    shutil.copyfile(work / SPLIT_FILE, out / SPLIT_FILE)
    evaluation = evaluate_pairs(
        str(out), structures, pairs, split="test", device=device, precision=precision, progress=progress
    )
    evaluation.write(work / "test")
    write_json(out / "metrics.json", evaluation.metrics)
    return TrainedModel(out, evaluation.metrics, fit.best_step)


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


def _batches(
    chains: Chains, pairs: Pairs, labels: NDArray[np.float32], config: TrainConfig
) -> ConnectedBatches | PairBatches:
    weights = pair_weights(
        chains, pairs, balance_bands=config.balance_bands, balance_clusters=config.balance_clusters
    )
    if config.sampler == "pairs":
        return PairBatches(
            chains, pairs, labels, weights,
            size=config.batch_pairs, lddt_from=config.loss.tm_lddt, seed=config.seed,
        )  # fmt: skip
    return ConnectedBatches(
        chains,
        pairs,
        labels,
        weights,
        residues=config.batch_residues,
        neighbours=config.neighbours,
        lddt_from=config.loss.tm_lddt,
        seed=config.seed,
    )


def _similar(pairs: Pairs) -> NDArray[np.int64]:
    return np.flatnonzero(pairs.tm_score >= SIMILAR)


def _labels(work: Path, chains: Chains, pairs: Pairs, progress: Progress) -> NDArray[np.float32]:
    """Label the residues of the similar pairs, NaN elsewhere; made once."""
    path = work / "lddt.npz"
    key = _data_hash(chains, pairs)
    kept = read_arrays(path)
    if kept is None or str(kept["key"]) != key:
        similar = _similar(pairs)
        progress.start("label residues", 1)
        labels = np.full(len(pairs.aligned), np.nan, dtype=np.float32)
        labels[pairs.rows(similar)] = lddt_labels(
            chains, pairs.take(similar), exponent=_EXPONENT, radius=_RADIUS
        )
        progress.advance()
        progress.finish()
        write_arrays(path, key=np.array(key), labels=labels)
        return labels
    return kept["labels"]


def _inside(
    chains: Chains,
    pairs: Pairs,
    labels: NDArray[np.float32],
    splits: NDArray[np.str_],
    split: str,
    longest: int,
) -> tuple[Pairs, NDArray[np.float32]]:
    """Pairs of a split whose chains are no longer than `longest` (0: of any length), and their labels."""
    chosen = pairs_inside(pairs, splits, split)
    if longest:
        fits = chains.lengths <= longest
        chosen = chosen[fits[pairs.chain_1[chosen]] & fits[pairs.chain_2[chosen]]]
    if not len(chosen):
        raise UsageError(
            f"no pair{f' of chains up to {longest} residues' if longest else ''} lies inside the {split} "
            "split; give more pairs, of chains of more than a few clusters"
        )
    return pairs.take(chosen), labels[pairs.rows(chosen)]


def _data_hash(chains: Chains, pairs: Pairs) -> str:
    """sha256 of all that is trained on: sequences, coordinates, clusters, pairs, alignments."""
    digest = hashlib.sha256("\n".join(chains.sequences).encode())
    for ca in chains.ca:
        digest.update(ca.tobytes())
    for array in (chains.clusters, pairs.chain_1, pairs.chain_2, pairs.tm_score, pairs.aligned, pairs.starts):
        if array is not None:
            digest.update(array.tobytes())
    return digest.hexdigest()
