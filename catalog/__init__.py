"""What is known: models, GPUs, quantizations, runs and traces, checked as they are loaded."""

import os
from typing import TYPE_CHECKING, Any

from fitcard.catalog.errors import CatalogError, FitcardError, Problem, UnknownName

if TYPE_CHECKING:
    from fitcard.catalog.catalog import Catalog
    from fitcard.catalog.loader import load

# Pydantic would look through all installed packages for plugins, which takes a tenth of a command's time; we want none.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

__all__ = ["Catalog", "CatalogError", "FitcardError", "Problem", "UnknownName", "load"]


def __getattr__(name: str) -> Any:
    """Loading brings pydantic with it; a build that finds nothing changed, or `--help`, never needs either."""
    if name == "Catalog":
        from fitcard.catalog.catalog import Catalog

        return Catalog
    if name == "load":
        from fitcard.catalog.loader import load

        return load
    raise AttributeError(name)
