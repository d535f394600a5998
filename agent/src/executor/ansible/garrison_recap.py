"""Notes for garrison what comes of each host: a callback plugin of ansible-core 2.14 to 2.18.

The file that $GARRISON_RECAP names gets lines of JSON: one for each call of Ansible, one for each host, which is
written anew in its place after each task, and one for each task that failed. So whatever ends Ansible, and when,
what had come until then is there. Whatever goes wrong here does not disturb Ansible.
"""

import json
import os

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: garrison_recap
type: aggregate
short_description: notes for garrison what comes of each host
description: Writes a recap to the file that GARRISON_RECAP names, and nothing without it.
"""

# Most hosts and failed tasks that are noted of a call.
HOSTS = 10000
FAILURES = 100

# Longest message in characters: what is longer is left out as a whole, since a part of it could be a part of a
# secret, which nobody would know as one.
MESSAGE = 65536

# What a host's line may grow by.
ROOM = 64

COUNTS = ("ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored")


def quietly(method):
    """Gives up for good where the file cannot be written."""

    def wrapped(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self.disabled = True
            self._display.vvv("garrison_recap gives up: %s" % error)

    return wrapped


def message_of(result):
    """Why a task failed, as its module says; nothing of a task with `no_log`."""
    if result.get("_ansible_no_log") or "censored" in result:
        return "hidden by no_log"
    for item in result.get("results") or []:
        if isinstance(item, dict) and (item.get("failed") or item.get("unreachable")):
            return message_of(item)
    text = str(result.get("msg") or "")
    for more in ("stderr", "module_stderr", "stdout"):
        if not text or text == "non-zero return code":
            lines = str(result.get(more) or "").strip().splitlines()
            text = ": ".join(part for part in (text, lines[-1] if lines else "") if part)
    if len(text) > MESSAGE:
        return "a message of %d characters, see the log" % len(text)
    return text


def is_rescued(task):
    """Whether it stands in a block with `rescue`, or in one that is part of such a block."""
    while task is not None:
        block = getattr(task, "_parent", None)
        if any(part._uuid == task._uuid for part in getattr(block, "block", None) or []) and block.rescue:
            return True
        task = block
    return False


class Slot:
    """A line with what came of a host."""

    def __init__(self, host):
        self.line = dict({"host": host}, **dict.fromkeys(COUNTS, 0))
        self.place = None
        self.width = len(self.encoded()) + ROOM

    def encoded(self):
        return json.dumps(self.line).encode()

    def padded(self):
        return self.encoded().ljust(self.width) + b"\n"


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "garrison_recap"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._slots = {}
        self._failures = 0
        path = os.environ.get("GARRISON_RECAP")
        try:
            # Where a line was appended tells only a file that is opened for that; there Linux writes at the end alone.
            self._end = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self._file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except (OSError, TypeError):
            self.disabled = True

    def _append(self, line):
        """Writes a line, and says where it stands."""
        os.write(self._end, line)
        return os.lseek(self._end, 0, os.SEEK_CUR) - len(line)

    def _count(self, host, *kinds):
        slot = self._slots.get(host)
        if slot is None:
            if len(self._slots) == HOSTS:
                return
            slot = self._slots[host] = Slot(host)
        for kind in kinds:
            slot.line[kind] += 1
        self._write(slot)

    def _write(self, slot):
        if slot.place is None:
            slot.place = self._append(slot.padded())
        else:
            os.pwrite(self._file, slot.padded(), slot.place)

    def _fail(self, result, kind):
        self._failures += 1
        if self._failures <= FAILURES:
            failure = {
                "failure": kind,
                "host": result._host.get_name(),
                "task": result._task.get_name(),
                "message": message_of(result._result),
            }
            self._append(json.dumps(failure).encode() + b"\n")

    @quietly
    def v2_playbook_on_start(self, playbook):
        call = {"call": True, "check": bool(context.CLIARGS.get("check"))}
        self._append(json.dumps(call).encode() + b"\n")

    @quietly
    def v2_runner_on_ok(self, result):
        changed = ("changed",) if result.is_changed() else ()
        self._count(result._host.get_name(), "ok", *changed)

    @quietly
    def v2_runner_on_skipped(self, result):
        self._count(result._host.get_name(), "skipped")

    @quietly
    def v2_runner_on_failed(self, result, ignore_errors=False):
        if ignore_errors:
            self._count(result._host.get_name(), "ok", "ignored")
        elif is_rescued(result._task):
            self._count(result._host.get_name(), "rescued")
        else:
            self._count(result._host.get_name(), "failed")
            self._fail(result, "failed")

    @quietly
    def v2_runner_on_unreachable(self, result):
        self._count(result._host.get_name(), "unreachable")
        self._fail(result, "unreachable")

    @quietly
    def v2_playbook_on_stats(self, stats):
        """Ansible's own counts, which know what was rescued."""
        for host in sorted(stats.processed):
            summary = stats.summarize(host)
            summary["failed"] = summary.pop("failures")
            self._count(host)
            if host in self._slots:
                self._slots[host].line.update((kind, summary.get(kind, 0)) for kind in COUNTS)
                self._write(self._slots[host])
