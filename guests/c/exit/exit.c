// exit: exits with the code it is told (first argument, else stdin, else 0), after a line on stdout
// and one on stderr.
#include "../input.h"
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    int code = atoi(input(argc, argv));
    printf("leaving with %d\n", code);
    fflush(stdout);
    fprintf(stderr, "err %d\n", code);
    return code;
}
