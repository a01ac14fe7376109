"""The object store: what is read is what was written, or a clear error."""

from __future__ import annotations

import builtins

import pytest

from headrace.runtime.objects import open_objects
from headrace.runtime.settings import Settings
from headrace.schemas.errors import ConfigError, ContractError


def test_content_lies_under_its_own_hash_in_the_data_folder_and_is_written_once(tmp_path):
    store = open_objects(Settings(data_dir=tmp_path))
    ref = store.put(b"content")
    assert ref == store.put(b"content")
    assert (tmp_path / "objects" / ref.key).read_bytes() == b"content"
    assert store.get(ref) == b"content"


def test_content_that_was_changed_or_is_gone_is_refused(tmp_path):
    store = open_objects(Settings(data_dir=tmp_path))
    ref = store.put(b"content")
    for wrong in (b"contenT", b"more content"):
        (tmp_path / "objects" / ref.key).write_bytes(wrong)
        with pytest.raises(ContractError, match="not what was stored"):
            store.get(ref)
    (tmp_path / "objects" / ref.key).unlink()
    with pytest.raises(ContractError, match="is not in"):
        store.get(ref)


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
