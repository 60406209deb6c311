"""The server itself: its thread, its process, TLS, and how fast it is."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest

from reverie.evals.quirks import Fail, QuirkProcess, Quirks, QuirkServer

Until = Callable[[Callable[[], bool]], None]


def test_the_thread_ends_with_its_connections(client_for: Any, until: Until) -> None:
    before = set(threading.enumerate())
    with QuirkServer(Quirks(token_seconds=1)) as server:
        with client_for(timeout=0.05) as client, pytest.raises(httpx2.ReadTimeout):
            client.post(f"{server.address}/chat/completions", json=client.body())
        until(lambda: server.open_connections == 0)
        open_ = socket.create_connection(("127.0.0.1", urlsplit(server.address).port or 0))
        until(lambda: server.open_connections == 1)
    assert set(threading.enumerate()) == before
    with open_:
        assert open_.recv(1) == b""
    assert server.open_connections == 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{server.address}/models")


def test_a_port_can_be_used_again_and_not_twice(server: QuirkServer) -> None:
    port = urlsplit(server.address).port or 0
    with pytest.raises(OSError, match="in use"), QuirkServer(port=port):
        pass
    server.__exit__()
    with QuirkServer(port=port) as second:
        assert second.address == server.address
        assert httpx2.get(f"{second.address}/models").status_code == 200


def test_tls(client_for: Any, tmp_path: Path) -> None:
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key, bundle = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(bundle))
    trusting = ssl.create_default_context(cafile=str(bundle))
    with QuirkServer(Quirks(reply="safe"), tls=(chain, key)) as server:
        assert server.address.startswith("https://127.0.0.1:")
        with client_for(base_url=server.address, verify=trusting) as client:
            assert client.text() == "safe"
            assert client.joined(client.chunks()) == "safe"
            server.script(Fail(reset=True, after=1))
            with pytest.raises(httpx2.TransportError):
                client.chunks()
        with pytest.raises(httpx2.ConnectError, match="certificate"):
            httpx2.get(f"{server.address}/models")


def test_a_process_ends_with_the_block(client_for: Any) -> None:
    with QuirkProcess(Quirks(reply="from elsewhere")) as process:
        child = psutil.Process(process.pid)
        with client_for(base_url=process.address) as client:
            assert client.text() == "from elsewhere"
    assert not child.is_running()


def test_a_process_ends_with_its_parent() -> None:
    code = (
        "import time\nfrom reverie.evals.quirks import QuirkProcess\n"
        "with QuirkProcess() as p:\n    print(p.pid, p.address, flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid, address = parent.stdout.readline().decode().split()
        child = psutil.Process(int(pid))
        assert httpx2.get(f"{address}/models").status_code == 200
        parent.kill()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()


def test_the_command_says_what_is_wrong() -> None:
    for wrong in ('{"usage": "sometimes"}', '{"usages": "never"}', "[]", "{"):
        ran = subprocess.run(
            [sys.executable, "-m", "reverie.evals.quirks", "--quirks", wrong],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 2
        assert "error: --quirks:" in ran.stderr


async def test_how_many_requests_it_answers(
    client_for: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = json.dumps(client_for.body(max_tokens=64)).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"
    request = head % len(sent) + sent

    async def ask_on(place: Any, times: int) -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        for _ in range(times):
            writer.write(request)
            received = await reader.readuntil(b"\r\n\r\n")
            assert received.startswith(b"HTTP/1.1 200")
            length = received.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()
        await writer.wait_closed()

    with QuirkProcess() as process:
        place = urlsplit(process.address)
        memory = psutil.Process(process.pid).memory_info
        resident = memory().rss
        begin = time.monotonic()
        await asyncio.gather(*(ask_on(place, 15) for _ in range(200)))
        rate = 3000 / (time.monotonic() - begin)
        grown = memory().rss - resident
    with capsys.disabled():
        told = f"\n{rate:.0f} requests/s over 200 connections, {os.cpu_count()} cores "
        sys.stdout.write(told)
    assert grown < 30 << 20
