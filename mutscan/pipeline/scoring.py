"""``score``: a list of variants of one protein."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mutscan.pipeline.job import Job, read_part, run_job
from mutscan.pipeline.network import protein_null
from mutscan.pipeline.options import DEFAULTS, Options
from mutscan.pipeline.plan import make_plan, read_inputs, resolve_wild_type
from mutscan.progress import Silent
from mutscan.results import write_arrays

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

    from mutscan.alignments.source import Relatives
    from mutscan.pipeline.job import Prediction
    from mutscan.pipeline.network import LoadedModel
    from mutscan.pipeline.plan import Plan, PlannedRow
    from mutscan.pipeline.run import Run
    from mutscan.progress import Progress
    from mutscan.results import RunFolder
    from mutscan.variants import Variant


def score(
    wild_type: str,
    variants: Sequence[str] = (),
    *,
    variants_file: str | os.PathLike[str] | None = None,
    variant_column: str | None = None,
    out: str | os.PathLike[str] | None = None,
    model: str = DEFAULTS.model,
    builder: str = DEFAULTS.builder,
    structure: str | os.PathLike[str] | None = None,
    chain: str | None = None,
    alignment: str | os.PathLike[str] = DEFAULTS.alignment,
    device: str = DEFAULTS.device,
    precision: str = DEFAULTS.precision,
    batch_residues: int | None = None,
    jobs: int | None = None,
    offline: bool = False,
    restart: bool = False,
    prior: str = DEFAULTS.prior,
    inverse_folding: str = DEFAULTS.inverse_folding,
    seed: int = DEFAULTS.seed,
    progress: Progress | None = None,
    stdin: TextIO | None = None,
) -> Run:
    """Score variants of one protein.

    Parameters
    ----------
    wild_type : str
        UniProt accession, or path to a structure or FASTA file.
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
        out=out, model=model, builder=builder, structure=structure, chain=chain, alignment=alignment,
        device=device, precision=precision, batch_residues=batch_residues, jobs=jobs, offline=offline,
        restart=restart, prior=prior, inverse_folding=inverse_folding, seed=seed,
        progress=progress or Silent(),
    )  # fmt: skip
    table = read_inputs(variants, variants_file, variant_column, stdin)
    resolved = resolve_wild_type(wild_type, structure=structure, chain=chain, offline=offline)
    plan = make_plan(resolved, table)
    arguments = {
        "wild_type": wild_type,
        "variants": list(variants),
        "variants_file": variants_file,
        "variant_column": variant_column,
    }
    return run_job(
        "score",
        resolved,
        options,
        arguments,
        lambda model, folder, relatives: ScoreJob(plan, model, folder, options, relatives),
    )


class ScoreJob(Job):
    """The work of `score`: each variant's prediction is a part of its own."""

    ROWS_TOGETHER = 1

    def __init__(
        self,
        plan: Plan,
        model: LoadedModel,
        folder: RunFolder,
        options: Options,
        relatives: Relatives | None = None,
    ) -> None:
        super().__init__(plan.wild_type, model, folder, options, relatives)
        self.carried_columns = plan.carried_columns
        self._rows = plan.rows
        self._variants = plan.variants

    @property
    def variants(self) -> Sequence[Variant]:
        """The distinct variants, in order of first appearance."""
        return self._variants

    def predict(self) -> None:
        """Predict the null and every variant; each prediction is stored when it is made."""
        if self._variants:
            sequence = self.wild_type.sequence
            self.null = protein_null(
                self.predictor, self.model, sequence, seed=self.seed, progress=self.progress
            )
            self._predict([v for v in self._variants if not self._part(v).exists()])

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
        arrays = read_part(self._part(variant), lambda: self._predict([variant]))
        tm, tm_raw = arrays["tm"].tolist()
        return tm, tm_raw, arrays["lddt"]

    def chunks(self) -> Iterator[Sequence[PlannedRow]]:
        """Yield all rows at once: a variant that is given twice is judged once."""
        yield self._rows

    def _part(self, variant: Variant) -> Path:
        return self.folder.part("predicted", self.folder.structure_of(str(variant)).stem)
