"""A page of the site as tests read it."""

from __future__ import annotations

from html.parser import HTMLParser


class Reader(HTMLParser):
    """The parts of a page that tests look at."""

    VOID = frozenset(
        [
            "area",
            "base",
            "br",
            "col",
            "embed",
            "hr",
            "img",
            "input",
            "link",
            "meta",
            "source",
            "track",
            "wbr",
            "rect",
            "path",
        ]
    )

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.links: list[str] = []
        self.resources: list[str] = []
        self.tags: list[str] = []
        self.title = ""
        self.description = ""
        self.tables: list[dict[str, int]] = []
        self.text: list[str] = []
        self.landmarks: list[str] = []
        """Kind and label of each part that a screen reader lists."""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if tag in ("link", "script", "img") and (given.get("href") or given.get("src")):
            self.resources.append(str(given.get("href") or given.get("src")))
        if tag == "meta" and given.get("name") == "description":
            self.description = str(given["content"])
        label = given.get("aria-label") or given.get("aria-labelledby")
        if label and (tag in ("nav", "section", "form") or given.get("role") == "region"):
            self.landmarks.append(f"{tag} {label}")
        if tag == "table":
            self.tables.append({"caption": 0, "scopeless": 0})
        if tag == "caption":
            self.tables[-1]["caption"] += 1
        if tag == "th" and given.get("scope") not in ("row", "col"):
            self.tables[-1]["scopeless"] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["title"] and self.open.count("svg") == 0:
            self.title += data
        self.text.append(data)
