"""The FP32 reference of each component, asked once and only where something is compared with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from fitcard.catalog.schema.trace import Component
from fitcard.catalog.schema.workload import Variant
from fitcard.profiler.case import REFERENCE, Case, Profile
from fitcard.profiler.fidelity import Reference
from fitcard.profiler.processes import TaskFailed
from fitcard.profiler.task import Embedded


class References:
    """What the FP32 reference makes of the fixed inputs, component by component, each asked once."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.embeddings: dict[Component, Embedded | None] = {}
        self.asking = Lock()
        self.at_once = ThreadPoolExecutor(1 if profile.settings.device.kind == "cpu" else 2)

    def reference(self, component: Component) -> Reference | None:
        """What to compare a component with, or None where FP32 does not run here: then there is no fidelity."""
        with self.asking:
            if len(self.profile.catalog.traces[self.profile.model_id].components()) == 1:
                own = self._embeddings(component)
                return Reference(own.together, own.alone, None) if own else None
            other_component: Component = "vision" if component == "text" else "text"
            own, other = self.at_once.map(self._embeddings, (component, other_component))
            return Reference(own.together, own.alone, other.together) if own and other else None

    def _embeddings(self, component: Component) -> Embedded | None:
        if component not in self.embeddings:
            variant = Variant(self.profile.model_id, component, REFERENCE)
            try:
                self.embeddings[component] = Case(self.profile, variant).embeddings()
            except TaskFailed as failure:
                self.profile.progress(variant, f"no reference: {failure.status}, {failure}")
                self.embeddings[component] = None
        return self.embeddings[component]
