"""Write mutscan_mini_predictions.json: what the shipped model says of a few proteins, on the CPU.

Run from the root of the checkout, on purpose only: python tests/data/mutscan_mini_predictions.py
"""

import json
from functools import cache
from pathlib import Path

from mutscan.pipeline.network import LoadedModel, load_model

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"  # P0CG48, 1-76
NEDD8 = "MLIKVKTLTGKEIEIDIEPTDKVERIKERVEEKEGIPPQQQRLIYSGKQMNDEKTAADYKILGGSVLHLVLALRGG"  # Q15843, 1-76
LYSOZYME = (  # P00698, mature
    "KVFGRCELAAAMKRHGLDNYRGYSLGNWVCAAKFESNFNTQATNRNTDGSTDYGILQINSRWWCNDGRTPGSRNLCNIPCSALLSSDITASVNCAKKIVSDGNGMN"
    "AWVAWRNRCKGTDVQAWIRGCRL"
)


def mutant(sequence: str, position: int, residue: str) -> str:
    return sequence[: position - 1] + residue + sequence[position:]


CASES = {
    "ubiquitin with itself": (UBIQUITIN, UBIQUITIN),
    "ubiquitin I30P": (UBIQUITIN, mutant(UBIQUITIN, 30, "P")),
    "ubiquitin K48R": (UBIQUITIN, mutant(UBIQUITIN, 48, "R")),
    "ubiquitin and NEDD8": (UBIQUITIN, NEDD8),
    "ubiquitin and lysozyme": (UBIQUITIN, LYSOZYME),
    "lysozyme and ubiquitin": (LYSOZYME, UBIQUITIN),
    "lysozyme W62G": (LYSOZYME, mutant(LYSOZYME, 62, "G")),
}


@cache
def shipped() -> LoadedModel:
    """Load the model once."""
    return load_model("mutscan-mini", device="cpu", precision="fp32", offline=True)


def predict(first: str, second: str) -> dict[str, object]:
    """Predictions for two sequences; residues correspond by number as far as both go."""
    model = shipped()
    encoded = [
        model.predictor.encode(model.encoder.embed_one(sequence), sequence) for sequence in (first, second)
    ]
    n = min(len(first), len(second))
    prediction = model.predictor.compare(encoded[0], encoded[1], pairs=[[i, i] for i in range(n)])
    return {
        "tm_raw": round(prediction.tm_raw, 6),
        "tm_score_2": round(prediction.tm_score_2, 6),
        "lddt": [round(float(value), 6) for value in prediction.lddt[:n]],
    }


if __name__ == "__main__":
    frozen = {
        name: {"sequences": list(sequences), **predict(*sequences)} for name, sequences in CASES.items()
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(frozen, indent=1) + "\n", encoding="utf-8")
