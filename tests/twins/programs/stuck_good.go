// Books a delivery, one process at a time. The lock is the kernel's, which ends with the process.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
)

const (
	book  = "deliveries.json"
	fresh = book + ".new"
	lock  = "deliveries.lock"
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

var held = -1

func release() {
	if held >= 0 {
		syscall.Close(held)
	}
}

func fail(err error) {
	release()
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
		fail(fmt.Errorf("%s is damaged: put the last good copy back", book))
	}
	return count
}

// Write the content and have it on the disk.
func fill(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if closing := file.Close(); err == nil {
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

// One process at a time.
func acquire() {
	file, err := syscall.Open(lock, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC, 0o644)
	if err == nil {
		err = syscall.Flock(file, syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		fail(fmt.Errorf("lock: %w", err))
	}
	held = file
}

func main() {
	acquire()
	booked := read() + 1
	if err := save(booked); err != nil {
		fail(err)
	}
	if _, err := fmt.Println("booked: delivery", booked); err != nil {
		fail(err)
	}
	release()
}
