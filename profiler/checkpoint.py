"""The weights of a checkpoint on disk, under the names of the model that transformers builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.quantization import StoredTensor
from fitcard.profiler.meta_model import resolve
from fitcard.profiler.variant import VariantSpec
from fitcard.profiler.weights_source import checkpoint_files

_FLOATS = {"F64", "F32", "F16", "BF16"}
"""The types of safetensors that hold weights as they are."""
_NOT_WEIGHTS = {"BOOL": "true or false", "C64": "complex numbers"}


class Checkpoint:
    """A local checkpoint in safetensors, checked for names, types and shapes before it is used."""

    def __init__(self, folder: Path, spec: VariantSpec) -> None:
        """Raises FitcardError for a missing file or tensor, another shape, a type that is no weight, or a name in two
        files.

        Pickled checkpoints are never opened. Names of other versions of transformers are translated by transformers
        itself.
        """
        self.nonfinite = 0
        """How many of the numbers given so far were infinite or not a number."""
        model = spec.meta_model()
        parameters = {name.rpartition(".")[2] for name, _ in model.named_parameters()}
        tensors = _tensors(folder, parameters)
        self._parameters = _loaded(folder, tensors, spec)

    def values(self, tensor: StoredTensor) -> torch.Tensor:
        """The float32 values of a tensor."""
        numbers = self._parameters[tensor.name].detach().float()
        self.nonfinite += int((~torch.isfinite(numbers)).sum())
        return numbers


def _tensors(folder: Path, parameters: set[str]) -> dict[str, torch.Tensor]:
    """Every tensor of a folder by the name that its file gives it. `parameters` are the last parts of the parameters'
    names.

    The tensors are views of the mapped files, so nothing is read yet.
    """
    from safetensors import SafetensorError, safe_open

    files = checkpoint_files(folder)
    if not files:
        other = sorted(p.name for p in folder.glob("*") if p.suffix in {".bin", ".pt", ".pth"})
        hint = f" ({', '.join(other)} may run code when opened, so it is not read)" if other else ""
        raise FitcardError(f"{folder} holds no .safetensors file{hint}")
    file_of: dict[str, Path] = {}
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - not a dict: it has keys(), and no iteration
                    if name in file_of:
                        raise FitcardError(
                            f"{name} is in both {file_of[name].name} and {file.name} of {folder}: keep one of the two"
                        )
                    file_of[name] = file
                    is_weight = name.rpartition(".")[2] in parameters
                    if is_weight:
                        _check_type(folder, name, opened.get_slice(name).get_dtype())
                    tensors[name] = opened.get_tensor(name)
        except SafetensorError as error:
            raise FitcardError(f"{file} is no whole safetensors file: {error}") from None
    return tensors


def _check_type(folder: Path, name: str, type_name: str) -> None:
    if type_name in _FLOATS:
        return
    if type_name in _NOT_WEIGHTS:
        raise FitcardError(f"{name} in {folder} holds {_NOT_WEIGHTS[type_name]} ({type_name}), which are no weights")
    raise FitcardError(
        f"{name} in {folder} is quantized already ({type_name}); "
        "fitcard quantizes from F32, F16 or BF16: give the original checkpoint"
    )


def _loaded(folder: Path, tensors: dict[str, torch.Tensor], spec: VariantSpec) -> dict[str, nn.Parameter]:
    """The parameters of the model by name, in float32, as `from_pretrained` of transformers fills them."""
    import transformers

    config = resolve(spec.config)
    model_class: Any = transformers.AutoModel._model_mapping[type(config)]
    transformers.utils.logging.disable_progress_bar()
    try:
        model, info = model_class.from_pretrained(
            None, config=config, state_dict=tensors, dtype=torch.float32, ignore_mismatched_sizes=True,
            output_loading_info=True, local_files_only=True,
        )  # fmt: skip
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FitcardError(f"{folder} cannot be read as a checkpoint of {spec.model_id}: {first}") from None
    needed = {tensor.name for tensor in spec.stored}
    for name, theirs, ours in sorted(info["mismatched_keys"], key=lambda row: str(row[0])):
        if name in needed:
            raise FitcardError(f"{name} is {list(theirs)} in {folder}, but {list(ours)} in the catalog")
    if missing := sorted(needed & set(info["missing_keys"])):
        raise FitcardError(f"{folder} has no tensor {missing[0]}: it is another model's checkpoint")
    return dict(model.named_parameters())
