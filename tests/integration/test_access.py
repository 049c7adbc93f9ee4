"""Access to the daemon as a process: tokens beside a running daemon, TLS, and the link on a terminal."""

import asyncio
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.counterparts.process import free_port
from tests.integration.samband import Samband, until

pytestmark = pytest.mark.integration

SOURCES = {"scripts": {"type": "native"}}


def self_signed(folder: Path, name: str) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


async def test_tokens_through_a_running_daemon_survive_its_end(tmp_path: Path) -> None:
    samband = Samband(tmp_path, {"mode": "shadow", "sources": SOURCES})
    await samband.start()
    try:
        code, said = await samband.cli("token", "create", "grafana", "--role", "reader")
        assert code == 0, said
        (token,) = re.findall(r"smb_\S+", said)
        assert (await samband.ask("GET", "/api/v1/alerts", token=token))[0] == 200
        assert (await samband.ask("POST", "/-/reload", token=token))[0] == 403
        await samband.kill()
        await samband.start()
        assert (await samband.ask("GET", "/api/v1/alerts", token=token))[0] == 200
        assert (await samband.cli("token", "revoke", "grafana"))[0] == 0
        assert (await samband.ask("GET", "/api/v1/alerts", token=token))[0] == 401
        assert token not in samband.log.read_text()
    finally:
        await samband.stop()
    code, said = await samband.cli("token", "list")
    assert (code, "grafana" in said) == (0, True), "and the store alone knows it"
    await samband.start()
    await samband.stop()


async def test_tls_the_command_line_and_a_reload_of_the_certificate(tmp_path: Path) -> None:
    for name in ("one", "two"):
        self_signed(tmp_path, name)
    tls = {"cert_file": "tls.pem", "key_file": "tls.key"}
    for end in ("pem", "key"):
        (tmp_path / f"tls.{end}").symlink_to(f"one.{end}")
    samband = Samband(tmp_path, {"mode": "shadow", "sources": SOURCES, "tls": tls})
    samband.ready = ""
    samband._wait_until_ready = lambda: until(lambda: _started(samband), "started")  # type: ignore[method-assign]
    async with samband:
        assert (await samband.cli("alerts", "list"))[0] == 0
        with pytest.raises((aiohttp.ClientError, OSError)):
            await samband.ask("GET", "/-/healthy")
        for end in ("pem", "key"):
            (tmp_path / f"tls.{end}").unlink()
            (tmp_path / f"tls.{end}").symlink_to(f"two.{end}")
        os.kill(samband.pid, 1)
        await until(lambda: any(one["event"] == "reloaded" for one in samband.events), "reloaded")
        assert (await samband.cli("alerts", "list"))[0] == 0, "the new certificate is what it answers with"


def _started(samband: Samband) -> bool:
    return samband.log.exists() and any(one["event"] == "started" for one in samband.events)


async def test_a_terminal_gets_a_link_that_works_once(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "samband.yaml"
    config.write_text(f"listen: 127.0.0.1:{port}\nmode: shadow\nsources: {{scripts: {{type: native}}}}\n")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "daemon.cli", "run", "--config", str(config)]
    running = await asyncio.create_subprocess_exec(*command, stderr=theirs, stdin=asyncio.subprocess.DEVNULL)
    os.close(theirs)
    os.set_blocking(ours, False)
    said = b""

    def link() -> str:
        nonlocal said
        try:
            said += os.read(ours, 65536)
        except BlockingIOError:
            return ""
        found = re.search(rb"http://\S+/login\?code=\S+", said)
        return found[0].decode() if found else ""

    try:
        url = await until(link, "the link on the terminal")
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as browser:
            async with browser.get(url) as answer:
                assert answer.status == 200, "logged in, and sent on"
            async with aiohttp.ClientSession() as other, other.get(url) as answer:
                assert answer.status == 403, "it works once"
            async with browser.get(f"http://127.0.0.1:{port}/api/v1/incidents") as answer:
                assert answer.status == 200
    finally:
        running.terminate()
        await running.wait()
        os.close(ours)
