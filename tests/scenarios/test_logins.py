# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""S40: logins that print, lecture, want a terminal or a password. Start and status work, by the module way where need be."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.longhaul.jobs.tests.scenarios.support import KEYS_OF_USERS, Json, Run, Server, Stage, User

TASKS = """
- name: Start
  longhaul.jobs.async_start:
    task:
      ansible.builtin.shell: {cmd: id -un; cat, stdin: fed}
    time_limit: 1m
  register: started

- name: Wait
  longhaul.jobs.async_status:
    jid: "{{ started.ansible_job_id }}"
  register: ended
  until: ended is finished
  retries: 60
  delay: 1

- name: Start a module, and wait
  longhaul.jobs.async_start:
    task: {ansible.builtin.stat: {path: /}}
    poll: 1
  register: module

- name: Ask in a list
  longhaul.jobs.async_status:
    jobs: ["{{ started }}", "{{ module }}"]

- name: Clean up
  longhaul.jobs.async_status:
    jid: "{{ started.ansible_job_id }}"
    mode: cleanup
"""


def _worked(run: Run, user: str) -> None:
    """All of TASKS came to what it should, as that user."""
    ended = run.result("Wait")
    assert (ended["rc"], ended["stdout_lines"], ended["job"]["user"]) == (0, [user, "fed"], user)
    assert run.result("Start")["job"]["async_dir"] == ended["job"]["async_dir"]
    module = run.result("Start a module, and wait")
    assert (module["stat"]["isdir"], module["job"]["state"], module["job"]["user"]) == (True, "succeeded", user)
    listed: list[Json] = run.result("Ask in a list")["jobs"]
    assert [job["job"]["state"] for job in listed] == ["succeeded", "succeeded"]
    assert run.result("Clean up")["erased"] == ended["results_file"]


def _by_ssh(server: Server, user: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What a command says over the plain ssh client."""
    options = ["-F", "none", "-p", str(server.port), "-i", str(server.key), "-o", f"UserKnownHostsFile={server.known_hosts}"]
    command = ["ssh", *options, "-o", "BatchMode=yes", f"{user}@127.0.0.1", *words]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize(
    "noise",
    ["echo '{oops'", "printf '{oops'", """echo '{"changed": true, "msg": "oops"}'""", "echo LONGHAUL-REPLY; echo oops >&2"],
    ids=["line", "no newline", "json", "marker"],
)
def test_a_bashrc_that_prints_disturbs_nothing(stage: Stage, make_server: t.Callable[..., Server], noise: str) -> None:
    """S40: where core itself fails on a brace."""
    user = pwd.getpwuid(os.getuid())
    if Path(user.pw_shell).name != "bash":
        pytest.skip(f"the login shell of {user.pw_name} is {user.pw_shell}, not bash")
    home = stage.folder / "home"
    home.mkdir()
    (home / ".bashrc").write_text(noise + "\n")
    server = make_server(f"SetEnv HOME={home}")
    said = _by_ssh(server, server.user, "true")
    if "oops" not in said.stdout + said.stderr:
        pytest.skip("this bash does not read .bashrc for a command over ssh")
    stage.add_ssh(server)
    _worked(stage.play(TASKS), user.pw_name)


@pytest.mark.parametrize("become", [False, True], ids=["plain", "sudo"])
def test_a_terminal_that_ssh_asks_for_disturbs_nothing(stage: Stage, server: Server, become: bool) -> None:
    """S40: -tt in the ssh arguments."""
    if become and (os.getuid() or not shutil.which("sudo")):
        pytest.skip("needs root and sudo")
    stage.add_ssh(server, ansible_ssh_extra_args="-tt", ansible_become=become)
    run = stage.play(TASKS, "-vvv")
    assert "-tt" in run.output
    _worked(run, pwd.getpwuid(os.getuid()).pw_name)


class Login(t.NamedTuple):
    """A user that may log in, and the file of its own in sudoers.d."""

    user: User
    server: Server
    sudoers: Path

    def may(self, *lines: str) -> None:
        """Write its sudoers file; ``{user}`` stands for its name."""
        self.sudoers.touch(mode=0o440)
        self.sudoers.write_text("".join(line.format(user=self.user.name) + "\n" for line in lines))
        subprocess.run(["visudo", "--check", "--file", str(self.sudoers)], check=True, capture_output=True)


@pytest.fixture
def login(stage: Stage, make_user: t.Callable[[Path], User], make_server: t.Callable[..., Server]) -> t.Iterator[Login]:
    user = make_user(stage.folder / "home")
    user.make_home()
    keys = stage.folder / "keys"
    server = make_server(KEYS_OF_USERS.format(keys=keys))
    user.let_in(server, keys)
    said = _by_ssh(server, user.name, "id -un")
    assert said.stdout.strip() == user.name, said.stderr
    sudoers = Path("/etc/sudoers.d", user.name)
    try:
        yield Login(user, server, sudoers)
    finally:
        sudoers.unlink(missing_ok=True)


def _needs_sudo() -> None:
    if not shutil.which("sudo") or not Path("/etc/sudoers.d").is_dir():
        pytest.skip("there is no sudo here")


@pytest.mark.parametrize("transport", ["auto", "module"])
def test_a_sudo_that_lectures_and_wants_a_password(stage: Stage, login: Login, transport: str) -> None:
    """S40"""
    _needs_sudo()
    lecture = stage.folder / "lecture"
    # (Where core runs a module it gives sudo a terminal, and reads what it prints: a brace would end it, with or without us.)
    lecture.write_text("{oops: a lecture\n" if transport == "auto" else "We trust you have received the usual lecture.\n")
    login.may("{user} ALL=(ALL) PASSWD: ALL", f"Defaults:{{user}} lecture=always, lecture_file={lecture}, timestamp_timeout=0")
    variables: dict[str, t.Any] = {"ansible_become": True, "ansible_become_password": login.user.password, "longhaul_transport": transport}
    stage.add_ssh(login.server, ansible_user=login.user.name, **variables, ansible_remote_tmp="~/.ansible/tmp")
    run = stage.play(TASKS)
    _worked(run, "root")
    assert login.user.password not in run.output


@pytest.mark.parametrize("password", [False, True], ids=["nopasswd", "password"])
def test_a_sudo_that_requires_a_terminal(stage: Stage, login: Login, password: bool) -> None:
    """S40: found out on the way, and gone round by the module way."""
    _needs_sudo()
    login.may("{user} ALL=(ALL) %s ALL" % ("PASSWD:" if password else "NOPASSWD:"), "Defaults:{user} requiretty, timestamp_timeout=0")
    refused = _by_ssh(login.server, login.user.name, "sudo -n true")
    assert refused.returncode
    if not password:
        assert "must have a tty" in refused.stderr
    given = {"ansible_become_password": login.user.password} if password else {}
    stage.add_ssh(login.server, ansible_user=login.user.name, ansible_become=True, ansible_remote_tmp="~/.ansible/tmp", **given)
    _worked(stage.play(TASKS), "root")


def test_a_sudo_that_requires_a_terminal_forbids_the_direct_way_in_a_sentence(stage: Stage, login: Login) -> None:
    """S40: where the direct way is asked for by name."""
    _needs_sudo()
    login.may("{user} ALL=(ALL) NOPASSWD: ALL", "Defaults:{user} requiretty")
    stage.add_ssh(login.server, ansible_user=login.user.name, ansible_become=True, longhaul_transport="direct")
    run = stage.play("- name: Start\n  longhaul.jobs.async_start: {cmd: 'true'}", rc=2)
    assert "longhaul_transport" in run.result("Start")["msg"]
    assert not stage.spool.exists()


def test_su_with_a_password(stage: Stage, login: Login) -> None:
    """S40: su to the login user itself, so that core has no files to hand over."""
    become: dict[str, t.Any] = {"ansible_become": True, "ansible_become_method": "su", "ansible_become_user": login.user.name}
    stage.add_ssh(
        login.server,
        ansible_user=login.user.name,
        ansible_become_password=login.user.password,
        ansible_remote_tmp="~/.ansible/tmp",
        ansible_async_dir="~/.ansible_async",
        **become,
    )
    run = stage.play(TASKS)
    _worked(run, login.user.name)
    assert run.result("Start")["job"]["async_dir"] == f"{login.user.home}/.ansible_async"


def test_a_wrong_password_is_one_sentence_and_nothing_is_started(stage: Stage, login: Login) -> None:
    """S40's neighbour: it is not repeated for half a minute, which locks accounts."""
    _needs_sudo()
    login.may("{user} ALL=(ALL) PASSWD: ALL", "Defaults:{user} timestamp_timeout=0")
    stage.add_ssh(login.server, ansible_user=login.user.name, ansible_become=True, ansible_become_password="not it")
    run = stage.play("- name: Start\n  longhaul.jobs.async_start: {cmd: 'true'}", rc=None)
    assert run.rc in (2, 4)
    assert "password" in run.result("Start")["msg"]
    assert run.output.count("is asked again") == 0
    assert not stage.spool.exists()
