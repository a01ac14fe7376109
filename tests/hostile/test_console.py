"""The hostile corpus as the console reads it: outcomes, events, and the dead letters themselves."""

from __future__ import annotations

import pytest

from headrace.console.job_reader import apply_record, read_message
from headrace.console.job_report import report_job
from headrace.orchestrator.core.record_codec import encode_record
from headrace.orchestrator.core.state import Marker, StateRecord
from headrace.schemas.messages import Event, Outcome
from tests.hostile.bad import Bad, Ends
from tests.hostile.bounds import bounded
from tests.hostile.console import look_at
from tests.hostile.corpus import of
from tests.hostile.messages import CorpusMessage


@pytest.mark.parametrize("bad", [*of("outcomes"), *of("events")], ids=lambda bad: bad.name)
def test_a_reader_passes_over_what_it_cannot_read_and_says_so(bad: Bad, capsys: pytest.CaptureFixture[str]) -> None:
    model = Outcome if bad.topic == "outcomes" else Event
    found = bounded(bad, lambda: read_message(model, CorpusMessage(bad, topic=f"t.{bad.topic}")))
    if found is None:
        assert f"warning: t.{bad.topic}[0]@7 was passed over" in capsys.readouterr().err
    else:
        assert found.job_id != bad.job_id


@pytest.mark.parametrize("bad", of("dead-letters"), ids=lambda bad: bad.name)
def test_a_hostile_letter_is_passed_over_or_shown_without_harm_and_refused_or_sent_where_it_may(bad: Bad) -> None:
    seen = bounded(bad, lambda: look_at(bad))
    assert len(seen.filed) == (bad.ends is Ends.TAKEN)


@pytest.mark.parametrize("outcome", ["{", "{}", "[]", '{"job_id":"j","status":"superb"}', "[" * 100_000])
def test_a_marker_with_an_outcome_that_is_none_is_passed_over_with_a_warning(
    outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    records: dict[str, StateRecord] = {}
    apply_record(records, "marker/j", encode_record(Marker("h", "failed", outcome, 1, 2, cancelled=False)))
    assert report_job("j", records) is None
    assert "warning" in capsys.readouterr().err
