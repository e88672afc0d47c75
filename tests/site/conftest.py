"""What tests of the site read: the small catalog, and by night the real one, too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fitcard.catalog import Catalog
from tests.nightly import NIGHTLY


@pytest.fixture(scope="session", params=["sample", "real"] if NIGHTLY else ["sample"])
def each(request: pytest.FixtureRequest) -> Catalog:
    """Each catalog whose every record is looked at."""
    catalog: Catalog = request.getfixturevalue(request.param)
    return catalog


@pytest.fixture(scope="session", params=["site", "real_site"] if NIGHTLY else ["site"])
def each_site(request: pytest.FixtureRequest) -> Path:
    """Each site whose every page is looked at."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


@pytest.fixture
def copied_site(site: Path, tmp_path: Path) -> Path:
    """A copy of the small catalog's website, of which a build makes again only what a test changes."""
    shutil.copytree(site, tmp_path / "site")
    return tmp_path / "site"
