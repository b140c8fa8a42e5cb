// files: says what of the file system it can reach: which of the descriptors 3 to 10 are preopened
// folders, and whether /etc/passwd and . can be opened. A guest without folders gets eight times
// "bad descriptor" and two errors.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <wasi/api.h>

static void descriptor(__wasi_fd_t fd) {
    __wasi_prestat_t stat;
    __wasi_errno_t error = __wasi_fd_prestat_get(fd, &stat);
    if (error == __WASI_ERRNO_BADF) {
        printf("fd %u: bad descriptor\n", fd);
        return;
    }
    char path[256] = "";
    size_t length = error ? 0 : stat.u.dir.pr_name_len;
    if (!error && length < sizeof path)
        error = __wasi_fd_prestat_dir_name(fd, (uint8_t *)path, length);
    if (error)
        printf("fd %u: error %u %s\n", fd, error, strerror(error));
    else
        printf("fd %u: preopened %s\n", fd, path);
}

static void path(const char *name) {
    if (open(name, O_RDONLY) < 0)
        printf("open %s: error %d %s\n", name, errno, strerror(errno));
    else
        printf("open %s: ok\n", name);
}

int main(void) {
    for (__wasi_fd_t fd = 3; fd <= 10; fd++)
        descriptor(fd);
    path("/etc/passwd");
    path(".");
    return 0;
}
