# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users write in options: durations, names, labels. Every refusal names the option, what it got and what it takes."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping

import ansible.constants as C
from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.text.formatters import human_to_bytes

_NUMBER = re.compile(r"[0-9]{1,10}(\.[0-9]{1,6})?", re.ASCII)
_UNITS = re.compile(r"(?=[0-9])(?:([0-9]{1,5})d)?(?:([0-9]{1,7})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,10})s)?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_LIKE_A_JID = re.compile(r"j?[0-9]{1,12}\.[0-9]+", re.ASCII)


def shown(value: object) -> str:
    """`value` as a refusal shows it: quoted, without control characters, 80 characters at most."""
    text = ascii(str(value)) if isinstance(value, str) else ascii(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"


def validated(
    action: t.Any, spec: dict[str, dict[str, t.Any]], *, one_of: tuple[str, ...] = (), at_most_one_of: tuple[str, ...] = ()
) -> dict[str, t.Any]:
    """The task's arguments as `spec` has them, with exactly one of `one_of`. Raises AnsibleActionFail; core words it."""
    refuse_unknown(action._task.action, action._task.args, spec)
    exclusive = [group for group in (one_of, at_most_one_of) if group]
    result = action.validate_argument_spec(spec, mutually_exclusive=exclusive, required_one_of=[one_of] if one_of else [])
    return t.cast("dict[str, t.Any]", result[1])


def refuse_unknown(module: str, arguments: t.Iterable[object], known: t.Collection[str]) -> None:
    """Raises AnsibleActionFail for arguments that the module does not have."""
    unknown = sorted(str(key) for key in arguments if key not in known)
    if unknown:
        takes = ", ".join(key for key in known if not key.startswith("_"))
        raise AnsibleActionFail(f"{module}: got the unknown argument {', '.join(map(shown, unknown))}; it takes {takes}")


def seconds(option: str, value: object, *, least: float = 0.0) -> float:
    """A duration in seconds, from seconds or from 90s, 15m, 2h30m, 1d. Raises AnsibleActionFail, also below `least`."""
    text = str(value).strip()
    if _NUMBER.fullmatch(text):
        found = float(text)
    else:
        parts = _UNITS.fullmatch(text)
        if not parts:
            raise AnsibleActionFail(f"{option}: got {shown(value)}; it takes seconds, or a duration such as 90s, 15m, 2h30m or 1d")
        days, hours, minutes, rest = (int(part or 0) for part in parts.groups())
        found = float(((days * 24 + hours) * 60 + minutes) * 60 + rest)
    if found < least:
        raise AnsibleActionFail(f"{option}: got {shown(value)}; it takes at least {least:g} seconds")
    return found


def size(option: str, value: str, *, least: int = 0) -> int:
    """A number of bytes, from a number or from 500K, 10M, 2G. Raises AnsibleActionFail, also below `least`."""
    try:
        found = int(human_to_bytes(value.strip()))
    except ValueError:
        found = -1
    if found < least:
        takes = f"at least {least} bytes, as a number" if least else "a number of bytes"
        raise AnsibleActionFail(f"{option}: got {shown(value)}; it takes {takes} or a size such as 500K, 10M or 2G")
    return found


def limit(option: str, value: object | None) -> float | None:
    """A limit in seconds, None where there is none. Raises AnsibleActionFail, for 0 too."""
    if value is None:
        return None
    found = seconds(option, value)
    if not found:
        raise AnsibleActionFail(f"{option}: got {shown(value)}; it takes a duration above 0, and is left out where there is no limit")
    return found


def is_name(text: str) -> bool:
    """Whether `text` can be a job's name: its form, and that it cannot be taken for a job id."""
    return bool(_NAME.fullmatch(text)) and not _LIKE_A_JID.fullmatch(text)


def name(option: str, value: str | None) -> str | None:
    """A job's name. Raises AnsibleActionFail."""
    if value is not None and not is_name(value):
        takes = "1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit and not of a job id's form"
        raise AnsibleActionFail(f"{option}: got {shown(value)}; it takes {takes}")
    return None if value is None else str(value)


def labels(option: str, value: object) -> dict[str, str]:
    """A job's labels; numbers become strings. Raises AnsibleActionFail."""
    found: dict[str, str] = {}
    if not isinstance(value, (Mapping, type(None))):
        raise AnsibleActionFail(f"{option}: got {shown(value)}; it takes a dict of labels and their values")
    for key, content in (value or {}).items():
        if not isinstance(key, str) or not is_name(key):
            raise AnsibleActionFail(f"{option}: got the key {shown(key)}; it takes keys of the form of a job's name")
        if isinstance(content, bool) or not isinstance(content, (str, int, float)):
            raise AnsibleActionFail(f"{option}: got {shown(content)} for {key}; it takes strings and numbers")
        found[str(key)] = str(content)
    return found


def async_dir(option: str, value: str | None) -> str | None:
    """An async dir as asked for; the target expands `~`. Raises AnsibleActionFail."""
    if value is not None and (not value.startswith(("/", "~")) or "\0" in value or len(value) > 4096):
        raise AnsibleActionFail(f"{option}: got {shown(value)}; it takes an absolute path, or one that begins with ~")
    return None if value is None else str(value)


def refuse_keywords(task: t.Any, action: str, instead: str) -> None:
    """Raises AnsibleActionFail where the task has core's keywords `async` or `poll`; `instead` says what to write."""
    if task.async_val:
        raise AnsibleActionFail(f"async: got {task.async_val} at the task's level; {action} does not take this keyword: {instead}")
    if task.poll != C.config.get_config_value("DEFAULT_POLL_INTERVAL"):
        raise AnsibleActionFail(f"poll: got {task.poll} at the task's level; {action} does not take this keyword: {instead}")
