"""What a broker of the tests needs before it starts: its jars, its settings, certificates, a formatted folder."""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.counterparts.process import free_port, program

HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "samband" / "kafka"
"""Where tools/counterparts puts the jars; a formatted, empty data folder and an archive of classes come beside them."""

JVM = (
    "-Xms32m", "-Xmx192m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
    "-XX:ReservedCodeCacheSize=64m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
)  # fmt: skip

PLAIN = ("alice", "alice-secret")
SCRAM = ("carol", "carol-secret")
"""Who may log in, by mechanism; OAUTHBEARER takes every unsecured token."""

_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=100
broker.session.timeout.ms=500
broker.heartbeat.interval.ms=100
controller.quorum.election.timeout.ms=100
log.cleaner.dedupe.buffer.size=2097152
log.cleaner.backoff.ms=200
log.retention.check.interval.ms=500
log.initial.task.delay.ms=500
"""

PROTOCOLS = {"PLAINTEXT": "PLAINTEXT", "SASL": "SASL_PLAINTEXT", "TLS": "SSL", "SASLTLS": "SASL_SSL", "MTLS": "SSL"}
"""Name of a listener -> what it speaks."""


def settings(data: Path, listeners: Mapping[str, str]) -> str:
    """The broker's settings: the fewest with which tests take seconds instead of minutes."""
    controller = f"127.0.0.1:{free_port()}"
    lines = [
        f"log.dirs={data}",
        f"controller.quorum.voters=1@{controller}",
        f"listeners={','.join(f'{n}://{at}' for n, at in {**listeners, 'CONTROLLER': controller}.items())}",
        "listener.security.protocol.map="
        + ",".join(f"{name}:{protocol}" for name, protocol in {**PROTOCOLS, "CONTROLLER": "PLAINTEXT"}.items()),
    ]
    if len(listeners) > 1:
        lines += _security(data.parent)
    return _SETTINGS + "\n".join(lines) + "\n"


def _security(folder: Path) -> list[str]:
    module = "org.apache.kafka.common.security"
    jaas = {
        "plain": f'{module}.plain.PlainLoginModule required user_{PLAIN[0]}="{PLAIN[1]}";',
        "scram-sha-256": f"{module}.scram.ScramLoginModule required;",
        "scram-sha-512": f"{module}.scram.ScramLoginModule required;",
        "oauthbearer": f'{module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
    }
    lines = [f"sasl.enabled.mechanisms={','.join(name.upper() for name in jaas)}"]
    for listener in ("sasl", "sasltls"):
        lines += [f"listener.name.{listener}.{name}.sasl.jaas.config={how}" for name, how in jaas.items()]
    return [
        *lines,
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={folder / 'broker.pem'}",
        "ssl.truststore.type=PEM",
        f"ssl.truststore.location={folder / 'ca.pem'}",
        "listener.name.mtls.ssl.client.auth=required",
    ]


def certificates(folder: Path) -> None:
    """An authority, and what it has signed for the broker and for a client."""

    def openssl(*arguments: str) -> None:
        subprocess.run([program("openssl"), *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl("req", "-x509", *key, "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("broker", "client"):
        names = ("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=CA:FALSE")
        openssl("req", "-x509", *signed, *key, *names, "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                "-out", f"{name}.pem")  # fmt: skip
    (folder / "broker.pem").write_text((folder / "broker.key").read_text() + (folder / "broker.pem").read_text())


def libraries() -> Path:
    """The folder of the jars; skips the test when this machine has none."""
    folder = HOME / "libs"
    if not folder.is_dir():
        pytest.skip("Apache Kafka is not on this machine (tools/counterparts fetches it)")
    return folder


def prepared() -> Path:
    """What every broker starts from, made once: a formatted data folder, and an archive of the classes.

    They save three of five seconds of each start.
    """
    ready = HOME / "prepared"
    with _alone(HOME / "lock"):
        if not ready.is_dir():
            libs = libraries()
            folder = Path(tempfile.mkdtemp(dir=HOME))
            try:
                _prepare(folder, f"{libs}/*")
                folder.rename(ready)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return ready


def _prepare(folder: Path, classpath: str) -> None:
    properties = folder / "server.properties"
    port = free_port()
    properties.write_text(settings(folder / "run", {"PLAINTEXT": f"127.0.0.1:{port}"}))
    java = [program("java"), *JVM]
    users = [f"SCRAM-SHA-{bits}=[name={SCRAM[0]},password={SCRAM[1]}]" for bits in (256, 512)]
    format_it = ["kafka.tools.StorageTool", "format", "--cluster-id", "c2FtYmFuZC10ZXN0cy0tLQ", "-c", str(properties)]
    for user in users:
        format_it += ["--add-scram", user]
    subprocess.run([*java, "-cp", classpath, *format_it], check=True, capture_output=True)
    shutil.copytree(folder / "run", folder / "data")
    # The archive is written when a broker ends that has started.
    archive = f"-XX:ArchiveClassesAtExit={folder / 'classes.jsa'}"
    with (folder / "java.log").open("wb") as log:
        command = [*java, archive, "-cp", classpath, "kafka.Kafka", str(properties)]
        running = subprocess.Popen(command, stdout=log, stderr=log)
        while running.poll() is None and not _open(port):
            time.sleep(0.1)
        running.terminate()
        running.wait()


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
