"""`make kafka-up`: a broker in the foreground, for people who want to try something."""

import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from tests.counterparts.kafka import Kafka
from tests.counterparts.kafka_setup import libraries

HELP = """\
Apache Kafka listens on {address}, with the topic alerts. Ctrl-C ends it, and what it holds is gone.
A message, by the broker's own console producer:
  echo '{{"name": "HighErrorRate", "service": "checkout", "severity": "critical"}}' | \\
    java -cp '{libraries}/*' org.apache.kafka.tools.ConsoleProducer --bootstrap-server {address} --topic alerts
"""


async def main(folder: Path, port: int) -> None:
    """Runs the broker until SIGINT or SIGTERM."""
    async with Kafka(folder, port=port) as broker:
        await broker.create_topic(name="alerts")
        sys.stdout.write(HELP.format(address=broker.address, libraries=libraries()))
        sys.stdout.flush()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="samband-kafka-") as place:
        asyncio.run(main(Path(place), int(sys.argv[1]) if len(sys.argv) > 1 else 9092))
