"""Make a model's calibration.json from labelled variants, and from scans and stability tables beside them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.special import expit
from scipy.special import logit as log_odds

from mutscan.errors import UsageError
from mutscan.evidence import CONSERVATION_EVIDENCE, EVIDENCE, STRUCTURE_EVIDENCE
from mutscan.evidence.built import BUILT_EVIDENCE
from mutscan.evidence.calibration import FORMAT
from mutscan.evidence.sequence import sequence_hash
from mutscan.files import cache_dir
from mutscan.pipeline.network import load_model
from mutscan.progress import Silent
from mutscan.train.calibrate.additive import fit_additive, folds_of, match_share
from mutscan.train.calibrate.built import BUILT_CAP, WEIGHED, fit_built
from mutscan.train.calibrate.facts import (
    SPECIFICITY,
    choose_thresholds,
    gain_facts,
    labelled_facts,
    ranked_facts,
)
from mutscan.train.calibrate.mutants import evidence_of_mutants
from mutscan.train.calibrate.rows import RANKED_WEIGHT, Rows, assay_names, join_tables
from mutscan.train.calibrate.structural import SIAMESE_VARIANTS, calibrate_structural
from mutscan.train.chains.sketches import word_sketch
from mutscan.train.labelled.evidence import gather, head_of
from mutscan.train.labelled.structures import chains_on_sequences
from mutscan.train.labelled.tables import read_variants, structure_finder
from mutscan.train.statistics.bootstrap import Auroc
from mutscan.train.statistics.classifier import (
    PROTEIN_CAP,
    calibration_error,
    protein_weights,
)
from mutscan.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.train.labelled.tables import VariantTable

TEST_FOLDS: Final = 5
"""One in so many parts of the groups is kept for testing."""

_FEWEST: Final = 200  # variants of each class that a tier is calibrated on
_FEWEST_BUILT: Final = 60  # the same where mutants are built: the tier is small, and stands on another


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
    files = {kind: structure_finder(path, structures_dir) for kind, path in paths.items()}
    for kind, table in tables.items():
        further = None
        if kind == "variants" and chains is not None:
            further = chains_on_sequences(chains, table.proteins["sequence"].astype(str).tolist())
        found[kind] = gather(
            loaded.encoder, head, table, files[kind], progress, library=library, chains=further, work=work
        )
    rows, first = join_tables(tables, found)
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
        tiers[name], logits = _tier(pieces, rows, judged, is_test, kept_out, seed, assay_names(tables, first))
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


def _tier(
    pieces: list[str],
    rows: Rows,
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
            **ranked_facts(rows, fit, fitted.p, assays),
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
        facts["test"] = labelled_facts(
            expit(logits[test]), rows, test, [thresholds[key]["p"] for key in thresholds], share, seed
        )
    return facts, logits


def _built_tier(
    rows: Rows,
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
            **gain_facts(p, before[fit][here], label, group, capped, seed),
            "ece": round(calibration_error(p, label, capped), 4),
            "ece_structure": round(calibration_error(before[fit][here], label, capped), 4),
        },
        "test": {},
        "model": fitted.model.to_dict(),
    }
    if test.any():
        after = expit(fitted.logit(base[test], {name: x[test] for name, x in weighed.items()}))
        facts["test"] = labelled_facts(after, rows, test, lines, share, seed)
        cap = match_share(rows.target[test], protein_weights(rows.protein[test]), share)
        facts["test"] |= gain_facts(after, before[test], rows.target[test], rows.linked[test], cap, seed)
        facts["test"]["ece_structure"] = round(calibration_error(before[test], rows.target[test], cap), 4)
    return facts


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
