"""Why an instance rejects an order: one vocabulary for logs, reports, metrics, dead letters and the docs.

Each reason has an explanation: what happened, whose fault it is, what to do. ``docs/dead-letters.md`` and
``modelcast dead-letters explain`` print the same table. Imports nothing of modelcast.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """A stable code for why an order was rejected. Codes are never renamed or reused."""

    MALFORMED = "malformed"
    UNKNOWN_FORMAT = "unknown-format"
    SIGNATURE_MISSING = "signature-missing"
    UNKNOWN_KEY = "unknown-key"
    SIGNATURE_INVALID = "signature-invalid"
    KEY_NOT_ALLOWED = "key-not-allowed"
    WRONG_TARGET = "wrong-target"
    MANIFEST_MISMATCH = "manifest-mismatch"
    EXPIRED = "expired"
    SEQUENCE_CONFLICT = "sequence-conflict"
    VERSION_OUT_OF_RANGE = "version-out-of-range"
    VERSION_DOWNGRADE = "version-downgrade"
    VERSION_CONFLICT = "version-conflict"
    FORMAT_NOT_ALLOWED = "format-not-allowed"
    INCOMPATIBLE_ENVIRONMENT = "incompatible-environment"
    TOO_LARGE = "too-large"
    CHUNKS_MISSING = "chunks-missing"
    CHUNK_DAMAGED = "chunk-damaged"
    TOO_LARGE_FOR_MEMORY = "too-large-for-memory"
    LOAD_FAILED = "load-failed"
    SAMPLES_NOT_REPRODUCED = "samples-not-reproduced"
    VALIDATOR_FAILED = "validator-failed"
    TIMED_OUT = "timed-out"
    REPORTED_BAD = "reported-bad"


HOST = "host"
"""In an answer to a question: the host could not take the release now, such as for want of room. No order is rejected for that."""
OF_THE_SETTING = frozenset({
    Reason.UNKNOWN_KEY, Reason.KEY_NOT_ALLOWED, Reason.VERSION_OUT_OF_RANGE, Reason.FORMAT_NOT_ALLOWED,
    Reason.INCOMPATIBLE_ENVIRONMENT, Reason.TOO_LARGE, Reason.TOO_LARGE_FOR_MEMORY,
})
"""Reasons that lie in how an instance is set up as much as in the release: after a restart, perhaps with another key, library or
memory limit, the order is judged anew."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a reason means to a person.

    Attributes:
        happened: What the instance saw.
        fault: Whose fault it most likely is.
        remedy: What to do next.
    """

    happened: str
    fault: str
    remedy: str


EXPLANATIONS: dict[Reason, Explanation] = {
    Reason.MALFORMED: Explanation(
        "The message in the instance's order queue is not an order: its bytes do not parse.",
        "Whoever wrote to the exchange; it was not a modelcast publisher.",
        "Find out who else may write to the channel's exchange and take that permission away.",
    ),
    Reason.UNKNOWN_FORMAT: Explanation(
        "The order or manifest names a format version that this instance does not know.",
        "The publisher runs a newer modelcast than the instance.",
        "Upgrade modelcast in the application first, then publish again.",
    ),
    Reason.SIGNATURE_MISSING: Explanation(
        "The order or manifest carries no signature.",
        "The publisher, or something that pretends to be one.",
        "Publish with a signing key; if nobody did this on purpose, look for a forger.",
    ),
    Reason.UNKNOWN_KEY: Explanation(
        "The signature was made by a key that this instance does not trust.",
        "The publisher signed with a wrong or new key, or somebody tries to forge a release.",
        "If the key is yours, add its public half to the `trust` list of the application and publish again; "
        "if not, treat it as an attack.",
    ),
    Reason.SIGNATURE_INVALID: Explanation(
        "The signature names a trusted key but does not fit the bytes: they changed after signing.",
        "Something between the publisher and the instance changed the message, or forged it.",
        "Publish again; if it happens again, look at who may write to the exchange.",
    ),
    Reason.KEY_NOT_ALLOWED: Explanation(
        "The signature is good, but the key ring does not let this key sign this model's manifests or this channel's orders.",
        "The publisher used a key of another team or another stage, or the key ring is too narrow.",
        "Sign with the key that is meant for it, or widen the key ring of the application.",
    ),
    Reason.WRONG_TARGET: Explanation(
        "The order is for another model or channel than the queue it came through.",
        "Somebody replayed an order of another model or channel here.",
        "Look at who may write to the exchange; the order is useless here and nothing was changed.",
    ),
    Reason.MANIFEST_MISMATCH: Explanation(
        "The order and the manifest that came with it do not belong together, or the manifest contradicts itself.",
        "The publisher, or something that put two messages together.",
        "Publish again with an unmodified modelcast publisher.",
    ),
    Reason.EXPIRED: Explanation(
        "The order's time to live was over before the instance saw it.",
        "Nobody: the instance was away too long, or a clock is wrong.",
        "Publish the release again; compare the clocks of publisher and instance.",
    ),
    Reason.SEQUENCE_CONFLICT: Explanation(
        "Another order with the same sequence number was already carried out here.",
        "Two publishers released at once, or the channel's history was lost.",
        "Publish again; the new order gets a higher number.",
    ),
    Reason.VERSION_OUT_OF_RANGE: Explanation(
        "The version is outside the range that the application accepts.",
        "The publisher chose a version that this application was not written for, or the range is too narrow.",
        "Publish a version inside the range, or widen `accept` in the application.",
    ),
    Reason.VERSION_DOWNGRADE: Explanation(
        "The version is not above the highest version that this instance has promoted.",
        "The publisher: going back is done by a rollback order, never by an ordinary promotion.",
        "Publish a higher version, or send a rollback order.",
    ),
    Reason.VERSION_CONFLICT: Explanation(
        "This instance knows the same version with other bytes. A version never changes its meaning.",
        "The publisher reused a version number, or somebody replaced a release.",
        "Publish the new bytes under a new version; find out how the old number was used twice.",
    ),
    Reason.FORMAT_NOT_ALLOWED: Explanation(
        "The artifact's format is not among those that the application allows.",
        "The publisher used another format than agreed, or the policy is too narrow.",
        "Publish in an allowed format, or add this one to `formats` in the application.",
    ),
    Reason.INCOMPATIBLE_ENVIRONMENT: Explanation(
        "The model was built with a Python or libraries that this host does not have.",
        "The training environment and the application's environment drifted apart.",
        "Install the versions named in the facts in the application, or train with the application's versions.",
    ),
    Reason.TOO_LARGE: Explanation(
        "The release is larger than this instance allows, or than its disk can ever hold.",
        "The publisher sent something unexpectedly large, or the limit is too low.",
        "Publish a smaller artifact or raise the limit in the application.",
    ),
    Reason.CHUNKS_MISSING: Explanation(
        "Not all chunks of the artifact could be found in the stream, also when it was read again from the start.",
        "The broker dropped old chunks (retention), or the transfer to the broker lost some.",
        "Publish the same version again with --resend (resend=True). Check the retention of the chunk stream.",
    ),
    Reason.CHUNK_DAMAGED: Explanation(
        "A chunk arrived with bytes that do not match the signed digest, also when it was read again.",
        "The bytes changed on the way from the publisher into the broker.",
        "Publish the same version again with --resend (resend=True); "
        "if it happens again, test the publisher's memory, disk and network.",
    ),
    Reason.TOO_LARGE_FOR_MEMORY: Explanation(
        "Loading the model is expected to take more memory than this host, or the container's limit, has in all, "
        "or more than was left there for ten minutes (`Loading.shortage_seconds`).",
        "The publisher sent something unexpectedly large, or the memory limit is too low for two models at once.",
        "Give the application more memory (the facts name the limit), or publish a smaller model: "
        "arrays are mapped and take almost none, objects take many times their size on disk.",
    ),
    Reason.LOAD_FAILED: Explanation(
        "The artifact is intact, but loading it raised an error on this host.",
        "The model needs something that this host does not have, or the artifact is not what its format says.",
        "Read the error in the facts; rebuild the model, or install what is missing in the application.",
    ),
    Reason.SAMPLES_NOT_REPRODUCED: Explanation(
        "The model loaded, but on this host it does not give the sample answers that were recorded at training time.",
        "The model depends on something outside the artifact, or libraries compute differently here.",
        "Compare the answers in the facts; rebuild the model so that it carries all it needs.",
    ),
    Reason.VALIDATOR_FAILED: Explanation(
        "One of the application's own validators said no.",
        "The model does not meet a rule of this application.",
        "Read the validator's message in the facts; improve the model, or correct the rule.",
    ),
    Reason.TIMED_OUT: Explanation(
        "Loading, the samples or a validator took longer than the application allows.",
        "The model is much slower than expected here, or it hangs.",
        "Try the model on a host like this one; raise the time limit if the time is justified.",
    ),
    Reason.REPORTED_BAD: Explanation(
        "The application took the release out of service after its promotion, and went back to the one before.",
        "The release, most likely: it passed every check and then failed at its work.",
        "Read the message, which is the application's own; mend the model and publish a higher version, or roll the channel back.",
    ),
}
