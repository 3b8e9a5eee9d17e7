/* swap ONE OTHER COUNT STOP: makes two names trade places, at least COUNT times and until the file
 * STOP is there. Says how often it did. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long done = 0;
    if (argc != 5)
        return 2;
    while (done < atol(argv[3]) || access(argv[4], F_OK)) {
        if (renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE)) {
            perror("swap");
            return 1;
        }
        done++;
        if (done > 100000000)
            return 3;
    }
    printf("swapped %ld times\n", done);
    return 0;
}
