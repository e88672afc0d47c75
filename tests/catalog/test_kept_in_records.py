"""What a record works out and keeps is never that of another record."""

from __future__ import annotations

from fitcard.catalog.schema.run import Speed


def test_a_copy_with_other_fields_works_its_figures_out_again() -> None:
    speed = Speed(batch=4, samples_s=((1.0, 2.0, 3.0),), settled=(True,))
    assert (speed.median_s, speed.per_second) == (2.0, 2.0)
    other = speed.model_copy(update={"samples_s": ((4.0,),)})
    assert (other.median_s, other.per_second) == (4.0, 1.0)
    assert speed.model_copy() == speed
    assert speed == Speed(batch=4, samples_s=((1.0, 2.0, 3.0),), settled=(True,))  # though this one kept nothing yet
