"""`mutscan train calibrate`: fit calibration.json to labelled variants, scans and stability tables."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from mutscan.builders.choose import default_jobs
from mutscan.errors import UsageError
from mutscan.evidence import CONSERVATION_EVIDENCE, EVIDENCE, TIERS, usable
from mutscan.evidence.calibration import FORMAT
from mutscan.evidence.sequence import sequence_hash
from mutscan.files import cache_dir
from mutscan.hashes import file_sha256
from mutscan.model.inverse_folding import WEIGHTS_SHA256, installed_weights
from mutscan.pipeline.network import load_model
from mutscan.progress import Silent
from mutscan.train.calibrate.ddg import fit_ddg
from mutscan.train.calibrate.rows import PIECES, RANKED_WEIGHT, assay_names, join_tables
from mutscan.train.calibrate.structural import SPECIFICITY, calibrate_structural
from mutscan.train.calibrate.tiers import additive_fit, fewest_of_class, shared_lines, tier_facts
from mutscan.train.chains.sketches import word_sketch
from mutscan.train.labelled.evidence import EvidenceReader
from mutscan.train.labelled.folding import fold_chains, learn_backbones
from mutscan.train.labelled.relatives import AlignedProfiles
from mutscan.train.labelled.settings import CALIBRATED
from mutscan.train.labelled.structures import NamedStructures, chains_on_sequences
from mutscan.train.labelled.tables import COLUMNS, read_variants
from mutscan.train.statistics.classifier import PROTEIN_CAP
from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mutscan.pipeline.network import LoadedModel
    from mutscan.progress import Progress
    from mutscan.train.calibrate.rows import Rows
    from mutscan.train.labelled.tables import Kind, VariantTable

_FEWEST: Final = 200  # variants of each class that a tier is calibrated on


def calibrate(
    model: str,
    proteins: Path,
    variants: Path,
    *,
    stability: tuple[Path, Path] | None = None,
    dms: tuple[Path, Path] | None = None,
    chains: Path | None = None,
    sequences: Sequence[Path] = (),
    structures_dir: Path | None = None,
    work: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    offline: bool = False,
    seed: int = 0,
    siamese: int = CALIBRATED,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit every tier that the tables have evidence for.

    A fifth of the groups of labelled proteins is kept for testing. These groups, and everything related to
    them in any table, are used only for the metrics under ``test``.

    Parameters
    ----------
    model : str
    proteins, variants : Path
        Labelled variants.
    stability, dms : (proteins, table), optional
        ddG and scores of scans, which say which substitutions of a protein are worse than others. With the
        extra mutscan[mpnn], ddG is fitted too.
    chains : Path, optional
        structures.parquet, for proteins without a named structure.
    sequences : sequence of Path
        FASTA or Parquet files in which MMseqs2 finds relatives of every protein, for the tiers with an
        alignment.
    structures_dir : Path, optional
        Folder of the structures; by default those of the tables and their subfolders.
    work : Path, optional
        Keeps finished proteins; the user's cache when not given.
    device, precision, offline
        As `mutscan.score`.
    seed : int
        Random seed of the split, the folds, the draws and the bootstrap.
    siamese : int
        Labelled variants for the choice of the structural flag's threshold; 0: no structural flag.
    progress : Progress, optional

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
    files: dict[Kind, tuple[Path, Path]] = {"variants": (proteins, variants)}
    files |= {"stability": stability} if stability is not None else {}
    files |= {"dms": dms} if dms is not None else {}
    tables = {
        kind: read_variants(
            *paths, column=COLUMNS[kind], protein_column="assay" if kind == "dms" else "protein"
        )
        for kind, paths in files.items()
    }
    loaded = load_model(model, device=device, precision=precision, offline=offline)
    finders = {kind: NamedStructures(paths[0], structures_dir) for kind, paths in files.items()}
    evidence_work = work if work is not None else cache_dir() / "evidence"
    aligned = AlignedProfiles(sequences, evidence_work, default_jobs()) if sequences else None
    reader = EvidenceReader(loaded, evidence_work, offline=offline, relatives=aligned)
    rebuild = None
    if installed_weights() is not None:
        rebuild = learn_backbones((tables[kind], finders[kind]) for kind in tables)
    found = {}
    for kind, table in tables.items():
        further = None
        if kind != "dms" and chains is not None:
            own = table.proteins["sequence"].astype(str).tolist()
            further = chains_on_sequences(chains, own)
            if rebuild is not None:
                further = fold_chains(further, own, rebuild, evidence_work, progress)
        found[kind] = reader.gather(table, finders[kind], progress, further)
    rows, first = join_tables(tables, found, seed)
    labelled = rows.labelled
    conserved = {} if loaded.families is None else CONSERVATION_EVIDENCE
    tiers = _tiers(rows, [*EVIDENCE, *conserved], seed, assay_names(tables, first), variants, progress)
    structural = calibrate_structural(
        loaded, tables["variants"], rows.linked[labelled], rows.is_test[labelled], rows.kept_out[labelled],
        progress, wanted=siamese, specificity=SPECIFICITY, work=work, seed=seed,
    )  # fmt: skip
    ddg = None
    if rebuild is not None and "stability" in tables:
        ddg = fit_ddg(tables["stability"], found["stability"].evidence, seed=seed, progress=progress)
    entries, words = _proteins(tables, rows, first)
    return {
        "format": FORMAT,
        "mutscan": __version__,
        "model": _describe(loaded),
        "data": {
            **{
                f"{'labelled' if kind == 'variants' else kind}_{what}sha256": file_sha256(path)
                for kind, paths in files.items()
                for what, path in zip(("proteins_", ""), paths, strict=True)
            },
            **({"chains_sha256": file_sha256(chains)} if chains is not None else {}),
            **({"sequences_sha256": aligned.digest} if aligned is not None else {}),
            "n": len(tables["variants"]),
            "n_ranked": int((~labelled).sum()),
            "longest": int(tables["variants"].proteins["sequence"].str.len().max()),
            "seed": seed,
            "protein_cap": PROTEIN_CAP,
            "ranked_weight": RANKED_WEIGHT,
            "probability": "assumes that as many variants are deleterious as among all labelled ones "
            "(share_deleterious), in every tier; `scan` gives the shift for all substitutions of a protein",
            "centred": "the mean over all 19 x L substitutions of the protein is subtracted from log-odds",
            "split": "a fifth of the groups of labelled proteins is `test`: used for no choice and no fit, "
            "nor is anything that shares 30 % of its words of five residues with them (`left out`)",
        },
        "evidence": {
            **EVIDENCE,
            **conserved,
            **{name: text for pieces in PIECES.values() for name, text in pieces.items()},
            "context_site": "linear map of the encoder's embedding of the site, weights in the tier",
            "context_near": "linear map of the mean embedding of site and ± 7 neighbours",
            "a x b": "what two pieces add together beyond each alone",
        },
        "tiers": tiers,
        "structural": structural,
        "ddg": ddg,
        "proteins": entries,
        # `mutscan train evaluate` finds relatives of the fitted proteins with them.
        "words": words,
    }


def _tiers(
    rows: Rows,
    of_sequence: Sequence[str],
    seed: int,
    assays: Mapping[int, str],
    variants: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Fit each tier of `TIERS` that enough labelled variants have the evidence for."""
    chosen = {}
    for name, sources in TIERS.items():
        fewest = fewest_of_class(rows, usable(name, rows.covered))
        if fewest >= _FEWEST:
            chosen[name] = [*of_sequence, *(piece for source in sources for piece in PIECES[source])]
            continue
        few = f"the smaller class has {fewest} variants to fit, at least {_FEWEST} are needed"
        if name == "sequence":
            raise UsageError(f"{variants}: {few}; give more labelled variants")
        progress.note(f"tier {name} left out: {few}")
    progress.note(f"fitting {', '.join(chosen)} to {int((~rows.kept_out).sum()):,} rows")
    fit = additive_fit(dict.fromkeys(chain(*chosen.values())), rows, seed)
    fitted = {name: fit.of(pieces) for name, pieces in chosen.items()}
    lines = shared_lines(fitted, rows, assays)
    tiers = {name: tier_facts(name, one, lines[name], rows, assays, seed) for name, one in fitted.items()}
    for name, facts in tiers.items():
        progress.note(f"tier {name}: AUROC {facts['test'].get('auroc')} on test groups")
    return tiers


def _describe(loaded: LoadedModel) -> dict[str, Any]:
    return {
        "name": loaded.config.name,
        "encoder_revision": loaded.encoder.revision,
        "precision": loaded.encoder.precision,
        "families_sha256": None if loaded.families is None else loaded.families.sha256,
        "inverse_folding_sha256": None if installed_weights() is None else WEIGHTS_SHA256,
    }


def _proteins(
    tables: Mapping[Kind, VariantTable], rows: Rows, first: Mapping[str, int]
) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Sequence hash, group and part of each protein with rows, and word sketches of the fitted ones."""
    entries: dict[str, list[Any]] = {}
    words = {}
    for kind, one in tables.items():
        names, sequences = (one.proteins[c].astype(str).tolist() for c in ("protein", "sequence"))
        for row, (name, sequence) in enumerate(zip(names, sequences, strict=True)):
            here = rows.protein == first[kind] + row
            if not here.any():
                continue
            key = name if kind == "variants" else f"{kind}:{name}"
            part = "test" if rows.is_test[here].any() else "left out" if rows.kept_out[here].any() else "fit"
            entries[key] = [sequence_hash(sequence), int(rows.linked[here][0]), part]
            if part == "fit":
                words[key] = word_sketch(sequence)
    return entries, words
