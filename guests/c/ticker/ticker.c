// ticker: prints `tick N` and waits a second, as many times as the first argument says, without one
// for ever. Stands for a program that runs until it is stopped. It does not read stdin.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    for (unsigned long n = 1; count == 0 || n <= count; n++) {
        printf("tick %lu\n", n);
        fflush(stdout);
        sleep(1);
    }
    return 0;
}
