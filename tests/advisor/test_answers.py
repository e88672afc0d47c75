"""Verdicts, sums and evidence."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitcard.advisor import fit
from fitcard.advisor.evidence import utilisation
from fitcard.advisor.hardware import gpu_of, gpus_by_memory
from fitcard.advisor.memory import activation_bytes, available_bytes
from fitcard.advisor.recommend import picks
from fitcard.catalog import Catalog
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.trace import Activations, Component
from fitcard.catalog.schema.workload import Setup
from tests.advisor.asking import ask, believed, need
from tests.catalog.test_store import made_run
from tests.conftest import Cli

SO400M = "google/siglip-so400m-patch14-384"


def with_memory(catalog: Catalog, gib: float) -> Catalog:
    """The catalog with the memory of one card changed."""
    card = catalog.gpus["rtx-4090"]
    spec = card.spec.model_copy(update={"memory_gib": gib})
    return replace(catalog, gpus={**catalog.gpus, "rtx-4090": card.model_copy(update={"spec": spec})})


def test_the_sum_is_its_parts(real: Catalog) -> None:
    answer = ask(real, SO400M, "rtx-3060", "BF16", batch=8, only_predicted=True)
    memory = answer.memory
    assert memory.weights_bytes == 2 * 428_225_600
    assert (
        memory.required_bytes
        == memory.weights_bytes + memory.activations_bytes + memory.buffers_bytes + memory.runtime_bytes
    )
    assert memory.available_bytes == 12 * 2**30 - real.runtimes.reserve["desktop"].bytes
    assert (answer.verdict, answer.evidence) == ("fits", "predicted")


def test_activations_are_exact_where_traced_and_straight_elsewhere() -> None:
    traced = [Activations(batch=b, bytes_32=100 * b + 7, bytes_16=50 * b + 7) for b in (1, 2, 4, 16)]
    assert [activation_bytes(traced, b, 32) for b in (1, 2, 4, 16)] == [107, 207, 407, 1607]
    assert [activation_bytes(traced, b, 16) for b in (3, 8, 64)] == [157, 407, 3207]
    assert activation_bytes(traced[:1], 5, 32) == 535


def test_so400m_takes_19_22_mib_of_activations_an_image(real: Catalog) -> None:
    """In BF16, the input included."""
    assert need(real, SO400M, "vision", "BF16", 1, "NVIDIA").activations_bytes / 2**20 == pytest.approx(
        19.22, abs=0.005
    )


def test_packed_weights_need_room_to_be_unpacked(real: Catalog) -> None:
    """At least the largest matrix that is unpacked, in 16 bit: 4304 x 1152 numbers."""
    packed = need(real, SO400M, "vision", "Q4_K_M", 1, "CPU").buffers_bytes
    assert packed >= 4304 * 1152 * 2


def test_copies_of_the_pooling_weight_on_a_cpu(real: Catalog) -> None:
    """729 copies of 2304 x 1152 numbers in BF16, from batch 2 on, as measured on torch 2.13, but not on a processor without AVX-512; in FP32
    none, and in FP16 where the processor multiplies it natively."""
    copies = 729 * 2304 * 1152 * 2
    epyc = frozenset({"avx2", "avx512f", "avx512_bf16"})
    xeon, older = epyc | {"avx512_fp16", "amx_bf16"}, frozenset({"avx2", "f16c", "fma"})

    def copied_at(component: Component, label: str, batch: int, features: frozenset[str] | None = epyc) -> int:
        found = need(real, SO400M, component, label, batch, "CPU", features)
        return found.buffers_bytes - int(found.activations_bytes * real.runtimes.allocator_slack["CPU"].share)

    assert [copied_at("vision", "BF16", batch) for batch in (1, 2, 9)] == [0, copies, copies]
    assert [copied_at("vision", "FP16", 2, features) for features in (epyc, xeon, None)] == [0, copies, copies]
    assert [copied_at("vision", "BF16", 2, features) for features in (older, xeon, None)] == [0, copies, copies]
    assert copied_at("vision", "FP32", 2) == copied_at("text", "BF16", 2) == 0


def test_integer_weights_are_repacked_where_the_processor_has_no_tiles_for_them(real: Catalog) -> None:
    """bitsandbytes' INT8 on the EPYC holds its weights twice; on the Xeon with AMX once. Both measured, in `catalog/runs`."""
    plain, tiles = (
        need(real, SO400M, "text", "INT8-bnb", 1, "CPU", frozenset(features))
        for features in ({"avx512_vnni"}, {"amx_int8"})
    )
    assert plain.weights_bytes == tiles.weights_bytes
    assert plain.buffers_bytes - tiles.buffers_bytes > 0.6 * plain.weights_bytes


@given(
    gib=st.floats(0.1, 200),
    batch=st.integers(1, 5000),
    label=st.sampled_from(["FP32", "BF16", "Q8_0", "Q4_K_M", "Q2_K"]),
)
@settings(max_examples=150, deadline=None)
def test_more_memory_or_a_smaller_batch_never_turns_fits_into_no(
    real: Catalog, gib: float, batch: int, label: str
) -> None:
    order = {"no": 0, "tight": 1, "fits": 2}
    alone = replace(real, gpus={"rtx-4090": real.gpus["rtx-4090"]})
    one = ask(with_memory(alone, gib), SO400M, "rtx-4090", label, batch=batch, with_speed=False)
    more = ask(with_memory(alone, gib * 1.5), SO400M, "rtx-4090", label, batch=batch, with_speed=False)
    less = ask(with_memory(alone, gib), SO400M, "rtx-4090", label, batch=max(1, batch // 2), with_speed=False)
    assert order[more.verdict] >= order[one.verdict]
    assert order[less.verdict] >= order[one.verdict]
    assert more.max_batch >= one.max_batch
    assert (one.max_batch >= batch) == (one.verdict != "no")


@given(batch=st.integers(1, 3000))
@settings(max_examples=60, deadline=None)
def test_fewer_bits_never_need_more(real: Catalog, batch: int) -> None:
    """Down the K-quants of a model whose rows fit them, memory only falls."""
    large = "google/siglip-large-patch16-384"
    needs = [
        need(real, large, "vision", label, batch, "NVIDIA").weights_bytes
        for label in ("FP32", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
    ]
    assert needs == sorted(needs, reverse=True)


def test_the_largest_batch_is_the_largest(real: Catalog) -> None:
    answer = ask(real, SO400M, "rtx-4060", "BF16")
    assert ask(real, SO400M, "rtx-4060", "BF16", batch=answer.max_batch).verdict != "no"
    assert ask(real, SO400M, "rtx-4060", "BF16", batch=answer.max_batch + 1).verdict == "no"


def test_measured_beats_predicted_unless_told_otherwise(real: Catalog) -> None:
    """A run on the very card gives its memory and speed; `only_predicted` ignores it; the two are never blended."""
    machine = {
        "device": "rtx-4090", "device_name": "NVIDIA GeForce RTX 4090", "cpu": "x", "cpu_cores": 1, "cpu_features": [], "memory_bytes": 1,
        "system": "Linux", "libraries": {},
    }  # fmt: skip
    memory = [{"batch": 1, "runtime_bytes": 500, "loaded_bytes": 900, "peak_bytes": 1000, "reserved_bytes": 1200}]
    run = made_run(machine=machine, memory=memory, config_sha256=real.models[SO400M].config_sha256)
    catalog = believed(real, *real.runs, run)
    measured = ask(catalog, SO400M, "rtx-4090", "BF16")
    assert (measured.memory.required_bytes, measured.evidence) == (1700, "measured")
    assert measured.speed is not None
    assert (measured.speed.evidence, measured.speed.record, measured.speed.batch) == ("measured", run.key, 1)
    assert (measured.speed.low, measured.speed.high) == (2.0, 2.5)
    predicted = ask(catalog, SO400M, "rtx-4090", "BF16", only_predicted=True)
    assert predicted == ask(real, SO400M, "rtx-4090", "BF16", only_predicted=True)
    assert predicted.evidence == "predicted"
    other_batch = ask(catalog, SO400M, "rtx-4090", "BF16", batch=2)
    assert other_batch.memory.evidence == "predicted"


def test_a_run_of_another_configuration_is_no_evidence(real: Catalog) -> None:
    run = made_run(machine={**made_run().machine.model_dump(mode="json"), "device": "rtx-4090"}, config_sha256="f" * 64)
    assert ask(replace(real, runs=(run,)), SO400M, "rtx-4090", "BF16").evidence == "predicted"


def test_published_speed_is_shown_as_such(real: Catalog) -> None:
    """At its own batch and where speed has levelled off; never for a batch at which nobody measured that speed."""
    for batch in (256, 128):
        speed = ask(real, SO400M, "rtx-4090", "FP16", mode="compiled", batch=batch).speed
        assert speed is not None
        assert speed.record is not None
        assert (speed.per_second, speed.evidence, speed.batch) == (195.2, "published", 256)
        assert "aa4b5850c1543fa488abf260f18390eda46cf85d" in speed.record
    single = ask(real, SO400M, "rtx-4090", "FP16", mode="compiled")
    assert single.speed is not None
    assert (single.speed.evidence, single.speed.batch, single.speed.record) == ("predicted", 1, None)
    assert "published for batch 256: 195.2 images/s" in single.reasons[-1]
    alone = ask(real, SO400M, "rtx-4090", "FP16", mode="compiled", batch=256, only_predicted=True).speed
    assert alone is not None
    assert alone.evidence == "predicted"


def test_fp8_needs_the_hardware_for_it(real: Catalog) -> None:
    """Ada has compute capability 8.9, Ampere 8.6; a Radeon has none."""
    assert ask(real, SO400M, "rtx-4090", "FP8").verdict == "fits"
    refused = ask(real, SO400M, "rtx-3090", "FP8")
    assert (refused.verdict, refused.max_batch) == ("unsupported", 0)
    assert "needs compute capability 8.9, this GPU has 8.6" in refused.reasons[0]
    assert ask(real, SO400M, "rx-7900-xtx", "FP8").verdict == "unsupported"


def test_the_best_choice(real: Catalog) -> None:
    """BF16 where it is native, FP16 on Turing, FP32 on Pascal, and smaller only where nothing else fits."""

    def best(card: str, catalog: Catalog = real) -> str | None:
        found = fit.best([ask(catalog, SO400M, card, label) for label in catalog.quantizations], catalog)
        return found.quantization if found else None

    assert (best("rtx-3060"), best("rtx-2060"), best("gtx-1080-ti")) == ("BF16", "FP16", "FP32")
    assert best("rtx-4090", with_memory(real, 2.3)) == "Q8_0"
    assert best("rtx-4090", with_memory(real, 0.5)) is None


def test_what_a_runtime_was_seen_not_to_serve_is_unsupported(real: Catalog) -> None:
    """A typed record decides for that very device, until a newer run of the same variant; a prediction ignores it."""
    config = real.models[SO400M].config_sha256
    reason = "the runtime unpacks it wrongly there"
    nothing: dict[str, Any] = {"status": "unsupported", "reason": reason, "memory": [], "speed": [], "census": {}}
    refused = made_run(model=SO400M, config_sha256=config, quantization="NF4", **nothing)
    catalog = replace(real, runs=(refused,))
    answer = ask(catalog, SO400M, "cpu-test", "NF4")
    assert (answer.verdict, answer.max_batch, answer.reasons) == ("unsupported", 0, (reason,))
    assert ask(catalog, SO400M, "cpu-test", "NF4", only_predicted=True).verdict == "fits"
    later = made_run(seed=1, model=SO400M, config_sha256=config, quantization="NF4")
    assert ask(replace(real, runs=(refused, later)), SO400M, "cpu-test", "NF4").verdict == "fits"


def test_utilisation_of_a_card(real: Catalog) -> None:
    """The published 195.2 images/s of an RTX 4090 at batch 256: 335.17 GMAC an image of 165.2 TFLOP/s, by hand."""
    machine = {**made_run().machine.model_dump(mode="json"), "device": "rtx-4090"}
    speed = [{"batch": 256, "samples_s": [[256 / 195.2] * 3], "settled": [True]}]
    memory = [{"batch": 256, "runtime_bytes": 1, "loaded_bytes": 2, "peak_bytes": 3}]
    run = made_run(model=SO400M, machine=machine, speed=speed, memory=memory, weights_bytes=856_451_200)
    used = utilisation(real, run, run.speed[0])
    assert used is not None
    assert used.mfu == pytest.approx(2 * 335.17e9 * 195.2 / 165.2e12, rel=0.002)
    assert used.mbu == pytest.approx(856_451_200 * 195.2 / 256 / 1008e9)
    assert utilisation(real, made_run(model=SO400M), run.speed[0]) is None


def test_unified_memory_has_its_own_rule(real: Catalog) -> None:
    card = real.gpus["apple-m1-8-core-16gb"]
    assert available_bytes(real.runtimes, card) == int(16 * 2**30 * real.runtimes.unified_share.share)


def test_what_does_not_exist_is_refused_in_words(real: Catalog) -> None:
    with pytest.raises(FitcardError, match="has no component audio"):
        ask(real, SO400M, "rtx-4090", "NF4", component="audio")  # type: ignore[arg-type]
    with pytest.raises(FitcardError, match="a batch holds at least one item"):
        ask(real, SO400M, "rtx-4090", "BF16", batch=0)


KEYS: dict[str, Any] = {
    "schema_version": int, "engine": str,
    "model": str, "component": str, "quantization": str, "gpu": str, "verdict": str, "evidence": str, "max_batch": int, "reasons": list,
    "workload": {"batch", "image_size", "text_tokens", "context_tokens", "prompt_tokens", "parallel", "cache_type", "ubatch"},
    "memory": {"weights_bytes", "activations_bytes", "buffers_bytes", "runtime_bytes", "required_bytes", "available_bytes", "evidence", "cache_bytes", "host_bytes"},
}  # fmt: skip


def test_the_contract_of_fit_json(cli: Cli) -> None:
    """Names, types and exit codes that scripts rely on."""
    done = cli("fit", "siglip so400m", "--gpu", "4090", "--quant", "fp16", "--mode", "compiled", "--json")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    for key, kind in KEYS.items():
        assert set(answer[key]) == kind if isinstance(kind, set) else isinstance(answer[key], kind)
    assert {"per_second", "unit", "low", "high", "evidence", "record"} <= set(answer["speed"])
    assert answer["speed"]["unit"] == "images/s"
    assert [answer[key] for key in ("max_context", "prefill", "time_to_first_token_s")] == [None] * 3
    language = json.loads(cli("fit", "qwen3 0.6b", "--gpu", "4090", "--json").stdout)
    assert set(language) == set(answer)
    assert (language["speed"]["unit"], language["engine"]) == ("tokens/s", "llama.cpp")
    assert isinstance(language["max_context"], int) and language["prefill"]["unit"] == "tokens/s"


def test_exit_code_3_means_does_not_fit(cli: Cli) -> None:
    done = cli("fit", "siglip2 giant", "--gpu", "RTX 2060", "--quant", "FP32", "--batch", "64", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["verdict"] == "no"


def test_gpus_and_models_give_rows(cli: Cli, real: Catalog) -> None:
    rows = json.loads(cli("gpus", "so400m", "--quant", "BF16", "--quant", "Q8_0", "--json").stdout)["rows"]
    assert len(rows) == 2 * len(real.gpus)
    rows = json.loads(cli("models", "--vram", "8GB", "--json").stdout)["rows"]
    assert {row["model"] for row in rows} == set(real.models)
    assert {row["memory"]["available_bytes"] for row in rows} == {8 * 2**30}  # as GPUs of 8 GB are sold
    table = cli("gpus", "so400m").stdout
    assert "GeForce RTX 4090" in table
    assert "BF16" in table


def test_every_card_answers_for_every_model(real: Catalog) -> None:
    """No figure that a card leaves out makes the advisor stumble."""
    bare = {key: _bare(card) for key, card in real.gpus.items()}
    few = {SO400M: real.models[SO400M], "openai/clip-vit-large-patch14": real.models["openai/clip-vit-large-patch14"]}
    for catalog in (replace(real, models=few), replace(real, models=few, gpus=bare)):
        for card in catalog.gpus:
            for answer in fit.models(catalog, Setup(card)):
                assert answer.verdict in ("fits", "tight", "no", "unsupported")


def _bare(card: Gpu) -> Gpu:
    spec = card.spec.model_copy(
        update=dict.fromkeys(("units", "boost_mhz", "bandwidth_gb_per_s", "compute_capability", "chip"))
    )
    return card.model_copy(update={"spec": spec, "rates": None})


def test_picks_are_the_best_of_all_answers(real: Catalog) -> None:
    """The short way to a pick gives what the long way gives, on cards with runs and without, verdict by verdict."""
    ran = made_run(
        model=SO400M, config_sha256=real.models[SO400M].config_sha256,
        machine={**made_run().machine.model_dump(mode="json"), "device": "rtx-4090"},
        memory=[{"batch": 1, "runtime_bytes": 10**9, "loaded_bytes": 1, "peak_bytes": 1, "reserved_bytes": 30 * 10**9}],
    )  # fmt: skip
    catalog = believed(real, ran)
    found = picks(catalog, SO400M)
    assert list(found) == gpus_by_memory(catalog)
    for card in ("rtx-4090", *list(real.gpus)[::23]):
        every = [ask(catalog, SO400M, card, label, with_speed=False) for label in catalog.quantizations]
        assert found[card].best == fit.best(every, catalog)
        assert found[card].fitting == sum(answer.verdict in ("fits", "tight") for answer in every)
    best = found["rtx-4090"].best
    assert best
    assert best.quantization != "BF16"  # as the run says


def test_a_device_that_only_runs_know_would_pass_for_a_card(real: Catalog) -> None:
    """It is not checked when it is made, so here it is."""
    devices = {entry.device for entry in real.run_index} - set(real.gpus)
    assert devices
    for device in devices:
        card, machine = (
            gpu_of(real, device),
            [run for run in real.runs if run.machine.device == device][-1].machine,
        )
        assert Gpu.model_validate(card.model_dump()) == card
        assert (card.vendor, card.spec.name) == (machine.device_vendor, machine.device_name)
        assert card.spec.memory_bytes == (machine.device_memory_bytes or machine.memory_bytes)
        assert card.peak_flops("bf16") is None


def test_a_name_of_several_sizes_says_which_was_taken(cli: Cli) -> None:
    """On standard error, so that JSON stays whole."""
    done = cli("fit", "sentence-transformers/all-MiniLM-L6-v2", "--gpu", "A100", "--quant", "BF16", "--json")
    assert json.loads(done.stdout)["gpu"] in done.stderr
    assert "is assumed" in done.stderr
