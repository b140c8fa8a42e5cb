// What a guest is told to do: its first argument, else the first word on stdin, else "".
// A function that is called with a body and a program that is run with arguments can both steer it.
#ifndef INPUT_H
#define INPUT_H

#include <string.h>
#include <unistd.h>

static inline const char *input(int argc, char **argv) {
    static char word[64];
    if (argc > 1)
        return argv[1];
    ssize_t got = read(STDIN_FILENO, word, sizeof word - 1);
    word[got > 0 ? got : 0] = '\0';
    word[strcspn(word, " \t\r\n")] = '\0';
    return word;
}

#endif
