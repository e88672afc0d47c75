"""Every figure of the README that the project can work out is what it works out today."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable

import pytest

from fitcard.advisor.accuracy import memory_errors, speed_accuracy
from fitcard.advisor.evidence import good_runs
from fitcard.catalog import Catalog
from fitcard.catalog.file_format import variant_bytes
from fitcard.catalog.schema.quantization import bits_per_weight, predicted_census
from fitcard.catalog.schema.tensor_types import TENSOR_TYPES
from fitcard.catalog.schema.workload import Variant
from fitcard.profiler.settings import REPEATS
from tests.conftest import ROOT, Cli

README = (ROOT / "README.md").read_text()
SO400M = "google/siglip-so400m-patch14-384"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

Figures = Callable[[Catalog], tuple[str, ...]]


def parameters(catalog: Catalog) -> tuple[str, ...]:
    trace = catalog.traces[SO400M]
    return f"{trace.parameters():,}", f"{trace.parameters('vision'):,}"


def q4_k_m(catalog: Catalog) -> tuple[str, ...]:
    """Bits per weight, and GB of the file."""
    size = variant_bytes(catalog, Variant(SO400M, "vision", "Q4_K_M"))
    assert size
    census = predicted_census(catalog.quantizations["Q4_K_M"], catalog.traces[SO400M].tensors_of("vision"))
    return f"{bits_per_weight(census):.2f}", f"{size / 1e9:.3f}"


def q4_k_m_types(catalog: Catalog) -> tuple[str, ...]:
    """The tensor types that hold a weight matrix, the largest share first; F32 holds vectors alone."""
    census = predicted_census(catalog.quantizations["Q4_K_M"], catalog.traces[SO400M].tensors_of("vision"))
    return tuple(sorted(census.keys() - {"F32"}, key=lambda name: -census[name].bytes))


def odd_rows(catalog: Catalog) -> tuple[str, ...]:
    """Lengths of rows that a K-quant cannot hold, with its block, and the one that no block of 32 holds either."""
    tensors = catalog.traces[SO400M].tensors_of("vision")
    rows = sorted({tensor.shape[-1] for tensor in tensors if tensor.kind == "linear"})
    assert not any(TENSOR_TYPES["Q4_K"].holds(row) for row in rows)
    k_quant, plain_quant = TENSOR_TYPES["Q4_K"], TENSOR_TYPES["Q5_0"]
    odder = [row for row in rows if not plain_quant.holds(row)]
    return tuple(map(str, [*rows, k_quant.block_elements, *odder, plain_quant.block_elements]))


def measured_models(catalog: Catalog) -> tuple[str, ...]:
    """How many models and processors the good runs on CPUs are of, and how many models were run on the H100, under a cap too."""
    runs = [run for model in catalog.models for run in good_runs(catalog, model)]
    on_cpus = [run for run in runs if run.machine.device_vendor == "CPU"]
    on_h100 = {run.model for run in catalog.runs if run.status == "ok" and run.machine.device == "h100-sxm"}
    return tuple(
        NUMBERS[len(group)]
        for group in ({run.model for run in on_cpus}, {run.machine.device for run in on_cpus}, on_h100)
    )


def sums_on_the_h100(catalog: Catalog) -> tuple[str, ...]:
    """How many sums of memory, and their lowest and highest relative error in percent."""
    errors = [row.error * 100 for row in memory_errors(catalog) if row.gpu == "h100-sxm"]
    return str(len(errors)), f"{min(errors):.0f}", f"{max(errors):+.0f}"


def speed_errors(catalog: Catalog) -> tuple[str, ...]:
    """Median errors of speed in percent: of a GPU left out, of a model left out."""
    errors = {one.way: one.summary.median * 100 for one in speed_accuracy(catalog)}
    return f"{errors['gpu']:.0f}", f"{errors['model']:.0f}"


def inside_the_interval(catalog: Catalog) -> tuple[str, ...]:
    """How many of five left-out measurements lie in their interval, in each way of leaving out."""
    shares = {NUMBERS[round(one.summary.covered * 5)] for one in speed_accuracy(catalog)}
    return tuple(shares)


def unmeasured_vendors(catalog: Catalog) -> tuple[str, ...]:
    """The vendors of which no GPU has a speed, in the order of the catalog's allowances for their runtimes."""
    runs = {run.machine.device for run in catalog.runs if run.status == "ok"}
    published = {speed.gpu for file in catalog.published.values() for speed in file.speeds}
    with_speed = {catalog.gpus[gpu].vendor for gpu in runs | published if gpu in catalog.gpus}
    return tuple(vendor for vendor in ("AMD", "Intel", "Apple") if vendor not in with_speed)


def gpus_with_quantized_speeds(catalog: Catalog) -> tuple[str, ...]:
    """The GPUs on which anything but plain matrices was timed."""
    runs = [(run.machine.device, run.quantization) for run in catalog.runs if run.status == "ok"]
    published = [(speed.gpu, speed.quantization) for file in catalog.published.values() for speed in file.comparable]
    plain = {label for label, quantization in catalog.quantizations.items() if quantization.plain}
    gpus = {gpu for gpu, label in runs + published if gpu in catalog.gpus and label not in plain}
    return tuple(catalog.gpus[gpu].name.split()[1] for gpu in gpus)


def processes(_: Catalog) -> tuple[str, ...]:
    return (NUMBERS[REPEATS],)


def python(_: Catalog) -> tuple[str, ...]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return (project["requires-python"].removeprefix(">="),)


def traced_peak(_: Catalog) -> tuple[str, ...]:
    """The tolerance that the tests of the trace use, in percent."""
    tolerances = set(
        re.findall(
            r"approx\((?:expected|peak\.bytes_32), rel=([\d.]+)", (ROOT / "tests/profiler/test_trace.py").read_text()
        )
    )
    return tuple(f"{float(tolerance) * 100:.0f}" for tolerance in tolerances)


def rivals(_: Catalog) -> tuple[str, ...]:
    """The versions that the log tells of."""
    log = (ROOT / "LOG.md").read_text()
    return tuple(
        version for tool in ("llmfit", "whichllm") for version in re.findall(rf"{tool} (\d+\.\d+\.\d+)", log)[:1]
    )


def said_of_it(catalog: Catalog) -> tuple[str, ...]:
    """Millions of parameters, label and GB, as the model's corrections cite them."""
    said = " ".join(each.said for each in catalog.models[SO400M].corrections if each.by == "RunLocalAI")
    return tuple(re.findall(r"\d+(?=M-parameter)|Q\w+(?=:)|[\d.]+(?= GB)", said))


SENTENCES: list[tuple[str, Figures]] = [
    (r"RunLocalAI's page says of SigLIP SO400M: (\d+)M parameters, (\w+), ([\d.]+) GB\.", said_of_it),
    (r"The model has ([\d,]+) parameters \(([\d,]+) are its image encoder\)", parameters),
    (r"([\d.]+) bits per weight, ([\d.]+) GB for the image encoder", q4_k_m),
    (r"the label becomes (\w+), (\w+) and a little (\w+):", q4_k_m_types),
    (r"rows of (\d+) and (\d+) numbers do not fit a K-quant's blocks of (\d+), nor do rows of (\d+) fit blocks of (\d+)", odd_rows),
    (r"(\w+) models on (\w+) CPUs, (\w+) on an H100", measured_models),
    (r"(\d+) sums lie within (-\d+) to (\+\d+) % of what the driver", sums_on_the_h100),
    (r"median (\d+) % on a GPU left out, (\d+) % on a model left out", speed_errors),
    (r"(\w+) of five left-out measurements", inside_the_interval),
    (r"no speed of an encoder on GPUs of (\w+), (\w+) or (\w+):", unmeasured_vendors),
    (r"Quantized layers were timed on the (\w+) alone", gpus_with_quantized_speeds),
    (r"\| how many models \| \*\*(\d+)\*\*", lambda catalog: (str(len(catalog.models)),)),
    (r"fresh processes, (\w+) for speed by default", processes),
    (r"With Python ([\d.]+) or newer", python),
    (r"torch's own allocation events, within (\d+) %", traced_peak),
    (r"llmfit ([\d.]+) and whichllm ([\d.]+) were run", rivals),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "figures"), SENTENCES)
def test_a_sentence_says_what_the_data_say(sentence: str, figures: Figures, real: Catalog) -> None:
    """Its figures, rounded as it rounds them, are those of the catalog, of past errors or of the code."""
    match = re.search(sentence.replace(" ", r"\s+"), README)
    assert match, f"README.md no longer says: {sentence}"
    assert match.groups() == figures(real)


def test_the_sample_is_what_the_command_prints(cli: Cli) -> None:
    """The first screen shows a real answer, wherever its lines break."""
    match = re.search(r"```\n\$ fitcard ([^\n]+)\n(.+?)```", README, re.S)
    assert match
    output = cli(*match[1].split()).stdout
    assert match[2].split() == output.split(), f"README.md should show:\n{output}"


def test_the_exit_code_is_the_one_that_is_promised(cli: Cli) -> None:
    """The README's own question, with a batch that no GPU holds."""
    match = re.search(r'fitcard fit "(.*?)" --gpu "(.*?)" .*exit code (\d) when it does not fit', README)
    assert match
    assert cli("fit", match[1], "--gpu", match[2], "--batch", "65536").returncode == int(match[3])


def test_installing_a_checkout_gives_the_command() -> None:
    """The README has people install the folder that they are in, which holds a project with the command `fitcard`."""
    assert re.findall(r"pip install ([^`]+)`", README) == ["-e ."]
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"] == {
        "fitcard": "fitcard.__main__:main"
    }
