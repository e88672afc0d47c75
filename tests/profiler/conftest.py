"""A small model of SigLIP's kind in a catalog of its own, and a checkpoint of it that transformers itself wrote."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from fitcard.catalog import Catalog, load
from fitcard.catalog.storage.writer import write_trace
from fitcard.profiler.trace import trace
from tests.conftest import copy_catalog

KEY = "tiny/siglip"
# As in SO400M, rows that no multiple of 256 (288 = 9 x 32) and none of 32 (688 = 43 x 16) divides; and 256, which all types hold.
CONFIGS: dict[str, dict[str, Any]] = {
    "odd": {"hidden_size": 288, "intermediate_size": 688, "num_hidden_layers": 8, "num_attention_heads": 4},
    "even": {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 8, "num_attention_heads": 4},
}


def add_tiny(root: Path, shape: dict[str, Any]) -> Catalog:
    """The catalog under `root` with one small model more, traced."""
    sizes = ", ".join(f"{key}: {value}" for key, value in shape.items())
    text = (root / "models/google/siglip-base-patch16-384.yaml").read_text()
    start, end = text.index("  vision_config:"), text.index("config_source:")
    config = f"  vision_config: {{{sizes}, image_size: 56, patch_size: 14}}\n  text_config: {{{sizes}, vocab_size: 512, max_position_embeddings: 16}}\n"
    path = root / "models" / f"{KEY}.yaml"
    path.parent.mkdir()
    text = (text[:start] + config + text[end:]).replace("{gmacs.google/siglip-so400m-patch14-384}", "more")
    path.write_text(re.sub(r"^timm: .*\n", "", text, flags=re.M))
    model = load(root, traces_needed=False).models[KEY]
    write_trace(root / "traces" / f"{KEY}.json", trace(model.config))
    return load(root)


@pytest.fixture(scope="session", params=CONFIGS)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The real catalog with one small model more, in either shape."""
    return add_tiny(copy_catalog(tmp_path_factory.mktemp("tiny") / "catalog"), CONFIGS[request.param])


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The same with the odd shape alone and few layers, for tests that start real processes."""
    shape = {**CONFIGS["odd"], "num_hidden_layers": 2}
    return add_tiny(copy_catalog(tmp_path_factory.mktemp("odd") / "catalog"), shape)


def save_checkpoint(catalog: Catalog, folder: Path) -> nn.Module:
    """Save a model of the small configuration the way transformers does, and give it."""
    config = dict(catalog.models[KEY].config)
    torch.manual_seed(5)
    made = transformers.AutoConfig.for_model(config.pop("model_type"), **config)
    model: nn.Module = transformers.AutoModel.from_config(made).eval()
    model.save_pretrained(folder)  # type: ignore[operator]
    return model


@pytest.fixture(scope="session")
def checkpoint(tiny: Catalog, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """A checkpoint that transformers itself wrote, and the model that it was saved from."""
    folder = tmp_path_factory.mktemp("checkpoint")
    return folder, save_checkpoint(tiny, folder)
