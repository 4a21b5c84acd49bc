"""Artificial input for the recipes' --smoke: small proteins, an encoder in ProtT5's format, short settings.

    python training/smoke_data.py FOLDER [--prott5] [--settings FILE ...]

Families of helices and strands of 30 to 50 residues; relatives differ in residues, torsions and ends, so that
TM-score and lDDT vary. Everything is seeded. Writes to FOLDER:

    structures/*.pdb, pairs.csv, clusters.tsv       backbones, a list of pairs, clusters
    structures.parquet, pairs.parquet               the same chains and pairs as tables, pairs labelled
    sequences.parquet                               sequences to pretrain an encoder on
    wild_types/*.pdb                                two of the chains with all their atoms
    variants/*.csv.gz                               labelled variants, a scan and stabilities, by one rule
    crystals.parquet                                chains that differ in one residue, around which they move
    prott5/                                         with --prott5: T5 encoder, safetensors, SentencePiece
    NAME.toml                                       each file of --settings, with small numbers
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mutscan.builders.geometry import extend
from mutscan.builders.rotamers import place_side_chain
from mutscan.residue_properties import BLOSUM62, CODE
from mutscan.residues import STANDARD
from mutscan.scores import tm_score
from mutscan.structures import Structure, write_structure
from mutscan.train.chains.clusters import stable_number
from mutscan.train.chains.splits import assign_splits

FAMILIES = {"train": 12, "validation": 5, "test": 5}
MEMBERS = 3
# Torsions phi and psi, and their typical residues.
KINDS = {
    "helix": (-63.0, -42.0, "AELKQMR"),
    "strand": (-120.0, 135.0, "VIYTFWC"),
    "turn": (-75.0, 80.0, "GPNDSH"),
}
SMALL: dict[str, Any] = {
    "steps": 12,
    "epochs": 1.0,
    "warmup": 2,
    "batch_residues": 600,
    "batch_pairs": 8,
    "chunk_residues": 300,
    "memory_from": 4,
    "average": 0.8,
    "validate_every": 6,
}
SMALL_NET = {"d_model": 16, "n_heads": 2, "d_feed_forward": 32, "d_pool": 16, "d_match": 8, "d_pair": 8}


@dataclass(frozen=True)
class Chain:
    """An artificial protein; `first` is its first place in the family."""

    name: str
    family: str
    sequence: str
    first: int
    backbone: NDArray[np.float64]  # (L, 4, 3): N, CA, C, O

    @property
    def ca(self) -> NDArray[np.float64]:
        """C-alphas as the tables store them, to a hundredth of an Å."""
        centred = self.backbone[:, 1] - self.backbone[:, 1].mean(axis=0)
        return np.round(centred * 100) / 100


def backbones(phi: NDArray[np.float64], psi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Backbones of ideal geometry with the torsions (n, L): (n, L, 4, 3)."""
    n = len(phi)
    start = np.array([[0.0, 0.0, 0.0], [1.458, 0.0, 0.0], [2.009, 1.42, 0.0]])
    atoms = [np.broadcast_to(atom, (n, 3)) for atom in start]
    for i in range(phi.shape[1]):
        atoms.append(extend(*atoms[-3:], 1.329, 116.2, psi[:, i]))
        atoms.append(extend(*atoms[-3:], 1.458, 121.7, np.full(n, 180.0)))
        atoms.append(extend(*atoms[-3:], 1.525, 111.0, phi[:, min(i + 1, phi.shape[1] - 1)]))
    residues = []
    for i in range(phi.shape[1]):
        nitrogen, alpha, carbon = atoms[3 * i : 3 * i + 3]
        oxygen = extend(nitrogen, alpha, carbon, 1.231, 120.5, psi[:, i] + 180.0)
        residues.append(np.stack([nitrogen, alpha, carbon, oxygen], axis=1))
    return np.stack(residues, axis=1)


def family_names() -> list[str]:
    """Family names that fill every split with seed 0: the split depends on seed and name only."""
    found: dict[str, list[str]] = {split: [] for split in FAMILIES}
    for name in (f"F{number:03d}" for number in range(1000)):
        split = str(assign_splits(np.array([stable_number(name)]))[0])
        if len(found[split]) < FAMILIES[split]:
            found[split].append(name)
    return sorted(name for names in found.values() for name in names)


def family(name: str, rng: np.random.Generator) -> list[Chain]:
    """Members of one fold, in order of growing difference."""
    kinds: list[str] = []
    while len(kinds) < 32:
        kinds += [str(rng.choice(["helix", "strand"]))] * int(rng.integers(7, 13))
        kinds += ["turn"] * int(rng.integers(2, 4))
    length = len(kinds)
    ideal = np.array([KINDS[kind][:2] for kind in kinds]).T + rng.normal(scale=4.0, size=(2, length))
    ideal[:, np.array(kinds) == "turn"] += rng.normal(scale=40.0, size=(2, kinds.count("turn")))
    torsions = np.stack([ideal + rng.normal(scale=1.5 * m, size=ideal.shape) for m in range(MEMBERS)])
    # The last member has another angle in one of its turns.
    torsions[-1, :, int(np.flatnonzero(np.array(kinds) == "turn")[0])] += 30.0
    atoms = backbones(torsions[:, 0], torsions[:, 1])
    # Residues are displaced, more so in turns: this lowers the lDDT but hardly the TM-score.
    spread = np.arange(MEMBERS)[:, None] * np.where(np.array(kinds) == "turn", 0.5, 0.15)  # (members, L), Å
    atoms = atoms + rng.normal(size=(MEMBERS, length, 1, 3)) * spread[..., None, None]
    ancestor = [str(rng.choice(list(KINDS[kind][2]))) for kind in kinds]
    members = []
    for m in range(MEMBERS):
        letters = [
            str(rng.choice(list(KINDS[kind][2]))) if m and rng.random() < 0.15 else letter
            for kind, letter in zip(kinds, ancestor, strict=True)
        ]
        first, end = (int(rng.integers(0, 4)), length - int(rng.integers(0, 4))) if m else (0, length)
        members.append(
            Chain(f"{name}{'abc'[m]}", name, "".join(letters[first:end]), first, atoms[m, first:end])
        )
    return members


def listed(chains: list[Chain]) -> list[tuple[Chain, Chain]]:
    """All pairs of relatives, and one pair for every two families."""
    relatives = [(a, b) for a in chains for b in chains if a.family == b.family and a.name < b.name]
    one_each = chains[::MEMBERS]
    others = [(a, b) for i, a in enumerate(one_each) for b in one_each[i + 1 :]]
    return relatives + others


def labelled(first: Chain, second: Chain) -> dict[str, object]:
    """Row of a table of pairs: residues at one place of the family (or of one number) are aligned."""
    shift = first.first - second.first if first.family == second.family else 0
    i = np.arange(len(first.sequence))
    i = i[(i + shift >= 0) & (i + shift < len(second.sequence))]
    j = i + shift
    one, other = first.ca[i], second.ca[j]
    return {
        "id1": first.name,
        "id2": second.name,
        "tm_norm1": tm_score(one, other, normalise_by=len(first.sequence)).tm_score,
        "tm_norm2": tm_score(other, one, normalise_by=len(second.sequence)).tm_score,
        "alignment": np.stack([i, j], axis=1).astype("<i2").tobytes(),
    }


def structure(chain: Chain, *, side_chains: bool) -> Structure:
    """Make a structure of backbone atoms, or of all."""
    residues = [dict(zip(("N", "CA", "C", "O"), atoms, strict=True)) for atoms in chain.backbone]
    if side_chains:
        around = chain.backbone.reshape(-1, 3)
        elements = ["N", "C", "C", "O"] * len(residues)
        full = []
        for i, (letter, backbone) in enumerate(zip(chain.sequence, residues, strict=True)):
            others = np.arange(len(elements)) // 4 != i
            near = [element for element, other in zip(elements, others, strict=True) if other]
            full.append(place_side_chain(letter, backbone, around[others], near))
        residues = full
    names = [name for residue in residues for name in residue]
    return Structure(
        name=chain.name,
        chain_id="A",
        sequence=chain.sequence,
        res_id=np.arange(1, len(residues) + 1),
        ins_code=("",) * len(residues),
        residue_index=np.repeat(np.arange(len(residues)), [len(residue) for residue in residues]),
        atom_name=tuple(names),
        element=tuple(name[0] for name in names),
        coord=np.array([xyz for residue in residues for xyz in residue.values()]),
        b_factor=np.full(len(names), 90.0),
    )


def write_chains(folder: Path, chains: list[Chain]) -> None:
    """Write structures and pairs, as files and as tables."""
    for name in ("structures", "wild_types"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for chain in chains:
        write_structure(structure(chain, side_chains=False), folder / "structures" / f"{chain.name}.pdb")
    for chain in (chains[0], chains[MEMBERS]):
        write_structure(structure(chain, side_chains=True), folder / "wild_types" / f"wt_{chain.name}.pdb")
    pairs = listed(chains)
    names = pd.DataFrame([(a.name, b.name) for a, b in pairs], columns=["chain_1", "chain_2"])
    names.to_csv(folder / "pairs.csv", index=False)
    clusters = pd.DataFrame([(chain.family, chain.name) for chain in chains])
    clusters.to_csv(folder / "clusters.tsv", sep="\t", header=False, index=False)
    pd.DataFrame(
        {
            "id": chain.name,
            "sequence": chain.sequence,
            "ca": np.rint(chain.ca * 100).astype("<i2").tobytes(),
            "cluster25": stable_number(chain.family),
        }
        for chain in chains
    ).to_parquet(folder / "structures.parquet")
    pd.DataFrame([labelled(a, b) for a, b in pairs]).to_parquet(folder / "pairs.parquet")
    pd.DataFrame(
        {"sequence": [chain.sequence for chain in chains], "cluster": [chain.family for chain in chains]}
    ).to_parquet(folder / "sequences.parquet")


def write_variants(folder: Path, rng: np.random.Generator) -> None:
    """Write proteins and variants whose effect follows BLOSUM62: labels, a scan and stabilities."""
    folder.mkdir(exist_ok=True)

    def protein(length: int = 60) -> str:
        return "".join(rng.choice(list(STANDARD), length))

    def variants(sequence: str) -> list[tuple[str, float]]:
        """One substitution of every second residue, and how harmful it is, in log-odds."""
        found = []
        for index in range(0, len(sequence), 2):
            old = sequence[index]
            new = str(rng.choice([letter for letter in STANDARD if letter != old]))
            found.append((f"{old}{index + 1}{new}", -0.8 * BLOSUM62[CODE[ord(old)], CODE[ord(new)]] - 0.8))
        return found

    def write(name: str, rows: list[tuple[object, ...]], *columns: str) -> None:
        pd.DataFrame(rows, columns=[*columns]).to_csv(folder / f"{name}.csv.gz", index=False)

    proteins = [(f"P{number}", protein(), number // 2) for number in range(40)]
    write("labelled_proteins", [*proteins], "protein", "sequence", "group")
    labels = [
        (name, variant, "deleterious" if rng.random() < 1 / (1 + np.exp(-harm)) else "neutral")
        for name, sequence, _ in proteins
        for variant, harm in variants(sequence)
    ]
    write("labelled_variants", [*labels], "protein", "variant", "label")
    for table, of, key, column, sign in (
        ("dms", "dms_assays", "assay", "score", -1.0),
        ("stability", "stability_proteins", "protein", "ddG", 1.0),
    ):
        sequence = protein()
        write(of, [(table, sequence)], key, "sequence")
        rows = [(table, variant, sign * harm) for variant, harm in variants(sequence)]
        write(table, [*rows], key, "variant", column)


def write_crystals(path: Path, rng: np.random.Generator) -> None:
    """Write chains of 30 proteins, each with two mutants whose residues around the exchange moved."""
    rows: list[tuple[str, str, bytes, str, int, int]] = []
    for number in range(30):
        chain = family(f"C{number}", rng)[0]
        kinds = [(f"C{number}", [*chain.sequence], chain.ca)]
        for mutant in range(2):
            site = int(rng.integers(4, len(chain.ca) - 4))
            letters = [*chain.sequence]
            letters[site] = str(rng.choice([letter for letter in STANDARD if letter != letters[site]]))
            near = np.linalg.norm(chain.ca - chain.ca[site], axis=1) < 8.0
            hit = near & (rng.random(len(near)) < 0.7)
            shift = np.where(np.arange(len(near)) % 2, 0.3, -0.3) * hit
            moved = chain.ca + shift[:, None] * np.array([1.0, 0.0, 0.0])
            kinds.append((f"C{number}m{mutant}", letters, moved))
        for name, letters, ca in kinds:
            stored = np.rint(100 * (ca + rng.normal(scale=0.06, size=ca.shape))).astype("<i2")
            rows.append((name, "".join(letters), stored.tobytes(), "experimental", number, number))
    columns = ["id", "sequence", "ca", "kind", "cluster", "cluster25"]
    pd.DataFrame(rows, columns=columns).to_parquet(path)


def write_prott5(folder: Path) -> None:
    """Write an untrained T5 encoder of width 16 with ProtT5's files: half precision, SentencePiece."""
    import sentencepiece
    from safetensors.numpy import save_file

    folder.mkdir(exist_ok=True)
    width, heads, inner, blocks = 16, 4, 32, 2
    shapes = {"shared": (128, width), "encoder.final_layer_norm": (width,)}
    for block in range(blocks):
        attention, dense = (f"encoder.block.{block}.layer.{part}" for part in (0, 1))
        shapes |= {f"{attention}.SelfAttention.{name}": (width, width) for name in "qkvo"}
        shapes |= {f"{part}.layer_norm": (width,) for part in (attention, dense)}
        shapes[f"{dense}.DenseReluDense.wi"] = (inner, width)
        shapes[f"{dense}.DenseReluDense.wo"] = (width, inner)
    shapes["encoder.block.0.layer.0.SelfAttention.relative_attention_bias"] = (32, heads)
    draw = np.random.default_rng(0)
    weights = {
        f"{name}.weight": (np.ones(shape) if "norm" in name else draw.normal(scale=0.3, size=shape))
        for name, shape in shapes.items()
    }
    save_file(
        {name: value.astype(np.float16) for name, value in weights.items()}, folder / "model.safetensors"
    )
    config = {
        "architectures": ["T5EncoderModel"],
        "model_type": "t5",
        "vocab_size": shapes["shared"][0],
        "d_model": width,
        "d_kv": width // heads,
        "d_ff": inner,
        "num_layers": blocks,
        "num_heads": heads,
        "relative_attention_num_buckets": 32,
        "feed_forward_proj": "relu",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}), encoding="utf-8")
    rng = random.Random(0)
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(rng.choices("ACDEFGHIKLMNPQRSTVWYX", k=60)) for _ in range(200)]),
        model_writer=buffer,
        vocab_size=60,
        hard_vocab_limit=False,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(buffer.getvalue())


def small_settings(text: str) -> str:
    """Shrink a recipe's settings: a small net, few steps, small batches; zeros stay zero."""
    settings = tomllib.loads(text)
    net = settings.pop("net", {})
    loss = settings.pop("loss", {})
    settings |= {name: value for name, value in SMALL.items() if settings.get(name, 0) > 0}
    net |= {name: value for name, value in SMALL_NET.items() if net.get(name, 0) > 0}
    tables = {"": settings, "[net]\n": net, "[loss]\n": loss}
    return "\n".join(
        head + "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())
        for head, table in tables.items()
        if table
    )


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prott5", action="store_true")
    parser.add_argument("--settings", type=Path, nargs="*", default=[])
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    write_chains(asked.folder, [chain for name in family_names() for chain in family(name, rng)])
    write_variants(asked.folder / "variants", rng)
    write_crystals(asked.folder / "crystals.parquet", rng)
    if asked.prott5:
        write_prott5(asked.folder / "prott5")
    for path in asked.settings:
        (asked.folder / path.name).write_text(
            small_settings(path.read_text(encoding="utf-8")), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
