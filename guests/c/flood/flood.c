// flood: writes 64-byte lines for ever, 4 KiB at a time: to stdout, or to stderr when told "stderr"
// (first argument, else stdin). Exits with 4 when a write fails.
#include "../input.h"
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int to = strcmp(input(argc, argv), "stderr") == 0 ? STDERR_FILENO : STDOUT_FILENO;
    static char lines[4096];
    memset(lines, 'x', sizeof lines);
    for (size_t end = 63; end < sizeof lines; end += 64)
        lines[end] = '\n';
    for (;;)
        for (size_t done = 0; done < sizeof lines;) {
            ssize_t put = write(to, lines + done, sizeof lines - done);
            if (put < 0)
                return 4;
            done += put;
        }
}
