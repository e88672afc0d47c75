"""The compute buffer of llama.cpp between the settings in which llama.cpp itself was asked for it.

With flash attention and one output a sequence, as servers run, it is linear in the tokens of a pass, in the context
(the mask), and in their product. It is the widest moment of one layer, so its formula is another one for each
architecture, and four recorded figures say more than any formula: exact for models whose layers are alike, within 1 %
for sliding windows. With logits of every token, or without flash attention, the widest moment is another one from some
size on, and no line goes through that: ask llama.cpp for the very setting.
"""

from __future__ import annotations

from collections.abc import Iterable

from fitcard.catalog.schema.language import ComputePoint


def compute_buffer_bytes(points: Iterable[ComputePoint], ubatch: int, context: int) -> int:
    """Bytes at `ubatch` tokens a pass and `context` tokens, from those recorded at two of each.

    Raises ValueError unless the points are the four combinations of two ubatches and two contexts.
    """
    sizes = {(point.ubatch, point.context): point.compute_bytes for point in points}
    ubatches, contexts = (sorted({key[axis] for key in sizes}) for axis in (0, 1))
    if len(ubatches) != 2 or len(contexts) != 2 or len(sizes) != 4:
        raise ValueError(f"four points at two ubatches and two contexts are needed (got {sorted(sizes)})")
    (u1, u2), (n1, n2) = ubatches, contexts
    wide, long = (ubatch - u1) / (u2 - u1), (context - n1) / (n2 - n1)
    narrow_pass = sizes[u1, n1] + (sizes[u1, n2] - sizes[u1, n1]) * long
    wide_pass = sizes[u2, n1] + (sizes[u2, n2] - sizes[u2, n1]) * long
    return round(narrow_pass + (wide_pass - narrow_pass) * wide)
