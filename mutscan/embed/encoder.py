"""`Encoder`: embeds sequences with a protein language model."""

from __future__ import annotations

import copy
import itertools
import logging
import queue
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from mutscan.embed.device import DTYPES, Precision, one_thread, resolve_device, resolve_precision
from mutscan.embed.esm_forward import EsmForward
from mutscan.embed.network import load_network, out_of_memory
from mutscan.embed.source import Family, find_encoder
from mutscan.embed.tokens import Tokens, clean, esm_tokens, t5_tokens
from mutscan.errors import MutscanError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from mutscan.embed.source import EncoderFiles

_log = logging.getLogger(__name__)

# T5's positions are relative and have no end, but its attention needs memory by L squared.
_T5_WINDOW: Final = 2048
_MAX_OVERLAP: Final = 256

# Up to this size sequences run side by side with one thread each: for small matrices that is
# faster than threads that share one, by far so on a busy machine, and the numbers do not depend
# on the number of threads. Larger encoders need all threads for one sequence.
_SMALL_ENCODER: Final = 200_000_000
_MAX_WORKERS: Final = 16


class Encoder:
    """A protein language model, loaded.

    Made by `load_encoder`.

    Attributes
    ----------
    name : str
        Hub name or folder.
    revision : str
        Commit on the hub, or ``sha256:`` and a hash of the folder's files.
    family : {"t5", "esm"}
    precision : {"fp32", "bf16", "fp16"}
        What the network runs in; embeddings are float32 always.
    device : torch.device
    dim : int
        Width d of an embedding.
    window : int
        Longest sequence embedded in one go, residues.
    batch_residues : int
        Residues, padding included, of one batch (GPU only); halved when memory runs out.
    """

    def __init__(
        self,
        network: nn.Module,
        tokens: Tokens,
        *,
        name: str,
        revision: str,
        family: Family,
        dim: int,
        device: torch.device,
        precision: Precision = "fp32",
        window: int,
        batch_residues: int,
        on_cpu: Callable[[], Encoder] | None = None,
    ) -> None:
        self.name = name
        self.revision = revision
        self.family: Family = family
        self.precision: Precision = precision
        self.device = device
        self.dim = dim
        self.window = window
        self.batch_residues = batch_residues
        self._network = network
        self._tokens = tokens
        self._on_cpu = on_cpu
        self._cpu_encoder: Encoder | None = None
        self._too_long: int | None = None  # pieces from this length on go to the CPU
        # Alone, a sequence's numbers cannot depend on its company: matrix products of other
        # shapes round differently. On the CPU this costs little, on a GPU too much.
        self._batched = device.type != "cpu"
        n_parameters = sum(parameter.numel() for parameter in network.parameters())
        self._side_by_side = device.type == "cpu" and n_parameters <= _SMALL_ENCODER
        self._own_forward = self._side_by_side and EsmForward.suits(network)
        if self._own_forward:
            self._network = EsmForward(network, window + len(tokens.before) + len(tokens.behind))

    @property
    def key(self) -> str:
        """Everything except the sequence that an embedding depends on: the key of a cache."""
        name = "" if self.revision.startswith("sha256:") else f"{self.name}@"
        # Vectors of the two forward passes round differently, in half precision visibly so.
        own = "/own" if self._own_forward else ""
        return f"{self.family}/{name}{self.revision}/{self.precision}/{self.device.type}/{self.window}{own}"

    def embed(self, sequences: Sequence[str]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Embed sequences, longest first; each comes as soon as it is done.

        Sequences are prepared by `clean`; those equal to each other are computed once. Longer
        than `window`, a sequence is embedded in overlapping windows of that length, joined
        by a linear cross-fade.

        Parameters
        ----------
        sequences : sequence of str
            One-letter codes.

        Yields
        ------
        index : int
            Place in `sequences`.
        embedding : float32 array, shape (L, d)
            One row per residue; special tokens and padding are cut.

        Raises
        ------
        ValueError
            At once, for an empty sequence or a character that is no residue.
        MutscanError
            Code ``out_of_memory`` when one sequence alone does not fit in this machine's memory.
        """
        places: dict[str, list[int]] = {}
        for index, sequence in enumerate(sequences):
            places.setdefault(clean(sequence), []).append(index)
        return self._embed(places)

    def embed_one(self, sequence: str) -> NDArray[np.float32]:
        """Embedding of one sequence, shape (L, d)."""
        return next(self.embed([sequence]))[1]

    def fell_back(self, length: int) -> bool:
        """Whether a sequence of this length runs (in part) on the CPU because GPU memory is too small.

        Such an embedding is fp32 whatever `precision` says, and `key` does not describe it.
        """
        return self._too_long is not None and min(length, self.window) >= self._too_long

    def _embed(self, places: dict[str, list[int]]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        unique = sorted(places, key=len, reverse=True)  # stable: ties stay in the order given
        # Mutants of a long protein share all windows but those of the site: each distinct window is
        # computed once, and kept until the last sequence that holds it.
        stretches = {length: windows(length, self.window) for length in map(len, unique)}
        uses = Counter(text[start:stop] for text in unique for start, stop in stretches[len(text)])
        run = self._run_side_by_side if self._side_by_side and not self._batched else self._run_in_batches
        embedded = run(list(uses))  # in the order of the sequences, so longest first
        ready: dict[str, NDArray[np.float32]] = {}
        for text in unique:
            own = [text[start:stop] for start, stop in stretches[len(text)]]
            while any(piece not in ready for piece in own):
                ready.update([next(embedded)])
            whole = _join([ready[piece] for piece in own], stretches[len(text)])
            uses.subtract(own)
            for piece in own:
                if not uses[piece]:
                    ready.pop(piece, None)
            for place in places[text]:
                yield place, whole

    def _run_in_batches(self, pieces: list[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        done = 0
        while done < len(pieces):
            batch = self._next_batch(pieces, done)
            done += len(batch)
            yield from zip(batch, self._forward_safely(batch), strict=True)

    def _run_side_by_side(self, pieces: list[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        def forward(piece: str, network: nn.Module) -> NDArray[np.float32]:
            return self._forward_safely([piece], network)[0]

        threads = torch.get_num_threads()
        workers = min(threads, len(pieces), _MAX_WORKERS)
        if workers < 2:
            for piece in pieces:
                with one_thread():
                    embedding = forward(piece, self._network)
                yield piece, embedding
            return
        # Some of transformers' versions keep tables of the last length inside a network, so each
        # worker has its own; the weights are the same tensors.
        networks: queue.SimpleQueue[nn.Module] = queue.SimpleQueue()
        for _ in range(workers):
            networks.put(_replica(self._network))

        def work(piece: str) -> NDArray[np.float32]:
            network = networks.get()
            try:
                return forward(piece, network)
            finally:
                networks.put(network)

        pool = ThreadPoolExecutor(workers, "embed", initializer=torch.set_num_threads, initargs=(1,))
        waiting: deque[tuple[str, Future[NDArray[np.float32]]]] = deque()
        try:
            for piece in pieces:
                waiting.append((piece, pool.submit(work, piece)))
                if len(waiting) > 2 * workers:  # enough ahead for a consumer that works in between
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            # A worker's setting is its own, but torch hands the last one given to new threads.
            torch.set_num_threads(threads)

    def _next_batch(self, pieces: list[str], first: int) -> list[str]:
        """Pieces from `first` on that fit the budget together; they are sorted, longest first."""
        if not self._batched:
            return pieces[first : first + 1]
        width = len(pieces[first])
        if self._too_long is not None and width >= self._too_long:
            return pieces[first : first + 1]
        return pieces[first : first + max(1, self.batch_residues // width)]

    def _forward_safely(
        self, texts: list[str], network: nn.Module | None = None
    ) -> list[NDArray[np.float32]]:
        """Forward a batch; when memory runs out by halves, and at last one by one on the CPU."""
        if self._too_long is not None and len(texts[0]) >= self._too_long:
            return [self._cpu(text) for text in texts]
        try:
            return self._forward(texts, network)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0]
        # Outside the handler, so that the failed pass's tensors are no longer held by its traceback.
        _free(self.device)
        if len(texts) > 1:
            half = (len(texts) + 1) // 2
            self.batch_residues = max(1, min(self.batch_residues, half * len(texts[0])))
            _log.info("out of GPU memory: batches of %d residues from here on", self.batch_residues)
            return self._forward_safely(texts[:half]) + self._forward_safely(texts[half:])
        if self._on_cpu is None:
            raise MutscanError(
                f"not enough memory to embed {len(texts[0])} residues at once ({reason}); "
                "close other programs or use a machine with more memory",
                code="out_of_memory",
            )
        self._too_long = len(texts[0])
        _log.warning(
            "%d residues do not fit in the memory of %s: sequences that long are embedded on the CPU, in "
            "fp32 instead of %s; shorter ones are not affected",
            self._too_long,
            self.device,
            self.precision,
        )
        return [self._cpu(texts[0])]

    def _cpu(self, text: str) -> NDArray[np.float32]:
        if self._cpu_encoder is None:
            assert self._on_cpu is not None, "a length is only marked too long where a CPU encoder can be had"
            self._cpu_encoder = self._on_cpu()
        return self._cpu_encoder._forward_safely([text])[0]

    @torch.inference_mode()
    def _forward(self, texts: list[str], network: nn.Module | None = None) -> list[NDArray[np.float32]]:
        coded = [self._tokens.encode(text) for text in texts]
        width = max(len(row) for row in coded)
        ids = np.full((len(coded), width), self._tokens.pad, dtype=np.int64)
        for row, tokens in enumerate(coded):
            ids[row, : len(tokens)] = tokens
        lengths = np.array([len(tokens) for tokens in coded])
        # Without padding no mask is passed: attention has faster kernels for that.
        mask = None
        if (lengths < width).any():
            mask = torch.from_numpy(np.arange(width) < lengths[:, None]).long().to(self.device)  # (B, T)
        output = (network or self._network)(
            input_ids=torch.from_numpy(ids).to(self.device), attention_mask=mask
        )
        hidden = output.last_hidden_state.float().cpu().numpy()  # (B, T, d)
        first = len(self._tokens.before)
        rows = []
        for row, text in enumerate(texts):
            embedding = np.array(hidden[row, first : first + len(text)], dtype=np.float32)  # (L, d)
            if embedding.shape != (len(text), self.dim):
                raise AssertionError(f"embedding of {embedding.shape}, expected {(len(text), self.dim)}")
            if not np.isfinite(embedding).all():
                raise MutscanError(
                    f"encoder {self.name} gave non-finite numbers in {self.precision} for a sequence of "
                    f"{len(text)} residues; use --precision fp32",
                    code="bad_embedding",
                )
            rows.append(embedding)
        return rows


def _replica(network: nn.Module) -> nn.Module:
    """Copy a network, but not its weights and buffers."""
    if isinstance(network, EsmForward):
        return network
    shared = itertools.chain(network.parameters(), network.buffers())
    return copy.deepcopy(network, {id(tensor): tensor for tensor in shared})


def windows(length: int, window: int) -> list[tuple[int, int]]:
    """Half-open stretches of at most `window` residues that cover a sequence, evenly spread.

    Neighbours share at least a quarter of a window, 256 residues at most.

    Examples
    --------
    >>> windows(10, 16), windows(20, 16)
    ([(0, 10)], [(0, 16), (4, 20)])
    """
    if length <= window:
        return [(0, length)]
    stride = window - min(_MAX_OVERLAP, max(1, window // 4))
    count = 1 + -(-(length - window) // stride)
    starts = np.linspace(0, length - window, count).round().astype(int)
    return [(int(start), int(start) + window) for start in starts]


def _join(parts: Sequence[NDArray[np.float32]], stretches: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """Cross-fade the windows of one sequence: weights fall linearly to each window's inner ends."""
    if len(parts) == 1:
        return parts[0]
    length = stretches[-1][1]
    total = np.zeros((length, parts[0].shape[1]))
    for (start, stop), weight, part in zip(stretches, fades(stretches, length), parts, strict=True):
        total[start:stop] += weight[:, None] * part
    return total.astype(np.float32)


def fades(pieces: Sequence[tuple[int, int]], length: int) -> list[NDArray[np.float64]]:
    """Weights with which overlapping windows of a sequence are added up; they sum to 1 everywhere.

    Parameters
    ----------
    pieces : sequence of (start, stop)
        From `windows`, in order.
    length : int
        Of the sequence.

    Returns
    -------
    list of float64 array, shape (stop - start,)
        Falling linearly to each window's inner ends.
    """
    weights = []
    norm = np.zeros(length)
    for number, (start, stop) in enumerate(pieces):
        weight = np.ones(stop - start)
        if number > 0:
            shared = pieces[number - 1][1] - start
            weight[:shared] = np.minimum(weight[:shared], np.arange(1, shared + 1) / (shared + 1))
        if number < len(pieces) - 1:
            shared = stop - pieces[number + 1][0]
            weight[-shared:] = np.minimum(weight[-shared:], np.arange(shared, 0, -1) / (shared + 1))
        norm[start:stop] += weight
        weights.append(weight)
    return [weight / norm[start:stop] for (start, stop), weight in zip(pieces, weights, strict=True)]


def _free(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def load_encoder(
    name_or_path: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    offline: bool = False,
    batch_residues: int | None = None,
    window: int | None = None,
) -> Encoder:
    """Load a protein language model.

    Parameters
    ----------
    name_or_path : str
        A folder in transformers' format, or a name on the Hugging Face hub: ProtT5
        (``Rostlab/prot_t5_xl_half_uniref50-enc``) or an ESM-2 (``facebook/esm2_t33_650M_UR50D``).
    revision : str, optional
        Commit, tag or branch on the hub; for a folder the ``sha256:...`` it must have.
    device : str
        ``auto | cpu | cuda[:N] | mps``.
    precision : str
        ``auto | fp32 | bf16 | fp16``; auto is fp32 on CPU, half precision on CUDA.
    offline : bool
        Take it from the local cache or fail; the network is not touched.
    batch_residues : int, optional
        Residues of a batch on a GPU, padding included; by the encoder's size when not given.
    window : int, optional
        Longest sequence embedded in one go; by the encoder's kind when not given.

    Raises
    ------
    UsageError, CheckpointError, FetchError
        See `find_encoder`, `resolve_device`, `resolve_precision`.
    """
    if batch_residues is not None and batch_residues < 1:
        raise UsageError(f"--batch-residues {batch_residues}: expected a number of residues, at least 1")
    if window is not None and window < 16:
        raise UsageError(f"encoder window of {window} residues: expected at least 16")
    where = resolve_device(device)
    files = find_encoder(name_or_path, revision=revision, offline=offline)
    return _load(
        files, where, resolve_precision(precision, where, family=files.family), batch_residues, window
    )


def _load(
    files: EncoderFiles,
    device: torch.device,
    precision: Precision,
    batch_residues: int | None,
    window: int | None,
) -> Encoder:
    tokens = tokens_of(files)
    try:
        network, dim = load_network(files, DTYPES[precision], device, plain_up_to=_SMALL_ENCODER)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise MutscanError(
            f"encoder {files.name} does not fit in the memory of {device}; use a smaller model, "
            "or --device cpu",
            code="out_of_memory",
        ) from error
    window = window or default_window(files.family, network.config)

    def on_cpu() -> Encoder:
        return _load(files, torch.device("cpu"), "fp32", batch_residues, window)

    return Encoder(
        network,
        tokens,
        name=files.name,
        revision=files.revision,
        family=files.family,
        dim=dim,
        device=device,
        precision=precision,
        window=window,
        batch_residues=batch_residues or (32_768 if dim <= 640 else 8_192),
        on_cpu=None if device.type == "cpu" else on_cpu,
    )


def tokens_of(files: EncoderFiles) -> Tokens:
    """Read the vocabulary of an encoder."""
    return t5_tokens(files.directory) if files.family == "t5" else esm_tokens(files.directory)


def default_window(family: Family, config: Any) -> int:
    """Longest sequence that goes through an encoder in one go, residues, by its kind and config."""
    if family == "t5":
        return _T5_WINDOW
    # ESM counts positions from pad_token_id + 1, and <cls> and <eos> take two of them.
    return int(config.max_position_embeddings) - int(config.pad_token_id) - 1 - 2
