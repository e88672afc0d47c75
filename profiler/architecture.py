"""Which class of transformers a configuration means, and the configurations that fitcard does not answer for."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from torch import nn

from fitcard.catalog.errors import FitcardError, shorten

_WITHOUT_HEAD = re.compile(r"\w+(Model|Encoder|ModelWithProjection)")
"""Class names of models that give embeddings. `BertForMaskedLM` and its like are `BertModel` with a head, which
embeddings do not pass through."""


class Architecture:
    """The class to build, its configuration, and what a reader of the trace must be told."""

    def __init__(self, config: dict[str, Any], resolved: Any) -> None:
        """Take the class that `architectures` names where it has no head, else the one that AutoModel takes.

        Raises FitcardError for a model that generates text.
        """
        import transformers

        self.config = resolved
        self.notes: tuple[str, ...] = ()
        kind, name = config["model_type"], _named(config)
        base = _base(kind)
        named = getattr(transformers, name, None) if name else None
        _check_encoder(kind, name, resolved, base)
        if getattr(resolved, "is_encoder_decoder", False) and not (name and name.endswith("EncoderModel")):
            base = _encoder_alone(kind, name)
            self.notes = (f"of {kind}, which has an encoder and a decoder, only the encoder is traced ({base})",)
            named, resolved.is_encoder_decoder = None, False  # which the encoder of T5Gemma wants to be told
        own = self._part_for(named) if named is not None and name and _WITHOUT_HEAD.fullmatch(name) else None
        if own is not None and named is not None:
            self.model: type[nn.Module] = named
            self.config = own
        else:
            self.model = getattr(transformers, base)

    def _part_for(self, named: Any) -> Any | None:
        """The configuration itself, or its part, that the class `named` is built from; None where neither is."""
        kind = getattr(named, "config_class", None)
        parts = (self.config, *(getattr(self.config, part, None) for part in ("vision_config", "text_config")))
        return next((part for part in parts if kind is not None and type(part) is kind), None)


def check_plain(config: dict[str, Any]) -> None:
    """Raise FitcardError for a configuration of quantized weights, of a type that transformers does not have, or of
    code that only its repository has."""
    import transformers

    kind, name, remote = config["model_type"], _named(config), config.get("auto_map")
    if quantized := config.get("quantization_config"):
        method = quantized.get("quant_method") if isinstance(quantized, dict) else None
        raise FitcardError(
            f"the weights are quantized already (quantization_config: {shorten(method or 'not named')}), and fitcard "
            "quantizes plain ones: give the configuration of the model that they were made from"
        )
    unknown = kind not in transformers.CONFIG_MAPPING
    if remote and (unknown or (name and not hasattr(transformers, name))):
        code = remote.get("AutoModel") or next(iter(remote.values()), None) if isinstance(remote, dict) else remote
        raise FitcardError(
            f"model_type {kind!r} is built by code of its own repository (auto_map: {shorten(code)}), which fitcard does "
            "not run; it answers for the models that transformers itself has"
        )
    if unknown:
        raise FitcardError(
            f"transformers {transformers.__version__} cannot build model_type {shorten(kind)}: it has no model of this type"
        )


def is_decoder(kind: str) -> bool:
    """Whether a type is a language model's: one that transformers has generate text and not fill in masked words."""
    from transformers.models.auto import modeling_auto as auto

    others = (*auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, *auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES)  # Whisper
    return kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in others


def generates(config: dict[str, Any]) -> bool:
    """Whether a configuration is that of a language model, alone or in a vision-language model, and not of embeddings."""
    from transformers.models.auto import modeling_auto as auto

    kind, name = config["model_type"], _named(config)
    if name and name.endswith(("ForCausalLM", "ForConditionalGeneration", "ForImageTextToText", "LMHeadModel")):
        return is_decoder(kind) or kind in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    two = auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES
    sees = kind in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and kind not in two
    return name is None and (is_decoder(kind) or sees)


def _named(config: dict[str, Any]) -> str | None:
    """The first of `architectures`."""
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    return name if isinstance(name, str) and name.isidentifier() else None


def _base(kind: str) -> str:
    """The class that AutoModel takes for a type."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    name = MODEL_MAPPING_NAMES.get(kind)
    if name is None:
        raise FitcardError(f"transformers maps model_type {kind!r} to no model without a head")
    return name if isinstance(name, str) else name[0]


def _check_encoder(kind: str, name: str | None, resolved: Any, base: str) -> None:
    """Raise FitcardError for a language model, alone or in a vision-language model, and for what takes sound."""
    import transformers
    from transformers.models.auto import modeling_auto as auto

    if getattr(getattr(transformers, base), "main_input_name", None) in ("input_features", "input_values"):
        _refuse(name or kind, "takes sound")
    two = auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES
    generates = kind in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and kind not in two
    inner = getattr(getattr(resolved, "text_config", None), "model_type", "")
    if generates or is_decoder(inner):
        _refuse(name or kind, "is a vision-language model, which generates text")
    if is_decoder(kind) and name != base:
        _refuse(name or kind, "is a language model", f", unless it makes embeddings (then architectures names {base})")


def _encoder_alone(kind: str, name: str | None) -> str:
    """The class of the encoder alone of a model with an encoder and a decoder. Raises FitcardError where there is none,
    or where the configuration means the whole model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES

    encoder: str | None = MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES.get(kind)
    if encoder is None or not encoder.endswith("EncoderModel"):
        _refuse(name or kind, "has a decoder besides its encoder")
    if name is not None:
        _refuse(name, "has a decoder besides its encoder", f" (architectures: {encoder})")
    return encoder


def _refuse(what: str, why: str, but: str = "") -> NoReturn:
    raise FitcardError(f"{what} {why}: fitcard answers for encoders of images and texts so far{but}")
