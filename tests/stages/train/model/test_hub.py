"""What is to be uploaded arrives at the hub, here a stand-in on this machine; a hub that says no is exit 3."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from registry.errors import MachineFault
from stages.train.model.hub import Repository, make_repository, of_arguments, upload

pytestmark = pytest.mark.train
pytest.importorskip("huggingface_hub")
Run = Callable[..., tuple[dict[str, Any], list[str]]]


class Hub:
    """What arrived: requests by method and path, and files by name."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.files: dict[str, bytes] = {}
        self.refuse = False


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.requests.append(f"GET {self.path}")
            self._answer({"id": "x/y", "sha": "0" * 40, "siblings": [], "private": False})

        def do_POST(self) -> None:
            hub.requests.append(f"POST {self.path}")
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            if hub.refuse:
                self._answer({"error": "not implemented"}, 501)
            elif "/preupload/" in self.path:
                names = [file["path"] for file in json.loads(body)["files"]]
                about = {"uploadMode": "regular", "shouldIgnore": False}
                self._answer({"files": [{"path": name, **about} for name in names]})
            elif "/commit/" in self.path:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                self._answer({"commitUrl": f"{server(self)}/x/y/commit/1", "commitOid": "1" * 40})
            else:
                self._answer({"url": f"{server(self)}/x/y", "id": "1", "name": "x/y"})

        def _answer(self, body: object, code: int = 200) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            return

    return Handler


def server(request: BaseHTTPRequestHandler) -> str:
    return f"http://{request.headers['host']}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    found = Hub()
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler(found))
    threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{listening.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield found
    listening.shutdown()
    listening.server_close()


def test_the_model_arrives_and_checkpoints_and_shards_stay(hub: Hub, tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json", "checkpoint-4/optimizer.pt", "prepared/train/data.arrow"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    said: list[str] = []
    make_repository(Repository("x/y"))
    upload(tmp_path, Repository("x/y"), said.append)
    assert hub.files == {name: name.encode() for name in ("model.safetensors", "config.json")}
    assert said == ["uploaded to x/y"]


def test_training_uploads_what_it_saved(hub: Hub, make: Any, run_job: Run, tmp_path: Path) -> None:
    data = make.out(tmp_path / "d", "lm", {"train": make.lm(8)})
    run_job(data, tmp_path / "o", max_steps=1, push_to_hub=True, hub_model_id="x/y")
    assert hub.files["model.safetensors"] == (tmp_path / "o" / "model.safetensors").read_bytes()
    assert {"config.json", "tokenizer.json"} <= set(hub.files)


def test_without_the_key_nothing_is_asked(hub: Hub, make: Any, run_job: Run, tmp_path: Path) -> None:
    data = make.out(tmp_path / "d", "lm", {"train": make.lm(8)})
    run_job(data, tmp_path / "o", max_steps=1, hub_model_id="x/y")
    assert hub.requests == []


def test_a_hub_that_says_no_is_told_in_one_line(hub: Hub) -> None:
    hub.refuse = True
    with pytest.raises(MachineFault) as fault:
        make_repository(Repository("x/y"))
    assert "501" in fault.value.problems[0]
    assert "\n" not in fault.value.problems[0]


def test_offline_is_told_as_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MachineFault, match="offline"):
        make_repository(Repository("x/y"))


def test_the_keys_name_the_repository() -> None:
    assert of_arguments({"push_to_hub": False, "hub_model_id": "x/y"}) is None
    keys: dict[str, object] = {"push_to_hub": True, "hub_model_id": "x/y", "hub_private_repo": True}
    assert of_arguments(keys) == Repository("x/y", private=True)
