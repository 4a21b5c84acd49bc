"""Arrays for a page: quantised, joined, compressed, as text that needs no quoting."""

from __future__ import annotations

import base64
import gzip
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

UNKNOWN: Final = {"u1": 255, "u2": 65535, "i1": -128, "i2": -32768}
"""Value that stands for "not known" in each integer type."""


class Block:
    """Collects arrays; `index` tells the page where each lies and how to read it."""

    def __init__(self) -> None:
        self.index: dict[str, dict[str, Any]] = {}
        self._parts: list[bytes] = []
        self._size = 0

    def add(
        self, name: str, values: ArrayLike, dtype: str = "u2", *, step: float = 1.0, low: float = 0.0
    ) -> None:
        """Add an array of numbers, stored as ``round((value - low) / step)``; NaN becomes "not known".

        Parameters
        ----------
        name : str
        values : array
            What lies outside the type's range is drawn in to its ends.
        dtype : str
            ``u1``, ``u2``, ``i1``, ``i2``, or ``f4`` (stored as it is).
        step, low : float
        """
        array = np.asarray(values, dtype=np.float64)
        if dtype == "f4":
            stored: NDArray[Any] = array.astype("<f4")
        else:
            unknown, limits = UNKNOWN[dtype], np.iinfo(dtype)
            ends = (limits.min + (unknown == limits.min), limits.max - (unknown == limits.max))
            scaled = np.clip(np.round((array - low) / step), *ends)
            stored = np.where(np.isfinite(array), scaled, unknown).astype(f"<{dtype}")
        data = stored.tobytes()
        self.index[name] = {
            "at": self._size, "n": int(array.size), "type": dtype, "step": step, "low": low,
        }  # fmt: skip
        # Typed arrays of the page start at multiples of their item size.
        data += bytes(-len(data) % 4)
        self._parts.append(data)
        self._size += len(data)

    def text(self) -> str:
        """All of it: gzip (the same bytes each time), base64."""
        return base64.b64encode(gzip.compress(b"".join(self._parts), 6, mtime=0)).decode("ascii")
