"""Records that contradict themselves are refused, and each refusal has its own name."""

from __future__ import annotations

import pytest

from headrace.schemas.agreement import check_result, check_task
from headrace.schemas.codec import decode, encode, header_map, whole_number
from headrace.schemas.errors import DecodeError, ErrorKind, UnknownSchemaVersion
from headrace.schemas.ids import TaskId
from headrace.schemas.messages import Failure, Lane, ObjectRef, Result, Task, Usage
from headrace.schemas.workflow import STEP_PATTERN

REF = ObjectRef(key=f"sha256/{'a' * 64}", size_bytes=5, sha256="a" * 64)


def task(**fields) -> Task:
    base = {"task_id": "j/s/0", "job_id": "j", "step": "s", "attempt": 1, "pool": "p", "lane": Lane.BATCH}
    return Task(**{**base, "reply_partition": 0, "timeout_ms": 1_000, **fields})


def result(**fields) -> Result:
    return Result(**{"task_id": "j/s/0", "job_id": "j", "attempt": 1, **fields})


GOOD_HEADERS = {"x-job-id": "j", "x-task-id": "j/s/0", "x-attempt": "1", "x-reply-partition": "0"}


def test_what_agrees_is_taken_with_and_without_headers():
    for headers in (GOOD_HEADERS, {}):
        check_task(task(call_ref=REF), headers, pool="p", result_partitions=3)
        assert check_result(result(output_ref=REF), headers) == result(output_ref=REF)


@pytest.mark.parametrize(
    ("fields", "headers", "kind"),
    [
        ({"job_id": "no slash/"}, {}, "invalid_job_id"),
        ({"task_id": "x" * 900_000}, {}, "invalid_task_id"),
        ({"task_id": "j/s/²"}, {}, "invalid_task_id"),
        ({"task_id": "j/s/01"}, {}, "invalid_task_id"),
        ({"task_id": f"j/s/{'9' * 5_000}"}, {}, "invalid_task_id"),
        ({"task_id": "other/s/0"}, {}, "task_of_another_job"),
        ({"attempt": 0}, {}, "out_of_range"),
        ({"attempt": -1}, {}, "out_of_range"),
        ({"attempt": 10**30}, {}, "out_of_range"),
        ({}, {"x-job-id": "k"}, "headers_contradict"),
        ({}, {"x-task-id": "j/s/1"}, "headers_contradict"),
        ({}, {"x-attempt": "2"}, "headers_contradict"),
    ],
)
def test_forged_ids_are_refused_in_tasks_and_results(fields, headers, kind):
    with pytest.raises(DecodeError) as caught:
        check_task(task(**fields), headers, pool="p", result_partitions=3)
    assert caught.value.kind == kind
    with pytest.raises(DecodeError) as caught:
        check_result(result().model_copy(update=fields), headers)
    assert caught.value.kind == kind
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    ("fields", "headers", "kind"),
    [
        ({"reply_partition": 3}, {}, "wrong_partition"),
        ({"reply_partition": -1}, {}, "wrong_partition"),
        ({}, {"x-reply-partition": "1"}, "headers_contradict"),
        ({"pool": "q"}, {}, "wrong_pool"),
        ({"timeout_ms": 0}, {}, "out_of_range"),
        ({"timeout_ms": 10**400}, {}, "out_of_range"),
        ({"dispatched_at_ms": 10**400}, {}, "out_of_range"),
        ({"not_after_ms": -(10**400)}, {}, "out_of_range"),
        ({"call_ref": REF.model_copy(update={"key": "../../etc/passwd"})}, {}, "invalid_reference"),
        ({"call_ref": REF.model_copy(update={"size_bytes": -1})}, {}, "out_of_range"),
    ],
)
def test_a_task_that_could_not_be_run_or_answered_is_refused(fields, headers, kind):
    with pytest.raises(DecodeError) as caught:
        check_task(task(**fields), headers, pool="p", result_partitions=3)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"usage": Usage(input_tokens=10**13)}, "out_of_range"),
        ({"cost_microusd": 10**13}, "out_of_range"),
        ({"call_ms": 10**13}, "out_of_range"),
        ({"confidence": 1.5}, "out_of_range"),
        ({"confidence": -0.1}, "out_of_range"),
        ({"confidence": float("nan")}, "out_of_range"),
        ({"output_ref": REF.model_copy(update={"key": "../x"})}, "invalid_reference"),
        ({"output_ref": REF.model_copy(update={"sha256": "b" * 64})}, "invalid_reference"),
    ],
)
def test_a_result_with_forged_numbers_or_references_is_refused(fields, kind):
    with pytest.raises(DecodeError) as caught:
        check_result(result(**fields), {})
    assert caught.value.kind == kind


def test_long_texts_of_a_result_are_cut_so_that_a_jobs_records_hold_them():
    failure = Failure(kind=ErrorKind.TIMEOUT, message="m" * 900_000)
    cut = check_result(result(failure=failure, model="n" * 900_000, worker="w" * 900_000), {})
    assert len(encode(cut)) < 5_000


@pytest.mark.parametrize(("text", "number"), [
    ("0", 0), ("7", 7), ("999999999999999999", 10**18 - 1), ("", None), ("00", None), ("+1", None), ("1_0", None),
    ("²", None), ("١", None), ("1\n", None), ("9" * 5_000, None),
])  # fmt: skip
def test_a_whole_number_is_spelled_one_way(text, number):
    assert whole_number(text) == number


@pytest.mark.parametrize("version", ["0", "-1", "²", "٢", "1.0", "9" * 5_000, "v2"])
def test_a_schema_version_that_is_no_number_is_an_error_of_ours(version):
    with pytest.raises(DecodeError) as caught:
        decode(Result, b"{}", {"x-schema-version": version})
    assert caught.value.kind == "wrong_schema"


def test_a_newer_version_is_told_apart():
    with pytest.raises(UnknownSchemaVersion):
        decode(Result, b"{}", {"x-schema-version": "2"})


def test_headers_that_a_client_cannot_read_make_a_record_unreadable():
    with pytest.raises(DecodeError) as caught:
        decode(Result, encode(result()), header_map([("x-unreadable-headers", b"true")]))
    assert caught.value.kind == "unreadable_headers"


def test_a_value_too_large_to_be_one_of_ours_is_not_parsed():
    with pytest.raises(DecodeError) as caught:
        decode(Result, b" " * 20_000_000)
    assert caught.value.kind == "too_large"


def test_a_task_ids_step_is_a_step_of_the_language():
    assert STEP_PATTERN == r"^[A-Za-z][A-Za-z0-9_]{0,63}$"
    assert TaskId.parse(f"{'j' * 200}/{'s' * 64}/9999999999").index == 9_999_999_999
    for wrong in (f"j/{'s' * 65}/0", "j/1s/0", "j/s-s/0", "j/s/0/1", "j//0", "/s/0"):
        with pytest.raises(DecodeError):
            TaskId.parse(wrong)
