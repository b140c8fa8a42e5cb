// cgi: answers a CGI request with what it was given: the environment sorted, one NAME=value a line,
// an empty line, then the request body as it came.
// Words of the query string, separated by `&`, change the answer:
//   status=404     `Status: 404 Not Found` (any number; the reason is known for a few)
//   location=/x    `Location: /x` and no Status
//   crlf           header lines end with CRLF
//   argv           argv[N]=value lines instead of the environment
//   raw            no header block at all: not a valid CGI answer
//   exit=7         exits with 7 after the answer
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

// The value of a word of the query string, "" for a word without one, NULL when it isn't there.
static const char *query(const char *name) {
    static char value[256];
    const char *word = getenv("QUERY_STRING");
    size_t length = strlen(name);
    while (word && *word) {
        size_t end = strcspn(word, "&");
        if (end >= length && strncmp(word, name, length) == 0 && (end == length || word[length] == '=')) {
            snprintf(value, sizeof value, "%.*s", end > length ? (int)(end - length - 1) : 0,
                     end > length ? word + length + 1 : "");
            return value;
        }
        word += end + (word[end] == '&');
    }
    return NULL;
}

static const char *reason(int status) {
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 404: return "Not Found";
    case 418: return "I'm a teapot";
    case 500: return "Internal Server Error";
    default: return "Whatever";
    }
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_environment(void) {
    size_t count = 0;
    while (environ[count])
        count++;
    qsort(environ, count, sizeof *environ, by_name);
    for (size_t i = 0; i < count; i++)
        puts(environ[i]);
}

int main(int argc, char **argv) {
    const char *eol = query("crlf") ? "\r\n" : "\n";
    const char *value;
    if (!query("raw")) {
        if ((value = query("location")))
            printf("Location: %s%s", value, eol);
        else {
            int status = (value = query("status")) ? atoi(value) : 200;
            printf("Status: %d %s%s", status, reason(status), eol);
        }
        printf("Content-Type: text/plain%sX-Guest: cgi%s%s", eol, eol, eol);
    }
    if (query("argv"))
        for (int i = 0; i < argc; i++)
            printf("argv[%d]=%s\n", i, argv[i]);
    else
        print_environment();
    putchar('\n');
    fflush(stdout);

    char buffer[4096];
    for (ssize_t got; (got = read(STDIN_FILENO, buffer, sizeof buffer)) > 0;)
        fwrite(buffer, 1, got, stdout);
    fflush(stdout);
    return (value = query("exit")) ? atoi(value) : 0;
}
