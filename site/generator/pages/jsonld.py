"""What a page says, once more for search engines: JSON-LD whose every value stands visibly on the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup


def graph(*parts: dict[str, Any]) -> Markup:
    """The parts as one JSON-LD document, safe inside a script element: no `<` can end it."""
    text = json.dumps({"@context": "https://schema.org", "@graph": parts}, ensure_ascii=False, sort_keys=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def breadcrumbs(*steps: tuple[str, str | None]) -> dict[str, Any]:
    """The trail of a page: names, with addresses relative to the page; the last step is the page itself."""
    items: list[dict[str, Any]] = []
    for position, (name, address) in enumerate(steps, 1):
        item: dict[str, Any] = {"@type": "ListItem", "position": position, "name": name}
        if address is not None:
            item["item"] = address
        items.append(item)
    return {"@type": "BreadcrumbList", "itemListElement": items}


def faq(questions: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Questions with their answers, word for word as on the page."""
    return {
        "@type": "FAQPage",
        "mainEntity": [
            {"@type": "Question", "name": question, "acceptedAnswer": {"@type": "Answer", "text": answer}}
            for question, answer in questions
        ],
    }


def dataset(name: str, description: str, modified: str, files: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The figures of a page as a data set; `files` are addresses and media types."""
    return {
        "@type": "Dataset",
        "name": name,
        "description": description,
        "dateModified": modified,
        "license": "https://creativecommons.org/licenses/by/4.0/",
        "creator": {"@type": "Organization", "name": "fitcard"},
        "distribution": [
            {"@type": "DataDownload", "contentUrl": address, "encodingFormat": kind} for address, kind in files
        ],
    }
