/* Makes the system calls that its arguments name, and prints the error number of each. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Opens both ends of a new terminal. */
static long terminal(void)
{
    int controller = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    if (controller < 0 || unlockpt(controller))
        return -1;
    return open(ptsname(controller), O_RDWR | O_NOCTTY);
}

/* Calls that nobody but the machine's administrator makes, without arguments that would do anything. */
static const struct {
    const char *name;
    long number;
} privileged[] = {
    {"userfaultfd", SYS_userfaultfd},
    {"open_by_handle_at", SYS_open_by_handle_at},
    {"kexec_load", SYS_kexec_load},
    {"init_module", SYS_init_module},
    {"delete_module", SYS_delete_module},
    {"setns", SYS_setns},
    {"pivot_root", SYS_pivot_root},
    {"fsopen", SYS_fsopen},
    {"fsmount", SYS_fsmount},
    {"open_tree", SYS_open_tree},
    {"move_mount", SYS_move_mount},
    {"mount_setattr", SYS_mount_setattr},
    {"quotactl", SYS_quotactl},
    {"reboot", SYS_reboot},
    {"swapon", SYS_swapon},
    {"acct", SYS_acct},
    {"settimeofday", SYS_settimeofday},
    {"perf_event_open", SYS_perf_event_open},
    {"umount", SYS_umount2},
    {"sethostname", SYS_sethostname},
    {"syslog", SYS_syslog},
    {"vhangup", SYS_vhangup},
    {"fanotify_init", SYS_fanotify_init},
};

static long call(const char *name)
{
    for (unsigned i = 0; i < sizeof privileged / sizeof *privileged; i++)
        if (!strcmp(name, privileged[i].name))
            return syscall(privileged[i].number, 0, 0, 0, 0, 0, 0);
    if (!strcmp(name, "keyctl"))
        return syscall(SYS_keyctl, 0, -3, 0);
    if (!strcmp(name, "add_key"))
        return syscall(SYS_add_key, "user", "k", "v", 1, -3);
    if (!strcmp(name, "unshare"))
        return syscall(SYS_unshare, 0x10000000);
    if (!strcmp(name, "clone-newuser"))
        return syscall(SYS_clone, 0x10000000 | 17, 0, 0, 0, 0);
    if (!strcmp(name, "clone3"))
        return syscall(SYS_clone3, 0, 0);
    if (!strcmp(name, "bpf"))
        return syscall(SYS_bpf, 0, 0, 0);
    if (!strcmp(name, "io_uring_setup"))
        return syscall(SYS_io_uring_setup, 1, 0);
    if (!strcmp(name, "mount"))
        return syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0);
    if (!strcmp(name, "af_inet"))
        return syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0);
    if (!strcmp(name, "af_alg"))
        return syscall(SYS_socket, 38, SOCK_SEQPACKET, 0);
    if (!strcmp(name, "af_alg-upper-half"))
        return syscall(SYS_socket, 38 | 1L << 32, SOCK_SEQPACKET, 0);
    if (!strcmp(name, "af_vsock"))
        return syscall(SYS_socket, 40, SOCK_STREAM, 0);
    if (!strcmp(name, "personality"))
        return syscall(SYS_personality, 0xffffffff);
    if (!strcmp(name, "personality-odd"))
        return syscall(SYS_personality, 0x0400000);
    if (!strcmp(name, "terminal"))
        return terminal();
    if (!strcmp(name, "be-root")) {
        errno = EACCES;
        return geteuid() == 0 ? 0 : -1;
    }
    if (!strcmp(name, "tiocsti"))
        return ioctl(0, 0x5412, "x");
#ifdef __x86_64__
    long result;
    if (!strcmp(name, "x32-getpid"))
        return syscall(0x40000000 | SYS_getpid);
    /* The 32-bit entry, which takes its own numbers. */
    if (!strcmp(name, "i386-getpid")) {
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
    } else if (!strcmp(name, "i386-af_alg")) {
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(359), "b"(38), "c"(5), "d"(0)
                         : "memory", "r8", "r9", "r10", "r11");
    } else if (!strcmp(name, "i386-socketcall")) {
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(102), "b"(1), "c"(0)
                         : "memory", "r8", "r9", "r10", "r11");
    } else if (!strcmp(name, "i386-mount")) {
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(21), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0)
                         : "memory", "r8", "r9", "r10", "r11");
    } else if (!strcmp(name, "i386-keyctl")) {
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(288), "b"(0), "c"(-3), "d"(0)
                         : "memory", "r8", "r9", "r10", "r11");
    } else {
        exit(3);
    }
    if (result < 0 && result > -4096) {
        errno = -result;
        return -1;
    }
    return result;
#else
    exit(3);
#endif
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        errno = 0;
        long result = call(argv[i]);
        printf("%s %d\n", argv[i], result == -1 ? errno : 0);
    }
    return 0;
}
