"""Configurations as people have them: which model each means, at which sizes, and what is refused in one sentence."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.models.auto import modeling_auto as auto

from fitcard.advisor import adhoc
from fitcard.advisor.fit import fits
from fitcard.catalog import Catalog
from fitcard.catalog.configuration import Configuration, from_path, local_name
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.workload import Setup, Workload
from fitcard.profiler import trace as tracing
from fitcard.profiler.architecture import generates
from fitcard.profiler.bounded_trace import trace_bounded
from fitcard.profiler.meta_model import build
from fitcard.profiler.minimal_config import minimal_config
from fitcard.profiler.trace import trace
from tests.conftest import ROOT, Cli

CASES = ROOT / "tests" / "cases"
NIGHTLY = bool(os.environ.get("FITCARD_NIGHTLY"))

# Parameters of the checkpoints, from their model cards or their safetensors headers; of open_clip's, its own profile of
# ViT-H-14-quickgelu (986,109,441 at 224 pixels) with the positions of 378 pixels: (27² - 16²) x 1280 more.
PARAMETERS = {
    "configs/dinov3-vits16": 21_596_544,
    "configs/deberta-v3-base": 183_831_552,
    "configs/gtr-t5-base": 109_628_544,
    "configs/clip-vision-H": 632_076_800,
    "configs/qwen3-embedding-0.6b": 595_776_512,
    "st-clip": 151_277_313,
    "immich-openclip": 986_109_441 + (27**2 - 16**2) * 1280,
}


@pytest.mark.parametrize("folder", PARAMETERS)
def test_the_model_that_a_configuration_means_is_built(folder: str) -> None:
    """The class that `architectures` names, and the model inside folders of sentence-transformers and open_clip."""
    model = build(from_path(CASES / folder).values)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[folder]


REFUSED = {
    "jina-v2-base-en": r"auto_map: 'jinaai/jina-bert-implementation.*does not run",
    "gte-multilingual-base": r"auto_map: 'modeling\.NewModel'",
    "bert-bnb4": r"quantization_config: 'bitsandbytes'",
    "bert-fp8": r"quantization_config: 'fp8'",
    "llama-3.1-8b": r"LlamaForCausalLM is a language model: fitcard answers for encoders .* so far",
    "blip2-opt-2.7b": r"generates text: fitcard answers for encoders .* so far",
}


@pytest.mark.parametrize("folder", REFUSED)
def test_what_is_another_model_or_no_encoder_is_refused(folder: str) -> None:
    """One short sentence that names what in the configuration says so, never the sizes of another model."""
    with pytest.raises(FitcardError, match=REFUSED[folder]) as refused:
        build(from_path(CASES / "configs" / folder).values)
    assert len(str(refused.value)) < 300


TRACED: dict[str, tuple[Any, ...]] = {
    "dinov3-vits16": (224, None, 196),  # run twice, so that what transformers caches is filled
    "dinov3-convnext-tiny": (224, None, None),
    "segformer-b0": (224, None, None),
    "yolos-tiny": (800, 1333, 50 * 83),
    "min-internvl_vision": (448, None, 1024),
}


@pytest.mark.parametrize("folder", TRACED)
def test_images_of_any_form_are_traced(folder: str) -> None:
    """Sizes as lists, images that are not square, models without a patch size."""
    (phase,) = trace(_two_layers(from_path(CASES / "configs" / folder).values)).phases
    assert (phase.image_size, phase.image_width, phase.image_tokens) == TRACED[folder]


def test_what_is_left_out_is_said(real: Catalog) -> None:
    """A quarter of ViT-MAE's patches, an encoder without its decoder, a size that nothing names."""
    (note,) = trace(_two_layers(from_path(CASES / "configs" / "vit-mae-base").values)).notes or ()
    assert "only a quarter of the patches" in note
    first, second = trace({"model_type": "t5", "num_layers": 1}).notes or ()
    assert "only the encoder is traced (T5EncoderModel)" in first
    assert "512 tokens are assumed" in second
    small = {
        "num_hidden_layers": 1,
        "hidden_size": 64,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
    }
    assert (
        "T5GemmaEncoderModel"
        in (trace({"model_type": "t5gemma", "encoder": small, "decoder": small}).notes or ("",))[0]
    )
    assert [key for key, made in real.traces.items() if made.notes] == []


def test_code_of_a_repository_that_transformers_has_too_is_said_to_be_ignored() -> None:
    """nomic's repositories name code of their own, and transformers has the class: traced, with the key named."""
    config = {**TEXT, "auto_map": {"AutoModel": "x--y.BertModel"}, "architectures": ["BertModel"]}
    assert "auto_map is ignored" in (trace(config).notes or ("",))[0]


def test_a_beginning_keeps_the_class_that_changes_the_model() -> None:
    """`fitcard add` leaves out what changes nothing; T5EncoderModel is not what AutoModel takes of a t5."""
    config = json.loads((CASES / "configs" / "gtr-t5-base" / "config.json").read_text())
    assert minimal_config(config)["architectures"] == ["T5EncoderModel"]
    assert "architectures" not in minimal_config({**TEXT, "architectures": ["BertForMaskedLM"]})


def test_a_folder_keeps_its_dots(tmp_path: Path) -> None:
    """`llama-3.1-8b` is no file `llama-3` of a kind `.1-8b`."""
    assert local_name(CASES / "configs" / "llama-3.1-8b") == "llama-3.1-8b"
    assert local_name(CASES / "configs" / "llama-3.1-8b" / "config.json") == "llama-3.1-8b"
    assert local_name(tmp_path / "my-1.5.json") == "my-1.5"


def test_a_folder_of_the_hubs_cache_is_called_as_its_model(tmp_path: Path) -> None:
    """The snapshot in it, or all of it; not by a commit."""
    snapshot = tmp_path / "models--org--my-1.5" / "snapshots" / ("0123456789" * 4)
    snapshot.mkdir(parents=True)
    _folder(snapshot, config=TEXT)
    for folder in (snapshot, snapshot.parents[1]):
        assert local_name(folder) == "my-1.5"
        assert from_path(folder).model_id == "org/my-1.5"


def test_an_address_of_the_hub_is_asked_there(real: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the id in it, for a model that the catalog lacks."""
    asked: list[str] = []

    def from_hub(name: str) -> Configuration:
        asked.append(name)
        return from_path(CASES / "st-clip")

    monkeypatch.setattr(adhoc, "from_hub", from_hub)
    monkeypatch.setattr(adhoc, "traced", lambda config: real.traces["BAAI/bge-small-en-v1.5"])
    assert adhoc.with_model(real, "https://huggingface.co/nobody/a-model/tree/main")[1] == "nobody/a-model"
    assert asked == ["nobody/a-model"]


def test_a_folder_of_timm_is_the_catalogs_model(tmp_path: Path, real: Catalog) -> None:
    """timm's name of a model that the catalog has by its own class, which needs no timm; hub addresses are no names."""
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_huge_patch14_clip_224", "num_classes": 0}))
    assert adhoc.with_model(real, str(tmp_path)) == (real, "laion/CLIP-ViT-H-14-laion2B-s32B-b79K")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "hf-hub:evil/model"}))
    with pytest.raises(
        FitcardError, match=r"architecture is 'hf-hub:evil/model'; it takes the name of a model of timm"
    ):
        from_path(tmp_path)


def _folder(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


OPEN_CLIP = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 2, "width": 768, "patch_size": 32},
    "text_cfg": {"layers": 2},
}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"adapter_config": {}}, r"has no config\.json: it is an adapter, and its base model's"),
        ({"model_index": {}}, r"has no config\.json: it is a pipeline of diffusers"),
        ({"modules": [], "tokenizer": {}}, r"has no config\.json \(there are: modules\.json, tokenizer\.json\); give a Hugging Face config"),
        ({}, r"has no config\.json; give a Hugging Face config"),
        ({"open_clip_config": {"model_cfg": {**OPEN_CLIP, "multimodal_cfg": {"width": 512}}}}, r"multimodal_cfg makes it CoCa"),
        ({"open_clip_config": {**OPEN_CLIP, "text_cfg": {"hf_model_name": "xlm-roberta-base"}}}, r"text_cfg\.hf_model_name"),
    ],
)  # fmt: skip
def test_a_folder_that_holds_no_encoder_says_what_it_holds(files: dict[str, Any], message: str, tmp_path: Path) -> None:
    """An adapter, a pipeline, a model of open_clip that is more than CLIP: not `No such file or directory`."""
    with pytest.raises(FitcardError, match=message):
        from_path(_folder(tmp_path, **files))


def test_sentence_transformers_cuts_texts_where_its_folder_says(tmp_path: Path) -> None:
    """all-MiniLM-L6-v2 has 512 positions and reads 256 tokens; --tokens takes more, up to the positions."""
    folder = _folder(tmp_path, config=TEXT, modules=[{"path": ""}], sentence_bert_config={"max_seq_length": 24})
    config = from_path(folder).values
    assert trace(config).phases[0].text_tokens == 24
    assert trace(config, tokens=64).phases[0].text_tokens == 64
    longer = _folder(tmp_path, sentence_bert_config={"max_seq_length": 9999})
    assert trace(from_path(longer).values).phases[0].text_tokens == 64


def test_a_file_that_notepad_saved_is_read(tmp_path: Path) -> None:
    """It begins with a byte order mark."""
    assert from_path(_folder(tmp_path, config="\ufeff" + json.dumps(TEXT))).values == TEXT


@pytest.mark.parametrize(
    ("kind", "size", "read"),
    [
        ("vit", [56, 56], (56, None)), ("vit", {"height": 56, "width": 112}, (56, 112)), ("vit", [56, 112], (56, 112)),
        ("clip_vision_model", [56, 56], (56, None)), ("clip_vision_model", {"height": 56, "width": 56}, (56, None)),
    ],
)  # fmt: skip
def test_sizes_are_read_however_they_are_written(kind: str, size: Any, read: tuple[int, int | None]) -> None:
    """A square as a list or by name is the one number that CLIP takes."""
    (phase,) = trace({**IMAGE, "model_type": kind, "image_size": size}).phases
    assert (phase.image_size, phase.image_width) == read


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "clip_vision_model", "image_size": [56, 112]}, "a size is a list, and this model takes one number"),
        ({"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]}, "WhisperForConditionalGeneration takes sound"),
        ({"model_type": "wav2vec2"}, "takes sound"),
        ({"model_type": "timm_wrapper", "architecture": "resnet50"}, "a model of timm, which is not installed: pip install timm"),
    ],
)  # fmt: skip
def test_refusals_say_what_it_is(config: dict[str, Any], message: str) -> None:
    """Speech models are no language models, and no error of Python is shown."""
    assert not generates(config)
    with pytest.raises(FitcardError, match=message):
        build(config)


def test_a_prompted_model_is_traced_at_the_size_of_its_image_tower() -> None:
    """SAM states its 1024 pixels in `vision_config`."""
    tower = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 128,
        "global_attn_indexes": [0],
    }
    (phase,) = trace({"model_type": "sam", "vision_config": tower, "prompt_encoder_config": {"image_size": 128}}).phases
    assert phase.image_size == 128


def test_a_key_without_a_value_is_not_said_to_be_ignored() -> None:
    """`quantization_config: null` says nothing."""
    assert trace({**TEXT, "quantization_config": None, "auto_map": None}).notes is None


TEXT = {
    "model_type": "bert", "hidden_size": 96, "intermediate_size": 200, "num_hidden_layers": 2, "num_attention_heads": 4,
    "vocab_size": 500, "max_position_embeddings": 64,
}  # fmt: skip
IMAGE = {
    "model_type": "vit", "hidden_size": 96, "intermediate_size": 200, "num_hidden_layers": 2, "num_attention_heads": 4,
    "patch_size": 14,
}  # fmt: skip


def test_a_text_of_another_length_costs_what_it_costs_a_model_of_that_length() -> None:
    """Operations and activations are those of the same model built for texts of 16 tokens; its weights stay."""
    at, own = trace(TEXT, tokens=16), trace({**TEXT, "max_position_embeddings": 16})
    assert at.phases[0].flops(8) == own.phases[0].flops(8)
    assert at.phases[0].activations == own.phases[0].activations
    assert at.parameters() == trace(TEXT).parameters()
    with pytest.raises(FitcardError, match="takes texts of at most 64 tokens"):
        trace(TEXT, tokens=65)


def test_an_image_of_another_size_stretches_the_table_of_positions() -> None:
    """The matrix products are those of a model made for that size, and the parameters those of the model itself."""
    at, own = trace({**IMAGE, "image_size": 56}, pixels=112), trace({**IMAGE, "image_size": 112})
    assert at.phases[0].multiply_adds(2) == own.phases[0].multiply_adds(2)
    assert at.phases[0].image_tokens == 64
    assert at.parameters() == trace({**IMAGE, "image_size": 56}).parameters()


def test_answers_for_another_length_are_traced_on_demand(
    real: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli: Cli
) -> None:
    """Less memory at 64 tokens than at the model's 512, nothing measured at 512 in it; the answer states its workload.
    Without torch one sentence says what the trace has, and what to do."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model, setup = "BAAI/bge-small-en-v1.5", Setup("rtx-4090")
    (own,) = fits(real, model, ["BF16"], setup, Workload(64))
    (short,) = fits(real, model, ["BF16"], setup, Workload(64, text_tokens=64))
    assert (own.workload.text_tokens, short.workload.text_tokens) == (512, 64)
    assert short.memory.activations_bytes < own.memory.activations_bytes / 4
    assert short.memory.weights_bytes == own.memory.weights_bytes
    assert short.speed is not None
    assert own.speed is not None
    assert short.speed.evidence == "predicted"
    assert short.speed.per_second > 4 * own.speed.per_second
    done = cli("fit", model, "--gpu", "RTX 4090", "--tokens", "64")
    assert "workload: batch 1 of texts of 64 tokens" in done.stdout
    with pytest.raises(FitcardError, match="takes no image"):
        fits(real, model, ["BF16"], setup, Workload(image_size=224))
    monkeypatch.setattr(adhoc, "find_spec", lambda _: None)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(FitcardError, match=r"has texts of 512 tokens; another size .* needs torch: pip install"):
        fits(real, model, ["BF16"], setup, Workload(text_tokens=32))


ENCODERS = sorted(
    {
        *auto.MODEL_FOR_IMAGE_MAPPING_NAMES,
        *auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
        *auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
        *auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    }
)
"""What transformers itself takes for encoders of images, texts, or both."""
SAMPLE = (
    "albert", "beit", "chinese_clip", "deberta-v2", "dinov3_vit", "distilbert", "fnet", "layoutlm", "poolformer", "swin",
    "timesformer", "mllama",
)  # fmt: skip
_LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "encoder_layers", "decoder_layers", "num_decoder_layers")


def _two_layers(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with two layers, or one in each stage."""
    options = {key: value for key, value in config.items() if key not in ("model_type", "architectures")}
    resolved = transformers.AutoConfig.for_model(config["model_type"], **options)
    return {**config, **_shallow(resolved)}


def _shallow(config: Any) -> dict[str, Any]:
    shallow: dict[str, Any] = {
        config.attribute_map.get(key, key): 2 for key in _LAYERS if isinstance(getattr(config, key, None), int)
    }
    for key in ("depths", "num_blocks"):
        if isinstance(stages := getattr(config, key, None), list | tuple):
            shallow = {key: [1] * len(stages)}
    if hasattr(config, "depth_coefficient"):
        shallow["depth_coefficient"] = 0.1
    return shallow


def _of_type(kind: str) -> dict[str, Any]:
    own = transformers.CONFIG_MAPPING[kind]()
    parts = {part: getattr(own, part, None) for part in ("vision_config", "text_config")}
    inner = {
        part: {"model_type": one.model_type, **_shallow(one)}
        for part, one in parts.items()
        if isinstance(one, transformers.PreTrainedConfig)
    }
    return {"model_type": kind, **_shallow(own), **inner}


def test_every_type_of_encoder_is_traced_or_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all that transformers maps as an encoder, with two layers; a sample of them but for FITCARD_NIGHTLY=1."""
    monkeypatch.setattr(tracing, "BATCHES", (1,))
    torch.set_num_threads(1)
    refused: dict[str, str] = {}
    kinds = ENCODERS if NIGHTLY else SAMPLE
    for kind in kinds:
        try:
            assert trace(_of_type(kind)).parameters() > 0, kind
        except FitcardError as reason:
            refused[kind] = str(reason)
            assert len(str(reason).splitlines()) == 1, kind
            assert len(str(reason)) < 400, kind
    print(f"{len(kinds) - len(refused)} of {len(kinds)} types traced", *refused.items(), sep="\n")
    if not NIGHTLY:
        assert set(refused) == {"fnet", "timesformer", "mllama"}
    assert len(kinds) - len(refused) >= (80 if NIGHTLY else 9)


def test_in_the_process_with_limits_sizes_are_passed_on() -> None:
    """The request of another length reaches the process that traces."""
    assert trace_bounded(TEXT, tokens=8)[1].phases[0].text_tokens == 8
