/* Loaded into the builder's own program: leaves it, with its file open, for a shell that writes to
   that file. */

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

__attribute__((constructor)) static void take_over(void)
{
    static char *arguments[] = {
        "sh", "-c", "echo gone >> /proc/self/fd/9 && echo written; echo tried", NULL};
    static char *environment[] = {"PATH=/bin", NULL};
    int program = open("/proc/self/exe", O_RDONLY);
    struct statvfs file_system;
    if (fstatvfs(program, &file_system) == 0 && file_system.f_flag & ST_RDONLY)
        write(1, "read-only\n", 10);
    dup2(program, 9);
    execve("/bin/sh", arguments, environment);
    _exit(9);
}
