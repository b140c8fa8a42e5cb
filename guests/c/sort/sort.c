// sort: sorts the integers given as arguments and prints them, each followed by a space, then a
// newline. For functions whose request is a list of arguments.
#include <stdio.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) {
    int left = *(const int *)a, right = *(const int *)b;
    return (left > right) - (left < right);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        puts("No numbers to sort");
        return 0;
    }
    int count = argc - 1;
    int *numbers = malloc(count * sizeof *numbers);
    if (!numbers)
        return 1;
    for (int i = 0; i < count; i++)
        numbers[i] = atoi(argv[i + 1]);
    qsort(numbers, count, sizeof *numbers, ascending);
    for (int i = 0; i < count; i++)
        printf("%d ", numbers[i]);
    putchar('\n');
    return 0;
}
