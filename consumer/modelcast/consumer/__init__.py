"""The application's side: receive, verify, try and promote a release, or keep the model there is and say why.

Imports ``modelcast.shared`` only, never ``modelcast.publisher``.
"""

from modelcast.consumer.active import ActiveModel
from modelcast.consumer.model_consumer import ModelConsumer
from modelcast.consumer.policy import Timing
from modelcast.consumer.status import LastVerdict, Status

__all__ = ["ActiveModel", "LastVerdict", "ModelConsumer", "Status", "Timing"]
