// recurse: calls itself until the call stack is used up. It keeps nothing in linear memory, so it is
// the host's stack limit that ends it.
static volatile unsigned bottom = ~0u;

__attribute__((noinline)) static unsigned deeper(unsigned depth) {
    if (depth == bottom)
        return 0;
    return (deeper(depth + 1) ^ bottom) + 1;
}

int main(void) {
    return (int)deeper(0);
}
