"""Licence ids that are neither SPDX's nor the hub's, and what an id says against what a model says."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.schema.record import TO_WRITE

NAME = "licences"
SCOPE = "pages"

# The hub's list, in its spelling: https://github.com/huggingface/hub-docs/blob/242f4a1eeb867daf4ac3f44026a5df4a68908a3d/docs/hub/repositories-licenses.md
# These are SPDX identifiers too, but for capitals, in version 3.27.0 of https://spdx.org/licenses/.
SPDX = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "cc-by-2.0",
    "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0",
    "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2",
    "gpl-2.0", "gpl-3.0", "isc", "lgpl-2.1", "lgpl-3.0", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl", "ncsa", "ofl-1.1", "osl-3.0", "postgresql",
    "unlicense", "wtfpl", "zlib",
})  # fmt: skip
# These are the hub's own.
HUB = frozenset({
    "apple-amlr", "apple-ascl", "bigcode-openrail-m", "bigscience-bloom-rail-1.0", "bigscience-openrail-m", "bsd", "c-uda", "cc",
    "creativeml-openrail-m", "deepfloyd-if-license", "fair-noncommercial-research-license", "gemma", "gfdl", "gpl", "grok2-community",
    "h-research", "intel-research", "lgpl", "lgpl-lr", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "odbl", "odc-by",
    "openmdw-1.0", "openmdw-1.1", "openrail", "openrail++", "other", "pddl", "unknown",
})  # fmt: skip
RESEARCH_ONLY = frozenset({"apple-amlr", "fair-noncommercial-research-license", "h-research", "intel-research"})
"""The hub's own that are for research alone, as their names on its list say."""


def check(catalog: Catalog) -> Iterator[Problem]:
    """Ids on neither list, and commercial use that is called allowed where the licence's name rules it out."""
    for key, model in catalog.models.items():
        given, place = model.license.id, ("license", "id")
        if given.startswith(TO_WRITE):
            continue
        if given not in SPDX | HUB:
            near = difflib.get_close_matches(given.lower(), sorted(SPDX | HUB), n=3)
            advice = (
                f"near it: {', '.join(near)}" if near else "where it has no id, `other`, and its name in `conditions`"
            )
            message = (
                f"is neither an SPDX identifier in the hub's spelling nor the hub's own ({advice}) (got {given!r})"
            )
            yield catalog.problem("models", key, place, message)
        elif ("-nc" in given or given in RESEARCH_ONLY) and model.license.commercial_use == "allowed":
            message = f"is `allowed`, but {given} is for uses that are not commercial"
            yield catalog.problem("models", key, ("license", "commercial_use"), message)
