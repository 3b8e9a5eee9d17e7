/* Tries to reach what is outside of a step, and prints REACHED where it can.
 *
 * reach abstract NAME   a Unix socket of the abstract name
 * reach socket PATH...  Unix sockets by their paths
 * reach processes       processes by their numbers, and their memory
 * reach meeting NAME    another one of these, which runs at the same time
 */

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static void reached(const char *how, const char *what)
{
    printf("%s %s REACHED\n", how, what);
}

static int can_connect(const char *name, int is_abstract)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if (length + 1 >= sizeof address.sun_path)
        return 0;
    memcpy(address.sun_path + is_abstract, name, length);
    socklen_t size = sizeof address.sun_family + is_abstract + length + !is_abstract;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int result = connect(fd, (struct sockaddr *)&address, size);
    close(fd);
    return result == 0;
}

/* Every number that a process may have. Those of the step itself are its own and small. */
static void processes(void)
{
    char buffer[64], number[32];
    struct iovec local = {buffer, sizeof buffer}, remote = {(void *)0x400000, sizeof buffer};
    for (pid_t pid = 1; pid <= 4194304; pid++) {
        if (kill(pid, 0) != 0 && errno != EPERM)
            continue;
        snprintf(number, sizeof number, "%d", pid);
        if (pid > 200)
            reached("signal", number);
        if (pid == getpid() || pid < 200)
            continue;
        if (process_vm_readv(pid, &local, 1, &remote, 1, 0) > 0)
            reached("memory", number);
        /* Unlike PTRACE_ATTACH, this stops nobody, should it be possible. */
        if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0)
            reached("trace", number);
    }
}

/* One process at a time may have the abstract name. */
static void meeting(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path + 1, name, sizeof address.sun_path - 2);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        reached("meeting", name);
    usleep(200000);
}

int main(int count, char **words)
{
    if (count > 2 && !strcmp(words[1], "abstract") && can_connect(words[2], 1))
        reached("abstract", words[2]);
    for (int i = 2; i < count && !strcmp(words[1], "socket"); i++)
        if (can_connect(words[i], 0))
            reached("socket", words[i]);
    if (count > 1 && !strcmp(words[1], "processes"))
        processes();
    if (count > 2 && !strcmp(words[1], "meeting"))
        meeting(words[2]);
    return 0;
}
