"""Redis and PostgreSQL for one contender: started by us, with their data in a folder of ours.

Not the system's services: those stay untouched. PostgreSQL refuses to run as root, so
there it runs as the user `postgres` that its package made.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import attrs

from benchmarks.processes import Started, free_port, listens, start, wait_until

REDIS_SETTINGS = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "''")
# What is not named has PostgreSQL's default: fsync and synchronous_commit are on.
POSTGRES_SETTINGS = {"shared_buffers": "512MB", "max_connections": "200", "jit": "off", "max_wal_size": "4GB"}
SAID = {
    "Redis": f"redis-server {' '.join(REDIS_SETTINGS)}; appendfsync everysec is its default for a log",
    "PostgreSQL": "initdb's defaults (fsync and synchronous_commit on), but "
    + ", ".join(f"{name}={value}" for name, value in POSTGRES_SETTINGS.items()),
}
POSTGRES_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")


@attrs.frozen
class Service:
    """A running service: where it is, and where its data lies."""

    kind: str
    started: Started
    url: str
    folder: Path = attrs.field(repr=False)

    def env(self) -> dict[str, str]:
        """Return what its contender needs to find it."""
        return {"REDIS": self.url} if self.kind == "redis" else {"DBURL": self.url}

    def kept_bytes(self) -> int:
        """Return how much it has on disk; of PostgreSQL the database without its log, which is reused."""
        if self.kind == "redis":
            return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        import psycopg

        with psycopg.connect(self.url) as db:
            row = db.execute("SELECT pg_database_size(current_database())").fetchone()
            return int(row[0]) if row else 0


def missing(kind: str) -> str | None:
    """Say what is not installed, if something is not."""
    if kind == "redis":
        found = shutil.which("redis-server")
        return None if found else "redis-server is not installed (apt-get install redis-server)"
    return None if program("postgres") else "postgres is not installed (apt-get install postgresql)"


def start_service(kind: str, folder: Path, *, core: int) -> Service:
    """Start it and return once it answers; DidNotStart if it does not."""
    return _start_redis(folder, core) if kind == "redis" else _start_postgres(folder, core)


def _start_redis(folder: Path, core: int) -> Service:
    port, place = free_port(), folder / "redis"
    place.mkdir()
    command = [
        "redis-server",
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(place),
        *REDIS_SETTINGS,
    ]
    started = start("redis", command, core=core, folder=folder, env={})
    wait_until(lambda: listens(port), [started], "Redis")
    return Service("redis", started, f"redis://127.0.0.1:{port}", place)


def program(name: str) -> str | None:
    """Find a program of PostgreSQL; Debian does not put them on the PATH."""
    found = shutil.which(name)
    if found:
        return found
    root = Path("/")
    places = [path for pattern in POSTGRES_PLACES for path in sorted(root.glob(f"{pattern[1:]}/{name}"))]
    return str(places[-1]) if places else None


def _postgres_user() -> str | None:
    return "postgres" if os.geteuid() == 0 else None


_cluster: list[Path] = []  # made once a process: initdb takes seconds, a copy does not


def _new_cluster() -> Path:
    if not _cluster:
        place = Path(tempfile.mkdtemp(prefix="trigflow-bench-cluster-"))
        user = _postgres_user()
        if user:
            shutil.chown(place, user)
        command = [str(program("initdb")), "-D", str(place), "-U", "bench", "-A", "trust", "-E", "UTF8"]
        subprocess.run(command, check=True, capture_output=True, user=user, cwd="/")
        _cluster.append(place)
    return _cluster[0]


def forget_cluster() -> None:
    """Remove what was made once for all contenders."""
    while _cluster:
        shutil.rmtree(_cluster.pop())


def _start_postgres(folder: Path, core: int) -> Service:
    import psycopg

    port, place, user = free_port(), folder / "postgres", _postgres_user()
    folder.chmod(0o755)
    shutil.copytree(_new_cluster(), place)
    if user:
        for path in (place, *place.rglob("*")):
            shutil.chown(path, user)
    place.chmod(0o700)
    settings = {
        **POSTGRES_SETTINGS,
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = [str(program("postgres")), "-D", str(place), *options]
    started = start("postgres", command, core=core, folder=folder, env={}, user=user)
    server = f"postgresql://bench@127.0.0.1:{port}"

    def answers() -> bool:
        try:
            with psycopg.connect(f"{server}/postgres", autocommit=True, connect_timeout=2) as db:
                db.execute("CREATE DATABASE bench")
        except psycopg.OperationalError:
            return False
        return True

    wait_until(answers, [started], "PostgreSQL")
    return Service("postgres", started, f"{server}/bench", place)
