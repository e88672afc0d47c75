"""The constants of the speed model, as `fitcard calibrate` fits them on runs and published figures."""

from typing import Annotated

from pydantic import Field

from fitcard.catalog.schema.record import Count, Date, NotNegative, Positive, Record, Text
from fitcard.catalog.schema.run import Mode


class Factors(Record):
    """Time of each kind of work, as a multiple of what it takes at the card's sustained rate or full bandwidth."""

    matmul: NotNegative
    """Matrix products, over the card's sustained rate."""
    attention: NotNegative
    """Attention, over the card's sustained rate."""
    convolution: NotNegative
    """Convolutions, over the card's sustained rate."""
    moved: NotNegative
    """Bytes of element-wise work, over the bandwidth."""
    transposed: NotNegative
    """Bytes of element-wise work on transposed inputs, over the bandwidth, on top of `moved`."""
    computed: NotNegative
    """FLOP that go with each byte of element-wise work, over the FP32 rate at the sustained clock."""


class Sustained(Record):
    """What cards of one generation reach in plain matrix products."""

    of_peak: Positive
    """Share of the peak that the maker prints, where power does not limit it; above 1 where cards boost higher than they promise."""
    tflops_per_unit: Positive | None
    """TFLOP/s of a unit at 1 W per unit, where power limits it; the rate grows with power to the 0.62. Null where no card of the generation was limited."""
    cards: Count
    """Cards on which it rests; 0 where it is the median of the vendor's other generations."""


class Known(Record):
    """What was measured of models on one card in one mode."""

    count: Count
    """How many measurements there are."""
    slower: Positive
    """How much longer than predicted they take, a geometric mean: what corrects predictions of other models there."""
    smallest_batch: Count
    """Of those measurements."""


class Errors(Record):
    """Errors of predictions against measurements that took no part in their fit."""

    count: Count
    """How many predictions were held to a measurement."""
    median: NotNegative
    """Median of the absolute errors, as a share of what was measured."""
    p90: NotNegative
    """What nine of ten absolute errors stay below."""
    bias: float
    """Median of the signed errors."""
    covered: float
    """Share of the measurements inside the 80 % interval."""


class SpeedFile(Record):
    """The file `speed.yaml`."""

    fitted: Date
    """The day of the fit."""
    fitted_on: dict[Text, Count]
    """How many figures of each kind took part."""
    evidence_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the figures; when it differs from today's, the fit is stale."""
    factors: Factors
    """How long each kind of work takes."""
    published_factors: Factors
    """The same, fitted on published figures alone: by them a run is expected in which no run takes part."""
    sustained: dict[Text, Sustained]
    """By `vendor generation` and, for generations without a measurement, by vendor."""
    known: dict[Text, dict[Mode, Known]]
    """By card and mode."""
    half_width: dict[Text, Positive]
    """Half the width of the 80 % interval, in natural logarithms, by what is known: see `advisor/speed.py`."""
    residuals: dict[Text, Errors]
    """By way of leaving out."""
