// trap: dies the way it is told (first argument, else stdin): unreachable, div0, oob or abort.
// Anything else exits with 2. A line on stderr says what comes.
#include "../input.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int divide(int a, int b) {
    int quotient;
    // In C the compiler may take a division by zero for impossible; this instruction it can't.
    __asm__ volatile("local.get %1\nlocal.get %2\ni32.div_s\nlocal.set %0" : "=r"(quotient) : "r"(a), "r"(b));
    return quotient;
}

int main(int argc, char **argv) {
    const char *how = input(argc, argv);
    fprintf(stderr, "trap: %s\n", how);
    if (strcmp(how, "unreachable") == 0)
        __builtin_trap();
    if (strcmp(how, "div0") == 0)
        return divide(1, 0);
    if (strcmp(how, "oob") == 0)
        return *(volatile char *)0xfffffff0u;
    if (strcmp(how, "abort") == 0)
        abort();
    return 2;
}
