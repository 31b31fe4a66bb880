"""What a run was taken on, as far as figures depend on it; nothing that names a machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

from benchmarks.services import program

PACKAGES = (
    "trigflow", "uvicorn", "uvloop", "httptools", "fastapi", "starlette", "gidgethub", "aiohttp", "celery",
    "dbos", "procrastinate", "apsw", "msgspec",
)  # fmt: skip
IN_MEMORY = ("tmpfs", "ramfs")


def described(folder: Path) -> dict[str, object]:
    """Describe processor, system and Python, and the file system that stores are on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "file_system": file_system(folder),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Return the versions of what was compared, as far as it is installed."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name, path in (("Redis", shutil.which("redis-server")), ("PostgreSQL", program("postgres"))):
        if path:
            told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
            found[name] = next(
                part.removeprefix("v=") for part in told.split() if part.strip("v=")[0].isdigit()
            )
    return found


def file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on."""
    told = subprocess.run(
        ["findmnt", "-n", "-o", "FSTYPE", "-T", str(folder)], capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "unknown file system"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
