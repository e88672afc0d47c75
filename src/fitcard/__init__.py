"""Will this model, in this quantization, run on this GPU, and how fast?"""

__version__ = "0.2.0"
