// hello: the smallest ordinary program. Prints one line and ends.
#include <stdio.h>

int main(void) {
    puts("Hello, world!");
    return 0;
}
