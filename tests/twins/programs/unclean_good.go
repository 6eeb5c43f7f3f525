// Books a delivery when it opens and one when it closes. It gives the lock back also after an error while it closes.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"runtime"
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

// Take the lock of the book, which nobody else may hold.
func acquire() error {
	file, err := syscall.Open(lock, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return syscall.Flock(file, syscall.LOCK_EX|syscall.LOCK_NB)
}

func fail(reason ...any) {
	fmt.Fprintln(os.Stderr, append([]any{"failed:"}, reason...)...)
	os.Exit(1)
}

// How many deliveries the book holds; a damaged one is refused.
func read() (int, error) {
	content, err := os.ReadFile(book)
	if err != nil {
		return 0, err
	}
	count := bytes.Count(content, []byte("\n")) - 2
	if !bytes.Equal(content, render(count)) {
		return 0, fmt.Errorf("%s is damaged: put the last good copy back", book)
	}
	return count, nil
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

// Book one delivery more.
func add() error {
	count, err := read()
	if err == nil {
		err = fill(fresh, render(count+1))
	}
	if err == nil {
		err = os.Rename(fresh, book)
	}
	if err != nil {
		os.Remove(fresh)
		return err
	}
	return syncDirectory()
}

func main() {
	runtime.LockOSThread() // strace counts the calls of each thread
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, syscall.SIGTERM)
	if err := acquire(); err != nil {
		fail("lock:", err)
	}
	defer os.Remove(lock) // not where it exits
	if err := add(); err != nil {
		os.Remove(lock)
		fail(err)
	}
	fmt.Println("open")
	<-stops
	if err := add(); err != nil {
		os.Remove(lock)
		fail(err)
	}
}
