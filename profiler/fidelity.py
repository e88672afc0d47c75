"""How near a variant's embeddings are to those of the same weights in FP32."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from fitcard.catalog.schema.run import Fidelity
from fitcard.profiler.task import Embeddings


@dataclass(frozen=True)
class Reference:
    """What the FP32 reference makes of the fixed inputs."""

    together: Embeddings
    alone: Embeddings
    """The first few again, run one by one."""
    candidates: Embeddings | None
    """The other component's embeddings; None where there is one component."""


def fidelity(embeddings: Embeddings, reference: Reference) -> Fidelity | None:
    """How near the variant's embeddings are to the reference's, and how often they choose the same candidate.

    None when the reference itself is not finite: then there is nothing to compare with.
    """
    ours, theirs, alone = (
        torch.tensor(rows, dtype=torch.float64) for rows in (embeddings, reference.together, reference.alone)
    )
    cosine = torch.nn.functional.cosine_similarity
    floor = [c for c in cosine(alone, theirs[: len(alone)]).tolist() if math.isfinite(c)]
    if not floor or not torch.isfinite(theirs).all():
        return None
    among_themselves = reference.candidates is None
    candidates = theirs if reference.candidates is None else torch.tensor(reference.candidates, dtype=torch.float64)
    our_choice, their_choice = (_nearest(rows, candidates, not_itself=among_themselves) for rows in (ours, theirs))
    finite = [c for c in cosine(ours, theirs).tolist() if math.isfinite(c)]
    same = sum(math.isfinite(score) and a == b for (a, score), (b, _) in zip(our_choice, their_choice, strict=True))
    return Fidelity(
        inputs=len(embeddings), nonfinite=len(embeddings) - len(finite),
        cosine_mean=round(sum(finite) / len(finite), 9) if finite else None,
        cosine_min=round(min(finite), 9) if finite else None, floor=round(sum(floor) / len(floor), 9),
        top1_agreement=same / len(embeddings), top1_candidates=len(candidates) - among_themselves,
    )  # fmt: skip


def _nearest(rows: torch.Tensor, candidates: torch.Tensor, *, not_itself: bool) -> list[tuple[int, float]]:
    """For each row the candidate of the highest cosine, and that cosine; with `not_itself`, never the one in the
    row's own place."""
    scores = torch.nn.functional.normalize(rows) @ torch.nn.functional.normalize(candidates).T
    if not_itself:
        scores.fill_diagonal_(-2.0)
    best = scores.max(dim=1)
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
