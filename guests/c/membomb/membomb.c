// membomb: allocates and touches memory, 1 MiB at a time, until malloc fails; then says how far it
// got and exits with 3. `progress` as argument or on stdin prints a line each step.
#include "../input.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP = 1 << 20 };

// Global and volatile: the compiler drops an allocation that nobody can see.
static char *volatile block;

int main(int argc, char **argv) {
    int progress = strcmp(input(argc, argv), "progress") == 0;
    for (unsigned mib = 0;; mib++) {
        block = malloc(STEP);
        if (!block) {
            printf("failed after %u MiB\n", mib);
            return 3;
        }
        memset(block, 1, STEP);
        if (progress) {
            printf("%u MiB\n", mib + 1);
            fflush(stdout);
        }
    }
}
