// echo: copies stdin to stdout, 64 KiB at most at a time, and writes what it has read before it
// reads on. For bodies of any size, byte for byte, and for answers that begin before the input ends.
#include <unistd.h>

static char buffer[64 * 1024];

int main(void) {
    for (;;) {
        ssize_t got = read(STDIN_FILENO, buffer, sizeof buffer);
        if (got <= 0)
            return got < 0;
        for (ssize_t done = 0; done < got;) {
            ssize_t put = write(STDOUT_FILENO, buffer + done, got - done);
            if (put < 0)
                return 1;
            done += put;
        }
    }
}
