"""Products of chosen rows of one matrix with each other, with a gradient that costs no more than they do.

Indexing has a gradient of its own, but it writes a matrix for each use of a row; a sum over
chosen rows is the product with a sparse matrix.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def row_products(rows: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """Scalar products of the rows `one` with the rows `two`: (N, d), (K,), (K,) -> (K,)."""
    products: Tensor = _RowProducts.apply(rows, one, two)  # type: ignore[no-untyped-call]
    return products


def sum_of_products(rows: Tensor, one: Tensor, two: Tensor, weights: Tensor) -> Tensor:
    """Gradient of the sum of `weights` times `row_products` to the rows, (N, d)."""
    ends = torch.cat([one, two]), torch.cat([two, one])
    weights = torch.cat([weights, weights])
    if rows.device.type == "cpu":
        shape = (len(rows), len(rows))
        chosen = torch.sparse_coo_tensor(torch.stack(ends), weights, shape, check_invariants=False)
        return chosen @ rows
    return torch.zeros_like(rows).index_add_(0, ends[0], rows[ends[1]] * weights[:, None])


class _RowProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, one: Tensor, two: Tensor) -> Tensor:
        ctx.save_for_backward(rows, one, two)
        return (rows.index_select(0, one) * rows.index_select(0, two)).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        rows, one, two = ctx.saved_tensors
        return sum_of_products(rows, one, two, gradient), None, None
