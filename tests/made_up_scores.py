"""Made-up tables of variants with probabilities and flags, for metrics that need no network."""

import numpy as np
import pandas as pd

from mutscan.residue_properties import BLOSUM62, CODE
from mutscan.residues import STANDARD
from mutscan.train.evaluate.scores import Scored
from mutscan.train.labelled.evidence import Assessed
from mutscan.train.labelled.tables import VariantTable

LENGTH = 40


def auroc(positive: np.ndarray, score: np.ndarray) -> float:
    """Share of pairs of a positive and a negative that a score ranks rightly, ties counted half."""
    wins = np.sign(score[positive][:, None] - score[~positive][None, :])
    return float((wins + 1).mean() / 2)


def made_up_scored(kind: str, *, cutoff=None, n_proteins: int = 3, each: int = 60, seed: int = 0) -> Scored:  # type: ignore[no-untyped-def]
    """Variants whose probability tells something of their effect; a group for each protein."""
    rng = np.random.default_rng(seed)
    sequences = ["".join(rng.choice(list(STANDARD), LENGTH)) for _ in range(n_proteins)]
    proteins = pd.DataFrame({"protein": [f"P{i}" for i in range(n_proteins)], "sequence": sequences})
    if cutoff is not None:
        proteins["cutoff"] = cutoff
    codes = np.array([[CODE[ord(letter)] for letter in sequence] for sequence in sequences])
    protein = np.repeat(np.arange(n_proteins), each)
    place = np.concatenate([rng.permutation(LENGTH * 19)[:each] for _ in range(n_proteins)])
    index, own = place // 19, codes[protein, place // 19]
    mutant = (own + 1 + place % 19) % 20
    variant = [
        f"{STANDARD[a]}{i + 1}{STANDARD[b]}"
        for a, i, b in zip(own.tolist(), index.tolist(), mutant.tolist(), strict=True)
    ]
    effect = rng.normal(size=len(protein))
    p = 1 / (1 + np.exp(-effect - rng.normal(size=len(protein))))
    n = len(protein)
    value = (effect > 0).astype(float) if kind == "variants" else -effect
    table = VariantTable(
        proteins, protein, np.array(variant), index, mutant, value, np.full(n, ""), np.arange(n) + 2
    )
    flag = np.select([p > 0.6, p < 0.4], ["deleterious", "tolerated"], "uncertain").astype("<U16")
    evidence = Assessed(
        {"blosum62": BLOSUM62[own, mutant].astype(float)}, p, p, flag, np.full(n, "sequence"), {},
        np.zeros(n, dtype=bool), (),
    )  # fmt: skip
    unknown = {name: np.full(n, np.nan) for name in ("tm", "lddt_mean", "lddt_site", "tm_z", "lddt_z")}
    return Scored(table, protein, evidence, unknown, True)
