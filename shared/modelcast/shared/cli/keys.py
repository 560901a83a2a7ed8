"""The command ``modelcast keys``: make a signing key, show what a key file is. Importing it loads click only."""

from pathlib import Path

import click

from modelcast.shared.cli.connection import json_option
from modelcast.shared.cli.output import Output


@click.group()
def keys() -> None:
    """Signing keys: whoever holds a private one can run code in every instance that trusts it.

    \b
    Example:
      modelcast keys generate keys/training
    """  # noqa: D301 - \b is click's mark for text that is not wrapped


@keys.command()
@click.argument("name", type=click.Path(path_type=Path))
@json_option
def generate(*, name: Path, as_json: bool) -> None:
    """Write NAME.key (private, for the publisher) and NAME.pub (for the applications).

    \b
    Example:
      modelcast keys generate keys/training
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.shared.keyfiles import generate as generate_pair  # noqa: PLC0415 - --help need not load cryptography
    from modelcast.shared.keyfiles import load_signing_key  # noqa: PLC0415

    output = Output(as_json=as_json)
    private, public = generate_pair(name)
    key_id = load_signing_key(private).key_id
    if as_json:
        output.document({"private": str(private), "public": str(public), "key_id": key_id})
        return
    output.data(f"{private}  private, key {key_id}: keep it where releases are made, and nowhere else")
    output.data(f'{public}  public: give it to the applications, ModelConsumer(..., trust=["{public}"])')


@keys.command()
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def show(*, path: Path, as_json: bool) -> None:
    """Show the id of a key, and what a key ring lets each key sign. Never prints a private key.

    \b
    Example:
      modelcast keys show keys/training.pub
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.shared.keyfiles import load_signing_key, load_trusted_keys, public_pem  # noqa: PLC0415 - see above

    output = Output(as_json=as_json)
    is_private = path.suffix == ".key"
    trusted = [load_signing_key(path).trusted()] if is_private else load_trusted_keys(path)
    if as_json:
        output.document({
            "path": str(path), "private": is_private,
            "keys": [
                {"key_id": key.key_id, "models": key.models, "channels": key.channels, "public_pem": public_pem(key)}
                for key in trusted
            ],
        })
        return
    rows = [(key.key_id, ", ".join(key.models) or "none", ", ".join(key.channels) or "none") for key in trusted]
    output.table(("key", "may sign manifests of", "may sign orders for"), rows)
