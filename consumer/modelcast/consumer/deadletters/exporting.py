"""A dead letter as a file for a bug report: everything that is known of it, readable without modelcast. Pure: values in, bytes out.

Decides what is in it, and that the same letter makes the same bytes: no time of the export, no name of a user, host or path of
whoever exports. Imports the letter and the report.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence

from modelcast.consumer.deadletters.letter import Letter
from modelcast.shared.cli.output import as_time, json_text
from modelcast.shared.report import Report

TIME = (1980, 1, 1, 0, 0, 0)
"""The time of every file: the first that a zip knows."""
SUMS = "SHA256SUMS"
_ABOUT = """\
A dead letter of modelcast: an order that an instance refused.

  letter        {letter.id}
  order         {letter.order_id}
  refused by    {instance} of {target}
  at            {died} UTC
  version       {version} (as the message claims)
  reason        {reason}

  {happened}
  Whose fault: {fault}
  What to do: {remedy}

Files:

  order.bin      the message as the instance got it, {letter.size_bytes} bytes: a msgpack map of two signed envelopes
  letter.json    what is known of it, with the reason in words
  order.json     what the order in it claims; null when it cannot be read
  manifest.json  what the manifest in it claims: files, digests, environment, training; null when it cannot be read
  reports.json   what the instance reported of this order, oldest first: both sides of what did not match, and its host
  SHA256SUMS     to check that nothing was changed: sha256sum -c SHA256SUMS

order.json and manifest.json are claims of the message; nobody has verified a signature for this file. There is no part of the
model in it, no key and no password. There are names in it: of the model, the instance and its host, and whatever the publisher wrote
into the manifest.

The same letter exported again gives the same bytes, as long as the reports are kept.

To see with modelcast what an instance sees, in Python:

  from pathlib import Path
  from modelcast.consumer.trust import open_order
  from modelcast.shared.keyfiles import load_key_ring
  open_order(Path("order.bin").read_bytes(), load_key_ring(["training.pub"]), model="{model}", channel="{channel}")
"""


def files_of(letter: Letter, body: bytes, reports: Sequence[Report]) -> dict[str, bytes]:
    """Return the files of an export, by name.

    Args:
        letter: The letter, in full.
        body: The order message.
        reports: What its instance reported of the order, oldest first.
    """
    full = letter.in_full()
    order, manifest = full.pop("order"), full.pop("manifest")
    del full["report"]   # it is among the reports
    files = {
        "README": _about(letter).encode(), "order.bin": body, "letter.json": _json(full), "order.json": _json(order),
        "manifest.json": _json(manifest), "reports.json": _json([report.model_dump(mode="python") for report in reports]),
    }
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    return files | {SUMS: sums.encode()}


def _about(letter: Letter) -> str:
    explanation, channel = letter.explanation, letter.channel or "?"
    return _ABOUT.format(
        letter=letter, instance=letter.instance or "?", target=f"{letter.model or '?'}/{channel}", died=as_time(letter.died_ms),
        version=letter.claimed_version or "?", reason=letter.reason or "not known: the report is not there (any more)",
        happened=explanation.happened, fault=explanation.fault, remedy=explanation.remedy, model=letter.model or "?", channel=channel,
    )


def _json(value: object) -> bytes:
    return (json_text(value, indent=2, sorts=True) + "\n").encode()


def zipped(files: Mapping[str, bytes], folder: str) -> bytes:
    """Return a zip of some files in one folder; not compressed, since what a compressor makes depends on its version."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(f"{folder}/{name}", TIME)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16   # as if on Unix, wherever it is made
            archive.writestr(entry, content)
    return made.getvalue()
