"""The object store: what is read is what was written, or a clear error."""

from __future__ import annotations

import builtins
import os
import time

import pytest

from headrace.runtime.objects import open_objects
from headrace.runtime.settings import Settings
from headrace.schemas.errors import ConfigError, ContractError, DependencyUnavailable
from headrace.schemas.messages import ObjectRef
from headrace.schemas.object_keys import MAX_OBJECT_BYTES
from tests.s3 import fake_s3


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "objects" / "headrace"


@pytest.fixture
def store(tmp_path):
    return open_objects(Settings(data_dir=tmp_path))


def test_content_lies_under_its_own_hash_below_the_deployments_prefix_in_the_data_folder(tmp_path):
    settings = Settings(data_dir=tmp_path, topics={"prefix": "mine"})
    store = open_objects(settings)
    ref = store.put(b"content")
    assert ref == store.put(b"content")
    assert (tmp_path / "objects" / "mine" / ref.key).read_bytes() == b"content"
    assert store.get(ref) == b"content"


def test_deployments_that_share_a_place_do_not_see_each_others_objects(tmp_path):
    url = (tmp_path / "shared folder").as_uri()
    mine, other = (open_objects(Settings(objects={"url": url}, topics={"prefix": name})) for name in ("mine", "other"))
    ref = mine.put(b"content")
    assert [found.key for found in mine.list_own()] == [ref.key]
    assert list(other.list_own()) == []
    with pytest.raises(ContractError, match="is not in"):
        other.get(ref)


def test_content_that_was_changed_or_is_gone_is_refused(store, folder):
    ref = store.put(b"content")
    for wrong in (b"contenT", b"more content"):
        (folder / ref.key).write_bytes(wrong)
        with pytest.raises(ContractError, match="not what its reference says"):
            store.get(ref)
    (folder / ref.key).unlink()
    with pytest.raises(ContractError, match="is not in"):
        store.get(ref)


@pytest.mark.parametrize(
    "key",
    [
        *("../secret", "/etc/passwd", "a/../../b", "s3://bucket/key", "file:///etc/passwd", "a//b", "a/", ".hidden"),
        *("", "a/./b", "a\\b", "a\nb", "a b", "é", "sha256/" + "0" * 64 + "#1", "x" * 501),
    ],
)
def test_a_key_that_leaves_the_store_is_refused_before_anything_is_read(store, key):
    with pytest.raises(ContractError, match="is not legal"):
        store.get(ObjectRef(key=key, size_bytes=1, sha256="0" * 64))


def test_a_reference_to_more_than_may_be_read_is_refused_before_anything_is_read(store):
    for size in (MAX_OBJECT_BYTES + 1, -1):
        with pytest.raises(ContractError) as caught:
            store.get(ObjectRef(key="sha256/x", size_bytes=size, sha256="0" * 64))
        assert caught.value.kind == "too_large"
    with pytest.raises(ContractError, match="at most 5 are read"):
        store.get(store.put(b"six byte"), at_most=5)


@pytest.mark.parametrize("key", ["sha256", "{own}/below", "a/" + "x" * 300, "nowhere/at/all"])
def test_a_key_that_is_no_file_is_an_object_that_is_gone(store, key):
    ref = store.put(b"content")
    with pytest.raises(ContractError) as caught:
        store.get(ref.model_copy(update={"key": key.format(own=ref.key)}))
    assert caught.value.kind == "gone"


def test_an_object_that_is_denied_while_others_are_not_is_gone_and_a_store_that_denies_all_is_unavailable(monkeypatch):
    """S3 answers 403 for what is not there, where the right to list is missing: it must not be waited for for ever."""
    with fake_s3(monkeypatch) as s3:
        store = open_objects(Settings(objects={"url": "s3://bucket", "client_options": {"allow_http": True}}))
        ref = store.put(b"content")
        s3.denied.add(f"headrace/{ref.key}")
        with pytest.raises(ContractError, match="is not in"):
            store.get(ref)
        s3.fail = 403
        with pytest.raises(DependencyUnavailable, match="403"):
            store.get(ref)


def test_a_store_that_hangs_is_given_up_after_its_time_out(monkeypatch):
    with fake_s3(monkeypatch) as s3:
        options = {"allow_http": True, "timeout": "200ms"}
        store = open_objects(Settings(objects={"url": "s3://bucket", "client_options": options}))
        ref = store.put(b"content")
        s3.delay_s = 2.0
        began = time.monotonic()
        with pytest.raises(DependencyUnavailable, match="cannot read"):
            store.get(ref)
        assert time.monotonic() - began < 2.0 * 3


def test_a_put_of_old_content_makes_it_young_again_and_one_of_young_content_sends_nothing(store, folder):
    small, large = b"content", b"x" * 100_000
    for content in (small, large):
        ref, sent = store.ensure(content)
        assert sent
        aged(folder / ref.key, store.refresh_s + 60)
        assert not store.has(ref)
        assert store.ensure(content) == (ref, True)
        assert store.has(ref)
    assert store.ensure(large)[1] is False


def test_large_content_that_was_cut_short_is_written_again(store, folder):
    ref = store.put(b"x" * 100_000)
    (folder / ref.key).write_bytes(b"x" * 99_999)
    assert store.ensure(b"x" * 100_000) == (ref, True)
    assert store.get(ref) == b"x" * 100_000


def aged(path, seconds):
    at = time.time() - seconds
    os.utime(path, (at, at))


def test_without_the_extra_the_message_names_it(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("obstore"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match="extra 'objects'"):
        open_objects(Settings(data_dir=tmp_path))


def test_a_url_that_no_store_speaks_is_a_config_error_without_its_password(tmp_path):
    settings = Settings(data_dir=tmp_path, objects={"url": "foo://me:secret@host/x"})
    with pytest.raises(ConfigError) as caught:
        open_objects(settings)
    assert "secret" not in caught.value.message
