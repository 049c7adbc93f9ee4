"""A load generator and the processes that it is sent to: CPU time per alert, beside Alertmanager in the same run.

Requests are built beforehand and sent over keep-alive connections; what is measured is the CPU
time of the server (all its threads, from /proc), so that a busy machine does not decide.
"""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def alert(number: int, start: str, end: str) -> dict[str, object]:
    """One alert of 10 labels and about 860 bytes, as Prometheus sends it; `number` makes it distinct."""
    labels = {
        "alertname": "HighErrorRate",
        "service": f"checkout-{number % 20}",
        "instance": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:9100",
        "job": "node",
        "severity": "warning",
        "cluster": "eu-north-1",
        "namespace": "shop",
        "pod": f"checkout-{number:08d}-x7f",
        "team": "payments",
        "region": "se",
    }
    return {
        "labels": labels,
        "annotations": {
            "summary": "The error rate of checkout is above five per cent for ten minutes",
            "description": "Requests to the checkout service fail; see the dashboard for the rate by route " + "x" * 80,
            "runbook_url": "https://runbooks.example.org/checkout/high-error-rate",
        },
        "startsAt": start,
        "endsAt": end,
        "generatorURL": "http://prometheus-1.example.org:9090/graph?g0.expr=" + "rate%28errors%5B5m%5D%29" * 4,
    }


def stamp(at: float) -> str:
    """RFC 3339 with milliseconds, as Prometheus writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


def requests(numbers: Sequence[int], batch: int, start: float, end: float, port: int) -> list[bytes]:
    """HTTP requests with `batch` alerts each."""
    found = []
    for first in range(0, len(numbers), batch):
        body = json.dumps([alert(n, stamp(start), stamp(end)) for n in numbers[first : first + batch]]).encode()
        head = (
            f"POST /api/v2/alerts HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        found.append(head.encode() + body)
    return found


async def send(port: int, bodies: Sequence[bytes], connections: int) -> list[float]:
    """Sends all requests over so many connections; the seconds that each answer took. Anything but 200 raises."""
    waiting = list(reversed(bodies))
    took: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            body = waiting.pop()
            began = time.perf_counter()
            writer.write(body)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"answered {head[:60]!r}")
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await reader.readexactly(int(line[15:]))
            took.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return took
