// env: prints its arguments as argv[N]=value lines, then its environment as NAME=value lines in the
// order the host gave.
#include <stdio.h>

extern char **environ;

int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++)
        printf("argv[%d]=%s\n", i, argv[i]);
    for (char **line = environ; line && *line; line++)
        puts(*line);
    return 0;
}
