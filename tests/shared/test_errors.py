"""The error tree: three families, one exit status for each kind."""

import inspect

import pytest

from modelcast.shared import errors
from modelcast.shared.errors import HostFault, MisuseError, ModelcastError, SenderFault, UnknownFormat
from modelcast.shared.reasons import Reason

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ModelcastError)]
FAMILIES = [SenderFault, HostFault, MisuseError]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not ModelcastError])
def test_every_error_belongs_to_exactly_one_family(kind: type[ModelcastError]) -> None:
    assert len([family for family in FAMILIES if issubclass(kind, family)]) == 1


def test_every_kind_has_an_exit_status_of_its_own() -> None:
    codes = {kind: kind.exit_code for kind in KINDS if kind is not HostFault}   # a host's fault always has a kind
    assert len(set(codes.values())) == len(codes)
    assert all(1 <= code <= 63 for code in codes.values())


def test_an_error_carries_its_hint_and_facts() -> None:
    error = HostFault("It broke.", hint="Mend it.", facts={"part": 1})
    assert (str(error), error.hint, error.facts) == ("It broke.", "Mend it.", {"part": 1})


def test_facts_are_a_copy_and_never_shared() -> None:
    facts: dict[str, object] = {"part": 1}
    error = HostFault("It broke.", facts=facts)
    error.facts["more"] = 2
    assert facts == {"part": 1}
    assert HostFault("It broke.").facts == {}


def test_a_senders_fault_has_a_reason() -> None:
    assert SenderFault(Reason.EXPIRED, "Too late.").reason is Reason.EXPIRED
    assert UnknownFormat("Format 7.").reason is Reason.UNKNOWN_FORMAT
    assert UnknownFormat("Format 7.").hint
