"""The update service's side: build, sign and publish a release, and wait for the verdicts.

Imports ``modelcast.shared`` only, never ``modelcast.consumer``.
"""

from modelcast.publisher.progress import Progress
from modelcast.publisher.publication import Publication
from modelcast.publisher.publisher import Publisher
from modelcast.publisher.sampling import SampleSet
from modelcast.publisher.waiting import Outcome

__all__ = ["Outcome", "Progress", "Publication", "Publisher", "SampleSet"]
