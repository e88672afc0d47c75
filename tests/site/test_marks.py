"""The marks of a run on pages: who recorded it, and whether it is where it is expected."""

from __future__ import annotations

from pathlib import Path

import yaml

from fitcard.catalog import Catalog, load
from fitcard.catalog.schema.run import sealed
from fitcard.catalog.storage.writer import add_run
from fitcard.site.generator.build import build
from tests.advisor.test_run_band import forged
from tests.sample import SO400M
from tests.site.reader import Reader


def test_a_run_says_who_recorded_it_and_when_it_is_doubted(
    copied_sample: Path, copied_site: Path, sample: Catalog
) -> None:
    """On its page and on its model's; signed off, it is doubted no more. Figures of others are marked as imported."""
    slow = next(run for run in forged(sample, SO400M, "h100-sxm", 5.0, ["BF16"]) if run.component == "vision")
    run = sealed({**slow.model_dump(mode="json", exclude={"key"}), "recorded_by": "octo <b>cat</b>"})
    own = next(other for other in sample.runs if other.status == "ok" and other.quantization == "FP32")
    file = add_run(copied_sample / "runs", run)
    site, _ = build(copied_site, copied_sample)
    page, model = (site / name / "index.html" for name in (f"runs/{run.key}", f"models/{SO400M}"))
    text = "".join(Reader(page.read_text()).text)
    assert "This run is outside the expected band" in text
    assert "times outside the" in text
    assert "◐ contributed by octo <b>cat</b>" in text
    home = next(row for row in (site / "index.html").read_text().split("<tr>") if f"runs/{run.key}/" in row)
    assert "<strong>outside the expected band</strong>" in home
    assert 'title="◐ contributed by octo &lt;b&gt;cat&lt;/b&gt;">measured <span aria-hidden="true">◐</span></a>' in home
    feed = (site / f"models/{SO400M}/feed.xml").read_text()
    assert "Outside the expected band: 1 run, which no figure rests on." in feed
    assert "● own: by fitcard's own runners" in "".join(Reader((site / f"runs/{own.key}/index.html").read_text()).text)
    assert "outside the expected band" not in (site / f"runs/{own.key}/index.html").read_text()
    rows = model.read_text().split("<tr>")
    mine = [row for row in rows if f"runs/{run.key}/" in row and "<strong>outside the expected band</strong>" in row]
    assert len(mine) == len(run.speed)
    assert model.read_text().count("outside the expected band") == len(mine)
    assert all('title="◐ contributed by octo &lt;b&gt;cat&lt;/b&gt;"' in row for row in mine)
    assert 'title="● own: by fitcard' in model.read_text()
    assert 'title="○ imported: others measured and published it"' in model.read_text()
    held_up = next(
        one for one in sample.runs if one.machine.device == "h100-sxm" and one.cases_at_once > 1 and one.speed
    )
    marked = "".join(Reader((site / f"runs/{held_up.key}/index.html").read_text()).text)
    assert "Something may have held this run up" in marked
    assert f"up to {held_up.cases_at_once} cases under way" in marked
    alone = next(one for one in sample.runs if one.speed and not any(map(one.disturbances, one.speed)))
    assert "have held this run up" not in (site / f"runs/{alone.key}/index.html").read_text()
    signed = {"linter": "run_band", "field": f"{run.key}.speed", "why": "Somebody looked.", "file": file.relative_to(copied_sample).as_posix()}  # fmt: skip
    exceptions = copied_sample / "exceptions.yaml"
    data = yaml.safe_load(exceptions.read_text()) if exceptions.exists() else {"exceptions": []}
    exceptions.write_text(yaml.safe_dump({"exceptions": [*data["exceptions"], signed]}))
    assert load(copied_sample).exceptions
    build(site, copied_sample)
    assert "outside the expected band" not in page.read_text() + model.read_text()
