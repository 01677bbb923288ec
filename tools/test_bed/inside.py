# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is inside a host: the files in which it differs from this machine, and what its pid 1 does."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from beds import Host

SMALL = "size=4m,nr_inodes=512"  # of the disk at /small
# Known to all: they open nothing but what is inside the namespaces.
PASSWORDS = {"root": "root-in-the-bed", "asked": "asked-in-the-bed", "plain": "plain-in-the-bed"}
_HASHES = {
    "root": "$6$longhaul$Z0lSy3lu3lUFQlRjuq0S8k13AvZimmlH4Hum31Cic3jHyRRB65b3XCFd7QqxvXMl3X.kC/9Zx.AetevwHow/i.",
    "asked": "$6$longhaul$xW2kyOdFNeNzn6Qjwc8.h6ahCtclecdaQxZvw2FX11DgGZpDlYYCdlpW.9fxIbNaYsR7Fj0V9TCW6Z7MQh.Ja1",
    "plain": "$6$longhaul$b1gR24sGUWQ1UKJZPT5Yx/zk6cy.TAO.n33ppZbv6iqoxaFrIDjKMP8wcZxFcpVZxhFm7IkgVtTwcfTe5A.3C/",
}
# name: uid, home, whether the home is there and its own
USERS = {
    "free": (61001, "/home/free", True),
    "asked": (61002, "/home/asked", True),
    "plain": (61003, "/home/plain", True),
    "roofless": (61004, "/home/roofless/gone", False),
    "service": (61005, "/srv", False),
}
_SUDOERS = """\
Defaults env_reset
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
asked ALL=(ALL:ALL) ALL
free ALL=(ALL:ALL) NOPASSWD: ALL
@includedir /etc/sudoers.d
"""
_SSHD = """\
Port 22
HostKey /etc/longhaul-bed/host_key
AuthorizedKeysFile /etc/longhaul-bed/authorized_keys
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PidFile none
MaxStartups 200
MaxSessions 100
Subsystem sftp internal-sftp
AcceptEnv LANG LC_*
"""
# What no process of a host may do: the kernel and the clock are everybody's.
BARRED = "--bounding-set=-sys_module,-sys_rawio,-sys_time"
# Mounts one of the bed's shared folders, $1, at $2.
BIND = 'mkdir -p "$2" && mount --bind "/shared/$1" "$2"'
# Becomes pid 1 of the host $HOST, whose folder is $FOLDER: puts its root together and moves there.
BOOT = r"""
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/,upperdir=$FOLDER/upper,workdir=$FOLDER/work $FOLDER/root
cd $FOLDER/root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
[ ! -d /root/.pyenv ] || mount --bind -o ro /root/.pyenv root/.pyenv
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do : >dev/$node; mount --bind /dev/$node dev/$node; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
mkdir -p run/sshd run/lock
cp $FOLDER/boot_id run/boot_id
hostname $HOST
for path in proc/sys proc/sysrq-trigger; do [ ! -e $path ] || mount --bind -o ro $path $path; done
mount --bind run/boot_id proc/sys/kernel/random/boot_id
mount --bind $FOLDER/small small
mount --bind $FOLDER/../shared shared
pivot_root . mnt
umount -l mnt
exec chroot . setpriv $BARRED /bin/bash /etc/longhaul-bed/init
"""
_INIT = rf"""
cd /
while IFS=$'\t' read -r name path; do
    bash -c '{BIND}' bind "$name" "$path"
done </etc/longhaul-bed/shares
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SSHD -f /etc/longhaul-bed/sshd_config -E /var/log/sshd.log
trap 'exit 0' TERM
while :; do sleep 3600 & wait $!; done
"""
# reboot(2) in a pid namespace ends its pid 1, by SIGHUP for a restart and SIGINT for good.
_SHUTDOWN = r"""#!/usr/bin/python3
import ctypes
import os
import sys
import time

off = os.path.basename(sys.argv[0]) == "poweroff" or {"-h", "-P", "-H"}.intersection(sys.argv[1:])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(0.3)  # for the answer to be on its way
        ctypes.CDLL(None).reboot(0x4321FEDC if off else 0x01234567)
    os._exit(0)
"""


def furnish(host: Host) -> None:
    """Lay down all that the host has of its own."""
    own = host.upper / "etc" / "longhaul-bed"
    for folder in (own, host.folder / "work", host.folder / "root"):
        folder.mkdir(parents=True)
    for name in ("small", "shared", "mnt", "srv", "home", "usr/sbin", "var"):
        (host.upper / name).mkdir(parents=True, exist_ok=True)
    for name, mode in (("root", 0o700), ("etc/sudoers.d", 0o750), ("var/tmp", 0o1777)):
        _opaque(host.upper / name, mode)
    (host.upper / "root" / ".pyenv").mkdir()
    shutil.copy(host.bed.folder / "host_key", own / "host_key")
    shutil.copy(host.bed.folder / "key.pub", own / "authorized_keys")
    (own / "sshd_config").write_text(_SSHD)
    (own / "init").write_text(_INIT.replace("SSHD", shutil.which("sshd") or "sshd"))
    (own / "shares").touch()
    for name in ("shutdown", "reboot", "poweroff"):
        program = host.upper / "usr" / "sbin" / name
        program.write_text(_SHUTDOWN)
        program.chmod(0o755)
    etc = host.upper / "etc"
    (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
    (etc / "hostname").write_text(f"{host.name}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost {host.name}\n")
    (etc / "sudoers").write_text(_SUDOERS)
    (etc / "sudoers").chmod(0o440)
    _users(etc)
    for _user, (uid, home, own_home) in USERS.items():
        if own_home:
            folder = host.upper / home.lstrip("/")
            folder.mkdir(0o700)
            os.chown(folder, uid, uid)


def _opaque(folder: Path, mode: int) -> None:
    """A folder that shows nothing of the machine's own of that name."""
    folder.mkdir()
    folder.chmod(mode)
    os.setxattr(folder, "trusted.overlay.opaque", b"y")


def _users(etc: Path) -> None:
    """The machine's users and ours."""
    lines = {name: _lines(name, {*USERS, "root"} if name == "shadow" else set(USERS)) for name in ("passwd", "group", "shadow")}
    for user, (uid, home, _own) in USERS.items():
        lines["passwd"].append(f"{user}:x:{uid}:{uid}::{home}:/bin/bash")
        lines["group"].append(f"{user}:x:{uid}:")
    for user in ("root", *USERS):
        lines["shadow"].append(f"{user}:{_HASHES.get(user, '*')}:19000:0:99999:7:::")
    for name, some in lines.items():
        (etc / name).write_text("\n".join(some) + "\n")
        status = Path("/etc", name).stat()
        os.chown(etc / name, status.st_uid, status.st_gid)
        (etc / name).chmod(status.st_mode & 0o777)


def _lines(name: str, without: set[str]) -> list[str]:
    return [line for line in Path("/etc", name).read_text().splitlines() if line.partition(":")[0] not in without]
