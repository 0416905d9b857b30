"""Processes of workers: is it still the one we know, is it busy, and how to end it with all its children.

A number alone names no process, because numbers are used again; number and creation time do.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil

import core

ROOT = Path(core.__file__).resolve().parent.parent  # where ``python -m core...`` can be started
CREATED_TOLERANCE_SECONDS = 1.0
BUSY_CPU_SECONDS = 0.05


def created_at(pid: int) -> float | None:
    """Return when a process was created (seconds since 1970), or None when it is gone."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def find_process(pid: int, created: float | None) -> psutil.Process | None:
    """Return the living process of this number and creation time; None when it ended or is another one."""
    try:
        process = psutil.Process(pid)
        if created is not None and abs(process.create_time() - created) > CREATED_TOLERANCE_SECONDS:
            return None
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.Error:
        return None


def cpu_seconds(process: psutil.Process) -> float:
    """Return the processor time a process has used; 0 when it is gone."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def waits_for_disk(process: psutil.Process) -> bool:
    """True while a process hangs in the kernel, as on a slow network disk."""
    try:
        return bool(process.status() == psutil.STATUS_DISK_SLEEP)
    except psutil.Error:
        return False


def signal_group(process: psutil.Process, signal_number: int) -> None:
    """Send a signal to a worker and its children; the worker leads its own process group."""
    with contextlib.suppress(OSError, psutil.Error):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal_number)
        else:
            process.send_signal(signal_number)


def kill_orphans(leader_pid: int) -> None:
    """Kill what a dead worker left behind: processes of the session it led."""
    if psutil.pid_exists(leader_pid) and find_process(leader_pid, None) is not None:
        return  # the number belongs to another process by now
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if process.pid != leader_pid and os.getsid(process.pid) == leader_pid:
                process.send_signal(signal.SIGKILL)
