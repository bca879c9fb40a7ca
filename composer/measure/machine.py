"""The measurement environment: the machine and the versions."""

from __future__ import annotations

import datetime
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch

from composer import __version__
from composer.errors import counted

_CPUS = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """What times depend on, besides the timed code; `name` is that of the CPU or the device."""

    name: str
    cores: int
    threads: int
    date: str
    versions: dict[str, str]

    @classmethod
    def here(cls, device: torch.device | str = "cpu") -> Machine:
        """Return this machine with what is installed on it, today."""
        place = torch.device(device)
        versions = {
            "composer": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "timm": str(timm.__version__),
        }
        return cls(
            torch.cuda.get_device_name(place) if place.type == "cuda" else _processor(),
            _cores(),
            torch.get_num_threads(),
            datetime.date.today().isoformat(),
            versions,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the machine without the versions, which stand beside it."""
        return {n: getattr(self, n) for n in ("name", "cores", "threads", "date")}

    def __str__(self) -> str:
        cores = f"{counted(self.cores, 'core')}, {counted(self.threads, 'thread')}"
        torch_, timm_ = self.versions["torch"], self.versions["timm"]
        return f"{self.name}, {cores}; torch {torch_}, timm {timm_}; {self.date}"


def _cores() -> int:
    """Return how many cores this process may run on."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _processor() -> str:
    """Return the name of the CPU as reported by the system."""
    if _CPUS.is_file():
        for line in _CPUS.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    return platform.processor() or platform.machine()
