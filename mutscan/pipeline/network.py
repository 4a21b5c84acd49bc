"""The trained model at work: encoder and Siamese net joined, predictions, the cached null."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mutscan.calling import Null, build_null, sample_null
from mutscan.embed import EmbeddingCache, embed_cached, load_encoder
from mutscan.files import cache_dir
from mutscan.model.checkpoint import find_model, load_checkpoint, model_hash
from mutscan.model.predict import Predictor
from mutscan.results import read_arrays, write_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.embed import Encoder
    from mutscan.model.checkpoint import ModelConfig
    from mutscan.model.predict import Encoded, Prediction
    from mutscan.pipeline.progress import Progress
    from mutscan.variants import Variant

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready to predict.

    Parameters
    ----------
    path : Path
        Its folder.
    config : ModelConfig
    sha256 : str
        Over all files of the folder.
    encoder : Encoder
    predictor : Predictor
    """

    path: Path
    config: ModelConfig
    sha256: str
    encoder: Encoder
    predictor: Predictor

    def describe(self) -> dict[str, object]:
        """Describe it for run.json."""
        return {
            "name": self.config.name,
            "sha256": self.sha256,
            "encoder": self.encoder.name,
            "encoder_revision": self.encoder.revision,
            "lddt_exponent": self.config.lddt_exponent,
        }


def load_model(
    name: str,
    *,
    device: str = "auto",
    precision: str = "auto",
    batch_residues: int | None = None,
    offline: bool = False,
) -> LoadedModel:
    """Load the Siamese net and its encoder.

    Parameters
    ----------
    name : str
        Name of a shipped or cached model, or a folder.
    device, precision, batch_residues
        As `mutscan.embed.load_encoder`.
    offline : bool
        Never fetch encoder weights.
    """
    path = find_model(name)
    net, config = load_checkpoint(path)
    encoder = load_encoder(
        config.encoder.resolve(path),
        revision=config.encoder.revision,
        device=device,
        precision=precision,
        offline=offline,
        batch_residues=batch_residues,
    )
    return LoadedModel(path, config, model_hash(path), encoder, Predictor(net, encoder.device))


class WildTypePredictor:
    """Predictions for mutants of one wild type, which is embedded once.

    Parameters
    ----------
    model : LoadedModel
    sequence : str
        Wild type, L residues.
    """

    def __init__(self, model: LoadedModel, sequence: str) -> None:
        self._model = model
        self._sequence = sequence
        self._reference: Encoded | None = None

    def predict(self, variants: Sequence[Variant]) -> Iterator[tuple[int, Prediction]]:
        """Predict mutants; yields (index into `variants`, prediction on the wild type's residues).

        The prediction of a mutant does not depend on the other variants.
        """
        if not variants:
            return
        if self._reference is None:
            self._reference = self._model.predictor.encode(
                cached_embedding(self._model.encoder, self._sequence), self._sequence
            )
        mutants = [variant.apply(self._sequence) for variant in variants]
        for index, embedding in self._model.encoder.embed(mutants):
            variant = variants[index]
            pairs = variant.alignment(len(self._sequence)) if variant.indel is not None else None
            yield (
                index,
                self._model.predictor.compare(
                    self._reference, self._model.predictor.encode(embedding, mutants[index]), pairs=pairs
                ),
            )


def cached_embedding(encoder: Encoder, sequence: str) -> NDArray[np.float32]:
    """Embedding (L, d) of one sequence, from the user's cache when it is there."""
    ((_, embedding),) = embed_cached(encoder, [sequence], EmbeddingCache(cache_dir() / "embeddings"))
    return embedding


def protein_null(
    predictor: WildTypePredictor, model: LoadedModel, sequence: str, *, seed: int, progress: Progress
) -> Null:
    """Find or make the protein's null (spec section 12).

    Kept in the user's cache by sequence, model, encoder precision and device, and seed.
    """
    identity = "\n".join((sequence, model.sha256, model.encoder.key, str(model.encoder.device), str(seed)))
    path = cache_dir() / "nulls" / f"{hashlib.sha256(identity.encode()).hexdigest()}.npz"
    variants = sample_null(sequence, seed=seed)
    arrays = read_arrays(path)
    if arrays is None:
        tm = np.empty(len(variants))
        profiles = np.empty((len(variants), len(sequence)), dtype=np.float32)
        progress.start("background of this protein", len(variants))
        for index, prediction in predictor.predict(variants):
            tm[index] = prediction.tm_raw
            profiles[index] = prediction.lddt
            progress.advance()
        progress.finish()
        arrays = {"tm": tm, "profiles": profiles}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_arrays(path, **arrays)
        except OSError as error:
            # Only the next run's time is at stake.
            _log.warning("the null was not cached in %s: %s", path.parent, error)
    return build_null(variants, arrays["tm"].tolist(), arrays["profiles"])
