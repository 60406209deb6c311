"""Spans over OTLP, from `reverie ask` to a collector."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reverie.evals.quirks.process import QuirkProcess

pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")
pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]  # live: the embedder is the packaged one


class Collector:
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        received: list[tuple[str, bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the library's name
                length = int(self.headers["Content-Length"])
                received.append((self.path, self.rfile.read(length)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.received = received
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    opened = Collector()
    thread = threading.Thread(target=opened.server.serve_forever)
    thread.start()
    yield opened
    opened.server.shutdown()
    opened.server.server_close()
    thread.join()


def ask(model: str, home: Path, cache: Path, collector: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "reverie", "ask", "Why?", "--strategy", "dream", "--json"],
        env={
            **os.environ,
            "REVERIE_HOME": str(home),
            "REVERIE_MODEL_CACHE": str(cache),
            "REVERIE_MODEL_NAME": model,
            "REVERIE_DREAM_BRANCHES": "2",
            "REVERIE_TRACE_OTEL": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_run_reaches_the_collector(
    collector: Collector, model_cache: Path, tmp_path: Path
) -> None:
    with QuirkProcess() as model:
        done = ask(model.address, tmp_path / "home", model_cache, collector.address)
        assert done.returncode in (0, 3), done.stdout + done.stderr

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    paths = {path for path, _ in collector.received}
    assert paths == {"/v1/traces"}
    spans = []
    for _, body in collector.received:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = {a.key: a.value.string_value for a in resource.resource.attributes}
            assert told["service.name"] == "reverie"
            spans += [span for scope in resource.scope_spans for span in scope.spans]
    names = [span.name for span in spans]
    assert names.count("invoke_agent reverie") == 1
    assert names.count("strategy dream") == 1
    assert sum(name.startswith("branch ") for name in names) == 2
    assert sum(name.startswith("chat ") for name in names) == 2
    assert b"Why?" not in b"".join(body for _, body in collector.received)
    ends = {span.span_id for span in spans}
    assert all(span.parent_span_id in ends for span in spans if span.parent_span_id)


def test_a_collector_that_is_gone_takes_no_answer_away(model_cache: Path, tmp_path: Path) -> None:
    with QuirkProcess() as model:
        began = time.monotonic()
        done = ask(model.address, tmp_path / "home", model_cache, "http://127.0.0.1:9")
        seconds = time.monotonic() - began

    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert '"run_id"' in done.stdout
    assert seconds < 40
