"""Result of an evaluation on pairs, and what all evaluations write: metrics.json and predictions.parquet."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mutscan.files import replacing, write_json
from mutscan.hashes import file_sha256, text_sha256
from mutscan.model.checkpoint import WEIGHTS_FILE
from mutscan.pipeline.network import load_model
from mutscan.progress import Progress, Silent
from mutscan.train.chains.tables import SIMILAR
from mutscan.train.evaluate.significance import MARGINS, MUTANT_MARGINS
from mutscan.train.statistics.bootstrap import N_BOOTSTRAP

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.model.checkpoint import ModelConfig
    from mutscan.pipeline.network import LoadedModel
    from mutscan.train.chains.tables import Chains, Pairs
    from mutscan.train.evaluate.baselines import Baseline
    from mutscan.train.evaluate.mutant_metrics import Drops
    from mutscan.train.evaluate.pair_metrics import PairPredictions


@dataclass(frozen=True)
class Settings:
    """How a model is evaluated.

    Parameters
    ----------
    split : {"train", "validation", "test"}, optional
        Part to evaluate, as `evaluate_pairs` and `evaluate_variants` explain.
    device, precision, batch_residues, offline
        As `mutscan.score`.
    seed : int
        Random seed of the draws, the nulls and the bootstrap.
    """

    split: str | None = None
    device: str = "auto"
    precision: str = "auto"
    batch_residues: int | None = None
    offline: bool = False
    seed: int = 0
    progress: Progress = field(default_factory=Silent)

    @property
    def running(self) -> dict[str, Any]:
        """Where and how an encoder runs."""
        return {"device": self.device, "precision": self.precision, "offline": self.offline}

    def load(self, model: str) -> LoadedModel:
        """Load a model by its name or folder."""
        return load_model(model, batch_residues=self.batch_residues, **self.running)


DEFAULTS: Final = Settings()


@dataclass(frozen=True, eq=False)
class PairEvaluation:
    """Result of an evaluation on pairs.

    Parameters
    ----------
    metrics : dict
        Contents of metrics.json.
    chains, pairs : Chains, Pairs
        The evaluated pairs and their chains.
    predictions : PairPredictions
        Predictions for all evaluated pairs, mutants included.
    baselines : tuple of Baseline
        Predictions of the baselines for the same pairs.
    identity : float array, shape (n,)
        Sequence identity over chain 1.
    drops : Drops, optional
        lDDT drops of the mutants, where there are any.
    seconds : dict
        Wall time of each stage; not written, because it differs between runs.
    """

    metrics: dict[str, Any]
    chains: Chains
    pairs: Pairs
    predictions: PairPredictions
    baselines: tuple[Baseline, ...]
    identity: NDArray[np.float64]
    drops: Drops | None
    seconds: dict[str, float]

    def table(self) -> pa.Table:
        """Contents of predictions.parquet: a row for each pair, lists for its labelled residues."""
        p = self.predictions
        ids = pa.array(self.chains.ids)

        def ragged(values: NDArray[Any]) -> pa.ListArray:
            return pa.ListArray.from_arrays(pa.array(p.starts, pa.int32()), pa.array(values))

        columns: dict[str, Any] = {
            "id1": ids.take(pa.array(self.pairs.chain_1)),
            "id2": ids.take(pa.array(self.pairs.chain_2)),
            "picked_as": p.picked_as,
            "group": p.group,
            "length_1": p.lengths[:, 0],
            "length_2": p.lengths[:, 1],
            "n_aligned": self.pairs.n_aligned,
            "identity": self.identity,
            "tm_score": p.tm_score,
            "tm_predicted": p.tm_predicted,
            "tm_score_2": p.tm_score_2,
            "tm_predicted_2": p.tm_predicted_2,
            "position_1": ragged((p.residue + 1).astype(np.int32)),  # 1-based, of the lDDT values
            "lddt": ragged(p.lddt.astype(np.float32)),
            "lddt_predicted": ragged(p.lddt_predicted.astype(np.float32)),
        }
        for baseline in self.baselines:
            if baseline.tm_score is not None:
                columns[f"tm_{baseline.name}"] = baseline.tm_score
            if baseline.lddt is not None:
                columns[f"lddt_{baseline.name}"] = ragged(baseline.lddt.astype(np.float32))
        return pa.table(columns)

    def write(self, folder: Path) -> None:
        """Write metrics.json and predictions.parquet into `folder`."""
        write_evaluation(folder, self.metrics, self.table())


def definitions(config: ModelConfig) -> dict[str, str]:
    """Definitions of the metrics on pairs, for metrics.json."""
    exponent, radius = config.lddt_exponent, config.lddt_radius
    return {
        "tm": "normalised by chain 1; prediction clipped to [0, 1]",
        "tm_norm2": "normalised by chain 2",
        "tm_max": "the larger of both normalisations, predicted and true",
        "lddt": f"aligned residues of pairs with TM >= {SIMILAR}, exponent {exponent:g}, radius {radius:g}, "
        "chain 1 as reference",
        "rows": "pairs: all but mutants (all, if all are mutants); mutants: picked_as is mutant",
        "identity": "identical aligned residues / length of chain 1, as prediction of TM; / aligned residues "
        "of the pair, of lDDT",
        "encoder_cosine": "cosine of the encoder's own embeddings: their means (TM), aligned residues "
        "(lDDT); calibrated: a line fitted to training pairs",
        "constant": "median of the training labels",
        "macro_mae": "mean of the MAEs in the true-TM bands [0,.2) [.2,.4) [.4,.6) [.6,.8) [.8,1]",
        "mae_per_protein": "mean over reference proteins of the mean over all their residues",
        "sd": "population standard deviations of predicted - true and of its absolute value",
        "r2": "1 - MSE / variance of the truth",
        "collapsed": "predictions spread less than a tenth of the truth",
        "significance": "model - other on mean absolute errors (lDDT: of pairs); Welch as in the preprint "
        "(|error| and error, taken as independent samples); Wilcoxon over pairs and over clusters' means; "
        "equivalence by two one-sided t-tests with clustered errors, margins fixed in advance: "
        f"{MARGINS['tm']} TM, {MARGINS['lddt']} lDDT (mutants: {MUTANT_MARGINS['tm']}, "
        f"{MUTANT_MARGINS['lddt']}); no correction for the number of comparisons",
        "mutants": "all residues of wild type and mutant correspond; a drop is 1 - lDDT; intervals resample "
        "wild types",
        "ci": f"95 % percentile bootstrap, {N_BOOTSTRAP} resamples of whole clusters of chain 1",
    }


def describe_model(loaded: LoadedModel) -> dict[str, Any]:
    """Describe the evaluated model."""
    return {
        "name": loaded.config.name,
        "sha256": loaded.sha256,
        "sha256_net": file_sha256(loaded.path / WEIGHTS_FILE),
        "encoder": loaded.encoder.key,
        "trained_on_sha256": loaded.config.data_sha256,
    }


def content_hash(files: Sequence[Path]) -> str:
    """Hash of a file's content; for several files, hash of their hashes in order."""
    digests = [file_sha256(path) for path in files]
    return digests[0] if len(digests) == 1 else text_sha256("\n".join(digests))


class Clock:
    """Wall time of each stage since the previous call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now


def write_evaluation(folder: Path, metrics: dict[str, Any], predictions: pa.Table) -> None:
    """Write metrics.json and predictions.parquet into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "predictions.parquet") as temporary:
        pq.write_table(predictions, temporary)
    write_json(folder / "metrics.json", metrics)
