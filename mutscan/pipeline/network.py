"""The trained model at work: encoder and Siamese net joined, predictions, the cached null."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from mutscan.calling import Null, build_null, sample_null
from mutscan.calling.residue_model import AFFECTED_FILE, NO_AFFECTED, read_affected
from mutscan.embed import EmbeddingCache, embed_cached, load_encoder
from mutscan.embed.device import one_thread
from mutscan.embed.head import load_head
from mutscan.evidence import load_calibration
from mutscan.families import FamilySearch, load_library
from mutscan.files import cache_dir
from mutscan.hashes import file_sha256, text_sha256
from mutscan.model.checkpoint import WEIGHTS_FILE, checked_hash, find_model, load_checkpoint
from mutscan.model.predict import Predictor
from mutscan.model.substitutions import SubstitutionPredictor
from mutscan.results import read_arrays, write_arrays

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.calling.residue_model import AffectedModel
    from mutscan.embed import Encoder
    from mutscan.embed.head import LanguageHead
    from mutscan.evidence import Calibration, FamilyProfile
    from mutscan.families import FamilyLibrary
    from mutscan.model.checkpoint import ModelConfig
    from mutscan.model.predict import Encoded, Prediction
    from mutscan.progress import Progress
    from mutscan.variants import Variant

_log = logging.getLogger(__name__)

_MUTANTS_A_CALL: Final = 512
"""Mutants handed to a CPU encoder at a time: its workers wait for each other only at the end of a call."""

_AT_ONCE: Final = 8
"""Mutants that go through the net on a CPU, one after the other, before the next ones are waited for: its
weights are then in the cache, from where the encoder's push them."""

_RESIDUES_A_BLOCK: Final = 65_536
"""Residues that go through the net together on a GPU."""

_AHEAD: Final = 128
"""Embeddings that may wait for the net on a GPU."""

_T = TypeVar("_T")


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

    @cached_property
    def families(self) -> FamilyLibrary | None:
        """Its library of protein families, if it has one."""
        return load_library(self.path)

    @cached_property
    def calibration(self) -> Calibration | None:
        """Its calibration, if it has one; CheckpointError where calibration.json is damaged."""
        return load_calibration(self.path)

    @cached_property
    def affected(self) -> AffectedModel | None:
        """Its model of affected residues, if it has one; CheckpointError where affected.json is damaged."""
        if self._calls_affected:
            return read_affected(self.path / AFFECTED_FILE)
        _log.info(NO_AFFECTED)
        return None

    @property
    def _calls_affected(self) -> bool:
        return (self.path / AFFECTED_FILE).exists()

    @cached_property
    def _search(self) -> FamilySearch | None:
        return None if self.families is None else FamilySearch(self.families)

    @cached_property
    def head(self) -> LanguageHead | None:
        """The encoder's language-model head, if it has one."""
        reference = self.config.encoder
        # The encoder was loaded from these files, so they are on this machine.
        return load_head(reference.resolve(self.path), revision=reference.revision, offline=True)

    @cached_property
    def net_sha256(self) -> str:
        """Of the Siamese net's weights."""
        return file_sha256(self.path / WEIGHTS_FILE)

    @cached_property
    def _prepared(self) -> dict[str, tuple[NDArray[np.float32], FamilyProfile | None]]:
        return {}

    @cached_property
    def _holds(self) -> Counter[str]:
        """How often each sequence was prepared and not forgotten."""
        return Counter()

    @cached_property
    def _lock(self) -> threading.Lock:
        return threading.Lock()

    def prepare(self, sequences: Iterable[str]) -> None:
        """Embed wild types and look their relatives up, all together: faster than one by one, same numbers.

        `embedding` and `family_profile` then find them in memory, until `forget`, which is called once for
        each time that a sequence was prepared. One thread may prepare while another asks and forgets. The
        user's cache is neither read nor written.

        Parameters
        ----------
        sequences : iterable of str
            Some 10,000 residues keep all cores busy; each takes memory for its embedding.
        """
        asked = list(sequences)
        with self._lock:
            self._holds.update(asked)
            missing = {sequence: None for sequence in asked if sequence not in self._prepared}
        # The longest first, so that the last ones to run are short.
        wanted = sorted(missing, key=len, reverse=True)
        profiles: Iterable[FamilyProfile | None] = (
            itertools.repeat(None) if self._search is None else self._search.profiles(wanted)
        )
        # On a GPU the numbers of a sequence depend on those it is batched with.
        groups = [wanted] if self.encoder.device.type == "cpu" else [[sequence] for sequence in wanted]
        embeddings = {
            group[place]: embedding for group in groups for place, embedding in self.encoder.embed(group)
        }
        for sequence, profile in zip(wanted, profiles, strict=False):
            self._prepared[sequence] = embeddings[sequence], profile

    def forget(self, sequences: Iterable[str]) -> None:
        """Free what `prepare` holds of these, unless it was asked for again."""
        with self._lock:
            for sequence in sequences:
                self._holds[sequence] -= 1
                if self._holds[sequence] <= 0:
                    del self._holds[sequence]
                    self._prepared.pop(sequence, None)

    def family_profile(self, sequence: str) -> FamilyProfile | None:
        """Look a protein's relatives up; None without a library."""
        if sequence in self._prepared:
            return self._prepared[sequence][1]
        return None if self._search is None else next(self._search.profiles([sequence]))

    def embedding(self, sequence: str) -> NDArray[np.float32]:
        """Embedding (L, d) of a wild type: prepared, else from the user's cache, else made."""
        if sequence in self._prepared:
            return self._prepared[sequence][0]
        return cached_embedding(self.encoder, sequence)

    def describe(self) -> dict[str, object]:
        """Describe it for run.json."""
        return {
            "name": self.config.name,
            "sha256": self.sha256,
            "encoder": self.config.encoder.name,
            "encoder_revision": self.encoder.revision,
            "lddt_exponent": self.config.lddt_exponent,
            "affected_residues": self._calls_affected,
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
    with one_thread():  # threads that wait for each other at every tensor cost more than they give
        net, config = load_checkpoint(path)
        encoder = load_encoder(
            config.encoder.resolve(path),
            revision=config.encoder.revision,
            device=device,
            precision=precision,
            offline=offline,
            batch_residues=batch_residues,
        )
        return LoadedModel(path, config, checked_hash(path), encoder, Predictor(net, encoder.device))


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

    @cached_property
    def embedding(self) -> NDArray[np.float32]:
        """The wild type as the encoder sees it, (L, d); one pass serves the net and the evidence."""
        return self._model.embedding(self._sequence)

    @cached_property
    def reference(self) -> Encoded:
        """The wild type as the net sees it."""
        return self._model.predictor.encode(self.embedding, self._sequence)

    def predict_batches(
        self, batches: Iterable[Sequence[str]]
    ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float32]]]:
        """Predict mutants that differ by substitutions only, batch by batch.

        While the net works on one mutant the encoder works on the next ones. Numbers are those of
        `predict` to within 1e-6. On a CPU they do not depend on the other mutants; on a GPU they
        do, in the last digits, on those of the batch and on no other.

        Parameters
        ----------
        batches : iterable of sequences of str
            Distinct mutants, of the wild type's length L; n > 0 in a batch.

        Yields
        ------
        tm : float array, shape (n,)
            Predicted TM-scores, not clipped.
        lddt : float32 array, shape (n, L)
        """
        encoder = self._model.encoder
        net = SubstitutionPredictor(self._model.predictor, self.embedding, self._sequence)
        on_cpu = encoder.device.type == "cpu"
        embedded = self._embedded(batches, _MUTANTS_A_CALL if on_cpu else 1)
        # A small encoder on the CPU has workers of its own that go on while the net works.
        with closing(embedded if on_cpu else ahead(embedded, _AHEAD)) as stream:
            block = _AT_ONCE if on_cpu else max(1, _RESIDUES_A_BLOCK // len(self._sequence))
            for _, members in itertools.groupby(stream, key=lambda item: item[0]):
                tm, lddt = [], []
                while some := list(itertools.islice(members, block)):
                    scores, profiles = net.predict([e for *_, e in some], [mutant for _, mutant, _ in some])
                    tm.append(scores)
                    lddt.append(profiles)
                yield np.concatenate(tm), np.concatenate(lddt)

    def _embedded(
        self, batches: Iterable[Sequence[str]], at_least: int
    ) -> Generator[tuple[int, str, NDArray[np.float32]]]:
        """Yield (batch, mutant, embedding); whole batches go to the encoder, `at_least` mutants a call."""
        waiting: list[tuple[int, str]] = []
        for number, batch in enumerate(batches):
            waiting.extend((number, mutant) for mutant in batch)
            if len(waiting) >= at_least:
                yield from self._embedded_in_order(waiting)
                waiting = []
        yield from self._embedded_in_order(waiting)

    def _embedded_in_order(
        self, waiting: list[tuple[int, str]]
    ) -> Generator[tuple[int, str, NDArray[np.float32]]]:
        embedded = self._model.encoder.embed([mutant for _, mutant in waiting])
        for place, (index, embedding) in enumerate(embedded):
            assert index == place, "distinct sequences of one length are embedded in the order given"
            yield *waiting[index], embedding

    def predict(self, variants: Sequence[Variant]) -> Iterator[tuple[int, Prediction]]:
        """Predict mutants; yields (index into `variants`, prediction on the wild type's residues).

        The prediction of a mutant does not depend on the other variants.
        """
        if not variants:
            return
        reference = self.reference
        mutants = [variant.apply(self._sequence) for variant in variants]
        for index, embedding in self._model.encoder.embed(mutants):
            variant = variants[index]
            pairs = variant.alignment(len(self._sequence)) if variant.indel is not None else None
            yield (
                index,
                self._model.predictor.compare(
                    reference, self._model.predictor.encode(embedding, mutants[index]), pairs=pairs
                ),
            )


def ahead(items: Iterator[_T], size: int) -> Generator[_T]:
    """Run an iterator in a thread of its own, up to `size` items ahead of who takes them."""
    waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(size)
    stopped = threading.Event()

    def put(item: tuple[bool, Any]) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:  # it is raised where the items are taken
            put((False, error))

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            good, item = waiting.get()
            if good:
                yield item
            elif item is not None:
                raise item
            else:
                return
    finally:
        stopped.set()
        thread.join()


def cached_embedding(encoder: Encoder, sequence: str) -> NDArray[np.float32]:
    """Embedding (L, d) of one sequence, from the user's cache when it is there."""
    ((_, embedding),) = embed_cached(encoder, [sequence], EmbeddingCache(cache_dir() / "embeddings"))
    return embedding


def protein_null(
    predictor: WildTypePredictor, model: LoadedModel, sequence: str, *, seed: int, progress: Progress
) -> Null:
    """Find or make the protein's null: a seeded sample of its substitutions and their predictions.

    Kept in the user's cache by sequence, model, encoder precision and device, and seed.
    """
    identity = "\n".join((sequence, model.sha256, model.encoder.key, str(model.encoder.device), str(seed)))
    path = cache_dir() / "nulls" / f"{text_sha256(identity)}.npz"
    variants = sample_null(sequence, seed=seed)
    m = len(variants)
    arrays = read_arrays(path, tm=(m,), profiles=(m, len(sequence)))
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
