"""Row-major int8 codes to the library's packed layout."""

from __future__ import annotations

import torch

from ..reference.views import view
from ..tensor import PACKED_COLUMNS, PACKED_ROWS, Tensor, allocate, round_up

# Columns that lie together for one row: what an instruction multiplies and adds up.
_GROUP = 4


def pack(weight: torch.Tensor) -> Tensor:
    """int8 [N, K] -> packed: panels of 16 rows, in each [group of 4 columns][16 rows][4], zero beyond N and K."""
    rows, columns = weight.shape
    target = allocate("int8", "packed", (rows, columns))
    panels, groups = -(-rows // PACKED_ROWS), round_up(columns, PACKED_COLUMNS) // _GROUP
    packed = view(target.memory, "int8", (panels, groups, PACKED_ROWS, _GROUP))
    weight = weight.detach()
    if (rows, columns) != (panels * PACKED_ROWS, groups * _GROUP):
        padding = (0, groups * _GROUP - columns, 0, panels * PACKED_ROWS - rows)
        weight = torch.nn.functional.pad(weight, padding)
    packed.copy_(weight.reshape(panels, PACKED_ROWS, groups, _GROUP).permute(0, 2, 1, 3))
    return target
