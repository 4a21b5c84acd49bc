"""`mutscan train affected`: learn from pairs of crystals which residues a substitution affects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.builders.choose import choose_builders, default_jobs, describe_builders
from mutscan.calling.residue_model import EVIDENCE, FORMAT, Surroundings
from mutscan.errors import UsageError
from mutscan.files import cache_dir
from mutscan.hashes import file_sha256
from mutscan.model.checkpoint import WEIGHTS_FILE
from mutscan.pipeline.network import load_model
from mutscan.progress import Silent
from mutscan.structures import ca_by_position
from mutscan.train.affected.built import build_all
from mutscan.train.affected.fit import CANDIDATE, GROUP_CAP, N_FOLDS, PIECES, fit_tier, join_rows
from mutscan.train.affected.gather import gather_scores
from mutscan.train.affected.hits import elements_of, region_hits
from mutscan.train.affected.measure import (
    PRECISION,
    calibration_facts,
    choose_threshold,
    inside_pairs,
    more_than,
    reliability,
    threshold_facts,
)
from mutscan.train.affected.pairs import MOST_OF_CLUSTER, crystal_pairs, read_chains
from mutscan.train.affected.truth import find_changed
from mutscan.train.statistics.classifier import rows_of_each
from mutscan.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.train.affected.fit import Rows
    from mutscan.train.affected.pairs import CrystalPair

_FEWEST: Final = 20  # groups of pairs


def train_affected(
    model: str,
    structures: Path,
    crystals: Path | None = None,
    *,
    builder: str = "openmm",
    work: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    offline: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit every tier that the pairs have evidence for, and measure it on groups that it was not fitted on.

    Parameters
    ----------
    model : str
    structures : Path
        structures.parquet: chains with C-alpha atoms.
    crystals : Path, optional
        ssym_pairs.csv: pairs with all atoms.
    builder : str
        Backend for the mutants of pairs with all atoms, as ``--builder`` of ``mutscan score``.
    work : Path, optional
        Keeps built mutants; the user's cache when not given.
    device, precision, offline
        As `mutscan.score`.
    seed : int
        Random seed of the draw of pairs, the nulls, the folds and the bootstrap.
    progress : Progress, optional

    Returns
    -------
    dict
        Contents of affected.json.

    Raises
    ------
    UsageError
        A table cannot be read, or holds too few pairs.
    """
    progress = progress if progress is not None else Silent()
    pairs = crystal_pairs(read_chains(structures), crystals, seed=seed)
    surroundings = {pair.wild_type: Surroundings(pair.wild_type) for pair in pairs}
    evidence = [surroundings[pair.wild_type].evidence(pair.variant) for pair in pairs]
    truth = find_changed(pairs, evidence)
    pairs = [pairs[place] for place in truth.kept]
    evidence = [evidence[place] for place in truth.kept]
    n_groups = len({pair.group for pair in pairs})
    if n_groups < _FEWEST:
        raise UsageError(
            f"{structures}: pairs of {n_groups} groups that differ in one residue are left, at least "
            f"{_FEWEST} are needed; give more chains"
        )
    loaded = load_model(model, device=device, precision=precision, offline=offline)
    folder = (work if work is not None else cache_dir() / "affected") / "built"
    built = build_all(pairs, builder, folder, default_jobs(), progress)
    scores = gather_scores(loaded, pairs, built, seed=seed, progress=progress)
    rows = join_rows(pairs, [one | other for one, other in zip(evidence, scores, strict=True)], truth)
    progress.note(f"fitting and measuring on {len(rows):,} residues of {len(pairs)} pairs")
    tiers = {name: fit_tier(rows, pieces, seed=seed) for name, pieces in PIECES.items()}
    p = tiers["structure"].p  # all pairs have a structure
    constant, candidate = (fit_tier(rows, pieces, seed=seed).p for pieces in ((), CANDIDATE))
    elements = truth.joined([elements_of(_ca(pair)) for pair in pairs])
    drop = truth.joined([pair.drop for pair in pairs])
    return {
        "format": FORMAT,
        "mutscan": __version__,
        "model": {
            "name": loaded.config.name,
            "net_sha256": file_sha256(loaded.path / WEIGHTS_FILE),
            "encoder_revision": loaded.encoder.revision,
            "precision": loaded.encoder.precision,
        },
        "data": {
            "structures_sha256": file_sha256(structures),
            "crystals_sha256": None if crystals is None else file_sha256(crystals),
            "builders": describe_builders(choose_builders(builder, pairs[0].wild_type, seed=seed)),
            "n_built": len(built),
            "seed": seed,
            "pairs_of_a_cluster": MOST_OF_CLUSTER,
            "group_cap": GROUP_CAP,
            "folds": N_FOLDS,
        },
        "truth": truth.facts,
        "evidence": EVIDENCE,
        "tiers": {
            name: {**_facts(rows, fitted.p, seed), "model": fitted.model.to_dict()}
            for name, fitted in tiers.items()
        },
        "baselines": {
            "constant": _facts(rows, constant, seed),
            "distance, as it is": inside_pairs(-rows.evidence["distance"], rows, seed=seed),
            "predicted drop": inside_pairs(rows.evidence["predicted_drop"], rows, seed=seed),
            "z of the predicted drop": inside_pairs(rows.evidence["z"], rows, seed=seed),
            **_where_built(rows, p, seed),
        },
        "candidate": {
            "pieces": [*CANDIDATE],
            "used": False,
            **_facts(rows, candidate, seed),
            **more_than(candidate, p, rows, seed=seed),
        },
        "threshold": _threshold(rows, p, seed),
        "regions": _regions(rows, elements, drop, p, seed),
    }


def _ca(pair: CrystalPair) -> NDArray[np.float64]:
    ca = ca_by_position(pair.wild_type)
    assert ca is not None
    return ca


def _facts(rows: Rows, p: NDArray[np.float64], seed: int) -> dict[str, Any]:
    return {
        **inside_pairs(p, rows, seed=seed),
        "near": inside_pairs(p[rows.near], rows.take(rows.near), seed=seed),
        **calibration_facts(p, rows, seed=seed),
        "reliability": reliability(p, rows),
    }


def _where_built(rows: Rows, p: NDArray[np.float64], seed: int) -> dict[str, Any]:
    """Compare on the pairs whose mutant was built."""
    built = np.isfinite(rows.evidence["measured"])
    if not built.any():
        return {}
    here = rows.take(built)
    moved = [bool((one[np.isfinite(one)] > 0).any()) for one in _by_pair(here)]
    scores = {
        "built drop": here.evidence["measured"],
        "p_affected where built": p[built],
    }
    found = {name: inside_pairs(values, here, seed=seed) for name, values in scores.items()}
    # Where the builder leaves every lDDT at 1, its drop can rank nothing: an area of 0.5.
    found["built drop"] |= {"n_built": len(moved), "n_built_with_a_drop": sum(moved)}
    return found


def _by_pair(rows: Rows) -> list[NDArray[np.float64]]:
    measured = rows.evidence["measured"]
    return [measured[here] for here in rows_of_each(rows.pair).values()]


def _threshold(rows: Rows, p: NDArray[np.float64], seed: int) -> dict[str, Any]:
    line, reached = choose_threshold(p, rows, PRECISION)
    how = f"the lowest with precision {PRECISION} on cross-fitted predictions"
    if not reached:
        how = f"the best F1 on cross-fitted predictions: none has precision {PRECISION}"
    return {"p": line, "how": how, **threshold_facts(p, rows, line, seed=seed)}


def _regions(
    rows: Rows, elements: NDArray[np.int64], drop: NDArray[np.float64], p: NDArray[np.float64], seed: int
) -> dict[str, Any]:
    rankings = {"p_affected": p, "z": rows.evidence["z"], "nearest": rows.evidence["distance"]}
    found: dict[str, Any] = {
        "what": "how often the helix, strand or loop with the highest mean crystal drop is ranked first",
        "all pairs": region_hits(rows, elements, drop, rankings, seed=seed),
    }
    built = np.isfinite(rows.evidence["measured"])
    if built.any():
        rankings["built drop"] = rows.evidence["measured"]
        found["pairs with a built mutant"] = region_hits(
            rows.take(built),
            elements[built],
            drop[built],
            {name: values[built] for name, values in rankings.items()},
            seed=seed,
        )
    return found
