"""The application's side: receive, verify, try and promote a release, or keep the model there is and say why.

Imports ``modelcast.shared`` only, never ``modelcast.publisher``. A name is imported when it is first used, so that
``modelcast dead-letters --help`` does not load the library.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelcast.consumer.active import ActiveModel
    from modelcast.consumer.health import HealthApp
    from modelcast.consumer.model_consumer import ModelConsumer
    from modelcast.consumer.policy import Loading, Timing
    from modelcast.consumer.probation import Probation
    from modelcast.consumer.status import LastVerdict, Status
    from modelcast.consumer.trial import Attempt

__all__ = ["ActiveModel", "Attempt", "HealthApp", "LastVerdict", "Loading", "ModelConsumer", "Probation", "Status", "Timing"]

_HOMES = {
    "ActiveModel": "active", "Attempt": "trial", "HealthApp": "health", "LastVerdict": "status", "Loading": "policy",
    "ModelConsumer": "model_consumer", "Probation": "probation", "Status": "status", "Timing": "policy",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
