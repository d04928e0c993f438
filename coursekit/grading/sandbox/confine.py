"""What a process gives up before it runs a submission: its view of the machine, rights, resources.

Linux only, by way of `libc`. Each step raises OSError when the kernel refuses it: a submission
never starts half confined.
"""

import ctypes
import os
import platform
import resource
import struct

NEW_MOUNTS, NEW_IPC, NEW_NAMES, NEW_PIDS = 0x20000, 0x08000000, 0x04000000, 0x20000000
ALL_NAMESPACES = 0x7E020080  # every CLONE_NEW* flag
NOSUID, NODEV, NOEXEC, BIND, RECURSIVE, PRIVATE = 2, 4, 8, 4096, 1 << 14, 1 << 18  # of mount(2)
DIE_WITH_PARENT, DUMPABLE, NO_DUMP, SECCOMP, NO_NEW_PRIVS, AMBIENT = 1, 4, 0, 22, 38, 47
WORK = "/box"  # home and working folder inside
FILES_PER_MOUNT = 20_000  # an inode costs kernel memory too

# Numbers of system calls: x86-64, AArch64. Refused with EPERM.
REFUSED = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # Memory that no process maps, and so no limit of a process counts.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    # Keyrings belong to a user, not to a process: the next submission could read them.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # Large interfaces of the kernel that a course never needs and where most holes were found.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "syslog": (103, 116),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
}
CLONE, CLONE3, SOCKET = (56, 220), (435, 435), (41, 198)
# Local, IPv4, IPv6, netlink. A network namespace does not confine vsock, which reaches the host
# of a virtual machine.
FAMILIES = (1, 2, 10, 16)
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # AUDIT_ARCH_*, column above

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces that are named by CLONE_NEW* flags."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount as mount(2) does."""
    kind_bytes = kind.encode() if kind else None
    done = _libc.mount(
        source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), options.encode()
    )
    _check(done, f"mount {target}")


def prctl(option: int, *values: int) -> None:
    """Call prctl(2)."""
    padded = [ctypes.c_ulong(value) for value in (*values, *[0] * (4 - len(values)))]
    _check(_libc.prctl(option, *padded), f"prctl {option}")


def enter_namespaces(size: int, visible: list[str]) -> None:
    """Give this process, the first of its process namespace, fresh folders and its own /proc.

    Parameters
    ----------
    size : int
        Bytes of each writable folder.
    visible : list of path
        Read-only folders and files; those in /tmp stay in sight.
    """
    unshare(NEW_MOUNTS | NEW_IPC | NEW_NAMES)
    mount("none", "/", None, RECURSIVE | PRIVATE)
    handles = {path: os.open(path, os.O_PATH) for path in visible if path.startswith("/tmp/")}
    options = f"size={size},nr_inodes={FILES_PER_MOUNT},mode=0700"
    for folder in ("/tmp", "/dev/shm", WORK):
        mount("tmpfs", folder, "tmpfs", NOSUID | NODEV, options)
    for path, handle in handles.items():
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            os.makedirs(path)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.mknod(path)
        mount(f"/proc/self/fd/{handle}", path, None, BIND | RECURSIVE)
        os.close(handle)
    mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)


def be_killed_first() -> None:
    """Let the kernel kill this process and its children before all others when memory is short."""
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def drop_capabilities() -> None:
    """Give up every capability, for good, and every door through which one could come back."""
    prctl(NO_NEW_PRIVS, 1)
    prctl(AMBIENT, 4)  # clear all
    header = struct.pack("=II", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _check(_libc.capset(header, bytes(24)), "capset")


def set_limits(limits: dict[str, int]) -> None:
    """Set resource limits, which cannot be raised again.

    Parameters
    ----------
    limits : dict
        "memory" (bytes, of one process, beyond what it has now), "cpu" (seconds),
        "processes", "files" (bytes of one file), "open_files".
    """
    hard = {
        resource.RLIMIT_CPU: limits["cpu"],
        resource.RLIMIT_FSIZE: limits["files"],
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_CORE: 0,
    }
    if limits.get("processes"):
        hard[resource.RLIMIT_NPROC] = limits["processes"]
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        # Libraries of torch take gigabytes of address space before the first tensor.
        hard[resource.RLIMIT_AS] = now + limits["memory"]
        hard |= {resource.RLIMIT_MEMLOCK: 0, resource.RLIMIT_MSGQUEUE: 2**16}
    for kind, value in hard.items():
        _, ceiling = resource.getrlimit(kind)
        value = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
        resource.setrlimit(kind, (value, value))


def install_seccomp_filter() -> bool:
    """Let the kernel refuse dangerous system calls; False on a processor we have no numbers for."""
    machine = MACHINES.get(platform.machine())
    if machine is None:
        return False
    filters = _bpf_program(*machine)
    program = b"".join(struct.pack("=HBBI", *line) for line in filters)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(filters), ctypes.addressof(buffer))
    pointer = ctypes.create_string_buffer(header, len(header))
    prctl(SECCOMP, 2, ctypes.addressof(pointer))
    return True


def _bpf_program(arch: int, column: int) -> list[tuple[int, int, int, int]]:
    load, equal, at_least, any_bit, done = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF opcodes
    allow, refuse = 0x7FFF0000, 0x00050000  # the second carries an errno
    eperm, enosys, eafnosupport = refuse | 1, refuse | 38, refuse | 97
    number, architecture, first_argument = 0, 4, 16  # offsets in struct seccomp_data
    lines = [
        (load, 0, 0, architecture),
        (equal, 1, 0, arch),
        (done, 0, 0, eperm),  # 32-bit calls have other numbers
        (load, 0, 0, number),
        (at_least, 0, 1, 0x40000000),
        (done, 0, 0, eperm),  # and so have those of x32
        (equal, 0, 1, CLONE3[column]),
        (done, 0, 0, enosys),  # its flags lie in memory, out of sight; libc falls back to clone
        (equal, 0, 4, CLONE[column]),
        (load, 0, 0, first_argument),
        (any_bit, 0, 1, ALL_NAMESPACES),
        (done, 0, 0, eperm),
        (done, 0, 0, allow),
        (equal, 0, 3 + len(FAMILIES), SOCKET[column]),
        (load, 0, 0, first_argument),
        *[(equal, len(FAMILIES) - i, 0, family) for i, family in enumerate(FAMILIES)],
        (done, 0, 0, eafnosupport),
        (done, 0, 0, allow),
    ]
    for numbers in REFUSED.values():
        lines += [(equal, 0, 1, numbers[column]), (done, 0, 0, eperm)]
    return [*lines, (done, 0, 0, allow)]
