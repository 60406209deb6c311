"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor() -> str:
    """Its name and the number of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def load_average() -> float | str:
    """What else the machine is doing: above 0.5 or so, times mean little."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else "unknown"
