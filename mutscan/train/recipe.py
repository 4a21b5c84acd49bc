"""`train_model`: tables and an encoder in, a model folder out.

Everything on the way (embeddings, labels, the state of the training) is kept
in a work folder; a run that is killed goes on from there.
"""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mutscan.embed import load_encoder, resolve_device, set_threads
from mutscan.errors import UsageError
from mutscan.files import write_json
from mutscan.model.checkpoint import EncoderReference, ModelConfig, save_checkpoint
from mutscan.model.siamese import PRESETS, SiameseConfig
from mutscan.pipeline.progress import Silent
from mutscan.results import read_arrays, write_arrays
from mutscan.train.batches import ConnectedBatches, all_pairs, pair_weights
from mutscan.train.dataset import read_tables
from mutscan.train.evaluate import SPLIT_FILE, evaluate_pairs
from mutscan.train.fit import MINI, TrainConfig, Trainer
from mutscan.train.geometry import local_geometry
from mutscan.train.labels import lddt_labels
from mutscan.train.loss import LossConfig
from mutscan.train.metrics import SIMILAR
from mutscan.train.splits import SPLITS, assign_splits, pairs_inside, write_splits
from mutscan.train.store import build_store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.pipeline.progress import Progress
    from mutscan.train.dataset import Chains, Pairs

TRAIN_PRESETS: dict[str, TrainConfig] = {
    "paper": TrainConfig(net=PRESETS["paper"]),
    "repo2025": TrainConfig(net=PRESETS["repo2025"]),
    "mini": MINI,
}
"""Named settings: ``paper`` (spec 4.8, 5, 6), ``repo2025`` (its net of that year), ``mini`` (ours)."""

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


def read_config(path: Path | None, preset: str = "mini", **overrides: Any) -> TrainConfig:
    """Read the settings of a training: a preset, changed by a TOML file, changed by `overrides`.

    The file holds a ``preset`` if it names one, any field of `TrainConfig`,
    and the tables ``net`` and ``loss`` with any of theirs.

    Raises
    ------
    UsageError
        The preset, a field or its type is unknown.
    """
    settings: dict[str, Any] = {}
    if path is not None:
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: cannot be read as TOML ({error})") from error
    name = str(settings.pop("preset", preset))
    if name not in TRAIN_PRESETS:
        raise UsageError(f"no training preset is called {name}; there are {', '.join(TRAIN_PRESETS)}")
    base = TRAIN_PRESETS[name]
    where = str(path) if path is not None else "settings"
    net: SiameseConfig = _updated(base.net, settings.pop("net", {}), f"{where}, [net]")
    loss: LossConfig = _updated(base.loss, settings.pop("loss", {}), f"{where}, [loss]")
    given = settings | {key: value for key, value in overrides.items() if value is not None}
    changed: TrainConfig = _updated(replace(base, net=net, loss=loss), given, where)
    return changed


def _updated(base: Any, changes: dict[str, Any], where: str) -> Any:
    known = {field.name: type(getattr(base, field.name)) for field in fields(base)}
    for key, value in changes.items():
        if key not in known:
            raise UsageError(f"{where}: unknown setting {key}; there are {', '.join(known)}")
        fits = type(value) is known[key] or (known[key] is float and type(value) is int)
        if not fits:
            raise UsageError(f"{where}: {key} is {value!r}; expected a {known[key].__name__}")
    numbers = {key: float(value) if known[key] is float else value for key, value in changes.items()}
    return replace(base, **numbers)


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
    """Train a Siamese net on a frozen encoder and write the model folder.

    The clusters of the table are split 80 : 10 : 10 by a seeded hash; pairs across splits are left
    out. The weights with the best validation error are kept, and evaluated once on the test split.

    Parameters
    ----------
    structures, pairs : Path
        Tables as `read_tables` takes them; the chains need ``cluster25``.
    encoder : str
        Folder or hub name. A folder is copied into the model.
    out : Path
        The model folder.
    config : TrainConfig
        ``net.d_input`` is taken from the encoder.
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
        (work / "state.safetensors").unlink(missing_ok=True)
    chains, table = read_tables(structures, pairs)
    if chains.clusters is None:
        raise UsageError(
            f"{structures}: has no column cluster25; training and test can only be kept apart by clusters "
            "of sequences (25 % identity)"
        )
    splits = assign_splits(chains.clusters, seed=config.seed)
    write_splits(work / SPLIT_FILE, chains, splits)

    frozen = load_encoder(encoder, device=device, precision=precision, offline=offline)
    config = replace(config, net=replace(config.net, d_input=frozen.dim))
    progress.start("embed chains", len(chains))
    store = build_store(work, chains, frozen, advance=progress.advance)
    progress.finish()
    labels = _labels(work, chains, table, progress)

    if threads is not None:
        set_threads(threads)
    training, training_labels = _inside(table, labels, splits, "train")
    weights = pair_weights(
        chains, training, balance_bands=config.balance_bands, balance_clusters=config.balance_clusters
    )
    validation, validation_labels = _inside(table, labels, splits, "validation")
    batches = ConnectedBatches(
        chains,
        training,
        training_labels,
        weights,
        residues=config.batch_residues,
        neighbours=config.neighbours,
        lddt_from=config.loss.tm_lddt,
        seed=config.seed,
    )
    held_out = all_pairs(chains, validation, validation_labels, lddt_from=SIMILAR)
    used = np.unique(np.concatenate([training.chain_1, training.chain_2]))
    geometry = {c: local_geometry(chains.ca[c]) for c in used.tolist()} if config.geometry else {}
    data = _data_hash(chains, table)
    trainer = Trainer(
        config,
        store,
        batches,
        held_out,
        geometry,
        work,
        resolve_device(device),
        f"{data[:16]}/{frozen.key}",
    )
    progress.start("train", config.steps)
    fit = trainer.run(advance=progress.advance)
    progress.finish()

    local = frozen.revision.startswith("sha256:")
    model = ModelConfig(
        name=name or out.name,
        siamese=config.net,
        encoder=EncoderReference(
            "encoder" if local else frozen.name, frozen.revision, precision=frozen.precision
        ),
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
    save_checkpoint(out, fit.net, model, encoder=Path(encoder) if local else None)
    shutil.copyfile(work / SPLIT_FILE, out / SPLIT_FILE)
    evaluation = evaluate_pairs(
        str(out), structures, pairs, split="test", device=device, precision=precision, progress=progress
    )
    evaluation.write(work / "test")
    write_json(out / "metrics.json", evaluation.metrics)
    return TrainedModel(out, evaluation.metrics, fit.best_step)


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
    pairs: Pairs, labels: NDArray[np.float32], splits: NDArray[np.str_], split: str
) -> tuple[Pairs, NDArray[np.float32]]:
    chosen = pairs_inside(pairs, splits, split)
    if not len(chosen):
        raise UsageError(
            f"no pair lies inside the {split} split; give more pairs, of chains of more than a few clusters"
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
