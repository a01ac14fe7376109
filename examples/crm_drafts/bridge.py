"""Carries a foreign system's files to Headrace and the answers back; it knows nothing but the mapping.

::

    python -m headrace.examples.crm_drafts.bridge mapping.yaml OUTBOX INBOX     # every file that has no answer yet
    python -m headrace.examples.crm_drafts.bridge mapping.yaml cases < in.xml > out.xml

Files are read and left as they are; an answer has its file's name, and appears as a whole or not at all. A record's
job id is made of the record, so whatever is read again (the bridge was killed, the file comes twice) starts nothing new
and gets the same answer.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.console.client import HeadraceClient
from headrace.examples.crm_drafts.answers import Answer, write_answers
from headrace.examples.crm_drafts.mapping import Mapping, Source, load_mapping
from headrace.examples.crm_drafts.records import MAX_FILE_BYTES, BadFile, Record, read_records
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import HeadraceError
from headrace.schemas.messages import Outcome

PATIENCE_S = 600.0
"""How long an outcome is waited for. Where none comes in time the file stays without an answer, for the next run."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """One pass over the files, or one file.

    Args:
        client: how Headrace is reached.
        mapping: what the records look like.
    """

    client: HeadraceClient
    mapping: Mapping

    def carry(self, outbox: Path, inbox: Path) -> list[Path]:
        """Answer every file that has no answer yet; return the answers that were written."""
        inbox.mkdir(parents=True, exist_ok=True)
        return [self._carry_file(file, name, inbox / file.name) for file, name in self._open_files(outbox, inbox)]

    def answer(self, data: bytes, name: str) -> bytes:
        """Return the answer to one file's bytes: a draft or a problem for each record, in order."""
        source = self.mapping.sources[name]
        return write_answers(self._answers(data, name, source), source)

    def _open_files(self, outbox: Path, inbox: Path) -> Iterator[tuple[Path, str]]:
        for name, source in self.mapping.sources.items():
            for file in sorted(outbox.glob(source.files)):
                if not (inbox / file.name).exists():
                    yield file, name

    def _carry_file(self, file: Path, name: str, answer: Path) -> Path:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        half = answer.with_name(f".{answer.name}.part")
        half.write_bytes(self.answer(data, name))
        return half.replace(answer)

    def _answers(self, data: bytes, name: str, source: Source) -> Sequence[Answer]:
        try:
            records = read_records(data, source)
        except BadFile as bad:
            return [Answer(Record(0), problem=str(bad))]
        jobs = [None if record.problem else self._submit(record, name) for record in records]  # All, before one waits.
        return [
            Answer(record, problem=record.problem) if job_id is None else self._taken(record, job_id)
            for record, job_id in zip(records, jobs, strict=True)
        ]

    def _submit(self, record: Record, name: str) -> str:
        job_id = job_id_of(self.mapping.workflow, name, record)
        return self.client.submit(self.mapping.workflow, dict(record.fields), job_id=job_id, **self.mapping.job)

    def _taken(self, record: Record, job_id: str) -> Answer:
        outcome: Outcome = self.client.outcome(job_id, PATIENCE_S)
        if outcome.status.value == "succeeded":
            return Answer(record, draft=outcome.output)
        return Answer(record, problem=outcome.message or outcome.status.value)


def job_id_of(workflow: str, source: str, record: Record) -> str:
    """Return the id of a record's job: the same for the same fields, wherever they stand."""
    said = canonical_json([workflow, source, dict(record.fields)])
    return f"crm-{hashlib.sha256(said).hexdigest()[:32]}"


def main(arguments: Sequence[str]) -> int:
    """Run once; exit code 2: called wrongly, 3: Headrace cannot be reached or an outcome did not come in time."""
    if len(arguments) not in {2, 3}:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        mapping = load_mapping(Path(arguments[0]))
        if len(arguments) == 2 and arguments[1] not in mapping.sources:
            print(f"the mapping has no source {arguments[1]!r}: {', '.join(mapping.sources)}", file=sys.stderr)
            return 2
        with HeadraceClient() as client:
            bridge = Bridge(client, mapping)
            if len(arguments) == 2:
                sys.stdout.buffer.write(bridge.answer(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), arguments[1]))
            else:
                for answer in bridge.carry(Path(arguments[1]), Path(arguments[2])):
                    print(answer, file=sys.stderr)
    except HeadraceError as error:
        print(f"{error.message} {error.hint}".strip(), file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
