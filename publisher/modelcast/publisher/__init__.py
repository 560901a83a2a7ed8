"""The update service's side: build, sign and publish a release, and wait for the verdicts.

Imports ``modelcast.shared`` only, never ``modelcast.consumer``. A name is imported when it is first used, so that
``modelcast publish --help`` does not load the library.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelcast.publisher.operator import Operator
    from modelcast.publisher.preflight import Forecast
    from modelcast.publisher.progress import Progress
    from modelcast.publisher.publication import Publication
    from modelcast.publisher.publisher import Publisher
    from modelcast.publisher.retiring import retire
    from modelcast.publisher.rollout.control import Rollouts
    from modelcast.publisher.rollout.driver import Happening
    from modelcast.publisher.rollout.plan import RolloutPlan
    from modelcast.publisher.rollout.status import RolloutStatus
    from modelcast.publisher.sampling import SampleSet
    from modelcast.publisher.waiting import Outcome

__all__ = [
    "Forecast", "Happening", "Operator", "Outcome", "Progress", "Publication", "Publisher", "RolloutPlan", "RolloutStatus",
    "Rollouts", "SampleSet", "retire",
]

_HOMES = {
    "Forecast": "preflight", "Happening": "rollout.driver", "Operator": "operator", "Outcome": "waiting", "Progress": "progress",
    "Publication": "publication", "Publisher": "publisher", "RolloutPlan": "rollout.plan", "RolloutStatus": "rollout.status",
    "Rollouts": "rollout.control", "SampleSet": "sampling", "retire": "retiring",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
