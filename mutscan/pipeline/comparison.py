"""Two proteins side by side: predicted and, with structures, measured similarity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from Bio import Align
from Bio.Align import substitution_matrices

from mutscan.align import tm_align
from mutscan.errors import UsageError
from mutscan.files import write_errors, write_text
from mutscan.pipeline.network import cached_embedding, load_model
from mutscan.pipeline.options import DEFAULTS
from mutscan.pipeline.plan import MAX_LENGTH, is_gene, refuse_organism, resolve_wild_type
from mutscan.reports.compared import Compared, compared_headline
from mutscan.scores import score_structures
from mutscan.structures import backbone_by_position, ca_by_position
from mutscan.structures.segments import secondary_structure

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from mutscan.structures import WildType

TM_FOR_LDDT: Final = 0.7
"""The network was trained for lDDT on pairs above this TM-score; below, local predictions extrapolate."""

FEWEST_PAIRS: Final = 3
"""Aligned residues from which two structures can be laid on each other."""


class Comparison(Compared):
    """Similarity of two proteins, and the page that shows it."""

    def __repr__(self) -> str:
        """Say how similar the two are."""
        return f"<Comparison: {compared_headline(self)}>"

    def _repr_html_(self) -> str:
        """Show the scores in a notebook."""
        from mutscan.reports.notebook import comparison_html

        return comparison_html(self)

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the page of this comparison, one self-contained file, to `path`."""
        # It draws with matplotlib, which takes a second to load and is not wanted otherwise.
        from mutscan.reports.compare_page import render_comparison

        target = Path(path)
        with write_errors(target.parent):
            write_text(target, render_comparison(self))
        return target


def compare(
    a: str,
    b: str,
    *,
    chain_a: str | None = None,
    chain_b: str | None = None,
    model: str = DEFAULTS.model,
    device: str = DEFAULTS.device,
    precision: str = DEFAULTS.precision,
    batch_residues: int | None = None,
    offline: bool = False,
    organism: str = DEFAULTS.organism,
) -> Comparison:
    """Compare two proteins.

    Parameters
    ----------
    a, b : str
        Each a structure file, a FASTA file, or a name as `mutscan.score` takes it. A is the reference.
    chain_a, chain_b : str, optional
        Author chain names.
    model, device, precision, batch_residues, offline, organism
        As `mutscan.score`.
    """
    genes = [is_gene(a), is_gene(b)]
    if not any(genes):
        refuse_organism(organism, a, b)
    of_a, of_b = (organism if gene else DEFAULTS.organism for gene in genes)
    first = resolve_wild_type(a, chain=chain_a, offline=offline, organism=of_a)
    second = resolve_wild_type(b, chain=chain_b, offline=offline, organism=of_b)
    for protein in (first, second):
        if len(protein.sequence) > MAX_LENGTH:
            raise UsageError(
                f"{protein.name} has {len(protein.sequence)} residues, at most {MAX_LENGTH} can be compared"
            )
    loaded = load_model(
        model, device=device, precision=precision, batch_residues=batch_residues, offline=offline
    )
    notes = [f"{protein.name}: {note}" for protein in (first, second) for note in protein.notes]
    tm_measured = tm_measured_b = rmsd = lddt_measured_mean = None
    ca_a, ca_b = ca_by_position(first), ca_by_position(second)
    if first.structure is not None and second.structure is not None:
        aligned = tm_align(first.structure, second.structure)
        tm_measured, tm_measured_b, rmsd = aligned.tm_score_1, aligned.tm_score_2, aligned.rmsd
        assert ca_b is not None
        ca_b = ca_b @ aligned.rotation.T + aligned.translation
        pairs, kept = _on_sequences(aligned.pairs, first, second)
        lddt_measured = np.full(len(pairs), np.nan)
        if len(aligned.pairs) < FEWEST_PAIRS:
            notes.append(
                f"TM-align pairs {len(aligned.pairs)} of {len(first.structure)} and "
                f"{len(second.structure)} residues: too few to measure lDDT on"
            )
        else:
            profile = score_structures(first.structure.ca, second.structure.ca, pairs=aligned.pairs).lddt
            lddt_measured = profile[aligned.pairs[kept, 0]]
            if np.isfinite(lddt_measured).any():
                lddt_measured_mean = float(np.nanmean(lddt_measured))
        method = "structure"
    else:
        pairs = align_sequences(first.sequence, second.sequence)
        lddt_measured = np.full(len(pairs), np.nan)
        method = "sequence"
        notes.append("only sequences can be compared: residues are paired by a global alignment (BLOSUM62)")
    encoded_a = loaded.predictor.encode(cached_embedding(loaded.encoder, first.sequence), first.sequence)
    encoded_b = loaded.predictor.encode(cached_embedding(loaded.encoder, second.sequence), second.sequence)
    prediction = loaded.predictor.compare(encoded_a, encoded_b, pairs=pairs)
    lddt_predicted = prediction.lddt[pairs[:, 0]].astype(np.float64)
    if prediction.tm_score < TM_FOR_LDDT:
        notes.append(
            f"predicted TM-score below {TM_FOR_LDDT}: "
            "predicted lDDT is an extrapolation, because the network was trained on more similar pairs"
        )
    shorter, longer = sorted((len(first.sequence), len(second.sequence)))
    if shorter < 0.7 * longer:
        notes.append("the lengths differ a lot: note by which protein each TM-score is normalised")
    residue_a = np.array(list(first.sequence))[pairs[:, 0]]
    residue_b = np.array(list(second.sequence))[pairs[:, 1]]
    return Comparison(
        name_a=first.name,
        name_b=second.name,
        length_a=len(first.sequence),
        length_b=len(second.sequence),
        resolved_a=None if first.structure is None else len(first.structure),
        resolved_b=None if second.structure is None else len(second.structure),
        tm_predicted=prediction.tm_score,
        tm_predicted_b=prediction.tm_score_2,
        tm_measured=tm_measured,
        tm_measured_b=tm_measured_b,
        rmsd=rmsd,
        alignment=method,
        n_aligned=len(pairs),
        identity=float((residue_a == residue_b).mean()) if len(pairs) else 0.0,
        lddt_predicted_mean=float(np.nanmean(lddt_predicted)) if len(pairs) else float("nan"),
        lddt_measured_mean=lddt_measured_mean,
        residues=pd.DataFrame(
            {
                "position_a": pairs[:, 0] + 1,
                "residue_a": residue_a,
                "position_b": pairs[:, 1] + 1,
                "residue_b": residue_b,
                "lddt_predicted": lddt_predicted,
                "lddt_measured": lddt_measured,
            }
        ),
        notes=tuple(notes),
        model=f"{loaded.config.name}, sha256 {loaded.sha256}",
        sequence_a=first.sequence,
        sequence_b=second.sequence,
        ca_a=ca_a,
        ca_b=ca_b,
        elements_a=() if ca_a is None else secondary_structure(ca_a, backbone_by_position(first)),
        elements_b=() if ca_b is None else secondary_structure(ca_b, backbone_by_position(second)),
    )


def _on_sequences(
    pairs: NDArray[np.int64], first: WildType, second: WildType
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Aligned structure residues as indices of the two sequences, and which pairs have both."""
    columns: list[NDArray[np.int64]] = []
    for column, protein in enumerate((first, second)):
        assert protein.structure is not None
        assert protein.structure_index is not None
        back = np.full(len(protein.structure), -1)
        resolved = protein.structure_index >= 0
        back[protein.structure_index[resolved]] = np.flatnonzero(resolved)
        columns.append(back[pairs[:, column]])
    mapped = np.stack(columns, axis=1)
    kept: NDArray[np.bool_] = np.all(mapped >= 0, axis=1)
    return mapped[kept], kept


def align_sequences(first: str, second: str) -> NDArray[np.int64]:
    """Pairs (n, 2) of a global alignment: BLOSUM62, gap open 11, extend 1, free end gaps."""
    aligner = Align.PairwiseAligner(
        mode="global",
        substitution_matrix=substitution_matrices.load("BLOSUM62"),
        open_gap_score=-11.0,
        extend_gap_score=-1.0,
        end_gap_score=0.0,
    )
    table = str.maketrans("UOJ", "CKL")
    alignment = aligner.align(first.translate(table), second.translate(table))[0]
    blocks = [
        np.stack([np.arange(start_a, end_a), np.arange(start_b, end_b)], axis=1)
        for (start_a, end_a), (start_b, end_b) in zip(*alignment.aligned, strict=True)
    ]
    return np.concatenate(blocks) if blocks else np.empty((0, 2), dtype=np.int64)
