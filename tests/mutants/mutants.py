"""Defects that somebody could make, each of which some test must find: the checks checked.

Decides which line is broken how, and which tests are asked. Pure data; ``tests.mutants.__main__`` plays them.
"""

from dataclasses import dataclass

SIMULATION = "tests/simulation"
CONSUMER, SHARED, PUBLISHER = "consumer/modelcast/consumer/", "shared/modelcast/shared/", "publisher/modelcast/publisher/"


@dataclass(frozen=True)
class Mutant:
    """One defect.

    Attributes:
        name: What is wrong, in words.
        path: The file.
        before: What stands there; must stand there exactly once.
        after: What stands there instead.
        tests: What pytest is asked to run; one of it must fail.
    """

    name: str
    path: str
    before: str
    after: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "the model is swapped before the pointer is written", f"{CONSUMER}workshop.py",
        "            self._store.point(pointer)\n            reach(Point.AFTER_POINTER)\n"
        "            self._slot.swap(\n"
        "                trial.model, trusted.manifest, trusted.release, sequence=trusted.order.sequence, order=trusted.id\n"
        "            )\n",
        "            self._slot.swap(\n"
        "                trial.model, trusted.manifest, trusted.release, sequence=trusted.order.sequence, order=trusted.id\n"
        "            )\n"
        "            reach(Point.AFTER_POINTER)\n            self._store.point(pointer)\n",
        ("tests/consumer/test_workshop.py",),
    ),
    Mutant(
        "a folder is not synced after a rename", f"{SHARED}fs.py",
        '        guarded("rename", source, lambda: os.replace(source, target))\n        self.sync_folder(target.parent)\n',
        '        guarded("rename", source, lambda: os.replace(source, target))\n',
        ("tests/consumer/test_workshop.py", "tests/consumer/test_store.py"),
    ),
    Mutant(
        "a file is not synced before it gets its name", f"{SHARED}fs.py",
        "                self.write_at(descriptor, content, 0, temporary)\n                self.sync(descriptor, temporary)\n",
        "                self.write_at(descriptor, content, 0, temporary)\n",
        ("tests/consumer/test_workshop.py", "tests/consumer/test_store.py"),
    ),
    Mutant(
        "the key that an envelope names is believed", f"{SHARED}signing.py",
        "                if key.signed(signature, message):", "                if key.key_id == hint:", ("tests/shared/test_signing.py",),
    ),
    Mutant(
        "an order of a lost connection is settled on the new one", f"{SHARED}amqp_road.py",
        "        if inbox is not self._orders:\n            return", "        if inbox is None:\n            return",
        ("tests/consumer/test_courier.py", "tests/contract/test_road_contract.py", SIMULATION),
    ),
    Mutant(
        "receipts of a lost connection are kept", f"{CONSUMER}ledger.py",
        "        self._receipts.clear()\n", "        pass\n", ("tests/consumer/test_ledger.py", SIMULATION),
    ),
    Mutant(
        "a rejection is settled before its report is confirmed", f"{CONSUMER}ledger.py",
        "found is None or (found[0] is Verdict.REJECTED and found[1] in self._unsent)", "found is None",
        ("tests/consumer/test_ledger.py", SIMULATION),
    ),
    Mutant(
        "a rejection is remembered before its report is kept", f"{CONSUMER}workshop.py",
        "        name = self.journal.add_report(report)   # first: a crash in between costs a second report, never the only one\n"
        "        self.journal.remember(rejection)\n",
        "        self.journal.remember(rejection)\n        name = self.journal.add_report(report)\n",
        ("tests/consumer/test_workshop.py",),
    ),
    Mutant(
        "a rollback does not lower the floor", f"{CONSUMER}rules.py",
        "if floor is None or trusted.is_rollback or not", "if floor is None or not", (SIMULATION,),
    ),
    Mutant(
        "a promotion is not refused for a version below the floor", f"{CONSUMER}rules.py",
        "    if version.precedes(floor):\n", "    if False and version.precedes(floor):\n", ("tests/consumer/test_rules.py", SIMULATION),
    ),
    Mutant(
        "a newer order of the queue is judged before the history has come by", f"{SHARED}amqp_history.py",
        "        self._passed: dict[str, None] | None = {}", "        self._passed: dict[str, None] | None = None",
        ("tests/contract/test_history_contract.py", SIMULATION),
    ),
    Mutant(
        "the history is read on behind orders that are still open", f"{CONSUMER}agenda.py",
        "        return min(open_places, key=lambda place: place.offset)", "        return self._places[trusted.id]",
        ("tests/consumer/test_agenda.py", SIMULATION),
    ),
    Mutant(
        "a better order does not stop the one in hand", f"{CONSUMER}updater.py",
        "        if (trial.dropped or not is_best) and self.state is not State.PROMOTING:", "        if trial.dropped and self.state is not State.PROMOTING:",
        ("tests/consumer/test_updater.py", SIMULATION),
    ),
    Mutant(
        "an order is judged again while its verdict is being written", f"{CONSUMER}ledger.py",
        "        return order in self._verdicts or order in self._expected\n", "        return order in self._verdicts\n",
        ("tests/consumer/test_verdicts.py", SIMULATION),
    ),
    Mutant(
        "the sequence of the last order is not kept", f"{CONSUMER}succession.py",
        "        0, trusted.release, previous, trusted.order.sequence,", "        0, trusted.release, previous, before.sequence,",
        ("tests/consumer/test_workshop.py", SIMULATION),
    ),
    Mutant(
        "a chunk is written whatever its digest", f"{CONSUMER}assembly.py",
        "        if not self.progress.places(identity, len(body)):", "        if claim is not None and not self.progress.places(identity := bytes.fromhex(claim), len(body)):",
        ("tests/consumer/test_assembly.py", "tests/consumer/test_receiving.py"),
    ),
    Mutant(
        "buffers that somebody touched are not read again", f"{CONSUMER}keeper.py",
        "        is_known = facts is not None and self._read.get(release) == facts\n",
        "        is_known = facts is not None and release in self._read\n",
        ("tests/consumer/test_vetoes.py",),
    ),
    Mutant(
        "what was written is not compared before it is loaded at a start", f"{CONSUMER}keeper.py",
        "            damage = self._damage(release, manifest.artifact)\n            if damage is not None:",
        "            damage = None\n            if damage is not None:", ("tests/consumer/test_workshop.py",),
    ),
    Mutant(
        "a release that ends the process at every start is loaded for ever", f"{CONSUMER}keeper.py",
        "        if pointer.tries_left <= 0:", "        if pointer.tries_left <= -1_000:", ("tests/consumer/test_workshop.py",),
    ),
    Mutant(
        "the order is sent before the chunks are confirmed", f"{PUBLISHER}publication.py",
        "    road.chunks.finish(release)\n", "    pass\n", ("tests/contract/test_life_contract.py", "tests/publisher/test_publication.py"),
    ),
    Mutant(
        "what was ordered meanwhile is not read", f"{PUBLISHER}hold.py",
        "        self.is_let_go, self.catalog = False, Catalog(self._road.register.read())\n", "        self.is_let_go = False\n",
        ("tests/publisher/test_hold.py",),
    ),
    Mutant(
        "what was rolled back meanwhile is ordered", f"{PUBLISHER}publication.py",
        "        hold.refuse_withdrawn_meanwhile(intent.channel, intent.draft.facts.version)", "        pass", ("tests/publisher/test_hold.py",),
    ),
    Mutant(
        "a release whose chunks were deleted while it was sent is ordered", f"{PUBLISHER}publication.py",
        "        hold.refuse_lost(begin, plan)\n", "        pass\n", ("tests/publisher/test_hold.py",),
    ),
    Mutant(
        "who sweeps does not ask whether somebody writes there", f"{SHARED}file_publishing.py",
        "            if sends:   # nobody else writes there now\n", "            if True:\n", ("tests/shared/test_file_publishing.py",),
    ),
    Mutant(
        "who waits to come back is silent", f"{PUBLISHER}server/sessions.py",
        "        with session.asking():   # who waits is not silent\n", "        if True:\n", ("tests/publisher/server/test_sessions.py",),
    ),
    Mutant(
        "a driver goes on when somebody else took its rollout over", f"{PUBLISHER}rollout/desk.py",
        "        return rollout.phase is Phase.RUNNING and rollout.driver == self.driver\n", "        return rollout.phase is Phase.RUNNING\n",
        ("tests/publisher/rollout/test_desk.py",),
    ),
    Mutant(
        "a wave is for everybody", f"{SHARED}order.py",
        "        return self.up_to is None or turn_of(instance) <= self.up_to\n", "        return True\n",
        ("tests/shared/test_order.py", "tests/consumer/test_updater.py"),
    ),
    Mutant(
        "a wave of a rollout reaches less than the one before", f"{PUBLISHER}rollout/plan.py",
        "    return max(turns[count - 1] if count else 0, before or 0)\n", "    return turns[count - 1] if count else 0\n",
        ("tests/publisher/rollout/test_plan.py",),
    ),
    Mutant(
        "a veto counts as promoted once more is reported of a rollout", f"{PUBLISHER}rollout/tally.py",
        "        if report.verdict is Verdict.PROMOTED and self.said.get(report.instance) is not Said.VETOED:\n",
        "        if report.verdict is Verdict.PROMOTED:\n", ("tests/publisher/rollout/test_tally.py",),
    ),
    Mutant(
        "each wave of a rollout is carried out anew by who has the release", f"{CONSUMER}rules.py",
        "    if sequence != standing.sequence and not _is_of_the_same_rollout(trusted, standing):\n",
        "    if sequence != standing.sequence:\n", ("tests/consumer/test_rules.py",),
    ),
    Mutant(
        "a rollout goes back once more after somebody ordered something else", f"{PUBLISHER}operator.py",
        " or not found.may_be_out or found.left_by is not None:\n", " or not found.may_be_out:\n",
        ("tests/publisher/rollout/test_control.py",),
    ),
    Mutant(
        "a rollout goes back to a release that only some waves of another brought", f"{PUBLISHER}choosing.py",
        "order.order is not None and order.up_to is None\n", "order.order is not None\n", ("tests/publisher/test_choosing.py",),
    ),
    Mutant(
        "a rollout waits for instances that were heard hours ago", f"{PUBLISHER}rollout/driver.py",
        "        up_to = reach_of(plan.waves[number], heard, rollout.up_to)\n",
        "        heard = self.tally.known\n        up_to = reach_of(plan.waves[number], heard, rollout.up_to)\n",
        ("tests/publisher/rollout/test_driver.py",),
    ),
    Mutant(
        "memory from which a thread may still write is lent to the next body", f"{PUBLISHER}server/inflow.py",
        "            self._lent -= 1\n        if len(self._free)", "            self._lent -= 1\n            self._free.append(buffer)\n        if False and len(self._free)",
        ("tests/publisher/server/test_inflow.py",),
    ),
    Mutant(
        "a small answer is waited for as if it were a large one", f"{SHARED}http_wire.py",
        "                each.gather(1)\n", "                pass\n", ("tests/shared/test_http_wire.py",),
    ),
)
