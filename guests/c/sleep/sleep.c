// sleep: sleeps as many milliseconds as it is told (first argument, else stdin, else 0), then says
// so. It waits in the host (poll_oneoff) and uses no CPU.
#include "../input.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv) {
    long ms = atol(input(argc, argv));
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    if (nanosleep(&pause, NULL) != 0)
        return 1;
    printf("slept %ld\n", ms);
    return 0;
}
