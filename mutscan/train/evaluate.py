"""Evaluate a model on labelled pairs it has not seen: metrics.json and predictions.parquet.

The path is the one of `mutscan score`: each chain, of any length, goes through
encoder and net alone and in full.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from mutscan.errors import CheckpointError, UsageError
from mutscan.files import replacing, write_json
from mutscan.pipeline.network import load_model
from mutscan.pipeline.progress import Silent
from mutscan.train.dataset import Chains, Pairs, read_tables
from mutscan.train.labels import lddt_labels, sequence_identity
from mutscan.train.metrics import SIMILAR, PairPredictions, pair_metrics
from mutscan.train.splits import check_disjoint, pairs_inside, read_splits, splits_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.model.predict import Encoded
    from mutscan.pipeline.network import LoadedModel
    from mutscan.pipeline.progress import Progress

SPLIT_FILE: Final = "splits.csv"
"""A model's own split list, in its folder."""

_MAX_RESIDUES: Final = 5000


@dataclass(frozen=True, eq=False)
class PairEvaluation:
    """What an evaluation gives.

    Parameters
    ----------
    metrics : dict
        Contents of metrics.json.
    predictions : DataFrame
        Contents of predictions.parquet, one row for each pair.
    """

    metrics: dict[str, Any]
    predictions: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write both files into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "predictions.parquet") as temporary:
            self.predictions.to_parquet(temporary, index=False)
        write_json(folder / "metrics.json", self.metrics)


def evaluate_pairs(
    model: str,
    structures: Path,
    pairs: Path,
    *,
    split: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch_residues: int | None = None,
    offline: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> PairEvaluation:
    """Evaluate a model on pairs.

    Parameters
    ----------
    model : str
        Name or folder.
    structures, pairs : Path
        Tables as `read_tables` takes them.
    split : {"train", "validation", "test"}, optional
        Only pairs inside this split of the model's own list. Without it all pairs are evaluated,
        and refused if the model was trained on, or selected by, one of their proteins or clusters.
    device, precision, batch_residues, offline
        As `mutscan.score`.
    seed : int
        Of the bootstrap.
    progress : Progress, optional

    Raises
    ------
    UsageError
        The tables do not fit, nothing is left to evaluate, or the model has seen it.
    CheckpointError
        The model does not say what its training labels were.
    """
    progress = progress if progress is not None else Silent()
    loaded = load_model(
        model, device=device, precision=precision, batch_residues=batch_residues, offline=offline
    )
    constants = _constants(loaded)
    chains, table = read_tables(structures, pairs)
    entries = read_splits(loaded.path / SPLIT_FILE)
    if split is not None:
        table = table.take(pairs_inside(table, splits_of(chains, entries), split))
    if not len(table):
        where = f" inside the {split} split of {loaded.config.name}" if split else ""
        raise UsageError(f"{pairs}: holds no pair{where}; nothing can be evaluated")
    used = np.unique(np.concatenate([table.chain_1, table.chain_2]))
    against = "not compared"
    if split in (None, "test"):
        comparable = check_disjoint(chains, used, entries)
        against = "proteins and clusters" if comparable else "proteins"
    too_long = used[chains.lengths[used] > _MAX_RESIDUES]
    if len(too_long):
        raise UsageError(
            f"{structures}: chain {chains.ids[too_long[0]]} has {chains.lengths[too_long[0]]} residues; "
            f"up to {_MAX_RESIDUES} can be evaluated"
        )

    predictions, lddt_rows = _predict(loaded, chains, table, progress)
    metrics = {
        "pairs": pair_metrics(
            predictions, tm_constant=constants["tm_score"], lddt_constant=constants["lddt"], seed=seed
        ),
        "model": {"name": loaded.config.name, "sha256_net": _net_hash(loaded), "encoder": loaded.encoder.key},
        "data": {
            "split": split or "all given",
            "n_chains": len(used),
            "disjoint_from_training": against,
        },
        "definitions": {
            "tm": "normalised by chain 1; prediction clipped to [0, 1]",
            "lddt": f"aligned residues of pairs with TM >= {SIMILAR}, exponent "
            f"{loaded.config.lddt_exponent:g}, radius {loaded.config.lddt_radius:g}, chain 1 as reference",
            "identity": "identical aligned residues / length of chain 1, as prediction of TM",
            "constant": "median of the training labels",
            "mae_per_protein": "mean over reference proteins of the mean over all their residues",
            "ci": "95 % percentile bootstrap, 1000 resamples of whole clusters of chain 1",
        },
    }
    return PairEvaluation(metrics, _table(chains, table, predictions, lddt_rows))


def _constants(loaded: LoadedModel) -> dict[str, float]:
    medians = loaded.config.training.get("medians")
    if not isinstance(medians, dict) or not {"tm_score", "lddt"} <= set(medians):
        raise CheckpointError(
            f"{loaded.path / 'config.json'}: training.medians does not give tm_score and lddt, the constant "
            "baselines; train the model with `mutscan train model`"
        )
    return {name: float(medians[name]) for name in ("tm_score", "lddt")}


def _net_hash(loaded: LoadedModel) -> str:
    with (loaded.path / "model.safetensors").open("rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest()


def _predict(
    loaded: LoadedModel, chains: Chains, pairs: Pairs, progress: Progress
) -> tuple[PairPredictions, list[NDArray[np.bool_]]]:
    """Predictions, and for each pair which of its aligned residues carry an lDDT label."""
    used = np.unique(np.concatenate([pairs.chain_1, pairs.chain_2]))
    encoded: dict[int, Encoded] = {}
    progress.start("encode chains", len(used))
    for place, embedding in loaded.encoder.embed([chains.sequences[c] for c in used.tolist()]):
        encoded[int(used[place])] = loaded.predictor.encode(embedding)
        progress.advance()
    progress.finish()

    similar = np.flatnonzero(pairs.tm_score >= SIMILAR)
    labels = np.full(len(pairs.aligned), np.nan, dtype=np.float32)
    labels[pairs.rows(similar)] = lddt_labels(
        chains, pairs.take(similar), exponent=loaded.config.lddt_exponent, radius=loaded.config.lddt_radius
    )
    tm_predicted = np.empty(len(pairs))
    lddt, lddt_predicted, labelled = [], [], []
    progress.start("compare pairs", len(pairs))
    for k, (first, second) in enumerate(zip(pairs.chain_1.tolist(), pairs.chain_2.tolist(), strict=True)):
        part = slice(pairs.starts[k], pairs.starts[k + 1])
        known = ~np.isnan(labels[part])
        aligned = pairs.aligned[part][known]
        prediction = loaded.predictor.compare(encoded[first], encoded[second], pairs=aligned)
        tm_predicted[k] = prediction.tm_score
        lddt.append(labels[part][known].astype(np.float64))
        lddt_predicted.append(prediction.lddt[aligned[:, 0]].astype(np.float64))
        labelled.append(known)
        progress.advance()
    progress.finish()
    group = chains.clusters[pairs.chain_1] if chains.clusters is not None else pairs.chain_1
    return (
        PairPredictions(
            group=group,
            protein=pairs.chain_1,
            tm_score=pairs.tm_score.astype(np.float64),
            tm_predicted=tm_predicted,
            identity=sequence_identity(chains, pairs),
            lddt=tuple(lddt),
            lddt_predicted=tuple(lddt_predicted),
        ),
        labelled,
    )


def _table(
    chains: Chains, pairs: Pairs, predictions: PairPredictions, labelled: list[NDArray[np.bool_]]
) -> pd.DataFrame:
    lengths = chains.lengths
    ids = np.array(chains.ids, dtype=object)
    residues = [
        (pairs.aligned[pairs.starts[k] : pairs.starts[k + 1], 0][known] + 1).tolist()
        for k, known in enumerate(labelled)
    ]
    return pd.DataFrame(
        {
            "id1": ids[pairs.chain_1],
            "id2": ids[pairs.chain_2],
            "group": predictions.group,
            "length_1": lengths[pairs.chain_1],
            "length_2": lengths[pairs.chain_2],
            "n_aligned": pairs.n_aligned,
            "identity": predictions.identity,
            "tm_score": predictions.tm_score,
            "tm_predicted": predictions.tm_predicted,
            "position_1": residues,  # 1-based, of the lDDT values
            "lddt": [part.astype(np.float32) for part in predictions.lddt],
            "lddt_predicted": [part.astype(np.float32) for part in predictions.lddt_predicted],
        }
    )
