"""What a build tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Report:
    """What a build did."""

    made: Mapping[str, str] = field(default_factory=dict[str, str])
    """Why each output was made again, by path."""
    removed: tuple[str, ...] = ()
    current: int = 0
    """Outputs that were left as they are."""
    pages: int = 0
    """Pages of the whole site."""
    seconds: float = 0.0

    def tell(self, explain: bool) -> None:
        """Print what was done; with `explain` also why."""
        for path, why in self.made.items() if explain else ():
            print(f"{path}: {why}")
        for path in self.removed if explain else ():
            print(f"{path}: removed, nothing asks for it any more")
        print(self, flush=True)

    def __str__(self) -> str:
        whole = len(self.made) + self.current
        return f"{len(self.made):,} of {whole:,} outputs made again, {self.current:,} current, {len(self.removed):,} removed, in {self.seconds:.1f} s"
