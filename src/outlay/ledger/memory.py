"""The reference store: plain Python in one process, gone with it. It answers by folding its entries.

It is what the other stores are compared with, so it is written to be plainly right, not fast.
"""

from __future__ import annotations

import secrets
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import msgspec

from outlay.clock import DAY_MICROSECONDS, Instant, zone_info
from outlay.errors import LedgerClosed, LedgerError
from outlay.ledger import accounts, rollups, rules, sightings
from outlay.ledger.budget_store import Covering
from outlay.ledger.memory_budgets import MemoryBudgets
from outlay.ledger.memory_serving import MemoryServing
from outlay.ledger.store import Amendment, EntryFilter, JobOutcome, Retained, StaleBook, Statement, StatementLine
from outlay.ledger.tallies import Scan, check_entry_filter, matches, scan_too_large
from outlay.model import Appended, AuditFinding, AuditReport, CostQuery, CostTable, Entry, Outcome, Rate


class _Checkpoint(msgspec.Struct):
    entries: int = 0
    amount: int = 0
    digest: bytes = b""


class MemoryStore(MemoryBudgets, MemoryServing):
    """A ledger in this process's memory. Threads may share it; nothing outlives the process."""

    def __init__(self, *, currency: str = "USD", zone: str = "UTC", covering: Covering | None = None) -> None:
        """`covering` says in which accounts an entry counts. Raises InvalidInput `unknown_zone`."""
        zone_info(zone)
        self.currency = currency
        self.home_zone = zone
        self.address = "memory:"
        self._lock = threading.RLock()
        self._closed = False
        self._entries: dict[int, Entry] = {}
        self._versions: dict[int, list[int]] = {}
        self._identity: dict[tuple[int, str], tuple[int, bytes]] = {}
        self._call_keys: dict[str, tuple[int, Instant]] = {}
        self._last_seq = 0
        self._folded = 0
        self._epoch = 1
        self._rates: list[Rate] = []
        self._catalogues: dict[str, tuple[bytes, Instant]] = {}
        self._active: str | None = None
        self._statements: dict[str, Statement] = {}
        self._lines: dict[tuple[str, str], StatementLine] = {}
        self._outcomes: dict[str, JobOutcome] = {}
        self._settings: dict[str, str] = {}
        self._checkpoints: dict[int, _Checkpoint] = defaultdict(_Checkpoint)
        # What retention dropped still counts where a rollup answers, as it does in the other stores.
        self._dropped: dict[int, Entry] = {}
        self._make_budgets(covering)
        self._make_serving()

    def _open(self) -> threading.RLock:
        if self._closed:
            raise LedgerClosed
        return self._lock

    def epoch(self) -> int:
        """A number that grows with every change of prices, rules or settings."""
        with self._open():
            return self._epoch

    def append(self, entries: Sequence[Entry], *, epoch: int | None = None) -> list[Appended]:
        """See LedgerStore.append."""
        with self._open():
            if epoch is not None and epoch != self._epoch:
                raise StaleBook
            for entry in entries:
                rules.check_storable(entry)
            return self._append_counted(entries)

    def _append_counted(self, entries: Sequence[Entry]) -> list[Appended]:
        before = self._last_seq
        results = [self._append(entry) for entry in entries]
        self._count(self._written_since(before))
        return results

    def _written_since(self, seq: int) -> list[Entry]:
        return [self._entries[at] for at in range(seq + 1, self._last_seq + 1)]

    def _append(self, entry: Entry) -> Appended:
        own = rules.identity_day(entry.event)
        for day in (own, *entry.probe_days):
            found = self._identity.get((day, entry.event.id))
            if found is not None:
                return self._known(entry, *found)
        seen = self._see_again(entry)
        if seen is not None:
            if seen.entry is not None:
                self._identity[(own, entry.event.id)] = (rules.root_of(seen.entry), entry.fingerprint)
            return seen
        written = self._write(entry)
        self._identity[(own, entry.event.id)] = (written.seq, entry.fingerprint)
        self._keep_key(entry, written.seq)
        return Appended(Outcome.CREATED.value, written)

    def _known(self, entry: Entry, seq: int, kept_fingerprint: bytes) -> Appended:
        """What is known of an id: its entry, that retention dropped it, or another capture of the same call."""
        kept = self._entries.get(seq)
        if kept is not None and kept.event.id == entry.event.id:
            return Appended(rules.conflict_code(kept, entry), kept)
        code = rules.dropped_code(kept_fingerprint, entry)
        if kept is None:
            return Appended(code, None)
        live = self._live(kept) or self._event(seq)[-1]
        return Appended(Outcome.SEEN.value if code == Outcome.EXISTS else code, live)

    def _see_again(self, entry: Entry) -> Appended | None:
        """What another capture has booked of this call, corrected where this one knows more; None if none has."""
        root, recorded_at = self._call_keys.get(entry.event.call_key or "", (0, 0))
        if not root or not sightings.still_known(recorded_at, entry.recorded_at):
            return None
        versions = self._event(root)
        live = rules.live_version(versions)
        if live is None:
            return Appended(Outcome.SEEN.value, versions[-1] if versions else None)
        replacement = sightings.replacement(live, entry)
        if replacement is None:
            return Appended(Outcome.SEEN.value, live)
        amended = self._amend(Amendment(live.seq, replacement, entry.recorded_at, sightings.SEEN_AGAIN))
        return Appended(Outcome.SEEN.value, amended.entry)

    def _keep_key(self, entry: Entry, root: int) -> None:
        if entry.event.call_key is None:
            return
        self._call_keys.pop(entry.event.call_key, None)
        self._call_keys[entry.event.call_key] = (root, entry.recorded_at)
        for key, (_, recorded_at) in list(islice(self._call_keys.items(), 2)):
            if not sightings.still_known(recorded_at, entry.recorded_at):
                del self._call_keys[key]

    def _write(self, entry: Entry) -> Entry:
        self._last_seq += 1
        written = msgspec.structs.replace(entry, seq=self._last_seq)
        self._entries[written.seq] = written
        self._versions.setdefault(rules.root_of(written), []).append(written.seq)
        return written

    def amend(self, amendments: Sequence[Amendment]) -> list[Appended]:
        """See LedgerStore.amend."""
        with self._open():
            for amendment in amendments:
                if amendment.replacement is not None:
                    rules.check_storable(amendment.replacement)
                expected = self._entries.get(amendment.expects)
                if expected is not None and self._live(expected) is expected:
                    rules.replacement_of(expected, amendment)
            before = self._last_seq
            results = [self._amend(amendment) for amendment in amendments]
            self._count(self._written_since(before))
            return results

    def _amend(self, amendment: Amendment) -> Appended:
        expected = self._entries.get(amendment.expects)
        if expected is None:
            return Appended("changed_meanwhile", None)
        versions = self._event(rules.root_of(expected))
        live = rules.live_version(versions)
        if live is None or live.seq != amendment.expects:
            return Appended("changed_meanwhile", versions[-1])
        replacement = rules.replacement_of(live, amendment)
        written = self._write(rules.reversal_of(live, amendment.recorded_at, amendment.reason))
        return Appended(Outcome.CREATED.value, written if replacement is None else self._write(replacement))

    def _live(self, entry: Entry) -> Entry | None:
        return rules.live_version(self._event(rules.root_of(entry)))

    def _event(self, root: int) -> list[Entry]:
        return [self._entries[seq] for seq in self._versions.get(root, ())]

    def versions(self, id: str, days: Sequence[int] | None = None) -> list[list[Entry]]:
        """See LedgerStore.versions."""
        with self._open():
            roots = [
                seq
                for (day, known), (seq, _) in sorted(self._identity.items())
                if known == id and (days is None or day in days)
            ]
            return [self._event(root) for root in roots if root in self._entries]

    def entries(self, filter: EntryFilter, limit: int | None = None) -> Iterator[Entry]:
        """See LedgerStore.entries."""
        check_entry_filter(filter.where)
        with self._open():
            kept = [entry for entry in self._entries.values() if self._wanted(entry, filter)]
        if filter.newest_first:
            kept.reverse()
        yield from kept if limit is None else kept[:limit]

    def _wanted(self, entry: Entry, filter: EntryFilter) -> bool:
        if filter.after is not None and (
            entry.seq >= filter.after if filter.newest_first else entry.seq <= filter.after
        ):
            return False
        at = entry.event.occurred_from
        if filter.since is not None and at < filter.since:
            return False
        if filter.until is not None and at >= filter.until:
            return False
        if filter.as_of is not None and entry.recorded_at > filter.as_of:
            return False
        if filter.live_only:
            versions = [
                version
                for version in self._event(rules.root_of(entry))
                if filter.as_of is None or version.recorded_at <= filter.as_of
            ]
            if rules.live_version(versions) is not entry:
                return False
        return matches(entry, filter.where)

    def job_entries(self, job: str) -> list[Entry]:
        """See LedgerStore.job_entries."""
        with self._open():
            return [entry for entry in self._entries.values() if entry.event.job == job]

    def costs(self, query: CostQuery) -> CostTable:
        """See LedgerStore.costs."""
        with self._open():
            scan = Scan(query, self.home_zone)
            chosen = rollups.plan(query, self.home_zone)
            if chosen is None and not rollups.names_one_index(query):
                examined = sum(1 for entry in self._entries.values() if _within(entry, query))
                if examined > query.scan_limit:
                    raise scan_too_large(f"{examined:,}", query.scan_limit)
            for entry in self._dropped.values():
                if chosen is not None and chosen.holds(entry.event.occurred_from):
                    scan.add(entry)
            for entry in self._entries.values():
                scan.add(entry)
            return scan.table(self.currency, "scan")

    def fold(self, limit: int = 100_000) -> int:
        """Nothing is folded here; it counts as the other stores do."""
        with self._open():
            waiting = sum(1 for seq in self._entries if seq > self._folded)
            folded = min(waiting, limit)
            pending = sorted(seq for seq in self._entries if seq > self._folded)
            self._folded = pending[folded - 1] if folded else self._folded
            return folded

    def audit(self) -> AuditReport:
        """See LedgerStore.audit."""
        with self._open():
            findings: list[AuditFinding] = []
            for entry in self._entries.values():
                findings.extend(rules.unsound(entry))
            for root in self._versions:
                findings.extend(rules.unsound_versions(self._event(root)))
            horizon = (max(self._checkpoints) + 1) * DAY_MICROSECONDS if self._checkpoints else -(1 << 62)
            findings.extend(self._unsound_accounts(horizon))
            kept = sum(entry.sign * entry.rating.amount for entry in self._entries.values())
            dropped = sum(checkpoint.amount for checkpoint in self._checkpoints.values())
            return AuditReport(
                entries=len(self._entries), rollup_cells=0, amount=kept + dropped, findings=tuple(findings)
            )

    def add_rates(self, rates: Sequence[Rate]) -> int:
        """See LedgerStore.add_rates."""
        with self._open():
            self._rates.extend(rates)
            return self._raise_epoch()

    def _raise_epoch(self) -> int:
        self._epoch += 1
        return self._epoch

    def rates(self) -> list[Rate]:
        """See LedgerStore.rates."""
        with self._open():
            return list(self._rates)

    def put_catalogue(self, id: str, body: bytes, recorded_at: Instant, *, activate: bool) -> int:
        """See LedgerStore.put_catalogue."""
        with self._open():
            self._catalogues.setdefault(id, (body, recorded_at))
            if activate:
                self._active = id
            return self._raise_epoch()

    def catalogue(self, id: str | None = None) -> tuple[str, bytes] | None:
        """See LedgerStore.catalogue."""
        with self._open():
            wanted = self._active if id is None else id
            found = self._catalogues.get(wanted) if wanted is not None else None
            return None if found is None or wanted is None else (wanted, found[0])

    def catalogues(self) -> list[tuple[str, Instant, bool]]:
        """See LedgerStore.catalogues."""
        with self._open():
            return [(id, at, id == self._active) for id, (_, at) in self._catalogues.items()]

    def add_statement(
        self, statement: Statement, lines: Sequence[StatementLine], charges: Sequence[Entry]
    ) -> list[Appended]:
        """See LedgerStore.add_statement."""
        with self._open():
            for charge in charges:
                rules.check_storable(charge)
            rules.check_statement(statement, lines)
            self._statements.setdefault(statement.id, statement)
            results = self._append_counted(charges)
            for line in lines:
                self._lines.setdefault((line.statement, line.line), line)
            return results

    def statement_lines(self, state: str | None = None) -> list[StatementLine]:
        """See LedgerStore.statement_lines."""
        with self._open():
            return [line for line in self._lines.values() if state is None or line.state == state]

    def finish_job(self, outcome: JobOutcome) -> None:
        """See LedgerStore.finish_job."""
        with self._open():
            self._outcomes[outcome.job] = outcome

    def job_outcomes(self, jobs: Sequence[str] | None = None) -> dict[str, JobOutcome]:
        """See LedgerStore.job_outcomes."""
        with self._open():
            return {job: outcome for job, outcome in self._outcomes.items() if jobs is None or job in jobs}

    def retain(self, before_day: int, now: Instant) -> Retained:
        """See LedgerStore.retain."""
        with self._open():
            rules.check_retention(before_day, now)
            self.fold(len(self._entries))
            dropped = [
                (day, seq)
                for (day, id), (seq, _) in sorted(self._identity.items())
                if day < before_day and seq in self._entries and self._entries[seq].event.id == id
            ]
            count = amount = 0
            for day, root in dropped:
                for entry in self._event(root):
                    self._drop(day, entry)
                    count += 1
                    amount += entry.sign * entry.rating.amount
                del self._versions[root]
            for key in [key for key in self._identity if key[0] < before_day - rules.IDENTITY_DAYS_KEPT]:
                del self._identity[key]
            self._drop_reservations(before_day * DAY_MICROSECONDS)
            return Retained(before_day=before_day, entries=count, amount=amount)

    def _drop(self, day: int, entry: Entry) -> None:
        checkpoint = self._checkpoints[day]
        checkpoint.entries += 1
        checkpoint.amount += entry.sign * entry.rating.amount
        checkpoint.digest = blake2b(checkpoint.digest + entry.fingerprint, digest_size=16).digest()
        self._dropped[entry.seq] = self._entries.pop(entry.seq)

    def forget(self, kind: str, name: str) -> int:
        """See LedgerStore.forget."""
        with self._open():
            rules.check_forgettable(kind)
            anonymous = f"forgotten-{secrets.token_hex(8)}"
            touched: set[int] = set()
            for kept in (self._entries, self._dropped):
                for seq, entry in kept.items():
                    event = accounts.without(entry.event, kind, name, anonymous)
                    if event is not entry.event:
                        kept[seq] = msgspec.structs.replace(entry, event=event)
                        touched.add(rules.root_of(entry))
            touched &= self._versions.keys()
            self._rename_accounts(kind, name, anonymous)
            self._raise_epoch()
            return len(touched)

    def backup(self, target: Path) -> None:
        """A ledger in memory has no file to copy."""
        raise LedgerError(
            f"a ledger in memory cannot be copied to {target}; open it on a file", code="backup_unsupported"
        )

    def setting(self, name: str) -> str | None:
        """See LedgerStore.setting."""
        with self._open():
            return self._settings.get(name)

    def put_setting(self, name: str, value: str) -> None:
        """See LedgerStore.put_setting."""
        with self._open():
            self._settings[name] = value
            self._raise_epoch()

    def facts(self) -> dict[str, str]:
        """See LedgerStore.facts."""
        with self._open():
            return {
                "engine": "memory",
                "currency": self.currency,
                "zone": self.home_zone,
                "entries": str(len(self._entries)),
                "last_seq": str(self._last_seq),
                "epoch": str(self._epoch),
            }

    def close(self) -> None:
        """Let go of everything; further use raises LedgerClosed."""
        self._closed = True


def _within(entry: Entry, query: CostQuery) -> bool:
    at = entry.event.occurred_from
    return (query.since is None or at >= query.since) and (query.until is None or at < query.until)
