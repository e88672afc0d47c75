"""What is known: models, cards, quantizations, runs and traces, checked as they are loaded."""

from catalog.errors import CatalogError, FitcardError, Problem, UnknownName
from catalog.load import Catalog, load

__all__ = ["Catalog", "CatalogError", "FitcardError", "Problem", "UnknownName", "load"]
