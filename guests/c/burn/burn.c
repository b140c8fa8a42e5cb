// burn: an endless loop without a single host call. Only a time or fuel limit stops it.
int main(void) {
    volatile unsigned turns = 0;
    for (;;)
        turns++;
}
