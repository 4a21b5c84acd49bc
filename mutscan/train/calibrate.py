"""Make a model's calibration.json from labelled variants, and from scans and stability tables beside them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.special import logit as log_odds

from mutscan import __version__
from mutscan.errors import UsageError
from mutscan.evidence import CONSERVATION_EVIDENCE, EVIDENCE, STRUCTURE_EVIDENCE
from mutscan.evidence.built import BUILT_EVIDENCE
from mutscan.evidence.calibration import FORMAT
from mutscan.evidence.sequence import sequence_hash
from mutscan.files import cache_dir
from mutscan.pipeline.network import load_model
from mutscan.pipeline.progress import Silent
from mutscan.train.additive_fit import fit_additive, folds_of, match_share
from mutscan.train.bootstrap import Auroc, ClusterBootstrap, Spearman, with_interval
from mutscan.train.built_mutants import evidence_of_mutants
from mutscan.train.built_tier import BUILT_CAP, WEIGHED, fit_built
from mutscan.train.chain_structures import chains_on_sequences
from mutscan.train.relatives import link_clusters
from mutscan.train.structural_flag import SIAMESE_VARIANTS, calibrate_structural
from mutscan.train.variant_evidence import gather, head_of
from mutscan.train.variant_metrics import (
    PROTEIN_CAP,
    average_precision,
    calibration_error,
    protein_weights,
    threshold_facts,
)
from mutscan.train.variant_tables import read_variants, structure_files
from mutscan.train.word_sketches import word_sketch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.pipeline.progress import Progress
    from mutscan.train.variant_tables import VariantTable

TEST_FOLDS: Final = 5
"""One in so many parts of the groups is kept for testing."""

SPECIFICITY: Final = 0.92
"""Asked of the ``deleterious`` threshold out of fold; 0.90 is promised."""

SENSITIVITY: Final = 0.92
"""Share of deleterious variants that stay above the ``tolerated`` threshold."""

RANKED_WEIGHT: Final = 0.4
"""Of a row of a scan or stability table, against a labelled one."""

ASSAY_CAP: Final = 1000
"""Substitutions of one scan weigh no more than so many of a smaller one."""

_FEWEST: Final = 200  # variants of each class that a tier is calibrated on
_FEWEST_BUILT: Final = 60  # the same where mutants are built: the tier is small, and stands on another
_FEWEST_RANKED: Final = 50  # substitutions of a protein for a rank correlation of its own
_FEWEST_WITHIN: Final = 10  # variants of a protein for an AUROC of its own
_FEWEST_OF_CLASS: Final = 2
_RESAMPLES: Final = 300


@dataclass(frozen=True, eq=False)
class _Rows:
    """All rows to learn from, of every table.

    Parameters
    ----------
    evidence, views : mapping of name -> float array, shape (n,) or (n, d)
    target, weight : float array, shape (n,)
        The label; for ranked rows how bad, between 0 and 1.
    truth : float array, shape (n,)
        The value of the table.
    protein, linked : int array, shape (n,)
        Protein, numbered through all tables, and group of relatives over all of them.
    kind : str array, shape (n,)
        ``variants``, ``stability`` or ``dms``.
    structured : bool array, shape (n,)
    """

    evidence: dict[str, NDArray[np.float64]]
    views: dict[str, NDArray[np.float32]]
    target: NDArray[np.float64]
    weight: NDArray[np.float64]
    truth: NDArray[np.float64]
    protein: NDArray[np.int64]
    linked: NDArray[np.int64]
    kind: NDArray[np.str_]
    structured: NDArray[np.bool_]


def calibrate(
    model: str,
    proteins: Path,
    variants: Path,
    *,
    stability: tuple[Path, Path] | None = None,
    dms: tuple[Path, Path] | None = None,
    chains: Path | None = None,
    structures_dir: Path | None = None,
    built: int = 0,
    builder: str = "openmm",
    jobs: int = 1,
    work: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    offline: bool = False,
    seed: int = 0,
    siamese: int = SIAMESE_VARIANTS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit every tier that the tables have evidence for.

    A fifth of the groups of labelled proteins is kept for testing, with everything related to them in any
    table, and used for nothing here but the numbers under ``test``.

    Parameters
    ----------
    model : str
    proteins, variants : Path
        Labelled variants.
    stability, dms : (proteins, table), optional
        ddG and scan scores: which substitutions of a protein are worse than others.
    chains : Path, optional
        structures.parquet, for labelled proteins that name no structure.
    built : int
        Mutants to build for the ``built`` tier; 0 leaves it out.
    builder : str
        Backend that builds them.
    jobs : int
        Builder processes.
    structures_dir, work, device, precision, offline, seed, progress
        As on the command line.
    siamese : int
        Labelled variants that the structural flag's threshold is chosen on; 0: no structural flag.

    Returns
    -------
    dict
        Contents of calibration.json.

    Raises
    ------
    UsageError
        The tables do not fit, or are too small.
    """
    progress = progress if progress is not None else Silent()
    tables: dict[str, VariantTable] = {"variants": read_variants(proteins, variants, column="label")}
    paths = {"variants": proteins}
    if stability is not None:
        tables["stability"] = read_variants(*stability, column="ddG")
        paths["stability"] = stability[0]
    if dms is not None:
        tables["dms"] = read_variants(*dms, column="score", protein_column="assay")
        paths["dms"] = dms[0]
    loaded = load_model(model, device=device, precision=precision, offline=offline)
    head = head_of(loaded, offline=offline)
    library = loaded.families
    of_sequence = [*EVIDENCE, *([] if library is None else CONSERVATION_EVIDENCE)]
    found = {}
    files = {kind: structure_files(path, structures_dir) for kind, path in paths.items()}
    for kind, table in tables.items():
        further = None
        if kind == "variants" and chains is not None:
            further = chains_on_sequences(chains, table.proteins["sequence"].astype(str).tolist())
        found[kind] = gather(
            loaded.encoder, head, table, files[kind], progress, library=library, chains=further, work=work
        )
    rows, first = _join(tables, found)
    labelled = rows.kind == "variants"
    table = tables["variants"]
    is_test = np.zeros(len(rows.kind), dtype=np.bool_)
    is_test[labelled] = folds_of(table.group, TEST_FOLDS, seed) == 0
    kept_out = np.isin(rows.linked, rows.linked[is_test])
    tiers = {}
    logits = np.full(len(rows.kind), np.nan)
    for name, judged in (("sequence", labelled), ("structure", labelled & rows.structured)):
        fewest = min((judged & ~kept_out & (rows.truth == label)).sum() for label in (0, 1))
        if fewest < _FEWEST:
            if name == "sequence":
                raise UsageError(
                    f"{variants}: {fewest} variants of one class to fit, expected at least {_FEWEST}"
                )
            progress.note(f"tier {name} left out: {fewest} variants of one class, {_FEWEST} are needed")
            continue
        progress.note(f"tier {name}: fitting {int((~kept_out).sum()):,} rows")
        pieces = [*of_sequence, *(STRUCTURE_EVIDENCE if name == "structure" else ())]
        tiers[name], logits = _tier(
            pieces, rows, judged, is_test, kept_out, seed, _assay_names(tables, first)
        )
        progress.note(f"tier {name}: AUROC {tiers[name]['test'].get('auroc')} on test groups")
    left_out = "no mutants were asked for (--built)" if not built else ""
    if built and "structure" in tiers:
        mutants = evidence_of_mutants(
            tables, files, built, progress, builder=builder, jobs=jobs, seed=seed,
            work=(work if work is not None else cache_dir() / "evidence") / "built",
        )  # fmt: skip
        evidence = {name: np.concatenate([mutants[kind][name] for kind in tables]) for name in BUILT_EVIDENCE}
        tier = _built_tier(rows, logits, evidence, tiers["structure"], is_test, kept_out, builder, seed)
        left_out = "" if tier else f"fewer than {_FEWEST_BUILT} mutants of one class could be built"
        tiers |= {"built": tier} if tier else {}
    elif built:
        left_out = "it stands on the structure tier, and there is none"
    if left_out:
        progress.note(f"tier built left out: {left_out}")
    structural = calibrate_structural(
        loaded, table, rows.linked[labelled], is_test[labelled], kept_out[labelled], progress,
        wanted=siamese, specificity=SPECIFICITY, work=work, seed=seed,
    )  # fmt: skip
    entries, words = {}, {}
    for kind, one in tables.items():
        names, sequences = (one.proteins[c].astype(str).tolist() for c in ("protein", "sequence"))
        for row, (name, sequence) in enumerate(zip(names, sequences, strict=True)):
            here = rows.protein == first[kind] + row
            if not here.any():
                continue
            key = name if kind == "variants" else f"{kind}:{name}"
            part = "test" if is_test[here].any() else "left out" if kept_out[here].any() else "fit"
            entries[key] = [sequence_hash(sequence), int(rows.linked[here][0]), part]
            if part == "fit":
                words[key] = word_sketch(sequence)
    return {
        "format": FORMAT,
        "mutscan": __version__,
        "model": {
            "name": loaded.config.name,
            "encoder_revision": loaded.encoder.revision,
            "precision": loaded.encoder.precision,
            "families_sha256": None if library is None else library.sha256,
        },
        "data": {
            **{
                f"{kind}_{what}sha256": _sha256(path)
                for kind, both in (("labelled", (proteins, variants)), ("stability", stability), ("dms", dms))
                if both is not None
                for what, path in (("proteins_", both[0]), ("", both[1]))
            },
            **({"chains_sha256": _sha256(chains)} if chains is not None else {}),
            "n": len(table),
            "n_ranked": int((~labelled).sum()),
            "longest": int(table.proteins["sequence"].str.len().max()),
            "seed": seed,
            "protein_cap": PROTEIN_CAP,
            "ranked_weight": RANKED_WEIGHT,
            "probability": "among variants of which as many are deleterious as among all labelled ones "
            "(share_deleterious), whatever the tier",
            "split": "a fifth of the groups of labelled proteins is `test`: used for no choice and no fit, "
            "nor is anything that shares 30 % of its words of five residues with them (`left out`)",
        },
        "evidence": {
            **EVIDENCE,
            **(CONSERVATION_EVIDENCE if library is not None else {}),
            **STRUCTURE_EVIDENCE,
            **({name: BUILT_EVIDENCE[name] for name in WEIGHED} if "built" in tiers else {}),
            "context_site": "linear map of the encoder's embedding of the site, weights in the tier",
            "context_near": "linear map of the mean embedding of site and ± 7 neighbours",
            "a x b": "what two pieces add together beyond each alone",
        },
        "tiers": tiers,
        **({"built_left_out": left_out} if left_out else {}),
        "structural": structural,
        "proteins": entries,
        # By which `mutscan train evaluate` knows relatives of what was fitted.
        "words": words,
    }


def _join(tables: dict[str, VariantTable], found: dict[str, Any]) -> tuple[_Rows, dict[str, int]]:
    """Put the rows of all tables one after the other; and the number of each table's first protein."""
    sequences: list[str] = []
    clusters: list[int] = []
    first, parts = {}, []
    for kind, table in tables.items():
        first[kind] = len(sequences)
        groups = (
            table.proteins["group"].astype(str) if "group" in table.proteins else table.proteins["protein"]
        )
        codes, _ = pd.factorize(groups.astype(str))
        clusters += (codes + len(sequences)).tolist()
        sequences += table.proteins["sequence"].astype(str).tolist()
        target: NDArray[np.float64] = table.value
        weight: NDArray[np.floating] = protein_weights(table.protein)
        if kind == "dms":
            ranks = pd.Series(table.value).groupby(table.protein).rank(pct=True)
            target = 1.0 - np.asarray(ranks, np.float64)
            weight = RANKED_WEIGHT * protein_weights(table.protein, ASSAY_CAP)
        elif kind == "stability":
            target = np.asarray(expit((table.value - 1.0) / 0.8), np.float64)  # half way at 1 kcal/mol
            weight = np.full(len(table), RANKED_WEIGHT)
        parts.append((kind, table, found[kind], target, weight))
    linked = link_clusters(sequences, np.array(clusters, dtype=np.int64))
    names = [*EVIDENCE, *CONSERVATION_EVIDENCE, *STRUCTURE_EVIDENCE]
    protein = np.concatenate([table.protein + first[kind] for kind, table, *_ in parts])
    rows = _Rows(
        {
            name: np.concatenate(
                [one.evidence.get(name, np.full(len(table), np.nan)) for _, table, one, *_ in parts]
            )
            for name in names
        },
        {name: np.concatenate([one.views[name] for _, _, one, *_ in parts]) for name in ("site", "near")},
        np.concatenate([target for *_, target, _ in parts]),
        np.concatenate([weight for *_, weight in parts]),
        np.concatenate([table.value for _, table, *_ in parts]),
        protein,
        linked[protein],
        np.concatenate([np.full(len(table), kind) for kind, table, *_ in parts]),
        np.concatenate([one.structured for _, _, one, *_ in parts]),
    )
    return rows, first


def _assay_names(tables: dict[str, VariantTable], first: dict[str, int]) -> dict[int, str]:
    if "dms" not in tables:
        return {}
    names = tables["dms"].proteins["protein"].astype(str).tolist()
    return {first["dms"] + row: name for row, name in enumerate(names)}


def _tier(
    pieces: list[str],
    rows: _Rows,
    judged: NDArray[np.bool_],
    is_test: NDArray[np.bool_],
    kept_out: NDArray[np.bool_],
    seed: int,
    assays: dict[int, str],
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Fit one tier of some pieces; `judged` are the labelled rows it is calibrated on and measured with.

    Also gives each row's log-odds by a model that has not seen its group; NaN where none was asked.
    """
    fit, test = ~kept_out, judged & is_test
    unit = np.where(rows.kind == "variants", -1, rows.protein)
    fitted = fit_additive(
        {n: rows.evidence[n][fit] for n in pieces},
        {n: v[fit] for n, v in rows.views.items()},
        rows.target[fit], rows.weight[fit], rows.linked[fit],
        unit=unit[fit], calibrated_on=judged[fit], seed=seed,
    )  # fmt: skip
    here = judged[fit]
    p, label, weight = fitted.p[here], rows.target[fit][here], rows.weight[fit][here]
    group = rows.linked[fit][here]
    labelled = unit[fit] < 0
    share = float(np.average(rows.target[fit][labelled], weights=rows.weight[fit][labelled]))
    weight = match_share(label, weight, share)
    thresholds = choose_thresholds(p, label, weight, group, seed)
    facts: dict[str, Any] = {
        "n": len(p),
        "n_deleterious": int(label.sum()),
        "n_proteins": len(np.unique(rows.protein[fit][here])),
        "n_groups": len(np.unique(group)),
        "n_ranked": int((unit[fit] >= 0).sum()),
        "share_deleterious": round(share, 4),
        "thresholds": thresholds,
        "cross_fitted": {
            "auroc": round(Auroc(p, label > 0)(np.ones(len(p))), 4),
            "auroc_capped": round(Auroc(p, label > 0)(weight), 4),
            "ece": round(calibration_error(p, label, weight), 4),
            "ece_all_rows": round(calibration_error(p, label), 4),
            **_ranked(rows, fit, fitted.p, assays),
        },
        "test": {},
        "model": fitted.model.to_dict(),
    }
    logits = np.full(len(fit), np.nan)
    logits[fit] = log_odds(fitted.p)
    if test.any():
        logits[test] = fitted.model.logit(
            {n: rows.evidence[n][test] for n in pieces},
            {n: v[test].astype(np.float64) for n, v in rows.views.items()},
        )
        facts["test"] = _test_facts(
            expit(logits[test]), rows, test, [thresholds[key]["p"] for key in thresholds], share, seed
        )
    return facts, logits


def _built_tier(
    rows: _Rows,
    base: NDArray[np.float64],
    evidence: dict[str, NDArray[np.float64]],
    structure: dict[str, Any],
    is_test: NDArray[np.bool_],
    kept_out: NDArray[np.bool_],
    builder: str,
    seed: int,
) -> dict[str, Any]:
    """Fit the tier of built mutants on top of the structure tier's log-odds `base`; empty for too few."""
    there = rows.structured & np.any([np.isfinite(x) for x in evidence.values()], axis=0)
    fit, labelled = there & ~kept_out, rows.kind == "variants"
    test = there & labelled & is_test
    if min((fit & labelled & (rows.truth == label)).sum() for label in (0, 1)) < _FEWEST_BUILT:
        return {}
    share = structure["share_deleterious"]
    weighed = {name: evidence[name] for name in WEIGHED}
    unit = np.where(labelled, -1, rows.protein)[fit]
    weight = protein_weights(rows.protein[fit], BUILT_CAP) * np.where(unit < 0, 1.0, RANKED_WEIGHT)
    fitted = fit_built(
        base[fit], {name: x[fit] for name, x in weighed.items()}, rows.target[fit], weight,
        rows.linked[fit], unit=unit, share=share, seed=seed,
    )  # fmt: skip
    here = unit < 0
    p, label, group = fitted.p[here], rows.target[fit][here], rows.linked[fit][here]
    capped = match_share(label, weight[here], share)
    thresholds = choose_thresholds(p, label, capped, group, seed)
    lines = [thresholds[key]["p"] for key in thresholds]
    before = expit(base)
    facts: dict[str, Any] = {
        "n": len(p),
        "n_deleterious": int(label.sum()),
        "n_proteins": len(np.unique(rows.protein[fit][here])),
        "n_groups": len(np.unique(group)),
        "n_ranked": int((~here).sum()),
        "share_deleterious": share,
        "builder": builder,
        "base": {"tier": "structure", "slope": round(fitted.slope, 5)},
        "thresholds": thresholds,
        "cross_fitted": {
            **_against_base(p, before[fit][here], label, group, capped, seed),
            "ece": round(calibration_error(p, label, capped), 4),
            "ece_structure": round(calibration_error(before[fit][here], label, capped), 4),
        },
        "test": {},
        "model": fitted.model.to_dict(),
    }
    if test.any():
        after = expit(fitted.logit(base[test], {name: x[test] for name, x in weighed.items()}))
        facts["test"] = _test_facts(after, rows, test, lines, share, seed)
        cap = match_share(rows.target[test], protein_weights(rows.protein[test]), share)
        facts["test"] |= _against_base(after, before[test], rows.target[test], rows.linked[test], cap, seed)
        facts["test"]["ece_structure"] = round(calibration_error(before[test], rows.target[test], cap), 4)
    return facts


def _against_base(
    after: NDArray[np.float64],
    before: NDArray[np.float64],
    label: NDArray[np.float64],
    group: NDArray[np.int64],
    weight: NDArray[np.float64],
    seed: int,
) -> dict[str, Any]:
    """AUROC with built mutants and by the structure tier, of the same rows, and what they add."""
    one, other = Auroc(after, label > 0), Auroc(before, label > 0)
    bootstrap = ClusterBootstrap(group, seed=seed, n_resamples=_RESAMPLES)
    drawn = bootstrap.each(np.arange(len(label)), lambda w: one(w * weight) - other(w * weight))
    facts: dict[str, object] = {"auroc": one(weight), "auroc_structure": other(weight)}
    facts |= with_interval("auroc_gain", one(weight) - other(weight), drawn)
    return {key: _rounded(value) for key, value in facts.items()}


def _test_facts(
    p: NDArray[np.float64],
    rows: _Rows,
    test: NDArray[np.bool_],
    lines: list[float],
    share: float,
    seed: int,
) -> dict[str, Any]:
    """Numbers on the test groups, each with a 95 % interval over groups.

    No protein counts for more than `PROTEIN_CAP` variants, else one of them (p53 has two in five of the
    rows of a fold) decides, and rows are weighted so that `share` of the weight is deleterious, as where
    the probability was made; ``auroc_all_rows`` and ``ece_all_rows`` are without either.
    """
    label, group = rows.target[test], rows.linked[test]
    cap = match_share(label, protein_weights(rows.protein[test]), share)
    positive, above, below = label > 0, p >= lines[0], p <= lines[1]
    bootstrap = ClusterBootstrap(group, seed=seed, n_resamples=_RESAMPLES)

    def portion(hit: NDArray[np.bool_], of: NDArray[np.bool_]) -> Callable[[NDArray[np.float64]], float]:
        return lambda w: float(w[hit & of].sum() / w[of].sum()) if w[of].sum() else float("nan")

    facts: dict[str, Any] = {
        "n": len(p),
        "n_deleterious": int(positive.sum()),
        "n_proteins": len(np.unique(rows.protein[test])),
        "n_groups": len(np.unique(group)),
    }
    statistics: dict[str, Callable[[NDArray[np.float64]], float]] = {
        "auroc": Auroc(p, positive),
        "auprc": average_precision(p, positive),
        "ece": lambda w: calibration_error(p, label, w),
        "blosum62_auroc": Auroc(-rows.evidence["blosum62"][test], positive),
        "specificity": portion(~above, ~positive),
        "sensitivity": portion(above, positive),
        "precision": portion(positive, above),
        "npv": portion(~positive, below),
        "share_uncertain": portion(~above & ~below, np.ones(len(p), np.bool_)),
    }
    for name, statistic in statistics.items():

        def capped(w: NDArray[np.float64], of: Callable[..., float] = statistic) -> float:
            return of(w * cap)

        facts |= with_interval(name, capped(np.ones(len(p))), bootstrap.each(np.arange(len(p)), capped))
    for name in ("auroc", "ece"):
        facts[f"{name}_all_rows"] = statistics[name](np.ones(len(p)))
    facts |= _within(p, positive, rows.protein[test], group, seed)
    return {key: _rounded(value) for key, value in facts.items()}


def _within(
    p: NDArray[np.float64],
    positive: NDArray[np.bool_],
    protein: NDArray[np.int64],
    group: NDArray[np.int64],
    seed: int,
) -> dict[str, object]:
    """Average AUROC inside proteins with enough variants of both classes, with an interval over groups."""
    areas, owners = [], []
    for one in np.unique(protein).tolist():
        here = protein == one
        hits = int(positive[here].sum())
        if here.sum() >= _FEWEST_WITHIN and _FEWEST_OF_CLASS <= hits <= here.sum() - _FEWEST_OF_CLASS:
            areas.append(Auroc(p[here], positive[here])(np.ones(int(here.sum()))))
            owners.append(int(group[here][0]))
    if not areas:
        return {"n_within": 0}
    values = np.array(areas)
    bootstrap = ClusterBootstrap(np.array(owners), seed=seed)
    drawn = bootstrap.each(np.arange(len(values)), lambda w: float(w @ values / w.sum()))
    return {
        **with_interval("auroc_per_protein_mean", float(values.mean()), drawn),
        "n_within": len(values),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) else value


def _ranked(
    rows: _Rows, fit: NDArray[np.bool_], p: NDArray[np.float64], assays: dict[int, str]
) -> dict[str, Any]:
    """Rank correlations with scans and stabilities, each protein by models that saw none of its relatives."""
    facts: dict[str, Any] = {}
    for kind in ("dms", "stability"):
        here = rows.kind[fit] == kind
        if not here.any():
            continue
        protein, truth, score = rows.protein[fit][here], rows.truth[fit][here], p[here]
        each = {}
        for one in np.unique(protein).tolist():
            mine = protein == one
            if mine.sum() >= _FEWEST_RANKED:
                each[one] = Spearman(score[mine], truth[mine])(np.ones(int(mine.sum())))
        if kind == "dms":
            facts["dms_spearman"] = {assays[one]: round(value, 3) for one, value in each.items()}
            facts["dms_mean_abs_spearman"] = round(float(np.mean(np.abs(list(each.values())))), 4)
        else:
            facts["stability_spearman"] = round(Spearman(score, truth)(np.ones(len(truth))), 4)
            if each:
                facts["stability_spearman_per_protein"] = round(float(np.mean(list(each.values()))), 4)
                facts["stability_proteins"] = len(each)
    return facts


def choose_thresholds(
    p: NDArray[np.float64],
    label: NDArray[np.float64],
    weight: NDArray[np.float64],
    group: NDArray[np.int64],
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Draw both lines on probabilities of groups the model had not seen.

    ``deleterious`` from the lowest p with specificity `SPECIFICITY`; ``tolerated`` up to the p that
    leaves `SENSITIVITY` of the deleterious above it, and never above the other line. Precision and
    specificity get 95 % intervals over groups.
    """
    upper = _weighted_quantile(p[label == 0], weight[label == 0], SPECIFICITY)
    lower = min(_weighted_quantile(p[label == 1], weight[label == 1], 1.0 - SENSITIVITY), upper)
    bootstrap = ClusterBootstrap(group, seed=seed, n_resamples=_RESAMPLES)
    lines: dict[str, dict[str, Any]] = {}
    for kind, line in (("deleterious", round(upper, 4)), ("tolerated", round(lower, 4))):
        facts: dict[str, Any] = dict(threshold_facts(p, label, weight, line, kind))
        for what in ("specificity", "sensitivity", "precision", "npv"):

            def drawn(
                w: NDArray[np.float64], what: str = what, line: float = line, kind: str = kind
            ) -> float:
                return threshold_facts(p, label, weight * w, line, kind)[what]

            values = bootstrap.each(np.arange(len(p)), drawn)
            facts[f"{what}_ci"] = [round(float(x), 4) for x in np.quantile(values, (0.025, 0.975))]
        lines[kind] = facts
    return lines


def _weighted_quantile(values: NDArray[np.float64], weight: NDArray[np.float64], q: float) -> float:
    order = np.argsort(values)
    share = np.cumsum(weight[order]) / weight.sum()
    return float(values[order][min(int(np.searchsorted(share, q)), len(values) - 1)])


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
