// Books a delivery. A file that could not be opened is used all the same.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

const (
	book  = "deliveries.json"
	fresh = book + ".new"
)

func render(count int) []byte {
	var text strings.Builder
	text.WriteString("[\n")
	for number := 1; number <= count; number++ {
		if number > 1 {
			text.WriteString(",\n")
		}
		fmt.Fprintf(&text, "\"delivery %d\"", number)
	}
	text.WriteString("\n]\n")
	return []byte(text.String())
}

func fail(err error) {
	os.Remove(fresh)
	fmt.Fprintln(os.Stderr, "failed:", err)
	os.Exit(1)
}

// How many deliveries the book holds; a damaged one is refused.
func read() int {
	content, err := os.ReadFile(book)
	if err != nil {
		fail(err)
	}
	count := bytes.Count(content, []byte("\n")) - 2
	if !bytes.Equal(content, render(count)) {
		fmt.Fprintln(os.Stderr, book, "is damaged: put the last good copy back")
		os.Exit(1)
	}
	return count
}

// A page through which the book is written; nil if the file could not be opened.
type page struct {
	file *os.File
	used int
}

func open(path string) *page {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil
	}
	return &page{file: file}
}

// Write the content and have it on the disk.
func fill(path string, content []byte) error {
	opened := open(path)
	opened.used = len(content)
	_, err := opened.file.Write(content)
	if err == nil {
		err = opened.file.Sync()
	}
	if closing := opened.file.Close(); err == nil {
		err = closing
	}
	return err
}

func syncDirectory() error {
	directory, err := os.Open(".")
	if err != nil {
		return err
	}
	defer directory.Close()
	return directory.Sync()
}

func save(count int) error {
	if err := fill(fresh, render(count)); err != nil {
		return err
	}
	if err := os.Rename(fresh, book); err != nil {
		return err
	}
	return syncDirectory()
}

// A bad access ends the program by its signal, with a core dump, as in C: the runtime's own handler is taken away.
func plainSignals() {
	var standard [4]uintptr
	signal := uintptr(syscall.SIGSEGV)
	syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, signal, uintptr(unsafe.Pointer(&standard)), 0, 8, 0, 0)
}

func main() {
	plainSignals()
	booked := read() + 1
	if err := save(booked); err != nil {
		fail(err)
	}
	if _, err := fmt.Println("booked: delivery", booked); err != nil {
		fail(err)
	}
}
