"""nasplug's sampler for architecture search, as a package of OptunaHub."""

from __future__ import annotations

try:
    from nasplug import PredictorSampler
except ModuleNotFoundError as error:
    message = "samplers/nasplug needs nasplug; run `pip install nasplug`"
    raise ModuleNotFoundError(message) from error

__all__ = ["PredictorSampler"]
