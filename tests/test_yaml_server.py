"""In an editor: the language server for YAML completes, explains and marks by our schema."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from composer.primitives import ops
from composer.primitives.schema import json_schema

FOLDER = Path(__file__).parent / "yaml_server"
MODULES = Path(os.environ.get("COMPOSER_YAML_SERVER_MODULES", FOLDER / "node_modules"))
SERVER = MODULES / "yaml-language-server" / "bin" / "yaml-language-server"

HEAD = """\
# yaml-language-server: $schema=./composer.schema.json
name: it
input: [b, c, h, w]
nodes:
"""


class Server:
    """Speaks the protocol of language servers with a process, one request after another."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number, self.opened = folder, 0, 0
        self.process = subprocess.Popen(
            ["node", str(SERVER), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.marked: dict[str, list[dict[str, Any]]] = {}
        self.request("initialize", {"processId": None, "rootUri": folder.as_uri(),
                                    "capabilities": {}, "workspaceFolders": None})  # fmt: skip
        self.send("initialized", {})

    def send(self, method: str, params: Any, **more: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Return the next message; what the server asks of an editor is answered by nothing."""
        assert self.process.stdout is not None
        length = 0
        while (line := self.process.stdout.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        assert length, "the server has ended"
        message: dict[str, Any] = json.loads(self.process.stdout.read(length))
        if message.get("method") == "textDocument/publishDiagnostics":
            self.marked[message["params"]["uri"]] = message["params"]["diagnostics"]
        elif "method" in message and "id" in message:
            asked = message["params"]
            items = asked.get("items", []) if isinstance(asked, dict) else []
            self.reply(message["id"], [None for _ in items])
        return message

    def reply(self, number: int, result: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def request(self, method: str, params: Any) -> Any:
        self.number += 1
        self.send(method, params, id=self.number)
        while True:
            message = self.receive()
            if message.get("id") == self.number and "method" not in message:
                assert "error" not in message, message
                return message["result"]

    def open(self, text: str) -> str:
        """Open a spec with this text, as an editor does; return its address."""
        self.opened += 1
        path = self.folder / f"it{self.opened}.yaml"
        path.write_text(text, encoding="utf-8")
        self.send("textDocument/didOpen", {"textDocument": {
            "uri": path.as_uri(), "languageId": "yaml", "version": 1, "text": text}})  # fmt: skip
        return path.as_uri()

    def at(self, method: str, nodes: str) -> Any:
        """Ask something of the place in some nodes that is marked by a ``|``."""
        before, _, after = f"{HEAD}{nodes}".partition("|")
        place = {"line": before.count("\n"), "character": len(before.rpartition("\n")[2])}
        uri = self.open(before + after)
        return self.request(method, {"textDocument": {"uri": uri}, "position": place})

    def marks(self, nodes: str) -> list[tuple[int, str]]:
        """Return the line, from 0 in the nodes, and the message of all that is marked in them."""
        uri = self.open(HEAD + nodes)
        while uri not in self.marked:
            self.receive()
        first = HEAD.count("\n")
        return [(m["range"]["start"]["line"] - first, m["message"]) for m in self.marked[uri]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    if not SERVER.is_file():
        pytest.skip(f"needs the language server for YAML: npm ci --prefix {FOLDER}")
    folder = tmp_path_factory.mktemp("specs")
    schema = json.dumps(json_schema())
    (folder / "composer.schema.json").write_text(schema, encoding="utf-8")
    started = Server(folder)
    yield started
    started.process.kill()
    started.process.wait()


def test_an_op_is_completed(server):
    found = server.at("textDocument/completion", "  z: {op: |}\n")
    assert {item["label"] for item in found["items"]} >= set(ops())


def test_a_field_is_completed(server):
    found = server.at("textDocument/completion", "  z:\n    op: pool\n    |\n")
    labels = {item["label"] for item in found["items"]}
    assert labels >= {"over", "reduce", "kernel"}


def test_a_word_is_completed(server):
    found = server.at("textDocument/completion", "  z: {op: gate, fn: |}\n")
    assert {item["label"] for item in found["items"]} >= {"softmax", "sigmoid", "relu"}


HOVERED = {
    ("mlp", "hidden"): "{op: mlp, over: c, hid|den: c // 16}",
    ("pool", "reduce"): "{op: pool, over: h, red|uce: max}",
    ("conv2d", "kernel"): "{op: conv2d, ker|nel: 3}",
    ("reweight", "by"): "{op: reweight, x: input, b|y: y}",
}


@pytest.mark.parametrize(("op", "field"), HOVERED, ids=str)
def test_what_a_field_is_shows_over_it(server, op, field):
    found = server.at("textDocument/hover", f"  y: {{op: gate}}\n  z: {HOVERED[op, field]}\n")
    said = ops()[op].model_fields[field].description
    text = found["contents"]
    assert said in (text["value"] if isinstance(text, dict) else str(text)).replace("\\", "")


def test_what_is_wrong_is_marked_and_what_is_right_is_not(server):
    right = "  y: {op: pool, over: [h, w]}\n  z: {op: gate, fn: sigmoid}\n"
    assert server.marks(right) == []
    for wrong, said in (("overr", "overr"), ("kernl", "kernl")):
        marked = server.marks(right + f"  x: {{op: pool, over: [h, w], {wrong}: 3}}\n")
        assert [line for line, _ in marked] == [2]
        assert said in marked[0][1]
    assert [line for line, _ in server.marks(right + "  x: {op: gat}\n")][:1] == [2]
    lacking = server.marks("  y: {op: gate}\n  z: {op: mlp, over: c}\n")
    assert [line for line, _ in lacking][:1] == [1]
