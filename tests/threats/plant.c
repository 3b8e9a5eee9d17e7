/* Leaves behind in a tree what whoever handles it later may stumble over.
 *
 * plant marks PATH...   the attributes by which overlayfs marks what it hides, moves or borrows
 * plant deep COUNT      so many directories, each in the one before
 */

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static void marks(const char *path)
{
    static const struct {
        const char *name, *value;
    } all[] = {
        {"opaque", "y"},   {"opaque", "x"},   {"redirect", "/etc"}, {"redirect", "../../../../../.."},
        {"metacopy", ""},  {"whiteout", "y"}, {"whiteouts", "y"},   {"origin", "x"},
        {"impure", "y"},   {"nlink", "U+9"},  {"upper", "x"},       {"protattr", "i"},
        {"overlay.opaque", "y"},
    };
    static const char *const kinds[] = {"trusted", "user"};
    char name[64];
    for (size_t kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            snprintf(name, sizeof name, "%s.overlay.%s", kinds[kind], all[i].name);
            if (lsetxattr(path, name, all[i].value, strlen(all[i].value), 0) == 0)
                printf("%s has %s\n", path, name);
        }
}

static int deep(int count)
{
    for (; count > 0; count--)
        if (mkdir("d", 0700) || chdir("d")) {
            perror("plant");
            return 1;
        }
    puts("planted");
    return 0;
}

int main(int count, char **words)
{
    if (count == 3 && !strcmp(words[1], "deep"))
        return deep(atoi(words[2]));
    for (int i = 2; i < count && !strcmp(words[1], "marks"); i++)
        marks(words[i]);
    return 0;
}
