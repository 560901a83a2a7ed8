"""Benchmarks start nodes of their own; on a fresh machine their tests are the first that need RabbitMQ."""

import pytest


@pytest.fixture(autouse=True)
def _broker_is_there(rabbitmq_installed: None) -> None:
    """See ``rabbitmq_installed``."""
