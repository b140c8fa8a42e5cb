// go-hello: a Go program for WASI preview 1. It greets whoever stdin names, else the world.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	name := strings.TrimSpace(string(input))
	if name == "" {
		name = "world"
	}
	fmt.Printf("Hello, %s, from Go!\n", name)
}
