# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is taken out of a module's result before core's own cleaning sees it (`_core.clean`)."""

from __future__ import annotations

import importlib
import json
import re
import typing as t

_parameters: t.Any = importlib.import_module("ansible.module_utils.common.parameters")

MAX_DEPTH = 200  # levels; the recursive parts of core and its callbacks end somewhere above
_MAX_WARNINGS = 100


def prepare(document: t.Any, *, core_masks: bool) -> tuple[str, list[str]]:
    """Return the result as JSON text for core to read, and its warnings and deprecations as text.

    Without, in silence, what core would warn of together with its value: `_ansible_*` at any depth, `add_host`, `add_group`,
    facts of interpreters, facts that are no dict. Lone surrogates become U+FFFD. Of the secrets that a module of core 2.22
    lists in `_ansible_new_secrets`, core is told if `core_masks`; else they are removed from the result here.
    Raises ValueError if it is no JSON object, RecursionError if it is nested too deep.
    """
    if isinstance(document, str):
        document = json.loads(document)
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    listed = document.get("_ansible_new_secrets")
    secrets = [item for item in listed if isinstance(item, str) and item] if isinstance(listed, list) else []
    result = _without_internals(document, 0)
    for key in ("add_host", "add_group"):
        result.pop(key, None)
    facts = result.pop("ansible_facts", None)
    if isinstance(facts, dict):
        result["ansible_facts"] = {key: fact for key, fact in facts.items() if not re.match("(ansible_)?discovered_interpreter_", key)}
    if secrets and not core_masks:
        result = _parameters.remove_values(result, secrets)
    # taken apart, for core since 2.21 mixes those of several results
    warnings = [text for key in ("warnings", "deprecations") for text in _texts(result.pop(key, None))]
    if secrets and core_masks:
        result["_ansible_new_secrets"] = secrets
    return _on_one_line(_text(json.dumps(result, ensure_ascii=False))), [_text(warning) for warning in warnings[:_MAX_WARNINGS]]


def _without_internals(value: t.Any, depth: int) -> t.Any:
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, dict):
        return {key: _without_internals(item, depth + 1) for key, item in value.items() if not key.startswith("_ansible_")}
    if isinstance(value, list):
        return [_without_internals(item, depth + 1) for item in value]
    return value


def _texts(value: t.Any) -> list[str]:
    """The messages of warnings or deprecations: strings until core 2.18, dicts with `msg`, since 2.19 in an `event`."""
    found = []
    for item in value if isinstance(value, list) else [value]:
        inner = item.get("event", item) if isinstance(item, dict) else item
        message = inner.get("msg") if isinstance(inner, dict) else inner
        if isinstance(message, str):
            found.append(message)
    return found


def _text(value: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", value)


def _on_one_line(document: str) -> str:
    """JSON text with what else str.splitlines() ends a line at written out: core splits a module's output by it."""
    return re.sub("[\x85\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", document)
