"""One file a runtime, all with the same functions: unsupported, activation_type, write, read_census, load."""

import logging

# torchao and bitsandbytes report at import every optional kernel that they cannot load, and torch what of torchao's it will
# refuse one day. None of it is for the people who profile; and this runs before any of them is imported below.
for _name in ("torchao", "torch.utils._pytree", "bitsandbytes"):
    logging.getLogger(_name).setLevel(logging.ERROR)
