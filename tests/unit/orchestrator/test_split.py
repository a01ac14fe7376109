import time

import pytest

from headrace.orchestrator.core.split import SplitError, split_text
from headrace.orchestrator.shell.tokens import count_chars4, counter_named, token_counter

PROSE = "One sentence stands here. Another one follows it.\n\nA second paragraph begins. It ends here too.\n\n"


def split(text, by, size=None, count=count_chars4, format="auto", overlap=0):
    return split_text(text, by=by, size=size, count_tokens=count, overlap=overlap, format=format)


def test_chunks_end_at_paragraphs_where_they_can():
    assert split(PROSE, "characters", 60) == [
        "One sentence stands here. Another one follows it.\n\n",
        "A second paragraph begins. It ends here too.\n\n",
    ]


def test_chunks_end_at_sentences_then_words_then_anywhere():
    assert split("First one. Second one. ", "characters", 12) == ["First one. ", "Second one. "]
    assert split("alpha beta gamma delta", "characters", 12) == ["alpha beta ", "gamma delta"]
    assert split("x" * 10, "characters", 4) == ["xxxx", "xxxx", "xx"]


def test_an_abbreviation_before_a_small_letter_ends_no_sentence():
    text = "Use tools, e.g. hammers, daily. Then rest a while. "
    assert split(text, "characters", 34) == ["Use tools, e.g. hammers, daily. ", "Then rest a while. "]


@pytest.mark.parametrize("by", ["tokens", "characters", "lines", "records"])
def test_an_empty_text_has_no_items(by):
    assert split("", by, 3) == []


def test_the_last_chunk_is_no_crumb():
    sizes = [len(chunk) for chunk in split("word " * 201, "characters", 500)]
    assert max(sizes) - min(sizes) <= 100


def test_a_chunk_begins_with_the_end_of_the_one_before_it():
    text = "One is here. Two is here. Three is here. Four is here. "
    assert split(text, "characters", 30, overlap=15) == [
        "One is here. ",
        "One is here. Two is here. ",
        "Two is here. Three is here. ",
        "Three is here. Four is here. ",
    ]
    assert split("alpha beta gamma delta", "characters", 12, overlap=6) == [
        "alpha ", "alpha beta ", "beta gamma ", "gamma delta",
    ]  # fmt: skip
    assert split("x" * 9, "characters", 4, overlap=2) == ["xx", "xxxx", "xxxx", "xxxx", "xxx"]


@pytest.mark.parametrize(
    ("lines", "size", "overlap", "chunks"),
    [
        ("abcdef", 3, 1, ["abc", "cde", "ef"]),
        ("abcde", 3, 1, ["abc", "cde"]),
        ("abc", 3, 1, ["abc"]),
        ("a", 4, 2, ["a"]),
        ("abcde", 2, 0, ["ab", "cd", "e"]),
    ],
)
def test_lines_overlap_by_whole_lines(lines, size, overlap, chunks):
    found = split("".join(f"{line}\n" for line in lines), "lines", size, overlap=overlap)
    assert [chunk.replace("\n", "") for chunk in found] == chunks


def test_lines_keep_their_ends_and_only_line_feeds_end_them():
    assert split("a\nb\u2028c\r\n\nd", "lines", 2) == ["a\nb\u2028c\r\n", "\nd"]
    assert split("a\n", "lines", 1) == ["a\n"]


def test_json_lines_become_objects_and_empty_lines_are_passed_over():
    assert split('\ufeff{"a": 1}\n\n{"a": "\u2028"}\n', "records") == [{"a": 1}, {"a": "\u2028"}]


def test_csv_with_a_header_becomes_objects_whose_values_are_texts():
    text = 'id,text\r\n007,"two\nlines, ""quoted"""\r\n8,b\r\n'
    assert split(text, "records") == [{"id": "007", "text": 'two\nlines, "quoted"'}, {"id": "8", "text": "b"}]


def test_records_with_a_size_become_lists():
    assert split("a\n1\n2\n3\n", "records", 2) == [[{"a": "1"}, {"a": "2"}], [{"a": "3"}]]


@pytest.mark.parametrize(
    ("text", "format", "part"),
    [
        ('{"a": 1}\n{"a": ', "jsonl", "line 2 is not JSON"),
        ('{"a": NaN}', "auto", "line 1 is not JSON"),
        ("[1]", "jsonl", "line 1 is not a JSON object"),
        ('{"a":' * 5000, "jsonl", "line 1 is not JSON"),
        ("a,b\n1\n", "csv", "line 2 has 1 fields where the header has 2"),
        ("a,a\n1,2\n", "csv", "names column 'a' twice"),
        ('a\n"open', "csv", "is not CSV"),
    ],
)
def test_a_record_that_cannot_be_read_is_an_error_with_its_line(text, format, part):
    with pytest.raises(SplitError, match=part):
        split(text, "records", format=format)


@pytest.mark.parametrize("unit", ["a b", ". A", ".", "\n", " ", "x", ".\n\n", "。", "\"'", "\n ", "word. Next "])
@pytest.mark.parametrize("by", ["tokens", "characters"])
def test_a_megabyte_of_anything_is_cut_in_about_linear_time(unit, by):
    text = unit * (1_000_000 // len(unit))
    began = time.process_time()
    chunks = split(text, by, 550)
    assert time.process_time() - began < 3
    assert "".join(chunks) == text


def test_the_counter_is_known_by_its_name():
    name, count = token_counter()
    assert counter_named(name) is count
    assert counter_named("chars4")("12345") == 2
    assert counter_named("other") is None
    assert name != "o200k" or count("hello world") == 2


def test_tokens_of_the_chunks_stay_within_the_size():
    _, count = token_counter()
    text = "The quick brown fox jumps over the lazy dog, and it rains. " * 300
    chunks = split(text, "tokens", 100, count=count)
    assert "".join(chunks) == text
    assert max(map(count, chunks)) <= 100
