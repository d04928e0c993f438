"""Start the sandbox: join its cgroup, stop being root, become bubblewrap.

Run as a script by a bare interpreter, with a JSON text: "groups" (folders of cgroups to join),
"uid" (whom to become, or null), "command", and "stage" (the paths that a `{}` in the command, one
after the other, stands for).

Process limits do not bind root, so the sandbox must not belong to root. But an ordinary user may
not be able to reach what root wants to show it, such as an interpreter below root's own home.
Hence root binds these folders to a place that everyone can reach, in a mount namespace of its own.
"""

import ctypes
import json
import os
import sys

NEW_MOUNTS, BIND, RECURSIVE, PRIVATE, NOSUID, NODEV = 0x20000, 4096, 1 << 14, 1 << 18, 2, 4
STAGE = "/tmp"


def main(order: dict) -> None:
    """Do what the order says; never returns."""
    for folder in order["groups"]:
        with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    command, places = order["command"], order["stage"]
    if order["uid"] is not None:
        places = stage(places)
        os.setgroups([])
        os.setresgid(*[order["uid"]] * 3)
        os.setresuid(*[order["uid"]] * 3)
        os.chdir("/")
    rest = iter(places)
    command = [next(rest) if part == "{}" else part for part in command]
    # Nothing of our environment: the first process inside may be seen by a submission.
    os.execve(command[0], command, {})


def stage(paths: list[str]) -> list[str]:
    """Bind paths below a fresh folder that only this process and its children see."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source, target, kind, flags, options=None):
        if libc.mount(source, target.encode(), kind, ctypes.c_ulong(flags), options):
            sys.exit(f"mount {target}: {os.strerror(ctypes.get_errno())}")

    if libc.unshare(NEW_MOUNTS):
        sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
    mount(b"none", "/", None, RECURSIVE | PRIVATE)
    handles = [os.open(path, os.O_PATH) for path in paths]  # the stage may cover some of them
    mount(b"tmpfs", STAGE, b"tmpfs", NOSUID | NODEV, b"mode=0755,size=1m")
    targets = []
    for number, handle in enumerate(handles):
        target = f"{STAGE}/{number}"
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            os.mkdir(target, 0o755)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        mount(f"/proc/self/fd/{handle}".encode(), target, None, BIND | RECURSIVE)
        os.close(handle)
        targets.append(target)
    return targets


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
