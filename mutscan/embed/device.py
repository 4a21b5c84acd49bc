"""Device, precision and threads of the networks."""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

import torch

from mutscan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: Final[dict[Precision, torch.dtype]] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""Torch type of each precision."""


def resolve_device(text: str) -> torch.device:
    """Turn ``auto | cpu | cuda[:N] | mps`` into an available device.

    ``auto`` takes the first CUDA device, else Apple's MPS, else the CPU.

    Raises
    ------
    UsageError
        For any other word, and for a device this machine does not have.
    """
    wanted = text.strip().lower()
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if wanted == "cpu":
        return torch.device("cpu")
    if wanted == "mps":
        if not torch.backends.mps.is_available():
            raise UsageError(
                "--device mps: this machine has no Apple GPU that torch can use; use --device cpu"
            )
        return torch.device("mps")
    match = re.fullmatch(r"cuda(?::(\d+))?", wanted)
    if match is None:
        raise UsageError(f"--device {text}: expected auto, cpu, cuda, cuda:N or mps")
    if not torch.cuda.is_available():
        raise UsageError(
            f"--device {text}: torch sees no CUDA device here (no GPU, no driver, or a CPU-only torch); "
            "use --device cpu, or install a CUDA build of torch"
        )
    number = int(match.group(1) or 0)
    if number >= torch.cuda.device_count():
        raise UsageError(
            f"--device {text}: torch sees {torch.cuda.device_count()} CUDA device(s), numbered from 0"
        )
    return torch.device("cuda", number)


def resolve_precision(text: str, device: torch.device, *, family: str = "esm") -> Precision:
    """Turn ``auto | fp32 | bf16 | fp16`` into the precision an encoder runs in.

    ``auto`` is fp32 on CPU and MPS; on CUDA it is fp16 for the T5 family (ProtT5's half-precision
    encoder was made for it), else bf16, or fp16 on a GPU too old for bf16.

    Raises
    ------
    UsageError
        For any other word, for fp16 on the CPU, and for bf16 on a GPU without it.
    """
    wanted = text.strip().lower()
    has_bf16 = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "auto":
        if device.type != "cuda":
            return "fp32"
        return "fp16" if family == "t5" or not has_bf16 else "bf16"
    for known in DTYPES:
        if wanted == known:
            break
    else:
        raise UsageError(f"--precision {text}: expected auto, fp32, bf16 or fp16")
    if known == "fp16" and device.type == "cpu":
        raise UsageError("--precision fp16 is for GPUs; on the CPU use fp32 (or auto)")
    if known == "bf16" and not has_bf16:
        raise UsageError("--precision bf16: this GPU has no bfloat16; use fp16 or fp32")
    return known


EVEN_ROWS: Final = 128
"""Rows of matrices, in batches that learn, come in multiples of this (of 32 for a protein alone)."""


def even_width(batch: int, longest: int) -> int:
    """Width, at least `longest`, to which a batch is padded so that it has few different sizes in all.

    For each new number of rows the CPU's bf16 library makes new machine code, which takes as long as
    a small product itself; GPUs, too, like rows in multiples.

    Examples
    --------
    >>> even_width(16, 50), even_width(3, 50), even_width(1, 50)
    (56, 128, 64)
    """
    step = 32 if batch == 1 else EVEN_ROWS // math.gcd(batch, EVEN_ROWS)
    return -(-longest // step) * step


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread; the numbers then do not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def set_threads(n: int) -> None:
    """Let the networks use `n` threads of the CPU: sequences side by side, or inside a large encoder."""
    if n < 1:
        raise UsageError(f"number of threads is {n}, expected at least 1")
    torch.set_num_threads(n)
