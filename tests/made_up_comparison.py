"""A comparison of two short made-up proteins, as `mutscan.compare` would return it."""

import types

import numpy as np
import pandas as pd

A, B = "MKTAYIAKQRQISF", "KTAYLAKWWQRSFDD"
PAIRS = ((1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 5), (7, 6), (8, 9), (9, 10), (12, 11), (13, 12))
"""0-based residues of A and B: A's first is left out, then two of B's, two of A's, and B's last two."""


def make_comparison(*, structures: bool = True, **changes: object) -> types.SimpleNamespace:
    rng = np.random.default_rng(3)
    ca_a = np.cumsum(rng.normal(0, 2.2, (len(A), 3)), axis=0)
    ca_b = np.cumsum(rng.normal(0, 2.2, (len(B), 3)), axis=0)
    ca_a[2] = np.nan
    one, other = np.array(PAIRS).T
    measured = np.linspace(0.3, 1.0, len(PAIRS)) if structures else np.full(len(PAIRS), np.nan)
    values = {
        "name_a": "one", "name_b": "other", "length_a": len(A), "length_b": len(B),
        "resolved_a": len(A) if structures else None, "resolved_b": len(B) if structures else None,
        "tm_predicted": 0.61, "tm_predicted_b": 0.58,
        "tm_measured": 0.72 if structures else None, "tm_measured_b": 0.7 if structures else None,
        "rmsd": 1.5 if structures else None, "alignment": "structure" if structures else "sequence",
        "n_aligned": len(PAIRS), "identity": 0.8, "lddt_predicted_mean": 0.75,
        "lddt_measured_mean": 0.65 if structures else None, "notes": ("one thing worth knowing",),
        "model": "mutscan-mini, sha256 abc", "sequence_a": A, "sequence_b": B,
        "ca_a": ca_a if structures else None, "ca_b": ca_b if structures else None,
        "elements_a": (), "elements_b": (),
        "residues": pd.DataFrame(
            {
                "position_a": one + 1, "residue_a": [A[i] for i in one],
                "position_b": other + 1, "residue_b": [B[i] for i in other],
                "lddt_predicted": np.linspace(1.0, 0.5, len(PAIRS)), "lddt_measured": measured,
            }
        ),
    }  # fmt: skip
    return types.SimpleNamespace(**{**values, **changes})
