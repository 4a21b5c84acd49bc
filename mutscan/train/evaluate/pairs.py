"""Evaluate a model and its baselines on labelled pairs that the model has not seen.

As in `mutscan score`, each chain passes encoder and net alone and in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.errors import CheckpointError, UsageError
from mutscan.train.chains.splits import SPLIT_FILE, check_disjoint, pairs_inside, read_splits, splits_of
from mutscan.train.chains.tables import MUTANT, SIMILAR, pair_files, read_picked_as, read_tables
from mutscan.train.evaluate.baselines import (
    Baseline,
    baseline_metrics,
    calibration_pairs,
    cosine_baselines,
    fit_line,
    significance,
    trivial_baselines,
)
from mutscan.train.evaluate.mutant_metrics import (
    Drops,
    lddt_drops,
    mutant_metrics,
    substituted_residues,
)
from mutscan.train.evaluate.pair_metrics import PairPredictions, pair_metrics
from mutscan.train.evaluate.predictions import (
    Compared,
    LabelledResidues,
    compare_by_cosine,
    compare_by_model,
    encode_chains,
    label_residues,
)
from mutscan.train.evaluate.result import (
    DEFAULTS,
    Clock,
    PairEvaluation,
    Settings,
    content_hash,
    definitions,
    describe_model,
)
from mutscan.train.evaluate.tmvec import PROTT5, tmvec_vectors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.pipeline.network import LoadedModel
    from mutscan.progress import Progress
    from mutscan.train.chains.splits import SplitEntry
    from mutscan.train.chains.tables import Chains, Pairs

_MAX_RESIDUES: Final = 5000


@dataclass(frozen=True, eq=False)
class Rivals:
    """Other predictors to evaluate on the same pairs.

    Parameters
    ----------
    model : str, optional
        Name or folder of a second model.
    tm_vec : Path, optional
        Folder with the weights of TM-Vec.
    tm_vec_encoder : str, optional
        Folder or hub name of ProtT5; the public half-precision encoder when not given.
    """

    model: str | None = None
    tm_vec: Path | None = None
    tm_vec_encoder: str | None = None


NO_RIVALS: Final = Rivals()


def evaluate_pairs(
    model: str,
    structures: Path,
    pairs: Path,
    settings: Settings = DEFAULTS,
    rivals: Rivals = NO_RIVALS,
) -> PairEvaluation:
    """Evaluate a model on pairs.

    Parameters
    ----------
    model : str
        Name or folder.
    structures, pairs : Path
        Tables as `read_tables` takes them. Pairs with ``picked_as`` "mutant" are evaluated on their own.
    settings : Settings
        With a split, only pairs inside this split of the model's own list. Without it all pairs are
        evaluated, and refused if the model was trained or selected on one of their proteins or clusters.
        The seed also chooses the pairs that calibrate the encoder's cosines.
    rivals : Rivals
        A second model and TM-Vec, evaluated on the same pairs.

    Raises
    ------
    UsageError
        The tables do not fit, nothing is left to evaluate, or the model has seen these proteins.
    CheckpointError
        config.json lacks the medians of the training labels.
    """
    clock = Clock()
    loaded = settings.load(model)
    constants = _constants(loaded)
    chosen = _choose(structures, pairs, loaded, settings.split)
    second = _load_second(loaded, rivals.model, settings)
    apart = _check_unseen(chosen, loaded, second, settings.split)
    _check_lengths(chosen.chains, chosen.used, structures)
    lddt = {"exponent": loaded.config.lddt_exponent, "radius": loaded.config.lddt_radius}
    chains, table = chosen.chains, chosen.pairs
    residues = label_residues(chains, table, (table.tm_score >= SIMILAR) | chosen.is_mutant, **lddt)
    clock("read and label")
    calibrating = chosen.calibrating(settings.seed)
    known = label_residues(chains, calibrating, calibrating.tm_score >= SIMILAR, **lddt)
    encoded = encode_chains(
        loaded,
        chains,
        np.union1d(chosen.used, np.concatenate([calibrating.chain_1, calibrating.chain_2])),
        np.union1d(_labelled_chains(table, residues), _labelled_chains(calibrating, known)),
        settings.progress,
    )
    clock("encode")
    mine = compare_by_model(loaded, encoded, chains, table, residues, chosen.is_mutant, settings.progress)
    clock("compare")
    cosine = compare_by_cosine(encoded.raw, calibrating, known)
    lines = (
        fit_line(cosine.tm_score, calibrating.tm_score.astype(np.float64)),
        fit_line(cosine.lddt, known.lddt),
    )
    baselines = [
        *trivial_baselines(
            chains, table, residues, tm_constant=constants["tm_score"], lddt_constant=constants["lddt"]
        ),
        *cosine_baselines(
            encoded.raw, table, residues, lines, "the tables hold no pair this model was trained on"
        ),
        _tm_vec(rivals, chosen, settings),
        *_second_model(second, chosen, residues, settings.progress),
    ]
    clock("baselines")
    predictions = _predictions(chosen, residues, mine)
    identity = baselines[2].tm_score
    assert identity is not None, "sequence identity can always be computed"
    metrics, drops = _metrics(predictions, baselines, chains, table, identity, constants, settings.seed)
    clock("statistics")
    metrics |= {
        "model": describe_model(loaded),
        "data": {
            "split": settings.split or "all given",
            "n_chains": len(chosen.used),
            **apart,
            "n_calibration_pairs": len(calibrating),
            "structures_sha256": content_hash([structures]),
            "pairs_sha256": content_hash(pair_files(pairs)),
        },
        "definitions": definitions(loaded.config),
    }
    if second is not None:
        metrics["against"] = describe_model(second)
    return PairEvaluation(
        metrics, chains, table, predictions, tuple(baselines), identity, drops, clock.seconds
    )


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The pairs to evaluate and the tables that they come from.

    Parameters
    ----------
    chains : Chains
    everything : Pairs
        All pairs of the table.
    splits, entries
        Split of each chain and the split list, of the evaluated model.
    pairs : Pairs
        The n pairs to evaluate.
    picked_as : str array, shape (n,)
    used : int array
        Their chains.
    """

    chains: Chains
    everything: Pairs
    splits: NDArray[np.str_]
    entries: Mapping[str, SplitEntry]
    pairs: Pairs
    picked_as: NDArray[np.str_]
    used: NDArray[np.int64]

    @property
    def is_mutant(self) -> NDArray[np.bool_]:
        """Pairs of a wild type and its mutant, shape (n,)."""
        mask: NDArray[np.bool_] = self.picked_as == MUTANT
        return mask

    def calibrating(self, seed: int) -> Pairs:
        """Pairs of training that calibrate the encoder's cosines."""
        training = pairs_inside(self.everything, self.splits, "train")
        return self.everything.take(calibration_pairs(self.everything, training, seed=seed))


def _choose(structures: Path, pairs: Path, loaded: LoadedModel, split: str | None) -> _Chosen:
    chains, everything = read_tables(structures, pairs)
    picked_as = read_picked_as(pairs)
    entries = read_splits(loaded.path / SPLIT_FILE)
    splits = splits_of(chains, entries)
    rows = np.arange(len(everything)) if split is None else pairs_inside(everything, splits, split)
    table = everything.take(rows)
    if not len(table):
        where = f" inside the {split} split of {loaded.config.name}" if split else ""
        raise UsageError(f"{pairs}: holds no pair{where}; nothing can be evaluated")
    used = np.unique(np.concatenate([table.chain_1, table.chain_2]))
    return _Chosen(chains, everything, splits, entries, table, picked_as[rows], used)


def _load_second(loaded: LoadedModel, name: str | None, settings: Settings) -> LoadedModel | None:
    if name is None:
        return None
    second = settings.load(name)
    mine, other = ((model.config.lddt_exponent, model.config.lddt_radius) for model in (loaded, second))
    if mine != other:
        raise UsageError(
            f"--against {name}: this model was trained on lDDT of exponent {other[0]:g} and radius "
            f"{other[1]:g}, {loaded.config.name} on {mine[0]:g} and {mine[1]:g}; their errors cannot be "
            "compared, give a model trained on the same labels"
        )
    return second


def _check_unseen(
    chosen: _Chosen, loaded: LoadedModel, second: LoadedModel | None, split: str | None
) -> dict[str, str]:
    """Refuse pairs that a model has seen; otherwise describe the comparison, for each model in a sentence."""
    if split not in (None, "test"):
        return {"disjoint_from_training": "not compared"}
    chains, used = chosen.chains, chosen.used
    found = {loaded.config.name: check_disjoint(chains, used, chosen.entries)}
    if second is not None:
        try:
            found[second.config.name] = check_disjoint(chains, used, read_splits(second.path / SPLIT_FILE))
        except UsageError as error:
            raise UsageError(f"--against {second.config.name}: {error.message}") from error
    return {
        "disjoint_from_training": "proteins and clusters" if all(found.values()) else "proteins",
        **{f"compared_with_training_of_{name}": check.describe() for name, check in found.items()},
    }


def _check_lengths(chains: Chains, used: NDArray[np.int64], structures: Path) -> None:
    too_long = used[chains.lengths[used] > _MAX_RESIDUES]
    if len(too_long):
        raise UsageError(
            f"{structures}: chain {chains.ids[too_long[0]]} has {chains.lengths[too_long[0]]} residues; "
            f"up to {_MAX_RESIDUES} can be evaluated"
        )


def _labelled_chains(pairs: Pairs, residues: LabelledResidues) -> NDArray[np.int64]:
    labelled = np.diff(residues.starts) > 0
    return np.union1d(pairs.chain_1[labelled], pairs.chain_2[labelled])


def _tm_vec(rivals: Rivals, chosen: _Chosen, settings: Settings) -> Baseline:
    if rivals.tm_vec is None:
        return Baseline("tm_vec", "TM-Vec", not_run="no weights were given (--tm-vec DIR)")
    encoder = rivals.tm_vec_encoder or PROTT5
    vectors = tmvec_vectors(
        rivals.tm_vec, encoder, chosen.chains, chosen.used, progress=settings.progress, **settings.running
    )
    pairs = chosen.pairs
    none = LabelledResidues(np.zeros(len(pairs) + 1, np.int64), np.empty((0, 2), np.int64), np.empty(0))
    return Baseline("tm_vec", "TM-Vec", compare_by_cosine(vectors, pairs, none).tm_score.clip(0.0, 1.0))


def _second_model(
    second: LoadedModel | None, chosen: _Chosen, residues: LabelledResidues, progress: Progress
) -> list[Baseline]:
    if second is None:
        return []
    chains, used = chosen.chains, chosen.used
    encoded = encode_chains(second, chains, used, used[:0], progress)
    other = compare_by_model(second, encoded, chains, chosen.pairs, residues, chosen.is_mutant, progress)
    return [Baseline("against", f"model {second.config.name}", other.tm_score, other.lddt)]


def _predictions(chosen: _Chosen, residues: LabelledResidues, compared: Compared) -> PairPredictions:
    chains, pairs, lengths = chosen.chains, chosen.pairs, chosen.chains.lengths
    return PairPredictions(
        group=chains.clusters[pairs.chain_1] if chains.clusters is not None else pairs.chain_1,
        protein=pairs.chain_1,
        lengths=np.stack([lengths[pairs.chain_1], lengths[pairs.chain_2]], axis=1),
        picked_as=chosen.picked_as,
        tm_score=pairs.tm_score.astype(np.float64),
        tm_predicted=compared.tm_score,
        tm_score_2=pairs.tm_score_2.astype(np.float64),
        tm_predicted_2=compared.tm_score_2,
        starts=residues.starts,
        residue=residues.aligned[:, 0],
        lddt=residues.lddt,
        lddt_predicted=compared.lddt,
    )


def _metrics(
    predictions: PairPredictions,
    baselines: list[Baseline],
    chains: Chains,
    pairs: Pairs,
    identity: NDArray[np.float64],
    constants: Mapping[str, float],
    seed: int,
) -> tuple[dict[str, Any], Drops | None]:
    """Sections ``pairs`` (all but mutants, or mutants if there are no others) and ``mutants``."""
    natural = predictions.natural
    p = predictions.take(natural)
    there = predictions.residues_of(natural)
    same_rows = [baseline.take(natural, there) for baseline in baselines]
    section = pair_metrics(
        p,
        tm_constant=constants["tm_score"],
        lddt_constant=constants["lddt"],
        identity=identity[natural],
        seed=seed,
    )
    section["baselines"] = baseline_metrics(p, same_rows, seed=seed)
    section["significance"] = significance(p, same_rows, seed=seed)
    metrics: dict[str, Any] = {"pairs": section}
    mutants = np.flatnonzero(predictions.picked_as == MUTANT)
    if not len(mutants):
        return metrics, None
    mutated = predictions.take(mutants)
    drops = lddt_drops(mutated, substituted_residues(chains, pairs.take(mutants)))
    metrics["mutants"] = mutant_metrics(mutated, drops, seed=seed)
    there = predictions.residues_of(mutants)
    metrics["mutants"]["baselines"] = baseline_metrics(
        mutated.by_protein(), [baseline.take(mutants, there) for baseline in baselines], seed=seed
    )
    return metrics, drops


def _constants(loaded: LoadedModel) -> dict[str, float]:
    medians = loaded.config.training.get("medians")
    if not isinstance(medians, dict) or not {"tm_score", "lddt"} <= set(medians):
        raise CheckpointError(
            f"{loaded.path / 'config.json'}: training.medians lacks tm_score or lddt, which the constant "
            "baselines need; train the model with `mutscan train model`"
        )
    return {name: float(medians[name]) for name in ("tm_score", "lddt")}
