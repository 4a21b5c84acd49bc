"""``score``: a list of variants of one protein."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.errors import UsageError
from mutscan.hashes import json_sha256
from mutscan.pipeline.job import Job, Request, read_part, run_job
from mutscan.pipeline.network import protein_null
from mutscan.pipeline.options import DEFAULTS, Options
from mutscan.pipeline.plan import make_plan, read_inputs, resolve_wild_type
from mutscan.progress import Silent
from mutscan.results import shortened, write_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

    from mutscan.alignments.source import Relatives
    from mutscan.builders import MutantBuilder
    from mutscan.calling import Null
    from mutscan.inputs import InputRow
    from mutscan.pipeline.job import Prediction
    from mutscan.pipeline.network import LoadedModel
    from mutscan.pipeline.plan import Plan, PlannedRow
    from mutscan.pipeline.run import Run
    from mutscan.progress import Progress
    from mutscan.results import RunFolder
    from mutscan.variants import Variant


def score(
    wild_type: str | os.PathLike[str],
    variants: Sequence[str] = (),
    *,
    variants_file: str | os.PathLike[str] | None = None,
    variant_column: str | None = None,
    out: str | os.PathLike[str] | None = None,
    model: str = DEFAULTS.model,
    builder: str = DEFAULTS.builder,
    structure: str | os.PathLike[str] | None = None,
    chain: str | None = None,
    plddt: bool = DEFAULTS.plddt,
    alignment: str | os.PathLike[str] = DEFAULTS.alignment,
    device: str = DEFAULTS.device,
    precision: str = DEFAULTS.precision,
    batch_residues: int | None = None,
    jobs: int | None = None,
    offline: bool = False,
    restart: bool = False,
    prior: str = DEFAULTS.prior,
    inverse_folding: str = DEFAULTS.inverse_folding,
    predict: str = DEFAULTS.predict,
    numbering: str = DEFAULTS.numbering,
    organism: str = DEFAULTS.organism,
    strict: bool = DEFAULTS.strict,
    shard: str | None = None,
    engine: str = DEFAULTS.engine,
    ray_address: str | None = None,
    ray_cores: int | None = None,
    seed: int = DEFAULTS.seed,
    progress: Progress | None = None,
    stdin: TextIO | None = None,
) -> Run:
    """Score variants of one protein.

    Parameters
    ----------
    wild_type : str or path
        Path to a structure or FASTA file; else a UniProt accession, isoform or entry name, a RefSeq or
        Ensembl protein, a chain of a PDB entry (``"pdb:1TUP:A"``) or a gene symbol.
    variants : sequence of str
        Such as ``"R175H"``, ``"p.Arg175His"``, ``"R175H;R248Q"``.
    variants_file : path, optional
        More variants: text, CSV/TSV, FASTA of mutants, ``-`` for stdin.
    variant_column : str, optional
        Column of a CSV/TSV that holds the variant.
    out : path, optional
        Run folder; ``mutscan-<wild type>`` by default. An unfinished run there is continued.
    model : str
        Model name or folder.
    builder : str
        ``auto``, ``modeller``, ``openmm``, ``template``, ``none``, or a folder of mutant structures.
    structure, chain : optional
        Structure file for an accession or FASTA; author chain name.
    plddt : bool
        B factors of the structure file are pLDDT, although it may not say so.
    alignment : path or {"auto", "library"}
        Relatives of the protein: an a3m, a2m, Stockholm, aligned FASTA or CLUSTAL file; by default
        AlphaFold DB's alignment of an accession where there is one, else the model's library.
    device, precision, batch_residues
        Where and how the networks run.
    jobs : int, optional
        Builder processes; cores by default.
    offline : bool
        Never touch the network.
    restart : bool
        Throw the finished part of the run folder away.
    prior : {"clinical", "scan"}
        List that ``p_deleterious`` holds for: variants as clinics report them, or all substitutions of a
        protein, fewer of which are harmful. Ranks and flags are the same.
    inverse_folding : {"auto", "off"}
        Evidence of ProteinMPNN, and ``ddg_predicted``, where the extra ``mutscan[mpnn]`` is installed and
        the wild type has a structure.
    predict : {"all", "probability"}
        ``probability``: TM-scores and lDDT are not predicted, no mutant is built.
    numbering : {"sequence", "author"}
        Whose positions the variants are written in: those of the sequence, or the structure file's own
        residue numbers with their insertion codes (``"S27aA"``).
    organism : str
        Organism of a gene symbol: its name, UniProt's code or its taxon (``"mouse"``, ``"10090"``).
    strict : bool
        Fail rows that match as written although the other rows say that the numbering is shifted, or name
        another protein; otherwise they are scored with a note and low confidence.
    shard : str, optional
        Part of the work to do, such as ``"2/8"``; `mutscan.merge` joins the parts.
    engine : {"local", "ray"}
        Where the work is done: here, or on a Ray cluster.
    ray_address : str, optional
        Address of the cluster; ``auto`` for the one that this machine belongs to. By default a cluster
        of this machine alone is started, unless Ray's environment variable ``RAY_ADDRESS`` names one.
    ray_cores : int, optional
        Cores of each worker, 2 by default. Where the cluster has GPUs, each worker has one of them, too.
    seed : int
    progress : Progress, optional
    stdin : text stream, optional
        Read for ``variants_file="-"``.

    Returns
    -------
    Run

    Raises
    ------
    mutscan.errors.MutscanError
        When the run as a whole cannot be done; single variants fail in their row.
    """
    options = Options(
        out=out, model=model, builder=builder, structure=structure, chain=chain, plddt=plddt,
        alignment=alignment,
        device=device, precision=precision, batch_residues=batch_residues, jobs=jobs, offline=offline,
        restart=restart, prior=prior, inverse_folding=inverse_folding, predict=predict, numbering=numbering,
        organism=organism, strict=strict, shard=shard, engine=engine, ray_address=ray_address,
        ray_cores=ray_cores, seed=seed, progress=progress or Silent(),
    )  # fmt: skip
    if shard is not None and variants_file is not None and str(variants_file) == "-":
        raise UsageError("--shard: the parts of a job read the same list; give --variants a file")
    table = read_inputs(variants, variants_file, variant_column, stdin)
    resolved = resolve_wild_type(
        wild_type, structure=structure, chain=chain, plddt=plddt, offline=offline, organism=organism
    )
    plan = make_plan(resolved, table, numbering=numbering, strict=strict)
    arguments = {
        "wild_type": os.fspath(wild_type),
        "variants": list(variants),
        "variants_file": variants_file,
        "variant_column": variant_column,
    }
    bound = {"variants": list_in_words(table.rows)}
    return run_job(Request("score", plan.wild_type, options, arguments, partial(ScoreJob, plan), bound))


def list_in_words(rows: Sequence[InputRow]) -> str:
    """Describe a list of variants in one line that no other list has.

    Examples
    --------
    >>> from mutscan.inputs import InputRow
    >>> list_in_words([InputRow(1, "R175H"), InputRow(2, "R248Q")])
    'R175H to R248Q (2 rows, 4d2e34b0)'
    """
    first, last = (shortened(row.text, 12) for row in (rows[0], rows[-1]))
    named = first if len(rows) == 1 else f"{first} to {last}"
    digest = json_sha256([(row.text, row.sequence) for row in rows])
    return f"{named} ({len(rows)} row{'s' if len(rows) > 1 else ''}, {digest[:8]})"


ROWS_JUDGED: Final = 512
"""Rows judged together, and held in memory."""


class ScoreJob(Job):
    """The work of `score`: each variant's prediction is a part of its own."""

    ROWS_TOGETHER = 16_384

    def __init__(
        self,
        plan: Plan,
        model: LoadedModel,
        folder: RunFolder,
        options: Options,
        builders: Sequence[MutantBuilder] = (),
        relatives: Relatives | None = None,
    ) -> None:
        super().__init__(plan.wild_type, model, folder, options, builders, relatives)
        self.carried_columns = plan.carried_columns
        self._rows = plan.rows
        self._variants = plan.variants

    @property
    def items(self) -> Sequence[Variant]:
        """The distinct variants, in order of first appearance."""
        return self._variants

    def variants_of(self, items: Sequence[Variant]) -> Sequence[Variant]:
        """Items are variants."""
        return items

    @property
    def inputs_sha256(self) -> str:
        """Hash of all rows."""
        rows = [(row.source.text, row.source.sequence, dict(row.source.carried)) for row in self._rows]
        return json_sha256(rows)

    def predict(self, items: Sequence[Variant]) -> None:
        """Predict variants; each prediction is stored when it is made."""
        missing = [variant for variant in items if not self._part(variant).exists()]
        if missing:
            self._predict(missing)

    def background(self) -> Null | None:
        """Find or make the null; None where there is no variant."""
        if not self._variants:
            return None
        options, sequence = self.options, self.wild_type.sequence
        return protein_null(
            self.predictor, self.model, sequence, seed=options.seed, progress=options.progress
        )

    def _predict(self, variants: Sequence[Variant]) -> None:
        self.progress.start("predicting", len(variants))
        for index, prediction in self.predictor.predict(variants):
            write_arrays(
                self._part(variants[index]),
                tm=np.array([prediction.tm_score, prediction.tm_raw]),
                lddt=prediction.lddt,
            )
            self.progress.advance()
        self.progress.finish()

    def prediction(self, variant: Variant) -> Prediction:
        """Read the stored prediction of a variant."""
        length = len(self.wild_type.sequence)
        arrays = read_part(self._part(variant), lambda: self._predict([variant]), tm=(2,), lddt=(length,))
        tm, tm_raw = arrays["tm"].tolist()
        return tm, tm_raw, arrays["lddt"]

    def chunks(self) -> Iterator[Sequence[PlannedRow]]:
        """Yield some rows at a time, so that memory does not grow with their number."""
        for first in range(0, len(self._rows), ROWS_JUDGED):
            yield self._rows[first : first + ROWS_JUDGED]

    def _part(self, variant: Variant) -> Path:
        return self.folder.part("predicted", self.folder.structure_of(str(variant)).stem)
